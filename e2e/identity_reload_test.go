// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"strings"
	"testing"

	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/miekg/dns"
)

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
