// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/xfrguard/xfrguard/internal/wire"
	"github.com/xfrguard/xfrguard/internal/zone/journal"
)

// Delta is what changed from one version to the next.
type Delta = journal.Delta

// contents is what a version is compared by.
type contents struct {
	serial   uint32
	digest   Digest
	opening  []byte  // its SOA as an uncompressed record
	entries  []entry // sorted
	messages []wire.Message
}

// contents of an indexed version; false when it cannot be compared.
func (v *Version) contents() (contents, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.index == nil || !v.index.usable {
		return contents{}, false
	}
	return contents{
		serial: v.Serial, digest: v.index.digest, opening: v.index.opening,
		entries: v.index.entries, messages: v.messages,
	}, true
}

// compare says what has to be removed from and added to the old version to make it the
// new one. A record whose TTL alone is another is removed and added.
func compare(old, now contents) (*Delta, error) {
	d := &Delta{
		From: old.serial, To: now.serial, FromDigest: old.digest, ToDigest: now.digest,
		OldSOA: old.opening, NewSOA: now.opening,
	}
	var removed, added []entry
	a, b := old.entries, now.entries
	for len(a) > 0 || len(b) > 0 {
		order := 0
		switch {
		case len(a) == 0:
			order = 1
		case len(b) == 0:
			order = -1
		default:
			order = compareEntries(a[0], b[0])
		}
		if order < 0 || order == 0 && a[0].ttl != b[0].ttl {
			removed = append(removed, a[0])
		}
		if order > 0 || order == 0 && a[0].ttl != b[0].ttl {
			added = append(added, b[0])
		}
		if order <= 0 {
			a = a[1:]
		}
		if order >= 0 {
			b = b[1:]
		}
	}
	var err error
	if d.Removed, err = gather(removed, old.messages); err != nil {
		return nil, err
	}
	if d.Added, err = gather(added, now.messages); err != nil {
		return nil, err
	}
	d.RemovedCount, d.AddedCount = len(removed), len(added)
	return d, nil
}

// gather reads the records of entries, in the order in which the version has them.
func gather(entries []entry, messages []wire.Message) ([]byte, error) {
	slices.SortFunc(entries, func(a, b entry) int {
		if a.number != b.number {
			return int(a.number) - int(b.number)
		}
		return int(a.offset) - int(b.offset)
	})
	var out []byte
	var r wire.Record
	for i := range entries {
		if err := entries[i].read(messages, &r); err != nil {
			return nil, err
		}
		out = append(out, r.Wire...)
	}
	return out, nil
}

// eachOf calls fn with every record of a row.
func eachOf(row []byte, fn func(*wire.Record) error) error {
	for len(row) > 0 {
		r, rest, err := wire.ParseRecord(row)
		if err != nil {
			return err //nolint:wrapcheck // says all
		}
		if err := fn(&r); err != nil {
			return err
		}
		row = rest
	}
	return nil
}

// condense makes one delta of a chain, each beginning where the one before ends: what
// one adds and another removes is in neither (RFC 1995 §5).
func condense(ctx context.Context, chain []Delta) (*Delta, error) {
	if len(chain) == 1 {
		return &chain[0], nil
	}
	first, last := chain[0], chain[len(chain)-1]
	removed, added := newRow(), newRow()
	for i := range chain {
		d := &chain[i]
		if ctx.Err() != nil {
			return nil, fmt.Errorf("comparing: %w", context.Cause(ctx))
		}
		if err := eachOf(d.Removed, func(r *wire.Record) error { added.cancel(r, removed); return nil }); err != nil {
			return nil, err
		}
		if err := eachOf(d.Added, func(r *wire.Record) error { removed.cancel(r, added); return nil }); err != nil {
			return nil, err
		}
	}
	out := &Delta{
		From: first.From, To: last.To, FromDigest: first.FromDigest, ToDigest: last.ToDigest,
		OldSOA: first.OldSOA, NewSOA: last.NewSOA,
	}
	out.Removed, out.RemovedCount = removed.bytes()
	out.Added, out.AddedCount = added.bytes()
	return out, nil
}

