// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/xfrguard/xfrguard/internal/audit/audittest"
	"github.com/xfrguard/xfrguard/internal/evidence"
	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/xfrtest"
	"github.com/xfrguard/xfrguard/internal/zone/journal"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/miekg/dns"
)

// TestBlocksApart: two blocks that have one zone, port and view never have one past.
func TestBlocksApart(t *testing.T) {
	for name, corefile := range map[string]string{
		"a block above it": `example.org:0 {
	bind 127.0.0.1
	xfrguard {
		allow as all net * unsigned
		audit file DIR/audit.log
	}
	file DIR/db
}
org:0 {
	bind 127.0.0.1
	xfrguard example.org {
		allow as all net * unsigned
		audit file DIR/audit.log
	}
	file DIR/db example.org
}`,
		"views of one name": `example.org:0 {
	bind 127.0.0.1
	view same {
		expr client_ip() == '127.0.0.1'
	}
	xfrguard {
		allow as all net * unsigned
		audit file DIR/audit.log
	}
	file DIR/db
}
example.org:0 {
	bind 127.0.0.1
	view same {
		expr true
	}
	xfrguard {
		allow as all net * unsigned
		audit file DIR/audit.log
	}
	file DIR/other example.org
}`,
	} {
		t.Run(name, func(t *testing.T) {
			s := xfrtest.Serve(t, corefile, map[string]string{"db": xfrtest.ManyHosts(50), "other": xfrtest.ManyHosts(60)})
			seen := make(map[string]bool)
			for _, g := range latestInstance().sorted() {
				if g.store == nil {
					continue
				}
				if id := g.identityOf("example.org."); seen[id] {
					t.Errorf("two have the identity %q", id)
				} else {
					seen[id] = true
				}
			}
			if len(seen) != 2 {
				t.Fatalf("identities %v", seen)
			}
			_ = s
		})
	}
}

// TestJournalForgets: what a journal has of zones that are gone from the Corefile goes with
// the next start, what it has of the others stays.
func TestJournalForgets(t *testing.T) {
	const both = `example.org:0 example.net:0 {
	bind 127.0.0.1
	xfrguard {
		allow as all net * unsigned
		audit file DIR/audit.log
		journal DIR/journal
	}
	file DIR/db example.org example.net
}`
	s := xfrtest.Serve(t, both, map[string]string{"db": strings.Replace(xfrtest.ManyHosts(10), "$ORIGIN example.org.", "", 1)})
	for i, name := range []string{"example.org.", "example.net."} {
		if _, err := xfrtest.TransferIn(t, s.Addr(t, "tcp", 0), xfrtest.Question(dns.TypeAXFR, xfrtest.WithName(name)), "", ""); err != nil {
			t.Fatal(err)
		}
		s.Events(t, 2*i+2)
	}
	kept := func() int {
		t.Helper()
		for _, g := range latestInstance().sorted() {
			if j := g.zones["example.org."].journal; j != nil {
				all, err := j.Zones()
				if err != nil {
					t.Fatal(err)
				}
				return len(all)
			}
		}
		t.Fatal("no journal")
		return 0
	}
	if n := kept(); n != 2 {
		t.Fatalf("%d zones", n)
	}
	if err := s.Reload(strings.ReplaceAll(both, "example.net:0", "")); err != nil {
		t.Fatal(err)
	}
	audittest.Eventually(t, func() bool { return kept() == 1 })
}

// TestIdentity: the past of a zone belongs to what clients see of the block: two views, two
// addresses, two ports or two transports are never one, and the same block is the same
// again after a reload.
func TestIdentity(t *testing.T) {
	block := func(view, host, transport, port string) *guard {
		c := &dnsserver.Config{ViewName: view, ListenHosts: []string{host}, Transport: transport, Port: port, Zone: "example.org."}
		return &guard{Reader: evidence.Reader{Config: c, Policies: policy.NewPolicies(&policy.Policy{Zone: "example.org."})}, keys: []*dnsserver.Config{c}}
	}
	guards := []*guard{
		block("", "", "dns", "53"), block("inside", "", "dns", "53"), block("outside", "", "dns", "53"),
		block("", "127.0.0.1", "dns", "53"), block("", "", "tls", "853"), block("", "", "dns", "5353"),
	}
	seen := make(map[string]int)
	for i, g := range guards {
		id := g.identityOf("example.org.")
		if other, ok := seen[id]; ok {
			t.Errorf("blocks %d and %d are both %q", other, i, id)
		}
		seen[id] = i
		if again := block(g.Config.ViewName, g.Config.ListenHosts[0], g.Config.Transport, g.Config.Port).identityOf("example.org."); again != id {
			t.Errorf("block %d is %q after a reload, and was %q", i, again, id)
		}
	}
	tellApart(guards)
	for i, g := range guards {
		if g.double {
			t.Errorf("block %d is taken for another", i)
		}
	}
}

// TestIdentityFitsJournal: a block with many keys has a past that the journal can name,
// by what every key says; and what was short enough stays as it is on disk.
func TestIdentityFitsJournal(t *testing.T) {
	const apex = "example.org."
	block := func(keys int) *guard {
		g := &guard{Reader: evidence.Reader{Policies: policy.NewPolicies(&policy.Policy{Zone: apex})}}
		for i := range keys {
			c := &dnsserver.Config{Transport: "dns", Port: strconv.Itoa(1000 + i), Zone: "org."}
			g.keys = append(g.keys, c)
		}
		g.Config = g.keys[0]
		return g
	}
	for _, keys := range []int{1, 20, 62, 63, 64, 65, 500} {
		id := block(keys).identityOf(apex)
		if len(id) > journal.MaxZone || !strings.HasSuffix(id, " "+apex) {
			t.Errorf("%d keys: the journal cannot keep %q for %s", keys, id, apex)
		}
		if short := 16*keys+14 <= journal.MaxZone; short != strings.HasPrefix(id, "dns://") {
			t.Errorf("%d keys are named %q", keys, id)
		}
		if other := block(keys + 1).identityOf(apex); other == id {
			t.Errorf("%d keys and %d are both %q", keys, keys+1, id)
		}
		if again := block(keys).identityOf(apex); again != id {
			t.Errorf("%d keys are %q after a reload, and were %q", keys, again, id)
		}
	}
}

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
