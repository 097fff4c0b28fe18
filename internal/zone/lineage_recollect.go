// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/xfrguard/xfrguard/internal/wire"
	"github.com/xfrguard/xfrguard/internal/zone/journal"

	"github.com/miekg/dns"
)

// recollection is the last good version as the journal has it.
type recollection struct {
	soa    *dns.SOA
	digest Digest
	fill   func(*Version) error // gives a version its messages
}

// recollect reads the last good version, which is not in memory.
func (l *lineage) recollect() (*recollection, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.newest != nil || !l.known || l.journal == nil || !l.disk.based {
		return nil, errForgotten
	}
	return l.recollectLocked()
}

// distrust has nobody read the last good version from the journal again; the next one is
// written whole.
func (l *lineage) distrust() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.disk.based = false
}

func (l *lineage) recollectLocked() (*recollection, error) {
	s, err := l.journal.Load(l.id)
	switch {
	case err != nil:
		return nil, err //nolint:wrapcheck // says all
	case s == nil:
		return nil, errForgotten
	}
	g := &recollection{digest: l.digest}
	var opening []byte
	if baseAt(s) == len(s.Deltas) {
		messages, err := parseMessages(s.Base.Messages)
		if err != nil {
			return nil, err
		}
		if opening, err = openingOf(messages); err != nil {
			return nil, err
		}
		g.fill = func(v *Version) error { return v.take(messages) }
	} else {
		c, err := recall(l.apex, s)
		if err != nil {
			return nil, err
		}
		opening = c.opening
		g.fill = func(v *Version) error { return v.packContents(&c) }
	}
	g.soa, err = soaOf(opening)
	return g, err
}

// onlyGoodLocked leaves of the zone in the journal the newest version, which is the last
// good one, and what its serials have meant. Where there is no room for it, what was last
// given out is still noted: later versions are held against that.
func (l *lineage) onlyGoodLocked() error {
	base := &journal.Base{Serial: l.serial}
	messages, err := l.goodMessagesLocked()
	if err != nil && !errors.Is(err, errForgotten) {
		return errors.Join(err, l.forgetLocked())
	}
	if messages != nil {
		base.Digest, base.Messages = l.digest, messages
	}
	l.disk = disk{full: l.disk.full}
	c := journal.Change{Reset: true, Base: base, Serials: l.serialsLocked(0), Note: l.noteOfGiven()}
	err = l.journal.Update(l.id, c)
	if errors.Is(err, journal.ErrFull) && messages != nil {
		c.Base = &journal.Base{Serial: l.serial}
		messages, err = nil, l.journal.Update(l.id, c)
	}
	switch {
	case err == nil:
		l.disk.based, l.forks.unsaved, l.gate.unsaved = messages != nil, false, false
		return nil
	case errors.Is(err, journal.ErrFull):
		err = nil // said, or not worth it: there is no chain
	}
	return l.removeLocked(err)
}

// goodMessagesLocked are the messages of the newest version, from memory or from the
// journal.
func (l *lineage) goodMessagesLocked() ([][]byte, error) {
	if !l.known {
		return nil, errForgotten
	}
	v := l.newest
	if v == nil {
		if !l.disk.based {
			return nil, errForgotten
		}
		g, err := l.recollectLocked()
		if err != nil {
			return nil, err
		}
		v = newVersion(l.apex, &stream{soa: g.soa})
		if err := g.fill(v); err != nil {
			return nil, err
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	all := make([][]byte, len(v.messages))
	for i, m := range v.messages {
		all[i] = m.Bytes
	}
	return all, nil
}

func parseMessages(all [][]byte) (messages []wire.Message, err error) {
	for i, b := range all {
		m, err := wire.ParseMessage(b, i == 0)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", journal.ErrCorrupt, err)
		}
		messages = append(messages, m)
	}
	return messages, nil
}

// openingOf is the first record of a zone's messages.
func openingOf(messages []wire.Message) (opening []byte, err error) {
	if len(messages) == 0 || messages[0].Records == 0 {
		return nil, fmt.Errorf("%w: a zone without a record", journal.ErrCorrupt)
	}
	var r wire.Record
	at, err := messages[0].Begin()
	if err == nil {
		_, err = messages[0].Read(at, &r)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", journal.ErrCorrupt, err)
	}
	return bytes.Clone(r.Wire), nil
}

func soaOf(opening []byte) (*dns.SOA, error) {
	rr, _, err := dns.UnpackRR(opening, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: its SOA: %w", journal.ErrCorrupt, err)
	}
	soa, ok := rr.(*dns.SOA)
	if !ok {
		return nil, fmt.Errorf("%w: it begins with %s, not its SOA", journal.ErrCorrupt, dns.Type(rr.Header().Rrtype))
	}
	return soa, nil
}

// take makes messages that were packed before those of a version.
func (v *Version) take(messages []wire.Message) error {
	for _, m := range messages {
		if err := v.append(m, noLimit); err != nil {
			return err
		}
	}
	return nil
}

// noLimit is a size that no zone has.
const noLimit = 1 << 62

// packContents packs contents as a zone is sent: in the order of names, between two SOAs.
func (v *Version) packContents(c *contents) (err error) {
	defer caught(v.Apex, journal.ErrCorrupt, &err)
	records, err := c.inOrder()
	if err != nil {
		return err
	}
	p := wire.NewPacker(v.Apex, 0, func(m wire.Message) error {
		m.Bytes = slices.Clone(m.Bytes)
		return v.append(m, noLimit)
	})
	defer p.Discard()
	for _, part := range [...][][]byte{{c.opening}, records, {c.opening}} {
		for _, b := range part {
			if err := eachOf(b, p.AddRecord); err != nil {
				return err
			}
		}
	}
	return p.Close() //nolint:wrapcheck // names the record
}

// inOrder returns the records of contents in canonical order, without the SOA.
func (c *contents) inOrder() ([][]byte, error) {
	type place struct{ written, canonical []byte }
	places := make([]place, len(c.entries))
	for i := range c.entries {
		var r wire.Record
		if err := c.entries[i].read(c.messages, &r); err != nil {
			return nil, err
		}
		places[i].written = bytes.Clone(r.Wire)
		r.Canonical()
		places[i].canonical = r.Wire
	}
	slices.SortFunc(places, func(a, b place) int { return compareRecords(a.canonical, b.canonical) })
	out := make([][]byte, len(places))
	for i := range places {
		out[i] = places[i].written
	}
	return out, nil
}

// outline counts the records of contents.
func (c *contents) outline() (*Outline, error) {
	var soa wire.Record
	if err := eachOf(c.opening, func(r *wire.Record) error { soa = *r; return nil }); err != nil {
		return nil, err
	}
	soa.Wire = bytes.Clone(soa.Wire)
	soa.Canonical()
	o := &Outline{Serial: c.serial, Digest: c.digest}
	o.count(&soa, soa.Owner())
	var r wire.Record
	for i := range c.entries {
		if err := c.entries[i].read(c.messages, &r); err != nil {
			return nil, err
		}
		r.Canonical()
		o.count(&r, soa.Owner())
	}
	return o, nil
}

// compareRecords compares two records in canonical form: by owner, type and data.
func compareRecords(a, b []byte) int {
	x, y := ownerSize(a), ownerSize(b)
	return cmp.Or(compareNames(a[:x], b[:y]), compareSiblings(a[x:], b[y:]))
}

// ownerSize is the length of the owner of an uncompressed record.
func ownerSize(b []byte) int {
	n := 0
	for n < len(b) && b[n] != 0 {
		n += 1 + int(b[n])
	}
	return n + 1
}
