// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestEndFollowsDecision: with two sinks the quicker one lets the transfer begin; in
// the slower one the end still comes after the decision.
func TestEndFollowsDecision(t *testing.T) {
	s := serve(t, guarded("allow as all net * unsigned\n\t\trate 1000/1s burst 1000\n\t\taudit file DIR/second.log", ""), map[string]string{"db": zoneOrg})
	const transfers = 60
	for range transfers {
		if m := ask1(t, "tcp", s.addr(t, "tcp", 0), "", packed(t, question(dns.TypeAXFR))); len(m.Answer) == 0 {
			t.Fatal(m)
		}
	}
	second := filepath.Join(s.dir, "second.log")
	for deadline := time.Now().Add(5 * time.Second); len(transferEvents(t, second)) < 2*transfers && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
	}
	s.events(t, 2*transfers)
	for _, name := range []string{"audit.log", "second.log"} {
		open := make(map[any]bool)
		ends := 0
		for _, e := range transferEvents(t, filepath.Join(s.dir, name)) {
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
