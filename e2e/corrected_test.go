// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"path/filepath"
	"testing"

	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/internal/audit/audittest"
	"github.com/xfrguard/xfrguard/internal/xfrtest"
)

// TestCorrectedIsOnRecord: a zone that is not sent as its file has it says so once for each
// cause, however often it is asked for.
func TestCorrectedIsOnRecord(t *testing.T) {
	messy := xfrtest.ZoneOrg + `
a 300 IN A 192.0.2.11
a 600 IN A 192.0.2.12
twice 300 IN A 192.0.2.13
TWICE 300 IN A 192.0.2.13
`
	s := xfrtest.Serve(t, xfrtest.Guarded("allow as ns2 net 127.0.0.1 key a.example.net.", ""), map[string]string{"db": messy})
	for range 2 {
		got, err := xfrtest.TransferIn(t, s.Addr(t, "tcp", 0), xfrtest.Question(dns.TypeAXFR), xfrtest.KeyA, xfrtest.SecretA)
		if err != nil {
			t.Fatal(err)
		}
		twice := 0
		for _, rr := range got {
			switch name := dns.CanonicalName(rr.Header().Name); {
			case name == "a.example.org." && rr.Header().Ttl != 300:
				t.Errorf("sent with a TTL of its own: %v", rr)
			case name == "twice.example.org.":
				twice++
			}
		}
		if twice != 1 {
			t.Errorf("a record is sent %d times", twice)
		}
	}
	s.When(t, "zone-transfer-end", "complete")
	told := map[any]int{}
	audittest.Eventually(t, func() bool {
		clear(told)
		for _, e := range audittest.Lines(t, filepath.Join(s.Dir, "audit.log")) {
			if e["event.action"] == "zone-corrected" {
				told[e["event.reason"]]++
				if e["coredns.zone"] != "example.org." || e["coredns.xfr.serial.served"] != 7.0 || e["event.outcome"] != "success" {
					t.Errorf("on record as %v", e)
				}
			}
		}
		return len(told) > 1
	})
	if len(told) != 2 || told["mixed-ttl"] != 1 || told["duplicate"] != 1 {
		t.Errorf("told of %v, want one of mixed-ttl and one of duplicate", told)
	}
}
