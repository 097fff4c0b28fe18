// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"slices"
	"testing"

	"github.com/miekg/dns"
)

// TestSerialStatic: who asks for a zone whose content has changed under its serial gets the
// new content; each change is on record, and that secondaries do not learn of it is said
// once a serial.
func TestSerialStatic(t *testing.T) {
	logged := captureLog(t)
	backend := newCluster(t, "example.org.", 100, "a")
	s := serve(t, serverBlockOf(unsignedRule, clusterName+" example.org."), nil)
	gets := func(want ...string) {
		t.Helper()
		rrs, err := transferIn(t, s.addr(t, "tcp", 0), question(dns.TypeAXFR), "", "")
		if err != nil {
			t.Fatal(err)
		}
		if got := services(t, rrs); !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	told := func(code string) (n int) {
		for _, e := range s.await(t, "policy-finding", 1) {
			if e["event.reason"] == code {
				n++
			}
		}
		return n
	}
	gets("a")
	backend.change(100, "a", "b")
	gets("a", "b")
	s.await(t, "zone-lineage-change", 1)
	backend.change(100, "c")
	gets("c")
	s.await(t, "zone-lineage-change", 2)
	if n := told("serial-static"); n != 1 {
		t.Errorf("told %d times of serial 100, want once:\n%s", n, logged())
	}
	backend.change(101, "d")
	gets("d")
	backend.change(101, "e")
	gets("e")
	s.await(t, "zone-lineage-change", 3)
	s.await(t, "policy-finding", 2)
	if n := told("serial-static"); n != 2 {
		t.Errorf("told %d times in all, want once a serial:\n%s", n, logged())
	}
}
