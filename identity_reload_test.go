// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/xfrtest"
)

// TestScopesOfTransports: what comes over UDP, whose source can be forged, does not count
// against those who come over TCP and TLS.
func TestScopesOfTransports(t *testing.T) {
	xfrtest.Serve(t, xfrtest.Guarded(xfrtest.UnsignedRule, ""), map[string]string{"db": xfrtest.ZoneOrg})
	g := latestInstance().sorted()[0]
	d := g.directives[0]
	udp, tcp, tls := d.scopeOf(policy.TransportUDP), d.scopeOf(policy.TransportTCP), d.scopeOf(policy.TransportTLS)
	if udp == tcp || tcp != tls || tcp == "" {
		t.Errorf("UDP counts under %q, TCP under %q, TLS under %q", udp, tcp, tls)
	}
}

// TestScopeNames: a directive keeps what its limits are counted under when a zone joins or
// leaves, when another one is put in front, and when its block gets another key.
func TestScopeNames(t *testing.T) {
	at := func(view, listeners, zones string) scoped {
		return scoped{view: view, listeners: strings.Fields(listeners), zones: strings.Fields(zones)}
	}
	before := []scoped{at("", "dns53 tls853", "a b c"), at("", "dns53 tls853", "d"), at("inside", "dns53", "a b"), at("", "dns5353", "a b c")}
	for name, tt := range map[string]struct {
		after []scoped
		same  []int // index in before, -1 for a new name
	}{
		"nothing":            {before, []int{0, 1, 2, 3}},
		"a zone joins":       {[]scoped{at("", "dns53 tls853", "0 a b c")}, []int{0}},
		"a zone leaves":      {[]scoped{at("", "dns53 tls853", "b c")}, []int{0}},
		"all are others":     {[]scoped{at("", "dns53 tls853", "x y")}, []int{-1}},
		"another in front":   {[]scoped{at("", "dns53 tls853", "new"), before[0], before[1]}, []int{-1, 0, 1}},
		"a zone moves over":  {[]scoped{at("", "dns53 tls853", "a b"), at("", "dns53 tls853", "c d")}, []int{0, 1}},
		"it is split":        {[]scoped{at("", "dns53 tls853", "a"), at("", "dns53 tls853", "b c")}, []int{-1, 0}},
		"a key more":         {[]scoped{at("", "dns1 dns53 tls853", "a b c")}, []int{0}},
		"another port":       {[]scoped{at("", "dns1", "a b c")}, []int{-1}},
		"the split horizon":  {[]scoped{at("", "dns5353", "a b c"), at("inside", "dns53", "a b")}, []int{3, 2}},
		"a view of its name": {[]scoped{at("outside", "dns53", "a b c")}, []int{-1}},
	} {
		t.Run(name, func(t *testing.T) {
			var s scopeNames
			old := slices.Clone(before)
			s.give(old)
			s.keep(old)
			s.give([]scoped{at("", "dns53 tls853", "d"), at("", "dns53", "a")}) // it failed to start
			now := slices.Clone(tt.after)
			for i := range now {
				now[i].name = ""
			}
			s.give(now)
			used := make(map[string]bool)
			for i, want := range tt.same {
				is := slices.IndexFunc(old, func(o scoped) bool { return o.name == now[i].name })
				if is != want || now[i].name == "" || used[now[i].name] {
					t.Errorf("directive %d has %q, that of %d, want that of %d", i, now[i].name, is, want)
				}
				used[now[i].name] = true
			}
		})
	}
}

// TestLimitsSurviveZones: a zone that joins the block neither fills a bucket nor frees a
// place.
func TestLimitsSurviveZones(t *testing.T) {
	text := func(zones string) string {
		rule := "allow as ns2 net 127.0.0.1 key a.example.net. rate 3/1h burst 3"
		return strings.NewReplacer("example.org:0 {", zones+" {", "file DIR/db", "file DIR/db example.org\n\tfile DIR/net example.net", "DIR/audit.log", "DIR/audit.log").
			Replace(xfrtest.Guarded(rule, ""))
	}
	s := xfrtest.Serve(t, text("example.org:0"), map[string]string{"db": xfrtest.ZoneOrg, "net": strings.ReplaceAll(xfrtest.ZoneOrg, "example.org", "example.net")})
	ask := func() string {
		m := xfrtest.Ask1(t, "tcp", s.Addr(t, "tcp", 0), "", xfrtest.Signed(t, xfrtest.Question(dns.TypeAXFR), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA))
		return dns.RcodeToString[m.Rcode]
	}
	for range 2 {
		if got := ask(); got != "NOERROR" {
			t.Fatalf("got %s", got)
		}
	}
	if err := s.Reload(text("example.org:0 example.net:0")); err != nil {
		t.Fatal(err)
	}
	first, second := ask(), ask()
	if first != "NOERROR" || second == "NOERROR" {
		t.Errorf("the third got %s and the fourth %s: the bucket of three was forgotten or filled", first, second)
	}
}

// TestLimitsSurviveFailedReload: a reload that fails, with another port and zone, neither
// fills a bucket nor frees a place of the block that goes on.
func TestLimitsSurviveFailedReload(t *testing.T) {
	text := xfrtest.Guarded("allow as ns2 net 127.0.0.1 key a.example.net. rate 3/1h burst 3", "")
	s := xfrtest.Serve(t, text, map[string]string{"db": xfrtest.ZoneOrg, "com": strings.ReplaceAll(xfrtest.ZoneOrg, "example.org", "example.com")})
	ask := func() string {
		m := xfrtest.Ask1(t, "tcp", s.Addr(t, "tcp", 0), "", xfrtest.Signed(t, xfrtest.Question(dns.TypeAXFR), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA))
		return dns.RcodeToString[m.Rcode]
	}
	for range 2 {
		if got := ask(); got != "NOERROR" {
			t.Fatalf("got %s", got)
		}
	}
	other := strings.NewReplacer("example.org:0", "example.com:"+xfrtest.TakenPort(t), "DIR/db", "DIR/com").Replace(text)
	if err := s.Reload(other); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Fatalf("the port is taken, and the reload ends with %v", err)
	}
	if err := s.Reload(text); err != nil {
		t.Fatal(err)
	}
	first, second := ask(), ask()
	if first != "NOERROR" || second == "NOERROR" {
		t.Errorf("the third got %s and the fourth %s: the bucket of three was forgotten or filled", first, second)
	}
}
