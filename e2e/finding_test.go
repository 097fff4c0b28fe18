// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/miekg/dns"
)

// TestFindingOnRecord: a finding is an event with its code, place and text, and counted in
// the metric of its server block; what is left out is neither.
func TestFindingOnRecord(t *testing.T) {
	const rules = "allow as lan net 127.0.0.0/24 key a.example.net. b.example.net.\n\t\tdeny as stolen net 127.0.0.66\n\t\tbandwidth 8KiB\n\t\t"
	files := map[string]string{"db": xfrtest.ZoneOrg}
	s := xfrtest.Serve(t, xfrtest.Guarded(rules+"findings warn except bandwidth-too-low", ""), files)
	xfrtest.Ask1(t, "tcp", s.Addr(t, "tcp", 0), "", xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR)))
	s.Events(t, 1) // it is live
	found := s.Findings(t)
	if len(found) != 1 {
		t.Fatalf("%d findings on record, want one: %v", len(found), found)
	}
	for field, want := range map[string]string{
		"event.code": "XFR215", "event.reason": "deny-no-effect", "log.level": "warn", "coredns.server": "dns://127.0.0.1:0",
		"coredns.xfr.finding.code": "deny-no-effect", "coredns.xfr.finding.position": "Corefile:9",
		"message": `rule "stolen" denies nobody whom rule "lan" in front of it lets in, as the first that fits decides: move it up`,
	} {
		if got := fmt.Sprint(found[0][field]); got != want {
			t.Errorf("%s is %q, want %q", field, got, want)
		}
	}
	count := func(code string) float64 {
		return xfrtest.Metric(t, "findings", "dns://127.0.0.1:0", code)
	}
	if count("deny-no-effect") != 1 || count("bandwidth-too-low") != 0 {
		t.Errorf("the metric has %v and %v", count("deny-no-effect"), count("bandwidth-too-low"))
	}
	if err := s.Reload(xfrtest.Guarded("allow as lan net 127.0.0.0/24 key a.example.net. b.example.net.", "")); err != nil {
		t.Fatal(err)
	}
	xfrtest.Ask1(t, "tcp", s.Addr(t, "tcp", 0), "", xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR)))
	if count("deny-no-effect") != 0 {
		t.Error("the metric keeps what is mended")
	}
}

// TestObserveHurtsNobody: while every directive observes, a block without one goes on as
// before; where elsewhere refuse is written down it is on record what would be refused.
func TestObserveHurtsNobody(t *testing.T) {
	files := map[string]string{"db": xfrtest.ZoneOrg, "bare": strings.TrimPrefix(xfrtest.ZoneOrg, "$ORIGIN example.org.\n")}
	other := strings.ReplaceAll(xfrtest.Unguarded, "TRANSFER", "transfer {\n\t\tto *\n\t}")
	const observe = "allow as ns2 net 127.0.0.53 key a.example.net.\n\t\tmode observe\n\t\t"
	q := func() []byte {
		return xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR, xfrtest.WithName("example.com.")))
	}
	for _, c := range []struct{ lines, reason string }{{"", ""}, {"elsewhere pass", ""}, {"elsewhere refuse", "block-not-guarded"}} {
		s := xfrtest.Serve(t, other+xfrtest.Guarded(observe+c.lines, ""), files)
		if m := xfrtest.Ask1(t, "tcp", s.Addr(t, "tcp", 0), "", q()); len(m.Answer) < 3 {
			t.Errorf("%q: the block without xfrguard gives %v", c.lines, m)
		}
		if c.reason == "" {
			continue
		}
		if e := s.Events(t, 1)[0]; e["event.reason"] != c.reason || e["coredns.xfr.enforced"] != false {
			t.Errorf("%q: on record as %v", c.lines, e)
		}
	}
	s := xfrtest.Serve(t, other+xfrtest.Guarded("allow as ns2 net 127.0.0.53 key a.example.net.", ""), files)
	xfrtest.WantRefused(t, xfrtest.Ask(t, "tcp", s.Addr(t, "tcp", 0), "", q(), 1), dns.RcodeRefused)
	if e := s.Events(t, 1)[0]; e["event.reason"] != "block-not-guarded" || e["coredns.xfr.enforced"] != true {
		t.Errorf("on record as %v", e)
	}
}
