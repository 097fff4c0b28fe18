// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"runtime"
	"testing"
)

// heap is how many octets of it are in use.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestMemory: a version that is kept takes at most 2.5 times its wire size of the heap,
// its index included, and the store counts it right. While the next one is built there
// are two, and the old one goes when the new one is settled.
func TestMemory(t *testing.T) {
	src := newInMemory()
	records := many(t, 300_000)
	src.set(t, 1, records)
	s := openStore(t, src, Options{})
	before := heap()
	wire := settledVersion(t, s).Size()
	one := heap() - before
	if one > wire*5/2 {
		t.Errorf("%d octets of heap for %d on the wire", one, wire)
	}
	counted := s.sizeNow()
	if counted > wire*5/2 || counted < one*9/10 || counted > one*11/10 {
		t.Errorf("%d octets are counted, %d are taken", counted, one)
	}
	records[5].Header().Ttl++
	before = heap()
	src.set(t, 2, records)
	between := heap() - before // what the new zone takes beside the old one, which is garbage
	settledVersion(t, s)
	if grown := heap() - before - between; grown > wire/10 {
		t.Errorf("a second version leaves %d octets behind", grown)
	}
	t.Logf("%.2f times the wire size", float64(one)/float64(wire))
}

// TestMemoryOfPast: a past of many small changes takes no more of the heap than is counted.
func TestMemoryOfPast(t *testing.T) {
	src := newInMemory()
	records := many(t, 200)
	src.set(t, 1, records)
	s := openStore(t, src, Options{})
	latest := settledVersion(t, s)
	before, counted := heap(), s.sizeNow()
	const last = 1000
	for serial := uint32(2); serial <= last; serial++ {
		s.Give(t.Context(), latest, "rule")
		records[1].Header().Ttl = serial
		latest = edit(t, s, src, serial, records)
	}
	for i := range uint32(maxPacked) {
		if m, err := s.Since(t.Context(), latest, last-1-i*100, []string{"rule"}); err != nil || m == nil {
			t.Fatalf("%d messages, %v", len(m), err)
		}
	}
	counted = s.sizeNow() - counted
	if taken := heap() - before; taken > counted {
		t.Errorf("%d octets are taken, %d counted", taken, counted)
	}
}
