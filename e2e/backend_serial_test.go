// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"slices"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/miekg/dns"
)

// TestBackendSerialByTime: the serial of kubernetes is the second of its last change,
// so a second change in that second has no serial of its own: the guard must not keep
// on handing out what it had before.
func TestBackendSerialByTime(t *testing.T) {
	for range 5 {
		now := time.Now().Unix()
		c := xfrtest.NewCluster(t, "example.org.", uint32(now), "a")
		s := xfrtest.Serve(t, xfrtest.ServerBlockOf(xfrtest.UnsignedRule, xfrtest.ClusterName+" example.org."), nil)
		get := func() []string {
			return services(t, xfrtest.Ask1(t, "tcp", s.Addr(t, "tcp", 0), "", xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR))).Answer)
		}
		if got := get(); !slices.Equal(got, []string{"a"}) {
			t.Fatalf("got %v", got)
		}
		if time.Now().Unix() != now {
			continue // a change would have a serial of its own
		}
		c.Change(uint32(now), "a", "b")
		if got := get(); !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("after another change within the second got %v", got)
		}
		c.Change(uint32(now+1), "b")
		if got := get(); !slices.Equal(got, []string{"b"}) {
			t.Errorf("after a change got %v", got)
		}
		return
	}
	t.Fatal("this machine does nothing within a second")
}
