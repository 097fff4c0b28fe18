// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"path/filepath"
	"testing"

	"github.com/xfrguard/xfrguard/interop/rrset"
)

// content is what the zone file holds; a record that is there twice fails the test.
func content(t *testing.T, z *zone) rrset.Set {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	if err := z.write(path); err != nil {
		t.Fatal(err)
	}
	set, err := rrset.ParseFile(path, origin)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// TestZone: as many records as promised, and exactly as many changes from one version to
// the next, also where an earlier change is changed again.
func TestZone(t *testing.T) {
	zones, err := parseZones("100,1k,25K")
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{100, 1000, 25000} {
		z := zones[i]
		old := content(t, z)
		if len(old) != want || z.axfr() != want+1 {
			t.Errorf("%s: %d records, an AXFR of %d", z.label, len(old), z.axfr())
		}
		for _, changes := range []int{10, min(10_000, want/2), 10} {
			z.change(changes)
			next := content(t, z)
			out, in := missing(next, old), missing(old, next)
			if out != changes+1 || in != changes+1 { // and the SOA
				t.Errorf("%s serial %d: %d records went and %d came, want %d and the SOA", z.label, z.serial, out, in, changes)
			}
			if got := out + in + 2; got != ixfr(changes) { // the new SOA is at both ends, and between
				t.Errorf("an IXFR of %d changes has %d records, ixfr says %d", changes, got, ixfr(changes))
			}
			old = next
		}
	}
	for _, bad := range []string{"", "1k,", "99", "10m", "x", "-1k", "1g"} {
		if _, err := parseZones(bad); err == nil {
			t.Errorf("parseZones(%q) took it", bad)
		}
	}
}

// missing counts the records of other that set has not.
func missing(set, other rrset.Set) (n int) {
	for key := range other {
		if _, ok := set[key]; !ok {
			n++
		}
	}
	return n
}
