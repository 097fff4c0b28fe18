// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import "github.com/xfrguard/xfrguard/internal/zone/journal"

// forks remembers which serials had more than one content: because a zone was changed and
// its serial was not, or went back, or once around. A client that has such a serial may
// have either content, so nothing that changed since can be told to anybody who has it.
// The zero value is ready.
type forks struct {
	content map[uint32]Digest // the latest of each serial; zero when it is not known
	order   []uint32          // of the serials, oldest first
	forked  map[uint32]struct{}
}

// maxForks is how many serials are remembered, beside those of the deltas.
const maxForks = 1024

// note enters a version, and reports whether its serial had other content before. A zero
// digest is content that is not known.
func (f *forks) note(serial uint32, d Digest) (other bool) {
	if f.content == nil {
		f.content, f.forked = make(map[uint32]Digest), make(map[uint32]struct{})
	}
	before, known := f.content[serial]
	f.content[serial] = d
	if known {
		if before != d {
			f.forked[serial] = struct{}{}
		}
		return before != d
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

// note enters a version that clients have got and that is not settled: a later one took
// its place, or it is too large to be kept.
func (l *lineage) note(serial uint32, d Digest) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.noteLocked(serial, d) {
		return nil
	}
	return l.cutLocked()
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
			for _, d := range l.deltas[:i+1] {
				delete(l.given, d.FromDigest)
			}
			l.deltas = append([]Delta(nil), l.deltas[i+1:]...)
			return l.forgetLocked() // the next version begins there anew
		}
	}
	return nil
}

// forkLocked puts on disk, in place of a base, that the newest serial has two contents:
// after a restart the clients may still have either.
func (l *lineage) forkLocked() error {
	l.disk = disk{full: l.disk.full}
	if l.journal == nil {
		return nil
	}
	err := l.journal.Update(l.id, journal.Change{Reset: true, Base: &journal.Base{Serial: l.serial}})
	if err != nil {
		return l.abandonLocked(err)
	}
	return nil
}
