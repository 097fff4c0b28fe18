// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"sync"
	"testing"

	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/miekg/dns"
)

// TestThawWhileZonesComeAndGo: everybody may be told of a thaw at the moment when zones of
// a pattern come or go.
func TestThawWhileZonesComeAndGo(t *testing.T) {
	xfrtest.Serve(t, xfrtest.Guarded(xfrtest.UnsignedRule+"\n\t\tnotify 127.0.0.1:1", ""), map[string]string{"db": xfrtest.ZoneOrg})
	n := latestInstance().sorted()[0].notifier
	var both sync.WaitGroup
	both.Go(func() {
		for range 100 {
			n.appear("example.org.")
			n.mu.Lock()
			n.seen["example.org."] = &dns.SOA{Serial: 7}
			n.mu.Unlock()
			n.vanish([]string{"example.org."})
		}
	})
	both.Go(func() {
		for range 100 {
			n.everybody([]string{"example.org."})
		}
	})
	both.Wait()
}
