// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"encoding/binary"
	"errors"
)

// gateNotes is what a lineage remembers for the gate of its zone: through reloads, and with
// a journal through restarts.
type gateNotes struct {
	on      bool     // the newest store that uses the lineage has a gate for the zone
	given   *Outline // the version that was last given out
	unsaved bool     // the journal has not got that
	holding bool     // a version is held, and that was said
	said    Held     // of it
}

// hasNewest reports whether the newest version is in memory.
func (l *lineage) hasNewest() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.newest != nil
}

// changesTo says what changed from the last good version to this one.
func (l *lineage) changesTo(v *Version) (*Delta, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.loadLocked(); err != nil {
		return nil, err
	}
	now, ok := v.contents()
	if !ok || !l.known {
		return nil, errForgotten
	}
	old, err := l.newestLocked()
	if err != nil {
		return nil, err
	}
	return compare(old, now)
}

// keepsGood reports whether there is a last good version, in memory or in the journal.
func (l *lineage) keepsGood() (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.loadLocked()
	return l.newest != nil || l.known && l.journal != nil && l.disk.based, err
}

// inMemory returns a reader of the last good version; nil when it is not in memory.
func (l *lineage) inMemory() *Reader {
	l.mu.Lock()
	newest := l.newest
	l.mu.Unlock()
	if newest == nil {
		return nil
	}
	return newest.attach(false)
}

// guard says whether the zone has a gate in the newest store that uses the lineage.
func (l *lineage) guard(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gate.on = on
}

// lastGiven is what was last given out; nil when that is nothing. A journal of an earlier
// version of this program tells that a version was given, but has noted nothing of it: there
// the newest counts.
func (l *lineage) lastGiven() (*Outline, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.loadLocked()
	if l.gate.given == nil && l.known && len(l.given) > 0 && l.disk.based {
		c, recalled := l.newestLocked()
		if recalled == nil {
			l.gate.given, recalled = c.outline()
		}
		err = errors.Join(err, recalled)
	}
	if l.gate.given == nil {
		return nil, err
	}
	o := *l.gate.given
	return &o, err
}

// gaveLocked notes that a version went out, if it is not older than what went out before.
// It reports whether that is new.
func (l *lineage) gaveLocked(o Outline) bool {
	before := l.gate.given
	if before != nil && (before.Digest == o.Digest || l.placeLocked(o.Digest) < l.placeLocked(before.Digest)) {
		return false
	}
	l.gate.given, l.gate.unsaved = &o, true
	return true
}

// noteOfGiven is what a journal keeps of what was last given out; nil when that is nothing.
func (l *lineage) noteOfGiven() []byte {
	o := l.gate.given
	if o == nil {
		return nil
	}
	b := make([]byte, 0, noteOctets)
	b = binary.BigEndian.AppendUint32(b, o.Serial)
	b = append(b, o.Digest[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(o.Records))
	for _, has := range [...]bool{o.NS, o.DNSKEY, o.Content} {
		b = append(b, map[bool]byte{true: 1}[has])
	}
	return b
}

const noteOctets = 4 + len(Digest{}) + 8 + 3

// outlineOf is the reverse of noteOfGiven. A later version of this program may note more
// behind it.
func outlineOf(note []byte) *Outline {
	if len(note) < noteOctets {
		return nil
	}
	tail := note[4+len(Digest{}):]
	return &Outline{
		Serial: binary.BigEndian.Uint32(note), Digest: Digest(note[4:]), Records: int64(binary.BigEndian.Uint64(tail)),
		NS: tail[8] == 1, DNSKEY: tail[9] == 1, Content: tail[10] == 1,
	}
}

// holds notes that a version is held, and reports whether that has not been said yet.
func (l *lineage) holds(h Held) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	before, said := l.gate.said, l.gate.holding
	l.gate.holding, l.gate.said = true, h
	return !said || before.Serial != h.Serial || before.Digest != h.Digest || before.Reason != h.Reason
}

// releases notes that nothing is held any more, and reports whether something was.
func (l *lineage) releases() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.gate.holding
	l.gate.holding, l.gate.said = false, Held{}
	return was
}

// restored makes a version that was built from the journal the newest in memory, unless
// the lineage has gone on meanwhile.
func (l *lineage) restored(v *Version) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.newest != nil || !l.known || l.digest != v.digest() {
		return false
	}
	l.setNewestLocked(v)
	return true
}
