// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"go.etcd.io/bbolt"
)

// Update makes one change, durably and as a whole. It fails with ErrFull when the limit
// would be passed, with ErrInvalid when the outcome would be no chain (nothing changed
// in both cases), or with an error of the file system, after which the journal is of no
// more use. A change that changes nothing costs no write. A zone of which no base is
// kept has no state.
func (j *Journal) Update(zone string, c Change) error {
	return j.change(zone, func(z *edit) error { return z.apply(&c) })
}

// Forget removes all that is kept of a zone, also what cannot be loaded any more.
func (j *Journal) Forget(zone string) error {
	return j.change(zone, (*edit).reset)
}

// edit is a zone in a writing transaction.
type edit struct {
	tx      *bbolt.Tx
	top     top
	limit   int64
	zone    string
	head    head
	exists  bool
	changed bool
}

func (j *Journal) change(zone string, fn func(*edit) error) error {
	return j.update(func(tx *bbolt.Tx) error {
		t, err := readTop(tx)
		if err != nil {
			return err
		}
		z := &edit{tx: tx, top: t, limit: j.limit, zone: zone}
		if z.head, z.exists, err = readHead(tx, zone); err != nil {
			return err
		}
		if err := fn(z); err != nil {
			return fmt.Errorf("zone %q: %w", zone, err)
		}
		if !z.changed {
			return errUnchanged
		}
		tx.OnCommit(func() { j.size.Store(int64(z.top.octets)) })
		return put(tx, bucketTop, keyState, z.top.encode())
	})
}

// reset begins a new lineage: nothing of the old one is kept.
func (z *edit) reset() error {
	if !z.exists {
		return nil
	}
	slot := slotKey(z.head.slot)
	for _, bucket := range []string{bucketLinks, bucketGiven, bucketBases, bucketDeltas, bucketSerials, bucketNotes} {
		if err := remove(z.tx, bucket, slot); err != nil {
			return err
		}
	}
	if err := z.tx.Bucket([]byte(bucketZones)).Delete(zoneKey(z.zone)); err != nil {
		return err
	}
	z.top.zones--
	z.top.octets -= z.head.octets
	z.head, z.exists, z.changed = head{}, false, true
	return nil
}

