// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"errors"
	"slices"

	"github.com/xfrguard/xfrguard/internal/zone/journal"
)

// forks remembers which serials had more than one content: because a zone was changed and
// its serial was not, or went back, or once around. A client that has such a serial may
// have either content, so nothing that changed since can be told to anybody who has it.
// The zero value is ready.
type forks struct {
	content map[uint32]journal.Print // the latest of each serial; zero when it is not known
	order   []uint32                 // of the serials, oldest first
	forked  map[uint32]struct{}
	unsaved bool // the journal has not all of it
}

// maxForks is how many serials are remembered, beside those of the deltas.
const maxForks = journal.MaxSerials / 4

// printOf is what is remembered of a content.
func printOf(d Digest) journal.Print { return journal.Print(d[:]) }

// note enters a version, and reports whether its serial had other content before. A zero
// digest is content that is not known.
func (f *forks) note(serial uint32, d Digest) (other bool) {
	if f.content == nil {
		f.content, f.forked = make(map[uint32]journal.Print), make(map[uint32]struct{})
	}
	before, known := f.content[serial]
	now := printOf(d)
	f.unsaved = f.unsaved || !known || before != now
	f.content[serial] = now
	if known {
		if before != now {
			f.forked[serial] = struct{}{}
		}
		return before != now
	}
	if f.order = append(f.order, serial); len(f.order) > maxForks {
		delete(f.content, f.order[0])
		delete(f.forked, f.order[0])
		f.order = f.order[1:]
	}
	return false
}

func (f *forks) knows(serial uint32) bool {
	_, ok := f.content[serial]
	return ok
}

// load enters what a journal has, oldest first.
func (f *forks) load(all []journal.Serial) {
	for _, s := range all {
		var d Digest
		copy(d[:], s.Content[:])
		f.note(s.Serial, d)
		if s.Forked {
			f.forked[s.Serial] = struct{}{}
		}
	}
	f.unsaved = false
}

// serialsLocked is what a journal keeps beside a chain that ends with n of the deltas and
// the newest version, whose serials it tells itself; never nil.
func (l *lineage) serialsLocked(n int) []journal.Serial {
	f := &l.forks
	told := make(map[uint32]journal.Print, n)
	for i := len(l.deltas) - n; i < len(l.deltas); i++ {
		told[l.deltas[i].From] = printOf(l.deltas[i].FromDigest)
	}
	all := make([]journal.Serial, 0, 16)
	for _, serial := range f.order {
		s := journal.Serial{Serial: serial, Content: f.content[serial], Forked: f.has(serial)}
		if by, ok := told[serial]; s.Forked || !ok || by != s.Content {
			all = append(all, s)
		}
	}
	return all
}

// has reports whether the serial had more than one content.
func (f *forks) has(serial uint32) bool {
	_, ok := f.forked[serial]
	return ok
}

// noteLocked enters a version, and reports whether its serial had other content before.
func (l *lineage) noteLocked(serial uint32, d Digest) (other bool) {
	if !l.forks.knows(serial) {
		for i := range l.deltas {
			if x := &l.deltas[i]; x.From == serial {
				l.forks.note(serial, x.FromDigest)
			}
		}
	}
	return l.forks.note(serial, d)
}

// noteDeltasLocked enters what serials meant of which the deltas are about to go.
func (l *lineage) noteDeltasLocked(gone []Delta) {
	for i := range gone {
		l.forks.note(gone[i].From, gone[i].FromDigest)
		l.forks.unsaved = true // the journal's chain has told it so far
	}
}

// note enters a version that clients have got and that is not settled: a later one took
// its place, or it is too large to be kept.
func (l *lineage) note(serial uint32, d Digest) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var err error
	if len(l.users) > 0 {
		err = l.loadLocked()
	}
	if l.noteLocked(serial, d) {
		err = errors.Join(err, l.cutLocked())
	}
	return err
}

// meant reports whether the serial may have had another content than that of a version
// which is about to be built. Then nobody may have all of the version before it is
// entered: who has it and asks for what changed since could pass for one who has the other.
func (l *lineage) meant(serial uint32, o origin) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case o != (origin{}) && o == l.origin:
		return false
	case !l.loaded && l.journal != nil, l.known && l.serial == serial, l.forks.knows(serial):
		return true
	}
	return slices.ContainsFunc(l.deltas, func(d Delta) bool { return d.From == serial })
}

// cutLocked ends the past at the newest serial with two contents.
func (l *lineage) cutLocked() error {
	if len(l.users) == 0 {
		return nil // its journal may be closed
	}
	clear(l.packed)
	if !l.broken && l.known && l.forks.has(l.serial) {
		l.broken = true
		return l.forkLocked()
	}
	for i := len(l.deltas) - 1; i >= 0; i-- {
		if l.forks.has(l.deltas[i].From) {
			l.dropLocked(i + 1)
			return l.blankLocked() // the next version begins there anew
		}
	}
	return nil
}

// forkLocked puts on disk, in place of a base, that the newest serial has two contents:
// after a restart the clients may still have either.
func (l *lineage) forkLocked() error {
	return l.blankLocked()
}

// abandonPast lets go of all differences, in the journal too: one of them is damaged.
func (l *lineage) abandonPast() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.packed)
	l.dropLocked(len(l.deltas))
	if len(l.users) == 0 {
		return nil // its journal may be closed
	}
	return l.blankLocked() // the next version begins there anew
}
