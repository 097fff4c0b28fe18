// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
)

// format is the value of the key "format"; another program's or version's journal has
// another one.
const (
	formatPrefix = "xfrguard journal "
	format       = formatPrefix + "3"
	formatSecond = formatPrefix + "2" // without notes
	formatFirst  = formatPrefix + "1" // without serials
)

// Buckets of the file.
const (
	bucketTop    = "top"
	bucketZones  = "zones"
	bucketLinks  = "links"
	bucketGiven  = "given"
	bucketBases  = "bases"
	bucketDeltas = "deltas"
	// bucketSerials is not in files of the first format.
	bucketSerials = "serials"
	// bucketNotes is not in files of the first two formats.
	bucketNotes = "notes"
)

var buckets = []string{bucketTop, bucketZones, bucketLinks, bucketGiven, bucketBases, bucketDeltas, bucketSerials, bucketNotes}

// lists are the buckets with one value a zone, under its slot.
var lists = []string{bucketSerials, bucketNotes}

// bucketsOf are the buckets of a file of a format.
func bucketsOf(format string) []string {
	switch format {
	case formatFirst:
		return buckets[:len(buckets)-2]
	case formatSecond:
		return buckets[:len(buckets)-1]
	}
	return buckets
}

var (
	keyFormat = []byte("format")
	keyState  = []byte("state")
)

const (
	tagOctets = 16
	// chunkOctets lets two chunks with keys, tags and headers fill 32 pages, which is what
	// bbolt puts together.
	chunkOctets = 64<<10 - 64
)

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}

// tag binds a value to its place.
func tag(bucket string, key, payload []byte) [tagOctets]byte {
	h := sha256.New()
	var head [3]byte
	head[0] = byte(len(bucket))
	binary.BigEndian.PutUint16(head[1:], uint16(len(key)))
	h.Write(head[:])
	h.Write([]byte(bucket))
	h.Write(key)
	h.Write(payload)
	var sum [sha256.Size]byte
	return [tagOctets]byte(h.Sum(sum[:0]))
}

// seal appends the tag to the payload.
func seal(bucket string, key, payload []byte) []byte {
	t := tag(bucket, key, payload)
	return append(payload, t[:]...)
}

// unseal appends a value's payload to dst and verifies the copy: what is verified is
// what is used.
func unseal(dst []byte, bucket string, key, value []byte) ([]byte, error) {
	if len(value) < tagOctets {
		return nil, corrupt("a record of %d octets in %s", len(value), bucket)
	}
	n := len(value) - tagOctets
	dst = append(dst, value[:n]...)
	t := tag(bucket, key, dst[len(dst)-n:])
	if subtle.ConstantTimeCompare(t[:], value[n:]) != 1 {
		return nil, corrupt("a checksum in %s is wrong", bucket)
	}
	return dst, nil
}

// top is the state of the whole journal.
type top struct {
	next   uint64 // slot
	zones  uint64
	octets uint64 // counted
}

const topOctets = 24

func (t *top) encode() []byte {
	b := make([]byte, 0, topOctets+tagOctets)
	b = binary.BigEndian.AppendUint64(b, t.next)
	b = binary.BigEndian.AppendUint64(b, t.zones)
	return binary.BigEndian.AppendUint64(b, t.octets)
}

func decodeTop(b []byte) (top, error) {
	if len(b) != topOctets {
		return top{}, corrupt("the state has %d octets", len(b))
	}
	t := top{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:])}
	if t.zones > t.next || t.octets > 1<<62 {
		return top{}, corrupt("the state is out of bounds")
	}
	return t, nil
}

// head is what is kept of one zone, in numbers.
type head struct {
	slot       uint64
	octets     uint64 // counted, of all the zone's
	base       uint64 // number of the base
	baseOctets uint64 // of its stream: messages and their lengths
	messages   uint64
	first      uint64 // number of the first link
	links      uint64
	given      uint64
	serial     uint32 // the base's
	digest     Digest // the base's
}

const headOctets = 8*8 + 4 + len(Digest{})

// maxCount keeps sums of counts and numbers far from overflow.
const maxCount = 1 << 48

func (h *head) encode() []byte {
	b := make([]byte, 0, headOctets+tagOctets)
	for _, v := range []uint64{h.slot, h.octets, h.base, h.baseOctets, h.messages, h.first, h.links, h.given} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	b = binary.BigEndian.AppendUint32(b, h.serial)
	return append(b, h.digest[:]...)
}

func decodeHead(b []byte) (head, error) {
	if len(b) != headOctets {
		return head{}, corrupt("a zone's head has %d octets", len(b))
	}
	var h head
	for i, v := range []*uint64{&h.slot, &h.octets, &h.base, &h.baseOctets, &h.messages, &h.first, &h.links, &h.given} {
		*v = binary.BigEndian.Uint64(b[8*i:])
		if *v > maxCount {
			return head{}, corrupt("a zone's head is out of bounds")
		}
	}
	h.serial = binary.BigEndian.Uint32(b[64:])
	h.digest = Digest(b[68:])
	if h.messages > h.baseOctets/2 {
		return head{}, corrupt("a base of %d messages in %d octets", h.messages, h.baseOctets)
	}
	return h, nil
}

// link is a delta without its records.
type link struct {
	from, to             uint32
	fromDigest, toDigest Digest
	lengths              [4]uint64 // old SOA, new SOA, removed, added
	removed, added       uint64    // counts
}

