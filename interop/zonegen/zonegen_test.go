// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zonegen

import (
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/interop/rrset"
)

func parse(t *testing.T, text, origin string) rrset.Set {
	t.Helper()
	set, err := rrset.Parse(strings.NewReader(text), origin, "generated")
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestBulk(t *testing.T) {
	for _, n := range []int{20, 21, 100, 5000} {
		one := Bulk("bulk.test.", 1, n)
		if one != Bulk("bulk.test.", 1, n) {
			t.Fatal("equal arguments gave different zones")
		}
		first, second := parse(t, one, "bulk.test."), parse(t, Bulk("bulk.test.", 2, n), "bulk.test.")
		if len(first) != n || len(second) != n {
			t.Errorf("%d and %d records, want %d", len(first), len(second), n)
		}
		changed := 0
		for k := range first {
			if _, ok := second[k]; !ok {
				changed++
			}
		}
		if changed < n/20 || changed > n/2+2 {
			t.Errorf("%d of %d records changed with the serial", changed, n)
		}
		types := map[uint16]bool{}
		for _, rr := range first {
			types[rr.Header().Rrtype] = true
		}
		if n == 5000 && len(types) < 8 {
			t.Errorf("only %d types", len(types))
		}
	}
}

func TestAwkward(t *testing.T) {
	for _, origin := range []string{"awkward.test.", "a.", "awkward512.test."} {
		set := parse(t, Awkward(origin, 1), origin)
		longest, largest, services := 0, 0, 0
		for _, rr := range set {
			buf := make([]byte, 66000)
			n, err := dns.PackRR(rr, buf, 0, nil, false)
			if err != nil {
				t.Fatal(err)
			}
			_, nameLen, err := dns.UnpackDomainName(buf, 0)
			if err != nil {
				t.Fatal(err)
			}
			longest = max(longest, nameLen)
			largest = max(largest, n-nameLen-10)
			if rr.Header().Rrtype == dns.TypeSRV && strings.HasPrefix(rr.Header().Name, "_xmpp") {
				services++
			}
		}
		if longest != 255 || largest != LargestText || services != 300 {
			t.Errorf("%s: longest name %d, largest rdata %d, %d services", origin, longest, largest, services)
		}
	}
}
