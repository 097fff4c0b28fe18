// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"strings"
	"testing"

	"github.com/coredns/caddy/caddyfile"
	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/internal/corefile"
)

// TestTheMainJob: an allowed secondary gets the zone, everybody else is refused, and
// both are on record.
func TestTheMainJob(t *testing.T) {
	s := serve(t, guarded("allow as ns2 net 127.0.0.1 key a.example.net.", ""), map[string]string{"db": zoneOrg})
	tcp := s.addr(t, "tcp", 0)

	got, err := transferIn(t, tcp, question(dns.TypeAXFR), "a.example.net.", secretA)
	if err != nil {
		t.Fatal(err)
	}
	wantZone(t, got, zoneOrg)
	s.events(t, 2)

	if m := ask1(t, "tcp", tcp, "", packed(t, question(dns.TypeAXFR))); m.Rcode != dns.RcodeRefused {
		t.Errorf("an unsigned request got %s", dns.RcodeToString[m.Rcode])
	}
	q := new(dns.Msg).SetQuestion("www.example.org.", dns.TypeA)
	if m := ask1(t, "udp", s.addr(t, "udp", 0), "", packed(t, q)); len(m.Answer) != 1 {
		t.Errorf("an ordinary query got %v", m)
	}

	events := s.events(t, 3)
	for i, want := range []struct{ action, reason string }{
		{"zone-transfer-decision", "policy-allow"},
		{"zone-transfer-end", "complete"},
		{"zone-transfer-decision", "tsig-required"},
	} {
		if events[i]["event.action"] != want.action || events[i]["event.reason"] != want.reason {
			t.Errorf("event %d is %v, want %v", i, events[i], want)
		}
	}
	if events[0]["coredns.xfr.id"] != events[1]["coredns.xfr.id"] {
		t.Error("the decision and its end have different ids")
	}
}

// parseText parses the xfrguard lines of a server block with these keys.
func parseText(text string, keys ...string) ([]*corefile.Config, error) {
	tokens := caddyfile.NewDispenser("Testfile", strings.NewReader(text))
	return corefile.Parse(&tokens, keys)
}
