// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

// What a store keeps in memory is bounded by Options.Limit: the current version of each
// zone, and its past. What was asked for longest ago leaves first, and a version before
// any past: it can be packed again, the past cannot be had a second time.
//
// With what is being built, and what clients still read of versions that are no longer
// kept, it is bounded by twice the limit. Where there is no room for a new version it is
// not kept: it passes, as one does that is too large, with a window for its readers.

// overLocked reports whether something has to leave memory.
func (s *Store) overLocked() bool {
	return s.size > s.o.Limit || s.size+s.loose.Load() > 2*s.o.Limit
}

// makeRoom has others leave in favour of a zone that is being built, and reports whether
// that is enough.
func (s *Store) makeRoom(sl *slot) bool {
	s.mu.Lock()
	if s.size+s.loose.Load() <= 2*s.o.Limit {
		s.mu.Unlock()
		return true
	}
	victims := s.victimsLocked(sl)
	s.mu.Unlock()
	s.evict(victims)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size+s.loose.Load() <= 2*s.o.Limit
}

// fits reports whether there is room for n octets more.
func (s *Store) fits(n int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return n <= s.o.Limit && s.size+s.loose.Load()+n <= 2*s.o.Limit
}

// memory is what a version takes, in octets: its messages and its index.
func (v *Version) memory() int64 {
	if v == nil {
		return 0
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.memoryLocked()
}

func (v *Version) memoryLocked() int64 {
	size := v.total
	if v.index != nil {
		size += int64(len(v.index.entries)) * entrySize
	}
	return size
}

// keep counts a version that is complete in the place of the one before.
func (s *Store) keep(sl *slot, v *Version) {
	s.mu.Lock()
	s.size += v.memory() - sl.kept.memory()
	v.keep()
	sl.kept.unkeep()
	sl.kept = v
	victims := s.victimsLocked(sl)
	s.mu.Unlock()
	s.evict(victims)
}

// keepPast counts what the zone's lineage takes now. Where that is too much with all
// others gone, the lineage begins later.
func (s *Store) keepPast(sl *slot) {
	past := s.countPast(sl, sl.lineage.past)
	s.mu.Lock()
	victims := s.victimsLocked(sl)
	excess := s.size - s.o.Limit
	s.mu.Unlock()
	s.evict(victims)
	if excess > 0 {
		s.shorten(sl, past-excess)
	}
}

// shorten lets a zone's past have limit octets at most.
func (s *Store) shorten(sl *slot, limit int64) {
	s.countPast(sl, func() int64 { return sl.lineage.shorten(limit) })
}

// countPast enters what a zone's past takes now. Of two that look at it at once the later
// one must be the later one to write, or the count is wrong until the zone changes again.
func (s *Store) countPast(sl *slot, look func() int64) int64 {
	sl.counting.Lock()
	defer sl.counting.Unlock()
	past := look()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.slots[sl.apex] == sl { // else it has left, and counts nothing
		s.size += past - sl.past
		sl.past = past
	}
	return past
}

// victim is what is to leave memory: a version, or the past of a zone.
type victim struct {
	slot    *slot
	version *Version // nil: the past
}

// victimsLocked takes out of the count what has to leave in favour of a zone.
func (s *Store) victimsLocked(favoured *slot) (victims []victim) {
	for s.overLocked() {
		if sl := s.oldestLocked(favoured, func(sl *slot) bool { return sl.kept != nil }); sl != nil {
			victims = append(victims, victim{sl, sl.kept})
			s.size -= sl.kept.memory()
			sl.kept.unkeep()
			sl.kept = nil
			continue
		}
		sl := s.oldestLocked(favoured, func(sl *slot) bool { return sl.past > 0 })
		if sl == nil {
			break
		}
		victims = append(victims, victim{slot: sl})
		s.size -= sl.past
		sl.past = 0
	}
	return victims
}

// oldestLocked returns the slot that was asked for longest ago, of those that have what
// is looked for, but for one.
func (s *Store) oldestLocked(but *slot, has func(*slot) bool) (oldest *slot) {
	for _, sl := range s.slots {
		if sl != but && has(sl) && (oldest == nil || sl.used.Before(oldest.used)) {
			oldest = sl
		}
	}
	return oldest
}

func (s *Store) evict(victims []victim) {
	for _, x := range victims {
		if x.version == nil {
			s.shorten(x.slot, 0)
			continue
		}
		x.slot.mu.Lock()
		if x.slot.current == x.version {
			x.slot.current = nil
		}
		x.slot.mu.Unlock()
		x.slot.lineage.evict(x.version)
	}
}

// drop lets go of a version whose zone is no longer there.
func (s *Store) drop(sl *slot, v *Version) {
	s.mu.Lock()
	if sl.kept == v {
		s.size -= v.memory()
		v.unkeep()
		sl.kept = nil
	}
	s.mu.Unlock()
	sl.lineage.evict(v)
}

// past is what the lineage may take, in octets: its deltas, and the answers made of them.
func (l *lineage) past() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pastLocked()
}

// inherited is what a store before this one has left in memory, kept: it is this one's to count
// and to let go of, also where nobody asks for the zone any more.
func (l *lineage) inherited() (newest *Version, past int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.newest.keep()
	return l.newest, l.pastLocked()
}

func (l *lineage) pastLocked() int64 {
	return pastOf(len(l.deltas), sizeOf(l.deltas)) + l.grantsLocked(l.deltas)
}

// grantSize is what it takes to remember one client that was given one version.
const grantSize = 160

// grantsLocked is what it takes to remember who was given the versions before deltas.
func (l *lineage) grantsLocked(deltas []Delta) (size int64) {
	for i := range deltas {
		size += int64(len(l.given[deltas[i].FromDigest])) * grantSize
	}
	return size
}

// pastOf is what n deltas of that size may take, with the answers made of them.
func pastOf(n int, size int64) int64 {
	if n == 0 {
		return 0
	}
	return size + int64(n)*deltaSize + readyLimit(size)
}

// deltaSize is what a delta takes beside its records, and the first few that were given
// the version before it: of a zone in which one record changes at a time more than the records.
const deltaSize = 640

// minReady is how many octets of answers are kept ready for any zone with a past.
const minReady = 16 << 10

// readyLimit is how many octets of incremental answers are kept ready beside deltas of
// that size.
func readyLimit(deltas int64) int64 { return max(deltas, minReady) }

// shorten lets go of the oldest deltas until the past takes at most limit octets, and
// returns what it takes then. The journal lets go of them with its next change.
func (l *lineage) shorten(limit int64) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	drop, size, grants := 0, sizeOf(l.deltas), l.grantsLocked(l.deltas)
	for drop < len(l.deltas) && pastOf(len(l.deltas)-drop, size)+grants > limit {
		size -= int64(l.deltas[drop].Size())
		grants -= l.grantsLocked(l.deltas[drop : drop+1])
		drop++
	}
	if drop > 0 {
		clear(l.packed)
		l.dropLocked(drop)
	}
	return l.pastLocked()
}

// dropLocked lets go of the oldest deltas, and of who was given the versions before them.
// The others move to another slice: an answer may be made of those in this one.
func (l *lineage) dropLocked(n int) {
	if n == 0 {
		return
	}
	l.noteDeltasLocked(l.deltas[:n])
	for i := range n {
		delete(l.given, l.deltas[i].FromDigest)
	}
	l.deltas = append(make([]Delta, 0, len(l.deltas)), l.deltas[n:]...)
}
