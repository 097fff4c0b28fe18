// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"fmt"
	"maps"
	"slices"
)

// Add takes zones into the store, which have appeared while it runs. watched says whether
// their serials are to be told also when nobody asks for them. A zone that is there already
// stays as it is, and a store that is closed takes none.
func (s *Store) Add(watched bool, zones ...string) {
	for _, apex := range zones {
		if s.slot(apex) != nil {
			continue
		}
		sl := s.newSlot(apex)
		sl.watched = watched
		if !s.admit(sl) {
			sl.lineage.account.leave(&s.loose)
			sl.lineage.release(s.number)
		}
	}
}

// newSlot makes the place of a zone, with what is known of its past.
func (s *Store) newSlot(apex string) *slot {
	var j Journal
	if s.o.Journal != nil {
		j = s.o.Journal(apex)
	}
	sl := &slot{apex: apex, lineage: acquireLineage(s.o.Identity(apex), apex, j, s.number)}
	if s.o.Judges != nil {
		sl.judges = s.o.Judges(apex)
	}
	sl.lineage.guard(sl.gated())
	sl.lineage.account.join(&s.loose)
	return sl
}

// admit counts what is known of a zone, and makes its place one of the store's.
func (s *Store) admit(sl *slot) bool {
	kept, past := sl.lineage.inherited()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isClosed() || s.slots[sl.apex] != nil {
		kept.unkeep()
		return false
	}
	sl.kept, sl.past = kept, past
	s.size += kept.memory() + past
	s.slots[sl.apex] = sl
	return true
}

// Remove lets go of zones that are gone: of their versions, and of what is known of their
// past, but for what the journal has. Who still reads a version has to be ended by the
// caller; whoever asks from now on gets ErrUnavailable.
func (s *Store) Remove(zones ...string) {
	for _, apex := range zones {
		if sl := s.slot(apex); sl != nil {
			s.remove(sl)
		}
	}
}

func (s *Store) remove(sl *slot) {
	sl.settling.Lock() // what settles now is counted before it is let go of
	sl.mu.Lock()
	before := sl.current
	sl.gone, sl.current, sl.seen, sl.holds = true, nil, nil, nil
	sl.supersedeLocked(before)
	sl.mu.Unlock()
	sl.counting.Lock()
	s.mu.Lock()
	mine := s.slots[sl.apex] == sl
	if mine {
		delete(s.slots, sl.apex)
		s.size -= sl.kept.memory() + sl.past
		sl.kept.unkeep()
		sl.kept, sl.past = nil, 0
	}
	s.mu.Unlock()
	sl.counting.Unlock()
	sl.settling.Unlock()
	if mine {
		s.leave(sl)
	}
}

// leave lets go of a zone's past, which goes on where another store has it too.
func (s *Store) leave(sl *slot) {
	sl.look.dismiss()
	s.report(sl.apex, sl.lineage.flush())
	sl.letGo()
	sl.lineage.account.leave(&s.loose)
	sl.lineage.release(s.number)
}

// slot is the place of a zone, nil when the store does not have it.
func (s *Store) slot(apex string) *slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.slots[apex]
}

// all are the places of all zones, in no order.
func (s *Store) all() []*slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.slots))
}

// isClosed reports whether Close has begun; s.mu is held.
func (s *Store) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

func (sl *slot) isGone() bool {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	return sl.gone
}

func errGone(apex string) error { return fmt.Errorf("%w: %s is gone", ErrUnavailable, apex) }