// remove deletes all keys under a prefix, but not while walking them.
func remove(tx *bbolt.Tx, bucket string, prefix []byte) error {
	b := tx.Bucket([]byte(bucket))
	var keys [][]byte
	c := b.Cursor()
	for k, _ := c.Seek(prefix); len(k) >= len(prefix) && string(k[:len(prefix)]) == string(prefix); k, _ = c.Next() {
		keys = append(keys, append([]byte(nil), k...))
	}
	for _, k := range keys {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

func (z *edit) apply(c *Change) error {
	if err := c.validate(); err != nil {
		return err
	}
	before := z.top.octets
	if c.Reset {
		if err := z.reset(); err != nil {
			return err
		}
	}
	if !z.exists {
		if c.Base == nil {
			if len(c.Append) > 0 || c.Drop > 0 {
				return fmt.Errorf("%w: nothing is kept to which deltas could belong", ErrInvalid)
			}
			return nil // given versions of no chain
		}
		if err := z.create(); err != nil {
			return err
		}
	}
	links, err := z.plan(c)
	if err != nil {
		return err
	}
	if err := z.prune(c, links); err != nil {
		return err
	}
	if err := z.give(c, links); err != nil {
		return err
	}
	if err := z.remember(c); err != nil {
		return err
	}
	if after := z.top.octets; z.limit > 0 && after > before && after > uint64(z.limit) {
		return ErrFull
	}
	if err := z.write(c); err != nil || !z.changed {
		return err
	}
	return put(z.tx, bucketZones, zoneKey(z.zone), z.head.encode())
}

// validate checks what does not depend on what is kept.
func (c *Change) validate() error {
	if c.Base != nil {
		for i, m := range c.Base.Messages {
			if len(m) > math.MaxUint16 {
				return fmt.Errorf("%w: message %d has %d octets", ErrInvalid, i, len(m))
			}
		}
	}
	for i := range c.Append {
		d := &c.Append[i]
		if d.RemovedCount < 0 || d.AddedCount < 0 {
			return fmt.Errorf("%w: a delta of %d removed and %d added records", ErrInvalid, d.RemovedCount, d.AddedCount)
		}
	}
	if len(c.Serials) > MaxSerials {
		return fmt.Errorf("%w: %d serials", ErrInvalid, len(c.Serials))
	}
	if len(c.Note) > MaxNote {
		return fmt.Errorf("%w: a note of %d octets", ErrInvalid, len(c.Note))
	}
	for _, rules := range c.Given {
		for _, r := range rules {
			if len(r) > MaxRule {
				return fmt.Errorf("%w: a rule's identity of %d octets", ErrInvalid, len(r))
			}
		}
	}
	return nil
}

func (z *edit) create() error {
	z.head = head{slot: z.top.next}
	z.exists = true
	z.top.next++
	z.top.zones++
	z.count(chargeZone+len(z.zone), 1)
	for _, bucket := range lists {
		if err := put(z.tx, bucket, slotKey(z.head.slot), nil); err != nil {
			return err
		}
	}
	return nil
}

// remember replaces what serials have meant, and what is noted.
func (z *edit) remember(c *Change) error {
	if c.Serials != nil {
		if err := z.replace(bucketSerials, encodeSerials(c.Serials)); err != nil {
			return err
		}
	}
	if c.Note == nil {
		return nil
	}
	return z.replace(bucketNotes, bytes.Clone(c.Note))
}

// replace replaces the zone's value in one of the lists.
func (z *edit) replace(bucket string, after []byte) error {
	key := slotKey(z.head.slot)
	before, err := get(z.tx, bucket, key)
	if err != nil || bytes.Equal(before, after) {
		return err
	}
	z.count(len(before), -1)
	z.count(len(after), 1)
	return put(z.tx, bucket, key, after)
}

// count adds to what is counted; sign is 1 or -1.
func (z *edit) count(octets, sign int) {
	z.head.octets += uint64(sign * octets)
	z.top.octets += uint64(sign * octets)
	z.changed = true
}

// plan computes the chain and the counts after the change, and writes nothing yet.
func (z *edit) plan(c *Change) ([]link, error) {
	links, err := readChain(z.tx, &z.head)
	if err != nil {
		return nil, err
	}
	if c.Drop < 0 || c.Drop > len(links) {
		return nil, fmt.Errorf("%w: drop %d of %d deltas", ErrInvalid, c.Drop, len(links))
	}
	for i := range links[:c.Drop] {
		z.count(int(links[i].size())+chargeDelta, -1)
	}
	links = links[c.Drop:]
	for i := range c.Append {
		links = append(links, linkOf(&c.Append[i]))
		z.count(c.Append[i].Size()+chargeDelta, 1)
	}
	if c.Base != nil {
		z.count(int(z.head.baseOctets), -1)
		z.head.serial, z.head.digest = c.Base.Serial, c.Base.Digest
		z.head.messages, z.head.baseOctets = uint64(len(c.Base.Messages)), 0
		for _, m := range c.Base.Messages {
			z.head.baseOctets += uint64(2 + len(m))
		}
		z.count(int(z.head.baseOctets), 1)
	}
	if why := chained(links, &z.head); why != "" {
		return nil, fmt.Errorf("%w: %s", ErrInvalid, why)
	}
	return links, nil
}

// versions returns the digests of a chain.
func (z *edit) versions(links []link) map[Digest]bool {
	all := map[Digest]bool{z.head.digest: true}
	for i := range links {
		all[links[i].fromDigest], all[links[i].toDigest] = true, true
	}
	return all
}

// prune forgets to whom versions were given that are not in the chain any more.
func (z *edit) prune(c *Change, links []link) error {
	if z.head.given == 0 || c.Drop == 0 && c.Base == nil {
		return nil
	}
	versions := z.versions(links)
	var gone [][]byte
	err := scan(z.tx, bucketGiven, slotKey(z.head.slot), func(key, _ []byte) error {
		_, digest, rule, err := decodeGiven(key)
		if err == nil && !versions[digest] {
			gone = append(gone, append([]byte(nil), key...))
			z.head.given--
			z.count(len(Digest{})+len(rule)+chargeGiven, -1)
		}
		return err
	})
	for _, key := range gone {
		if err == nil {
			err = z.tx.Bucket([]byte(bucketGiven)).Delete(key)
		}
	}
	return err
}

// give adds to whom versions were given.
func (z *edit) give(c *Change, links []link) error {
	if len(c.Given) == 0 {
		return nil
	}
	versions := z.versions(links)
	b := z.tx.Bucket([]byte(bucketGiven))
	for digest, rules := range c.Given {
		if !versions[digest] {
			continue
		}
		for _, rule := range rules {
			key := givenKey(z.head.slot, digest, rule)
			if b.Get(key) != nil {
				continue
			}
			if err := put(z.tx, bucketGiven, key, nil); err != nil {
				return err
			}
			z.head.given++
			z.count(len(Digest{})+len(rule)+chargeGiven, 1)
		}
	}
	return nil
}

// write does what was planned for the base and the deltas.
func (z *edit) write(c *Change) error {
	h := &z.head
	for range c.Drop {
		key := numberKey(h.slot, h.first)
		if err := z.tx.Bucket([]byte(bucketLinks)).Delete(key); err != nil {
			return err
		}
		if err := remove(z.tx, bucketDeltas, key); err != nil {
			return err
		}
		h.first++
		h.links--
	}
	for i := range c.Append {
		d := &c.Append[i]
		l := linkOf(d)
		number := h.first + h.links
		if err := put(z.tx, bucketLinks, numberKey(h.slot, number), l.encode()); err != nil {
			return err
		}
		w := chunker{tx: z.tx, bucket: bucketDeltas, slot: h.slot, number: number, left: l.size()}
		if err := w.write(d.OldSOA, d.NewSOA, d.Removed, d.Added); err != nil {
			return err
		}
		h.links++
	}
	if c.Base == nil {
		return nil
	}
	if err := remove(z.tx, bucketBases, slotKey(h.slot)); err != nil {
		return err
	}
	h.base++
	w := chunker{tx: z.tx, bucket: bucketBases, slot: h.slot, number: h.base, left: h.baseOctets}
	for _, m := range c.Base.Messages {
		if err := w.write(binary.BigEndian.AppendUint16(nil, uint16(len(m))), m); err != nil {
			return err
		}
	}
	return nil
}

// chunker cuts an object of a known size into chunks.
type chunker struct {
	tx     *bbolt.Tx
	bucket string
	slot   uint64
	number uint64
	chunk  uint64
	left   uint64 // octets that are not in a chunk yet
	buf    []byte
}

func (w *chunker) write(parts ...[]byte) error {
	for _, p := range parts {
		for len(p) > 0 {
			want := int(min(w.left, chunkOctets))
			if w.buf == nil {
				w.buf = make([]byte, 0, want+tagOctets) // bbolt keeps it until the commit
			}
			n := min(want-len(w.buf), len(p))
			w.buf, p = append(w.buf, p[:n]...), p[n:]
			if len(w.buf) < want {
				continue
			}
			if err := put(w.tx, w.bucket, chunkKey(w.slot, w.number, w.chunk), w.buf); err != nil {
				return err
			}
			w.buf, w.chunk, w.left = nil, w.chunk+1, w.left-uint64(want)
		}
	}
	return nil
}
