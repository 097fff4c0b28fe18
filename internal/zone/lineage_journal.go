// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"errors"
	"fmt"

	"github.com/xfrguard/xfrguard/internal/wire"
	"github.com/xfrguard/xfrguard/internal/zone/journal"
)

// Journal keeps lineages on disk; *journal.Journal is one.
type Journal interface {
	Load(zone string) (*journal.State, error)
	Update(zone string, c journal.Change) error
	Forget(zone string) error
}

// disk is how much of a lineage its journal has: a base, which is a whole version, and
// the newest deltas of the lineage. The zero value: nothing.
type disk struct {
	based   bool // there is a base
	stored  int  // how many of the newest deltas are there
	since   int  // how many of these come after the base
	unsaved []grant
	full    bool // the zone did not fit, which was reported
}

type grant struct {
	digest Digest
	client string
}

// loadLocked reads the journal once.
func (l *lineage) loadLocked() error {
	if l.loaded || l.journal == nil {
		return nil
	}
	l.loaded = true
	s, err := l.journal.Load(l.id)
	if err != nil {
		return errors.Join(err, l.forgetLocked())
	}
	if s == nil {
		return nil
	}
	l.forks.load(s.Serials)
	l.gate.given = outlineOf(s.Note)
	n := len(s.Deltas)
	if n == 0 && s.Base.Digest == (Digest{}) { // see blankLocked
		if len(s.Serials) == 0 { // of a version of this program that kept none
			l.forks.note(s.Base.Serial, Digest{})
		}
		return nil
	}
	l.known, l.serial, l.digest, l.deltas = true, s.Base.Serial, s.Base.Digest, s.Deltas
	if n > 0 {
		l.serial, l.digest = s.Deltas[n-1].To, s.Deltas[n-1].ToDigest
	}
	meant := map[uint32]Digest{l.serial: l.digest}
	for i := range s.Deltas {
		d := &s.Deltas[i]
		if other, ok := meant[d.From]; ok && other != d.FromDigest {
			l.forks.note(d.From, other)
		}
		meant[d.From] = d.FromDigest
		if l.forks.knows(d.From) {
			l.forks.note(d.From, d.FromDigest)
		}
	}
	l.noteLocked(l.serial, l.digest)
	l.disk = disk{based: true, stored: n, since: n - baseAt(s)}
	for digest, clients := range s.Given {
		for _, client := range clients {
			l.giveLocked(digest, client)
		}
	}
	return l.cutLocked()
}

// baseAt is the number of deltas before the base.
func baseAt(s *journal.State) int {
	for i := range s.Deltas {
		if s.Deltas[i].FromDigest == s.Base.Digest {
			return i
		}
	}
	return len(s.Deltas)
}

// saveBaseLocked writes the newest version, when nothing is on disk yet.
func (l *lineage) saveBaseLocked(now contents) error {
	if l.journal == nil || l.disk.based {
		return nil
	}
	l.disk.stored, l.disk.since = 0, 0
	return l.updateLocked(journal.Change{Reset: true, Base: baseOf(now)})
}

func baseOf(c contents) *journal.Base {
	b := &journal.Base{Serial: c.serial, Digest: c.digest, Messages: make([][]byte, len(c.messages))}
	for i, m := range c.messages {
		b.Messages[i] = m.Bytes
	}
	return b
}

// saveDeltaLocked writes the newest delta, and the newest version as the base where what
// comes after the base has grown to half of the zone.
func (l *lineage) saveDeltaLocked(d *Delta, now contents) error {
	if l.journal == nil || !l.disk.based {
		return l.saveBaseLocked(now)
	}
	before, kept := l.disk.stored, len(l.deltas)
	if kept == 0 {
		l.disk.based = false
		return l.saveBaseLocked(now)
	}
	l.disk.stored = min(before+1, kept)
	l.disk.since++
	c := journal.Change{Append: []Delta{*d}, Drop: before + 1 - l.disk.stored}
	if l.disk.since > kept || sizeOf(l.deltas[kept-l.disk.since:])*2 > sizeOfMessages(now.messages) {
		c.Base, l.disk.since = baseOf(now), 0
	}
	return l.updateLocked(c)
}

func sizeOfMessages(messages []wire.Message) (size int64) {
	for _, m := range messages {
		size += int64(len(m.Bytes))
	}
	return size
}

