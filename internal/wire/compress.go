// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
)

const (
	pointerBits  = 0xC000
	pointerLimit = 0x4000 // a pointer has 14 bits, RFC 1035 §4.1.4

	tableSize  = 4096 // a message under 16 KiB with more names than fit is rare and only packs worse
	tableMask  = tableSize - 1
	tableLimit = tableSize * 3 / 4
	probes     = 16
)

// hashSeed is secret, so that names that collide cannot be added to a zone on purpose.
var hashSeed = rand.Uint64()

// compressor finds the longest suffix of a name that is already in the message. The
// suffixes form a tree from the root: each is known by the offset of its first
// occurrence, and an entry says "under suffix parent, the label at off". So a lookup
// compares one label, never a whole suffix, and no key is ever copied.
type compressor struct {
	gen   uint16 // entries of another generation are free
	used  int
	table [tableSize]tableEntry
}

type tableEntry struct {
	gen    uint16
	tag    uint16
	parent uint16
	off    uint16
}

// reset forgets all names, for the next message.
func (c *compressor) reset() {
	c.used = 0
	c.gen++
	if c.gen == 0 { // wrapped around: old entries would look new
		clear(c.table[:])
		c.gen = 1
	}
}

// append adds n to msg, which must start with the message header, as compressed as
// possible, and remembers its suffixes. It returns the offset to which a later
// pointer to the whole name may go, 0 if there is none.
func (c *compressor) append(msg []byte, n *name) ([]byte, uint16) {
	var (
		parent uint16
		i      = n.labels
		at     *tableEntry
		tag    uint16
	)
	for ; i > 0; i-- {
		label := n.wire[n.start[i-1]:n.start[i]]
		var off uint16
		at, tag, off = c.find(msg, parent, n, int(n.start[i-1]), label)
		if off == 0 {
			break
		}
		parent = off
	}
	base := len(msg)
	msg = append(msg, n.wire[:n.start[i]]...)
	if parent != 0 {
		msg = binary.BigEndian.AppendUint16(msg, pointerBits|parent)
	} else {
		msg = append(msg, 0)
	}
	if i == 0 {
		return msg, parent
	}
	if base+int(n.start[i-1]) >= pointerLimit {
		return msg, 0
	}
	for {
		i--
		off := uint16(base + int(n.start[i]))
		if at == nil || c.used >= tableLimit {
			return msg, 0
		}
		*at = tableEntry{gen: c.gen, tag: tag, parent: parent, off: off}
		c.used++
		parent = off
		if i == 0 {
			return msg, parent
		}
		at, tag, _ = c.find(msg, parent, n, int(n.start[i-1]), n.wire[n.start[i-1]:n.start[i]])
	}
}

// find looks for a label (length octet first) under parent. A miss returns offset 0
// and the entry to put it into, nil if there is no free one near.
func (c *compressor) find(msg []byte, parent uint16, n *name, start int, label []byte) (*tableEntry, uint16, uint16) {
	h := hashLabel(parent, n, start, len(label))
	tag := uint16(h >> 48)
	for i := range uint64(probes) {
		s := &c.table[(h+i)&tableMask]
		if s.gen != c.gen {
			return s, tag, 0
		}
		if s.tag == tag && s.parent == parent && bytes.HasPrefix(msg[s.off:], label) {
			return s, tag, s.off
		}
	}
	return nil, tag, 0
}

// hashLabel hashes size octets of n from start, eight at a time; name.wire has the
// room to read past its end. Folding the 128-bit product lets every octet reach the
// low bits, which choose the entry.
func hashLabel(parent uint16, n *name, start, size int) uint64 {
	h := hashSeed ^ uint64(parent)<<32
	for ; size > 8; size, start = size-8, start+8 {
		h = fold(h ^ binary.LittleEndian.Uint64(n.wire[start:]))
	}
	return fold(h ^ binary.LittleEndian.Uint64(n.wire[start:])<<(64-8*size))
}

func fold(x uint64) uint64 {
	hi, lo := bits.Mul64(x, 0x9E3779B97F4A7C15) // 2^64 / golden ratio
	return hi ^ lo
}
