// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/miekg/dns"
)

// hanging serves a zone of which the backend hands out n records and then nothing more.
func hanging(t *testing.T, n int, rules string) *xfrtest.Server {
	t.Helper()
	var many []string
	for i := range n {
		many = append(many, fmt.Sprintf("%060d", i))
	}
	backend := xfrtest.NewCluster(t, "example.org.", 7, many...)
	backend.Hangs = make(chan struct{})
	s := xfrtest.Serve(t, xfrtest.ServerBlockOf(rules, xfrtest.ClusterName+" example.org."), nil)
	t.Cleanup(func() { close(backend.Hangs) })
	return s
}

// TestShutdownWhileBackendHangs: a transfer that a shutdown ends is on record before the
// audit log is closed, however long its backend would take for the rest of the zone.
func TestShutdownWhileBackendHangs(t *testing.T) {
	s := hanging(t, 25000, xfrtest.UnsignedRule)
	xfrtest.SlowTransfer(t, s, dns.TypeAXFR)
	begin := time.Now()
	s.Inst.ShutdownCallbacks()
	if at := s.When(t, "zone-transfer-end", "shutdown"); at.Sub(begin) > time.Second {
		t.Errorf("its end is of %v later", at.Sub(begin))
	}
}

// TestBackendHangs: a backend that hangs, before or in the middle of a transfer, does
// not keep the transfer for ever, nor its place among those that may run at once.
func TestBackendHangs(t *testing.T) {
	const rules = xfrtest.UnsignedRule + "\n\t\ttimeout 1h stall 50ms\n\t\tconcurrent 1 wait 5s"
	t.Run("before", func(t *testing.T) {
		s := hanging(t, 1, rules)
		for range 2 {
			m := xfrtest.Ask1(t, "tcp", s.Addr(t, "tcp", 0), "", xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR)))
			if m.Rcode != dns.RcodeServerFailure || len(m.Answer) > 0 {
				t.Errorf("got %v", m)
			}
		}
		if e := s.Events(t, 1)[0]; e["event.reason"] != "zone-unavailable" {
			t.Errorf("on record as %v", e)
		}
	})
	t.Run("between", func(t *testing.T) {
		s := hanging(t, 25000, rules)
		for range 2 {
			c, records := xfrtest.SlowTransfer(t, s, dns.TypeAXFR)
			if xfrtest.Rest(c, records, 25002) == 25002 {
				t.Error("got the end that never came")
			}
		}
		// The second waits for a read of its own, and is refused.
		for _, e := range s.Events(t, 3) {
			if e["event.action"] == "zone-transfer-end" && (e["event.reason"] != "zone-unavailable" || e["coredns.xfr.complete"] != false) {
				t.Errorf("on record as %v", e)
			}
		}
	})
}
