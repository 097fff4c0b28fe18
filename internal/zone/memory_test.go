// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"runtime"
	"testing"
)

// TestMemory: a version that is kept takes at most 2.5 times its wire size of the heap,
// its index included, and the store counts it right. While the next one is built there
// are two, and the old one goes when the new one is settled.
func TestMemory(t *testing.T) {
	heap := func() int64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
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
	s.mu.Lock()
	counted := s.size
	s.mu.Unlock()
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
