// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"fmt"
	"testing"

	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/miekg/dns"
)

// An `unsigned` rule for a whole network, and packets over UDP that claim to come from
// all over it: neither in enforce nor in observe do they fill the audit log, and a
// client with a connection, or with a key, does not notice.
func TestForgedUDPFillsNoDisk(t *testing.T) {
	const sources = 600
	for _, mode := range []string{"enforce", "observe"} {
		t.Run(mode, func(t *testing.T) {
			burst := xfrtest.FreshUnproven(t)
			s := xfrtest.Serve(t, xfrtest.Guarded("allow as all net 127.0.0.0/8 unsigned\n\t\tmode "+mode, ""), map[string]string{"db": xfrtest.ZoneOrg})
			udp, tcp := s.Addr(t, "udp", 0), s.Addr(t, "tcp", 0)
			query := xfrtest.Packed(t, xfrtest.Question(dns.TypeIXFR))
			for n := range sources {
				xfrtest.Ask1(t, "udp", udp, fmt.Sprintf("127.1.%d.%d", n/200, n%200+1), query)
			}
			xfrtest.Ask1(t, "udp", udp, "127.2.0.1", xfrtest.Signed(t, xfrtest.Question(dns.TypeIXFR), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA))
			xfrtest.Ask1(t, "tcp", tcp, "127.2.0.2", xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR)))
			allowed, answered, others := map[any]int{}, int(latestInstance().sorted()[0].audit.Answers.Counted()), 0
			for _, e := range s.EventsOf(t, "127.2.0.2") {
				switch {
				case e["event.action"] == string(audit.ActionDecision) && e["event.reason"] == string(policy.ReasonAllowed):
					allowed[e["client.ip"]]++
					answered++
				case e["event.action"] == string(audit.ActionDecision):
					others++
				}
			}
			if allowed["127.2.0.1"] != 1 || allowed["127.2.0.2"] != 1 {
				t.Errorf("the client with a key has %d decisions, the one over TCP %d, want 1 and 1", allowed["127.2.0.1"], allowed["127.2.0.2"])
			}
			if n := answered - 2; n < burst || n > burst+burst/2 {
				t.Errorf("%d of %d forged requests were allowed, want about %d", n, sources, burst)
			}
			if n := len(allowed) - 2; n > audit.DefaultAnswers.Class[audit.FoldUDP].Burst {
				t.Errorf("%d of them have a line of their own", n)
			}
			if others > audit.DefaultFold.Class[audit.FoldUDP].Burst {
				t.Errorf("%d denials have a line of their own", others)
			}
		})
	}
}

// Observe says of a client over its rate what enforce would have done.
func TestObserveKnowsTheRate(t *testing.T) {
	s := xfrtest.Serve(t, xfrtest.Guarded("allow as all net 127.0.0.0/8 unsigned\n\t\trate 3/1h burst 3\n\t\tmode observe", ""), map[string]string{"db": xfrtest.ZoneOrg})
	for range 5 {
		xfrtest.Ask1(t, "tcp", s.Addr(t, "tcp", 0), "", xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR)))
	}
	reasons := map[any]int{}
	for _, e := range s.Events(t, 5) {
		if e["coredns.xfr.enforced"] != false {
			t.Errorf("enforced: %v", e)
		}
		reasons[e["event.reason"]]++
	}
	if reasons["policy-allow"] != 3 || reasons["rate-limited"] != 2 {
		t.Errorf("five requests, three of them in the rate: %v", reasons)
	}
}