// updateLocked writes a change, and to whom versions were given since the last one.
func (l *lineage) updateLocked(c journal.Change) error {
	c.Given = make(map[Digest][]string)
	for _, g := range l.disk.unsaved {
		if l.knowsLocked(g.digest) {
			c.Given[g.digest] = append(c.Given[g.digest], g.client)
		}
	}
	if c.Reset { // what memory knows of the past beyond that is not on disk
		clear(c.Given)
		for client := range l.given[l.digest] {
			c.Given[l.digest] = append(c.Given[l.digest], client)
		}
	}
	if c.Reset || l.forks.unsaved {
		n := min(l.disk.stored, len(l.deltas))
		if c.Reset {
			n = 0
		}
		c.Serials = l.serialsLocked(n)
	}
	c.Note = l.noteOfGiven()
	err := l.journal.Update(l.id, c)
	switch {
	case err == nil:
		l.disk.based, l.disk.full, l.disk.unsaved, l.forks.unsaved = true, false, nil, false
		l.gate.unsaved = false
		return nil
	case errors.Is(err, journal.ErrFull) && l.disk.full:
		err = nil // said before
	case errors.Is(err, journal.ErrFull):
		l.disk.full = true
	}
	return l.abandonLocked(err)
}

// blankLocked leaves of the zone in the journal what its serials have meant, behind a base
// without digest and messages.
func (l *lineage) blankLocked() error {
	if l.gate.on && l.journal != nil {
		return l.onlyGoodLocked()
	}
	if l.journal == nil || len(l.forks.order) == 0 {
		return l.forgetLocked()
	}
	l.disk = disk{full: l.disk.full}
	err := l.journal.Update(l.id, journal.Change{Reset: true, Base: &journal.Base{Serial: l.serial}, Serials: l.serialsLocked(0)})
	switch {
	case err == nil:
		l.forks.unsaved = false
		return nil
	case errors.Is(err, journal.ErrFull):
		err = nil // said, or not worth it: there is no chain
	}
	return l.removeLocked(err)
}

// abandonLocked gives up the chain of a zone in a journal that has failed with err.
func (l *lineage) abandonLocked(err error) error {
	return errors.Join(err, l.blankLocked())
}

// removeLocked removes the zone from a journal that has failed with err.
func (l *lineage) removeLocked(err error) error {
	l.forks.unsaved = false // no second try before there is more to say
	if gone := l.forgetLocked(); gone != nil {
		l.journal = nil // it is broken; a reload tries again
		return errors.Join(err, gone)
	}
	return err
}

// forgetLocked removes the zone from the journal.
func (l *lineage) forgetLocked() error {
	l.disk = disk{full: l.disk.full}
	if l.journal == nil {
		return nil
	}
	return l.journal.Forget(l.id) //nolint:wrapcheck // says all
}

// flush writes to whom versions were given, and what serials have meant. What nothing else
// on disk depends on may wait for it.
func (l *lineage) flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.flushLocked()
}

func (l *lineage) flushLocked() error {
	switch {
	case l.journal == nil:
		return nil
	case l.disk.based && (len(l.disk.unsaved) > 0 || l.forks.unsaved || l.gate.on && l.gate.unsaved):
		return l.updateLocked(journal.Change{})
	case l.loaded && !l.disk.based && (l.forks.unsaved || l.gate.on && l.gate.unsaved):
		return l.blankLocked()
	}
	return nil
}

// recallLocked rebuilds the newest version from the journal.
func (l *lineage) recallLocked() (contents, error) {
	if l.journal == nil || !l.disk.based {
		return contents{}, errForgotten
	}
	s, err := l.journal.Load(l.id)
	switch {
	case err != nil:
		return contents{}, err //nolint:wrapcheck // says all
	case s == nil:
		return contents{}, errForgotten
	}
	return recall(l.apex, s)
}

// recall goes from a journal's base, whose digest must be the one on record, to the
// newest version.
func recall(apex string, s *journal.State) (contents, error) {
	v := &Version{Apex: apex, Serial: s.Base.Serial, done: true, listeners: make(map[*Reader]struct{})}
	var err error
	if v.messages, err = parseMessages(s.Base.Messages); err != nil {
		return contents{}, err
	}
	ix, err := indexOf(v, v.attach(true))
	if err != nil {
		return contents{}, fmt.Errorf("%w: %w", journal.ErrCorrupt, err)
	}
	v.index = ix
	c, ok := v.contents()
	if !ok || ix.digest != s.Base.Digest {
		return contents{}, fmt.Errorf("%w: the records of %s are not those that were written", journal.ErrCorrupt, apex)
	}
	return restore(apex, c, s.Deltas[baseAt(s):])
}
