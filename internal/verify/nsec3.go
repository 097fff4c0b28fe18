// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"bytes"
	"cmp"
	"crypto/sha1" //nolint:gosec // the one hash of RFC 5155 §11
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"slices"

	"github.com/miekg/dns"
)

// maxIterations is how often a name is hashed at most: RFC 9276 §3.1 wants none, and
// resolvers take a zone with more than 150 as unsigned.
const maxIterations = 500

type nsec3Hash [sha1.Size]byte

var nsec3Text = base32.HexEncoding.WithPadding(base32.NoPadding)

// hashes are a zone's names and its NSEC3 records, by hash (RFC 5155).
type hashes struct {
	run        *run
	iterations int
	salt       []byte
	seed       maphash.Seed
	names      []byte // of all expected, one after the other
	expected   []hashedName
	found      []hashedRecord
	last       []byte // the name before
	open       []int  // the empty names that it is below, in expected; -1: not empty
	buf        []byte
}

// hashedName is a name that an NSEC3 record has to speak for.
type hashedName struct {
	hash     nsec3Hash
	types    uint64 // hash of its types
	name     int
	optional bool // not needed where the records opt out
}

// hashedRecord is an NSEC3 record.
type hashedRecord struct {
	hash, next nsec3Hash
	types      uint64
	optOut     bool
}

// counts reports whether an NSEC3PARAM record's data is of a chain: one with flags is
// ignored (RFC 5155 §4.1.2).
func counts(data []byte) bool {
	return len(data) >= 5 && len(data) >= 5+int(data[4]) && data[1] == 0
}

// newHashes reads an NSEC3PARAM record that counts (RFC 5155 §4.2); nil when it is for no
// chain that can be checked.
func newHashes(r *run, data []byte) *hashes {
	h := &hashes{run: r, iterations: int(binary.BigEndian.Uint16(data[2:])), salt: bytes.Clone(data[5 : 5+int(data[4])]), seed: maphash.MakeSeed()}
	switch {
	case data[0] != dns.SHA1:
		r.unchecked(fmt.Sprintf("NSEC3 hash %d", data[0]))
		return nil
	case h.iterations > maxIterations:
		r.unchecked(fmt.Sprintf("NSEC3 with more than %d iterations", maxIterations))
		return nil
	}
	return h
}

// hash hashes a name (RFC 5155 §5).
func (h *hashes) hash(name []byte) nsec3Hash {
	h.buf = append(append(h.buf[:0], name...), h.salt...)
	sum := sha1.Sum(h.buf) //nolint:gosec // see above
	for range h.iterations {
		h.buf = append(append(h.buf[:0], sum[:]...), h.salt...)
		sum = sha1.Sum(h.buf) //nolint:gosec // see above
	}
	return sum
}

func (h *hashes) typesHash(types []uint16) uint64 {
	h.buf = h.buf[:0]
	for _, t := range types {
		h.buf = binary.BigEndian.AppendUint16(h.buf, t)
	}
	return maphash.Bytes(h.seed, h.buf)
}

// add takes the next name of the zone.
func (h *hashes) add(n *node, cut bool) {
	set := n.set(dns.TypeNSEC3)
	for i := range set {
		h.record(n.owner, n.data(&set[i]))
	}
	if n.hashed() {
		return
	}
	optional := cut && !n.has(dns.TypeDS)
	h.between(n.owner, optional)
	h.expect(n.owner, h.run.signedTypes(n, cut, false), optional)
}

func (h *hashes) expect(name []byte, types []uint16, optional bool) {
	h.expected = append(h.expected, hashedName{h.hash(name), h.typesHash(types), len(h.names), optional})
	h.names = append(h.names, name...)
}

// between adds the names between this one and the apex that have nothing of their own.
// In canonical order a name that has would have come before.
func (h *hashes) between(name []byte, optional bool) {
	depth := countLabels(name) - countLabels(h.run.apex)
	h.open = h.open[:min(len(h.open), h.common(name))]
	for len(h.open) < depth-1 {
		above := name
		for range depth - 1 - len(h.open) {
			above = parent(above)
		}
		h.open = append(h.open, len(h.expected))
		h.expect(above, nil, true)
	}
	for _, at := range h.open {
		if at >= 0 && !optional {
			h.expected[at].optional = false
		}
	}
	if depth > 0 {
		h.open = append(h.open, -1)
	}
	h.last = append(h.last[:0], name...)
}

