// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"context"
	"fmt"
	"testing"

	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"
)

// TestAnswerIsOneLine: an answer of the SOA alone is one line that says all; beyond its
// budget it is counted, and answered all the same.
func TestAnswerIsOneLine(t *testing.T) {
	s := xfrtest.Serve(t, xfrtest.Guarded("allow as ns2 net 127.0.0.0/8 key a.example.net. rate 100000/1s burst 100000", ""), map[string]string{"db": xfrtest.ZoneOrg})
	tcp := s.Addr(t, "tcp", 0)
	const n = 300
	first := dns.Id()
	for i := range n {
		q := xfrtest.Question(dns.TypeIXFR, xfrtest.WithSerial(7))
		q.Id = first + uint16(i) // two with one ID in one second are the same message
		if m := xfrtest.Ask1(t, "tcp", tcp, "", xfrtest.Signed(t, q, xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA)); len(m.Answer) != 1 {
			t.Fatal(m)
		}
	}
	if _, err := xfrtest.TransferIn(t, tcp, xfrtest.Question(dns.TypeAXFR), xfrtest.KeyA, xfrtest.SecretA); err != nil {
		t.Fatal(err)
	}
	s.When(t, "zone-transfer-end", "complete")
	lines, ends := 0, 0
	for _, e := range s.Events(t, 1) {
		switch {
		case e["event.action"] == string(audit.ActionEnd):
			ends++
		case e["coredns.xfr.served"] == string(audit.ServedUpToDate):
			lines++
			if e["coredns.xfr.complete"] != true || e["event.outcome"] != "success" || e["coredns.xfr.serial.served"] != 7.0 {
				t.Errorf("on record as %v", e)
			}
		}
	}
	counted := int(latestInstance().sorted()[0].audit.Answers.Counted())
	if ends != 1 || lines+counted != n || lines < 21 || lines > 60 {
		t.Errorf("%d ends, %d lines and %d counted of %d answers", ends, lines, counted, n)
	}
}

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

// maxRefusalAllocs is twice what a refusal takes today: BenchmarkRefusal has its CPU, which
// a busy machine does not let a test hold.
const maxRefusalAllocs = 34

// TestRefusalAllocates: an unsigned refusal that is folded costs no more than it must.
func TestRefusalAllocates(t *testing.T) {
	xfrtest.Serve(t, xfrtest.Guarded("allow as ns2 net 192.0.2.53 key a.example.net.", ""), map[string]string{"db": xfrtest.ZoneOrg})
	g := latestInstance().sorted()[0]
	ctx := context.WithValue(t.Context(), dnsserver.Key{}, &dnsserver.Server{Addr: "dns://127.0.0.1:53"})
	for qtype, q := range map[string]*dns.Msg{"AXFR": xfrtest.Question(dns.TypeAXFR), "IXFR": xfrtest.Question(dns.TypeIXFR, xfrtest.WithSerial(1))} {
		w := &test.ResponseWriter{}
		n := testing.AllocsPerRun(500, func() {
			if _, err := g.answer(ctx, w, q); err != nil {
				t.Fatal(err)
			}
		})
		if n > maxRefusalAllocs {
			t.Errorf("%s: %v allocations", qtype, n)
		}
		t.Logf("%s: %v allocations", qtype, n)
	}
}
