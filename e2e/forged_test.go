// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"testing"

	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/miekg/dns"
)

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
