// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/lint"
	"github.com/xfrguard/xfrguard/internal/xfrtest"
)

// TestLintBandwidthSecondary: with the lowest bandwidth that is no finding CoreDNS's
// secondary gets a zone of several messages, and with less it gives up.
func TestLintBandwidthSecondary(t *testing.T) {
	var zone strings.Builder
	zone.WriteString(xfrtest.ZoneOrg)
	for i := range 150 {
		fmt.Fprintf(&zone, "t%d IN TXT \"%s\"\n", i, strings.Repeat("x", 200))
	}
	for _, c := range []struct {
		bandwidth int
		end       string
	}{{lint.SlowestBandwidth, "complete"}, {6 << 10, "client-gone"}} {
		t.Run(c.end, func(t *testing.T) {
			s := xfrtest.Serve(t, xfrtest.Guarded(fmt.Sprintf("allow as sec net 127.0.0.1 unsigned\n\t\tbandwidth %dB", c.bandwidth), ""), map[string]string{"db": zone.String()})
			xfrtest.Serve(t, fmt.Sprintf("example.org:0 {\n\tbind 127.0.0.1\n\tsecondary {\n\t\ttransfer from %s\n\t}\n}\n", s.Addr(t, "tcp", 0)), nil)
			var all []map[string]any
			for begun := time.Now(); len(all) < 2 && time.Since(begun) < time.Minute; time.Sleep(10 * time.Millisecond) {
				all = xfrtest.TransferEvents(t, filepath.Join(s.Dir, "audit.log"))
			}
			if len(all) < 2 {
				t.Fatal("the transfer does not end")
			}
			e := all[1]
			if e["event.action"] != "zone-transfer-end" || e["event.reason"] != c.end {
				t.Errorf("it ended as %v, want %s", e, c.end)
			}
		})
	}
}