const linkOctets = 4 + 4 + 2*len(Digest{}) + 6*8

func linkOf(d *Delta) link {
	return link{
		from: d.From, to: d.To, fromDigest: d.FromDigest, toDigest: d.ToDigest,
		lengths: [4]uint64{uint64(len(d.OldSOA)), uint64(len(d.NewSOA)), uint64(len(d.Removed)), uint64(len(d.Added))},
		removed: uint64(d.RemovedCount), added: uint64(d.AddedCount),
	}
}

// size returns the octets of the records.
func (l *link) size() uint64 {
	return l.lengths[0] + l.lengths[1] + l.lengths[2] + l.lengths[3]
}

func (l *link) encode() []byte {
	b := make([]byte, 0, linkOctets+tagOctets)
	b = binary.BigEndian.AppendUint32(b, l.from)
	b = binary.BigEndian.AppendUint32(b, l.to)
	b = append(b, l.fromDigest[:]...)
	b = append(b, l.toDigest[:]...)
	for _, v := range append(l.lengths[:], l.removed, l.added) {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return b
}

func decodeLink(b []byte) (link, error) {
	if len(b) != linkOctets {
		return link{}, corrupt("a delta's head has %d octets", len(b))
	}
	l := link{from: binary.BigEndian.Uint32(b), to: binary.BigEndian.Uint32(b[4:])}
	l.fromDigest, l.toDigest = Digest(b[8:]), Digest(b[56:])
	b = b[104:]
	for i, v := range []*uint64{&l.lengths[0], &l.lengths[1], &l.lengths[2], &l.lengths[3], &l.removed, &l.added} {
		*v = binary.BigEndian.Uint64(b[8*i:])
		if *v > maxCount {
			return link{}, corrupt("a delta's head is out of bounds")
		}
	}
	return l, nil
}

// delta cuts the records that follow each other in b.
func (l *link) delta(b []byte) Delta {
	cut := func(n uint64) []byte {
		part := b[:n:n]
		b = b[n:]
		return part
	}
	return Delta{
		From: l.from, To: l.to, FromDigest: l.fromDigest, ToDigest: l.toDigest,
		OldSOA: cut(l.lengths[0]), NewSOA: cut(l.lengths[1]), Removed: cut(l.lengths[2]), Added: cut(l.lengths[3]),
		RemovedCount: int(l.removed), AddedCount: int(l.added),
	}
}

// splitMessages cuts a base's stream into its messages, which share its memory.
func splitMessages(stream []byte, count uint64) ([][]byte, error) {
	if count > uint64(len(stream))/2 {
		return nil, corrupt("a base of %d messages in %d octets", count, len(stream))
	}
	all := make([][]byte, 0, count)
	for len(stream) > 0 {
		if len(stream) < 2 {
			return nil, corrupt("a base ends within a length")
		}
		n := 2 + int(binary.BigEndian.Uint16(stream))
		if n > len(stream) {
			return nil, corrupt("a base ends within a message")
		}
		all = append(all, stream[2:n:n])
		stream = stream[n:]
	}
	if uint64(len(all)) != count {
		return nil, corrupt("a base has %d messages, not %d", len(all), count)
	}
	return all, nil
}

func zoneKey(zone string) []byte { return append([]byte{'z'}, zone...) }

func slotKey(slot uint64) []byte { return binary.BigEndian.AppendUint64(nil, slot) }

func numberKey(slot, number uint64) []byte {
	return binary.BigEndian.AppendUint64(slotKey(slot), number)
}

func chunkKey(slot, number, chunk uint64) []byte {
	return binary.BigEndian.AppendUint32(numberKey(slot, number), uint32(chunk))
}

func givenKey(slot uint64, digest Digest, rule string) []byte {
	return append(append(slotKey(slot), digest[:]...), rule...)
}

// decodeGiven is the reverse of givenKey.
func decodeGiven(key []byte) (slot uint64, digest Digest, rule string, err error) {
	const fixed = 8 + len(Digest{})
	if len(key) < fixed || len(key) > fixed+MaxRule {
		return 0, Digest{}, "", corrupt("a given version's name has %d octets", len(key))
	}
	return binary.BigEndian.Uint64(key), Digest(key[8:]), string(key[fixed:]), nil
}

const serialOctets = 4 + 1 + len(Print{})

func encodeSerials(all []Serial) []byte {
	b := make([]byte, 0, len(all)*serialOctets+tagOctets)
	for i := range all {
		b = binary.BigEndian.AppendUint32(b, all[i].Serial)
		forked := byte(0)
		if all[i].Forked {
			forked = 1
		}
		b = append(b, forked)
		b = append(b, all[i].Content[:]...)
	}
	return b
}

func decodeSerials(b []byte) ([]Serial, error) {
	if len(b)%serialOctets != 0 || len(b) > MaxSerials*serialOctets {
		return nil, corrupt("serials in %d octets", len(b))
	}
	var all []Serial
	for ; len(b) > 0; b = b[serialOctets:] {
		if b[4] > 1 {
			return nil, corrupt("a serial is marked with %d", b[4])
		}
		all = append(all, Serial{Serial: binary.BigEndian.Uint32(b), Content: Print(b[5:]), Forked: b[4] == 1})
	}
	return all, nil
}
