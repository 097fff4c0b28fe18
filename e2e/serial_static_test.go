// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"slices"
	"testing"

	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/miekg/dns"
)

// TestSerialStatic: who asks for a zone whose content has changed under its serial gets the
// new content; each change is on record, and that secondaries do not learn of it is said
// once a serial.
func TestSerialStatic(t *testing.T) {
	logged := xfrtest.CaptureLog(t)
	backend := xfrtest.NewCluster(t, "example.org.", 100, "a")
	s := xfrtest.Serve(t, xfrtest.ServerBlockOf(xfrtest.UnsignedRule, xfrtest.ClusterName+" example.org."), nil)
	gets := func(want ...string) {
		t.Helper()
		rrs, err := xfrtest.TransferIn(t, s.Addr(t, "tcp", 0), xfrtest.Question(dns.TypeAXFR), "", "")
		if err != nil {
			t.Fatal(err)
		}
		if got := services(t, rrs); !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	told := func(code string) (n int) {
		for _, e := range s.Await(t, "policy-finding", 1) {
			if e["event.reason"] == code {
				n++
			}
		}
		return n
	}
	gets("a")
	backend.Change(100, "a", "b")
	gets("a", "b")
	s.Await(t, "zone-lineage-change", 1)
	backend.Change(100, "c")
	gets("c")
	s.Await(t, "zone-lineage-change", 2)
	if n := told("serial-static"); n != 1 {
		t.Errorf("told %d times of serial 100, want once:\n%s", n, logged())
	}
	backend.Change(101, "d")
	gets("d")
	backend.Change(101, "e")
	gets("e")
	s.Await(t, "zone-lineage-change", 3)
	s.Await(t, "policy-finding", 2)
	if n := told("serial-static"); n != 2 {
		t.Errorf("told %d times in all, want once a serial:\n%s", n, logged())
	}
}
