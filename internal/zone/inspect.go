// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// An Inspection is a look at one version that has become the current one. It takes no time
// from transfers, and nobody waits for it.
type Inspection struct {
	Apex    string
	Version *Version // complete, with its digest
	Content *Content // of it; valid until the look is over

	store *Store
	slot  *slot
}

// Changes is what has changed since the version with this digest; nil when that is not
// known.
func (i *Inspection) Changes(from Digest) *Delta {
	return i.slot.lineage.changes(from, i.Version.digest())
}

// Again has the version looked at once more from a time on, if it is still the current one.
func (i *Inspection) Again(at time.Time) {
	i.slot.look.mu.Lock()
	defer i.slot.look.mu.Unlock()
	i.slot.look.again = at
}

// Gone reports whether the store has the zone no more.
func (i *Inspection) Gone() bool { return i.slot.isGone() }

// Note is what the last look has left for the next one, through reloads; nil when nothing.
func (i *Inspection) Note() any { return i.slot.lineage.readNote() }

// SetNote leaves something for the next look.
func (i *Inspection) SetNote(note any) { i.slot.lineage.writeNote(note) }

// Note is what the last look at a zone has left; nil when nothing.
func (s *Store) Note(apex string) any {
	if sl := s.slot(apex); sl != nil {
		return sl.lineage.readNote()
	}
	return nil
}

func (l *lineage) readNote() any {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.noteOfLooks
}

func (l *lineage) writeNote(note any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.noteOfLooks = note
}

// looks are those at the versions of one zone: one at a time, and the latest version next.
// A look goes on when a newer version comes, or a zone that changes faster than it can be
// looked at would never be.
type looks struct {
	mu    sync.Mutex
	busy  bool
	next  *Inspection
	again time.Time // zero: not by itself
	large bool      // it was said that the zone is not looked at
}

// inspect has a version looked at that has become the current one.
func (s *Store) inspect(sl *slot, v *Version) {
	if s.o.Inspect == nil || !s.enter() {
		return
	}
	defer s.looking.Done()
	content, err := v.Content()
	if err != nil {
		if !errors.Is(err, ErrUnavailable) { // it has gone already
			s.report(sl.apex, fmt.Errorf("serial %d is not verified: %w", v.Serial, err))
		}
		return
	}
	i := &Inspection{Apex: sl.apex, Version: v, Content: content, store: s, slot: sl}
	sl.look.mu.Lock()
	defer sl.look.mu.Unlock()
	if sl.look.next != nil {
		sl.look.next.Content.Close()
	}
	sl.look.next, sl.look.again = i, time.Time{}
	if sl.look.busy {
		return
	}
	if s.enter() {
		sl.look.busy = true
		go s.inspectAll(sl)
	}
}

// enter reports whether the store still takes work that its end waits for.
func (s *Store) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.closed:
		return false
	default:
		s.looking.Add(1)
		return true
	}
}

// inspectAll looks at one version after the other, until there is none.
func (s *Store) inspectAll(sl *slot) {
	defer s.looking.Done()
	for {
		sl.look.mu.Lock()
		i := sl.look.next
		if sl.look.next = nil; i == nil {
			sl.look.busy = false
			sl.look.mu.Unlock()
			return
		}
		sl.look.mu.Unlock()
		s.report(sl.apex, s.inspectOne(i))
	}
}

// dismiss lets go of a version that nobody will look at any more.
func (l *looks) dismiss() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next != nil {
		l.next.Content.Close()
		l.next = nil
	}
}

func (s *Store) inspectOne(i *Inspection) (err error) {
	defer i.Content.Close()
	defer caught(i.Apex, ErrInvalid, &err)
	if s.until.Err() == nil {
		s.o.Inspect(s.until, i)
	}
	return nil
}

// inspectAgain has the current version looked at once more when its time has come.
func (s *Store) inspectAgain(sl *slot, v *Version) {
	sl.look.mu.Lock()
	due := !sl.look.again.IsZero() && time.Now().After(sl.look.again)
	sl.look.mu.Unlock()
	if due {
		s.inspect(sl, v)
	}
}

// notInspected says once that a zone is too large to be looked at.
func (s *Store) notInspected(sl *slot, v *Version) {
	sl.look.mu.Lock()
	said := sl.look.large
	sl.look.large = true
	sl.look.mu.Unlock()
	if !said && s.o.Inspect != nil && v.isPassing() {
		s.report(sl.apex, fmt.Errorf("serial %d is not verified: the zone is larger than the room of the cache", v.Serial))
	}
}

// changes returns what leads from one version to another, nil when that is not known.
func (l *lineage) changes(from, to Digest) *Delta {
	l.mu.Lock()
	first, end := l.placeLocked(from), l.placeLocked(to)
	if first < 0 || end < first || from == (Digest{}) {
		l.mu.Unlock()
		return nil
	}
	chain := append([]Delta(nil), l.deltas[first:end]...)
	l.mu.Unlock()
	if len(chain) == 0 {
		return &Delta{FromDigest: from, ToDigest: to}
	}
	d, err := condense(context.Background(), chain)
	if err != nil {
		return nil
	}
	return d
}
