// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/miekg/dns"
)

// TestEndFollowsDecision: with two sinks the quicker one lets the transfer begin; in
// the slower one the end still comes after the decision.
func TestEndFollowsDecision(t *testing.T) {
	s := xfrtest.Serve(t, xfrtest.Guarded("allow as all net * unsigned\n\t\trate 1000/1s burst 1000\n\t\taudit file DIR/second.log", ""), map[string]string{"db": xfrtest.ZoneOrg})
	const transfers = 60
	for range transfers {
		if m := xfrtest.Ask1(t, "tcp", s.Addr(t, "tcp", 0), "", xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR))); len(m.Answer) == 0 {
			t.Fatal(m)
		}
	}
	second := filepath.Join(s.Dir, "second.log")
	for deadline := time.Now().Add(30 * time.Second); len(xfrtest.TransferEvents(t, second)) < 2*transfers && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
	}
	s.Events(t, 2*transfers)
	for _, name := range []string{"audit.log", "second.log"} {
		open := make(map[any]bool)
		ends := 0
		for _, e := range xfrtest.TransferEvents(t, filepath.Join(s.Dir, name)) {
			id := e["coredns.xfr.id"]
			switch e["event.action"] {
			case "zone-transfer-decision":
				open[id] = true
			case "zone-transfer-end":
				if !open[id] {
					t.Errorf("%s: an end before its decision", name)
				}
				delete(open, id)
				ends++
			}
		}
		if ends != transfers || len(open) != 0 {
			t.Errorf("%s: %d ends for %d transfers, %d decisions without one", name, ends, transfers, len(open))
		}
	}
}
