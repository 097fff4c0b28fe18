// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"hash/maphash"
	"io"
	"math/bits"
	"slices"

	"github.com/xfrguard/xfrguard/internal/wire"

	"github.com/miekg/dns"
)

// entry finds one record of a version by what it is: owner, type, class and data, in
// canonical form. Two versions whose entries are sorted alike are compared by going
// through both once.
//
// The hash has 112 bits and a seed that nobody outside knows, so two records with one
// hash are taken for the same; what differs is taken from the messages themselves.
type entry struct {
	hash   uint64
	more   uint32
	ttl    uint32
	number uint32 // of the message
	offset uint16 // in it
	rest   uint16
}

// entrySize is what one entry takes; a test holds it against the type.
const entrySize = 24

// The seeds are the process's own: whoever can add records to a zone must not be able
// to make two of them look the same. So hashes never leave the process.
var seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

func compareEntries(a, b entry) int {
	return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.more, b.more), cmp.Compare(a.rest, b.rest))
}

// index is what is known of a version's records beside their messages.
type index struct {
	entries  []entry // sorted, without the SOA, no two alike; nil when there is no room for them
	opening  []byte  // the SOA as an uncompressed record
	outline  Outline // without serial and digest
	digest   Digest
	digested bool
	ordered  bool  // the owners come in canonical order
	usable   bool  // the entries tell what to add and to remove
	fault    error // why they do not, but for a lack of room
}

// errUnusable means that a version cannot be compared with another.
var errUnusable = errors.New("records of one set have several TTLs")

// indexAlong indexes the version, as one of its readers: after it was built, or while it
// is when somebody waits for the index or the messages do not stay. It leaves no index
// when the build fails.
func (v *Version) indexAlong(r *Reader) {
	defer close(v.indexed)
	defer r.Close()
	v.leisure()
	ix, err := indexOf(v, r)
	if err == nil {
		v.index = ix
	}
}

func indexOf(v *Version, r *Reader) (_ *index, err error) {
	defer caught(v.Apex, ErrInvalid, &err)
	ix := &index{usable: true}
	in := indexer{ix: ix, digester: newDigester()}
	for number := uint32(0); ; number++ {
		m, err := r.Next(context.Background())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if ix.usable && v.isPassing() {
			ix.usable, ix.entries = false, nil
		}
		if err := in.add(m, number); err != nil {
			// Data that has not the form of its type can be sent, but not compared.
			return &index{opening: ix.opening, fault: err}, nil
		}
	}
	ix.digest, ix.digested = in.digester.sum()
	ix.ordered = ix.digested
	if !ix.digested && !v.isPassing() {
		ix.digest, ix.digested = digestUnordered(v.messages)
	}
	if ix.usable && v.unusable {
		ix.usable, ix.fault = false, errUnusable
	}
	if ix.usable {
		ix.fault = ix.sort(v.messages)
		ix.usable = ix.fault == nil && ix.digested
	}
	if !ix.usable {
		ix.entries = nil
	}
	return ix, nil
}

func (v *Version) isPassing() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.passing
}

// indexer goes through the records of a version.
type indexer struct {
	ix       *index
	digester *digester
	record   wire.Record
}

// add indexes the records of one message.
func (in *indexer) add(m wire.Message, number uint32) error {
	offset, err := m.Begin()
	if err != nil {
		return err //nolint:wrapcheck // says all
	}
	r := &in.record
	for range m.Records {
		at := offset
		if offset, err = m.Read(offset, r); err != nil {
			return err //nolint:wrapcheck // says all
		}
		if r.Type() == dns.TypeSOA {
			if in.ix.opening != nil {
				continue // the closing one
			}
			in.ix.opening = bytes.Clone(r.Wire)
		}
		r.Canonical()
		in.digester.add(r)
		in.ix.outline.count(r, in.digester.apex)
		if in.ix.usable && r.Type() != dns.TypeSOA {
			in.ix.entries = append(in.ix.entries, entryOf(r, number, at))
		}
	}
	return nil
}

// entryOf makes the entry of a record in canonical form, whose TTL it clears.
func entryOf(r *wire.Record, number uint32, offset int) entry {
	e := entry{ttl: r.TTL(), number: number, offset: uint16(offset)}
	r.SetTTL(0)
	e.hash = maphash.Bytes(seeds[0], r.Wire)
	more := maphash.Bytes(seeds[1], r.Wire)
	e.more, e.rest = uint32(more>>32), uint16(more)
	return e
}

// sort sorts the entries, and leaves one of each that are the same: a zone is a set of
// records. It fails with errUnusable when two differ in their TTL alone, for removing
// one of them would remove both (RFC 2181 §5.2 forbids it).
func (ix *index) sort(messages []wire.Message) error {
	ix.entries = sortEntries(ix.entries)
	kept := ix.entries[:0]
	for i, e := range ix.entries {
		if i == 0 || compareEntries(e, ix.entries[i-1]) != 0 {
			kept = append(kept, e)
			continue
		}
		if e.ttl != ix.entries[i-1].ttl {
			return errUnusable
		}
	}
	ix.entries = kept
	return nil
}

// sortEntries sorts by hash: its first bits deal the entries into places of a few,
// which are then put in order. It returns another slice.
func sortEntries(entries []entry) []entry {
	shift := 64 - max(bits.Len(uint(len(entries)/8)), 1)
	count := make([]uint32, 1<<(64-shift)+1)
	for i := range entries {
		count[entries[i].hash>>shift+1]++
	}
	for i := 1; i < len(count); i++ {
		count[i] += count[i-1]
	}
	sorted := make([]entry, len(entries))
	at := slices.Clone(count)
	for i := range entries {
		place := entries[i].hash >> shift
		sorted[at[place]] = entries[i]
		at[place]++
	}
	for i := range len(count) - 1 {
		slices.SortFunc(sorted[count[i]:count[i+1]], compareEntries)
	}
	return sorted
}

// read expands the record of an entry.
func (e *entry) read(messages []wire.Message, r *wire.Record) error {
	_, err := messages[e.number].Read(int(e.offset), r)
	return err //nolint:wrapcheck // says all
}