// common is how many labels below the apex a name has in common with the one before.
func (h *hashes) common(name []byte) (n int) {
	var la, lb [128]uint8
	a, b := labelsOf(name, &la), labelsOf(h.last, &lb)
	top := countLabels(h.run.apex)
	for n = 0; top+n < min(a, b); n++ {
		x, y := int(la[a-top-n-1]), int(lb[b-top-n-1])
		if !bytes.Equal(name[x:x+1+int(name[x])], h.last[y:y+1+int(h.last[y])]) {
			break
		}
	}
	return n
}

// record takes an NSEC3 record of the chain (RFC 5155 §3.2).
func (h *hashes) record(owner, data []byte) {
	var rec hashedRecord
	broken := func(what string) { h.run.fail(NSECBroken, owner, dns.TypeNSEC3, what) }
	if len(data) < 6 || len(data) < 6+int(data[4]) {
		broken("has not the form of its type")
		return
	}
	salt, rest := data[5:5+int(data[4])], data[5+int(data[4]):]
	if data[0] != dns.SHA1 || int(binary.BigEndian.Uint16(data[2:])) != h.iterations || !bytes.Equal(salt, h.salt) {
		return // of another chain
	}
	size := int(owner[0])
	if size != nsec3Text.EncodedLen(len(rec.hash)) || !bytes.Equal(parent(owner), h.run.apex) ||
		int(rest[0]) != len(rec.next) || len(rest) < 1+len(rec.next) {
		broken("has not the form of its type")
		return
	}
	if _, err := nsec3Text.Decode(rec.hash[:], bytes.ToUpper(owner[1:1+size])); err != nil {
		broken("has an owner that is no hash")
		return
	}
	copy(rec.next[:], rest[1:])
	types, ok := readBitmap(h.run.scratch[1][:0], rest[1+len(rec.next):])
	h.run.scratch[1] = types
	if !ok {
		broken("has not the form of its type")
		return
	}
	rec.types, rec.optOut = h.typesHash(types), data[1]&1 != 0
	h.found = append(h.found, rec)
}

// owner is the owner of an NSEC3 record.
func (h *hashes) owner(hash nsec3Hash) []byte {
	label := bytes.ToLower([]byte(nsec3Text.EncodeToString(hash[:])))
	return append(append([]byte{byte(len(label))}, label...), h.run.apex...)
}

func (h *hashes) name(e *hashedName) []byte {
	return h.names[e.name : e.name+nameSize(h.names[e.name:])]
}

// judge compares names and records when all of them are there.
func (h *hashes) judge() error {
	if err := h.run.breathe(len(h.expected)); err != nil {
		return err
	}
	slices.SortFunc(h.expected, func(a, b hashedName) int { return bytes.Compare(a.hash[:], b.hash[:]) })
	slices.SortFunc(h.found, func(a, b hashedRecord) int { return bytes.Compare(a.hash[:], b.hash[:]) })
	broken := func(hash nsec3Hash, what string) { h.run.fail(NSECBroken, h.owner(hash), dns.TypeNSEC3, what) }
	for i := range h.found {
		f, next := &h.found[i], &h.found[(i+1)%len(h.found)]
		if i+1 < len(h.found) && f.hash == next.hash {
			broken(f.hash, "is there more than once")
		} else if f.next != next.hash {
			broken(f.hash, "leads to "+text(h.owner(f.next))+", not to "+text(h.owner(next.hash)))
		}
	}
	found := h.found
	for i := range h.expected {
		e := &h.expected[i]
		for len(found) > 0 && bytes.Compare(found[0].hash[:], e.hash[:]) < 0 {
			broken(found[0].hash, "is of no name")
			found = found[1:]
		}
		switch {
		case len(found) > 0 && found[0].hash == e.hash:
			if found[0].types != e.types {
				h.run.fail(NSECBroken, h.name(e), dns.TypeNSEC3, "has other types than the name")
			}
			for len(found) > 0 && found[0].hash == e.hash {
				found = found[1:]
			}
		case !e.optional || !h.optedOut(e.hash):
			h.run.fail(NSECBroken, h.name(e), dns.TypeNSEC3, "is not there")
		}
	}
	for i := range found {
		broken(found[i].hash, "is of no name")
	}
	return nil
}

// optedOut reports whether the record before a hash says that what follows may not be there.
func (h *hashes) optedOut(hash nsec3Hash) bool {
	if len(h.found) == 0 {
		return false
	}
	at, _ := slices.BinarySearchFunc(h.found, hash, func(f hashedRecord, hash nsec3Hash) int {
		return cmp.Or(bytes.Compare(f.hash[:], hash[:]))
	})
	return h.found[(at+len(h.found)-1)%len(h.found)].optOut
}