// row is an ordered set of records, the same in canonical form being the same.
type row struct {
	at      map[string]int
	records [][]byte // nil where one was taken out
	scratch wire.Record
}

func newRow() *row { return &row{at: make(map[string]int)} }

// cancel takes r out of this row, or, when it is not in it, puts it into the other.
func (w *row) cancel(r *wire.Record, other *row) {
	key := w.key(r)
	if i, ok := w.at[key]; ok {
		w.records[i] = nil
		delete(w.at, key)
		return
	}
	other.at[key] = len(other.records)
	other.records = append(other.records, r.Wire)
}

func (w *row) key(r *wire.Record) string {
	c := wire.Record{}
	c, _, _ = wire.ParseRecord(append(w.scratch.Wire[:0], r.Wire...))
	w.scratch = c
	c.Canonical()
	return string(c.Wire)
}

func (w *row) bytes() (out []byte, count int) {
	for _, b := range w.records {
		if b != nil {
			out = append(out, b...)
			count++
		}
	}
	return out, count
}

// pack makes the messages of an incremental answer (RFC 1995 §4): the new SOA, the old
// one, what is removed, the new one, what is added, the new one.
func pack(apex string, d *Delta) ([]wire.Message, error) {
	var messages []wire.Message
	p := wire.NewPacker(apex, 0, func(m wire.Message) error {
		m.Bytes = slices.Clone(m.Bytes)
		messages = append(messages, m)
		return nil
	})
	defer p.Discard()
	for _, part := range [...][]byte{d.NewSOA, d.OldSOA, d.Removed, d.NewSOA, d.Added, d.NewSOA} {
		if err := eachOf(part, p.AddRecord); err != nil {
			return nil, err
		}
	}
	if err := p.Close(); err != nil {
		return nil, err //nolint:wrapcheck // names the record
	}
	return messages, nil
}

// restore makes the contents that a chain leads to from those that it begins with. The
// entries of what is added point into messages of their own.
func restore(apex string, from contents, chain []Delta) (contents, error) {
	if len(chain) == 0 {
		return from, nil
	}
	d, err := condense(context.Background(), chain)
	if err != nil {
		return contents{}, err
	}
	out := contents{serial: d.To, digest: d.ToDigest, opening: d.NewSOA, messages: slices.Clone(from.messages)}
	var gone []entry
	err = eachOf(bytes.Clone(d.Removed), func(r *wire.Record) error {
		r.Canonical()
		gone = append(gone, entryOf(r, 0, 0))
		return nil
	})
	if err != nil {
		return contents{}, err
	}
	gone = sortEntries(gone)
	for _, e := range from.entries {
		if len(gone) > 0 && compareEntries(e, gone[0]) == 0 && e.ttl == gone[0].ttl {
			gone = gone[1:]
			continue
		}
		out.entries = append(out.entries, e)
	}
	if len(gone) > 0 {
		return contents{}, fmt.Errorf("%w: a record that was removed had never been there", journal.ErrCorrupt)
	}
	added, err := packRow(apex, d.Added)
	if err != nil {
		return contents{}, err
	}
	ix := indexer{ix: &index{usable: true}, digester: &digester{broken: true}}
	for _, m := range added {
		if err := ix.add(m, uint32(len(out.messages))); err != nil {
			return contents{}, err
		}
		out.messages = append(out.messages, m)
	}
	out.entries = sortEntries(append(out.entries, ix.ix.entries...))
	for i := range out.entries[min(1, len(out.entries)):] {
		if compareEntries(out.entries[i], out.entries[i+1]) == 0 {
			return contents{}, fmt.Errorf("%w: a record that was added had been there", journal.ErrCorrupt)
		}
	}
	return out, nil
}

// packRow packs records that are no transfer.
func packRow(apex string, row []byte) (messages []wire.Message, err error) {
	p := wire.NewPacker(apex, 0, func(m wire.Message) error {
		m.Bytes = slices.Clone(m.Bytes)
		messages = append(messages, m)
		return nil
	})
	defer p.Discard()
	if err := eachOf(row, p.AddRecord); err != nil {
		return nil, err
	}
	return messages, p.Close() //nolint:wrapcheck // names the record
}
