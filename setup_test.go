// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"os"
	"strings"
	"testing"

	"github.com/coredns/caddy/caddyfile"
	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/xfrtest"
)

func TestMain(m *testing.M) { os.Exit(xfrtest.Main(m)) }

// TestTheMainJob: an allowed secondary gets the zone, everybody else is refused, and
// both are on record.
func TestTheMainJob(t *testing.T) {
	s := xfrtest.Serve(t, xfrtest.Guarded("allow as ns2 net 127.0.0.1 key a.example.net.", ""), map[string]string{"db": xfrtest.ZoneOrg})
	tcp := s.Addr(t, "tcp", 0)

	got, err := xfrtest.TransferIn(t, tcp, xfrtest.Question(dns.TypeAXFR), "a.example.net.", xfrtest.SecretA)
	if err != nil {
		t.Fatal(err)
	}
	xfrtest.WantZone(t, got, xfrtest.ZoneOrg)
	s.Events(t, 2)

	if m := xfrtest.Ask1(t, "tcp", tcp, "", xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR))); m.Rcode != dns.RcodeRefused {
		t.Errorf("an unsigned request got %s", dns.RcodeToString[m.Rcode])
	}
	q := new(dns.Msg).SetQuestion("www.example.org.", dns.TypeA)
	if m := xfrtest.Ask1(t, "udp", s.Addr(t, "udp", 0), "", xfrtest.Packed(t, q)); len(m.Answer) != 1 {
		t.Errorf("an ordinary query got %v", m)
	}

	events := s.Events(t, 3)
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
