// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"testing"

	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/xfrtest"

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
