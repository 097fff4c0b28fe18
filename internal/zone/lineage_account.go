// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"sync"
	"sync/atomic"
)

// account counts the octets that a zone's versions and answers take which no store keeps:
// what is being built, what clients still read of older versions, and what is sent of the
// past. It belongs to the lineage, so that after a reload the new store counts what the
// clients of the old one hold. The zero value is ready, and nil counts nothing.
type account struct {
	mu     sync.Mutex
	total  int64
	stores map[*atomic.Int64]struct{} // the sums of the stores that use the lineage
}

func (a *account) add(n int64) {
	if a == nil || n == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.total += n
	for sum := range a.stores {
		sum.Add(n)
	}
}

// join counts what there is, and what will be, into a store's sum.
func (a *account) join(sum *atomic.Int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stores == nil {
		a.stores = make(map[*atomic.Int64]struct{})
	}
	if _, ok := a.stores[sum]; !ok {
		a.stores[sum] = struct{}{}
		sum.Add(a.total)
	}
}

func (a *account) leave(sum *atomic.Int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.stores[sum]; ok {
		delete(a.stores, sum)
		sum.Add(-a.total)
	}
}

// A version is pinned by the stores that keep it and by the lineage whose newest it is.
// One that nothing pins gets no more readers, and is let go of behind those that it has.

// keep pins the version for a store, which counts it itself.
func (v *Version) keep() { v.pin(1, false) }

// unkeep lets go of it again.
func (v *Version) unkeep() { v.pin(-1, false) }

// setNewestLocked makes a version, or none, the one that the next is compared with.
func (l *lineage) setNewestLocked(v *Version) {
	if l.newest == v {
		return
	}
	v.pin(1, true)
	l.newest.pin(-1, true)
	if l.newest = v; v != nil {
		l.origin = v.origin
	}
}

func (v *Version) pin(n int, newest bool) {
	if v == nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if newest {
		v.newest += n
	} else {
		v.keeps += n
	}
	v.settleLocked()
}

// close says that the version is built and entered, or that it will never be.
func (v *Version) close() {
	v.mu.Lock()
	v.over = true
	if !v.passing {
		v.reopen = nil // it holds the backend's zone
	}
	v.settleLocked()
	v.changeLocked()
	v.mu.Unlock()
	close(v.settled)
}

// settleLocked lets go of what nobody needs any more, and counts the rest.
func (v *Version) settleLocked() {
	if v.over && !v.leaving && v.keeps+v.newest == 0 {
		v.leaving = true
		if v.index != nil {
			v.index.entries, v.index.usable = nil, false
		}
	}
	v.trimLocked()
	held := v.heldLocked()
	v.account.add(held - v.counted)
	v.counted = held
}

// heldLocked is what the version takes that no store counts.
func (v *Version) heldLocked() int64 {
	switch {
	case v.keeps > 0:
		return 0
	case v.passing || v.leaving:
		return v.size
	case !v.over:
		return v.size + v.records*entrySize
	}
	return v.memoryLocked()
}
