// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import "testing"

// TestPackedIsBounded: clients that are behind by different versions make answers that are
// kept ready, all together not larger than the zone.
func TestPackedIsBounded(t *testing.T) {
	src := newInMemory()
	s := openStore(t, src, Options{})
	records := many(t, 3000)
	var v *Version
	for serial := uint32(1); serial <= 12; serial++ {
		for i := range 100 {
			records[1+i+100*int(serial)].Header().Ttl++
		}
		v = edit(t, s, src, serial, records)
		s.Give(t.Context(), v, "rule")
	}
	l := s.slots[apex].lineage
	ready := 0
	for serial := uint32(1); serial < 12; serial++ {
		if m, err := s.Since(t.Context(), v, serial, []string{"rule"}); err != nil || m == nil {
			t.Fatal(serial, m, err)
		}
		var size int64
		for _, messages := range l.packed {
			size += sizeOfMessages(messages)
		}
		if size > v.Size() {
			t.Fatalf("%d octets of a zone of %d", size, v.Size())
		}
		ready = max(ready, len(l.packed))
	}
	if ready < 2 {
		t.Error("nothing is kept ready")
	}
}
