// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/miekg/dns"
)

// ErrFormat says that octets are not a record or a message in wire format.
var ErrFormat = errors.New("not DNS wire format")

// Record is one record in uncompressed wire format (RFC 1035 §3.2.1). The zero value
// is ready for [Message.Read], which reuses its room.
type Record struct {
	Wire  []byte
	owner int // octets of the owner name
}

// Owner is the owner name in wire format.
func (r *Record) Owner() []byte { return r.Wire[:r.owner] }

// Type is the record's type.
func (r *Record) Type() uint16 { return binary.BigEndian.Uint16(r.Wire[r.owner:]) }

// Class is the record's class.
func (r *Record) Class() uint16 { return binary.BigEndian.Uint16(r.Wire[r.owner+2:]) }

// TTL is the record's time to live in seconds.
func (r *Record) TTL() uint32 { return binary.BigEndian.Uint32(r.Wire[r.owner+4:]) }

// SetTTL changes the time to live, in seconds.
func (r *Record) SetTTL(ttl uint32) { binary.BigEndian.PutUint32(r.Wire[r.owner+4:], ttl) }

// Data is the record's RDATA.
func (r *Record) Data() []byte { return r.Wire[r.owner+rrFixedSize:] }

// ParseRecord takes the first of a row of uncompressed records and returns what
// follows it. The record points into b. The error wraps [ErrFormat].
func ParseRecord(b []byte) (r Record, rest []byte, err error) {
	end, err := skipName(b)
	if err != nil {
		return Record{}, nil, err
	}
	if len(b) < end+rrFixedSize {
		return Record{}, nil, fmt.Errorf("%w: record is cut short", ErrFormat)
	}
	size := end + rrFixedSize + int(binary.BigEndian.Uint16(b[end+8:]))
	if len(b) < size {
		return Record{}, nil, fmt.Errorf("%w: record is cut short", ErrFormat)
	}
	return Record{Wire: b[:size:size], owner: end}, b[size:], nil
}

// skipName returns the size of an uncompressed name.
func skipName(b []byte) (int, error) {
	for at := 0; at < len(b) && at < maxName; {
		size := int(b[at])
		if size == 0 {
			return at + 1, nil
		}
		if size > maxLabel {
			break
		}
		at += 1 + size
	}
	return 0, fmt.Errorf("%w: no uncompressed name", ErrFormat)
}

// layout says where the names in a type's RDATA are.
type layout struct {
	skip         int  // octets before the first name
	texts        int  // character strings between these and the name
	names        int  // names one after the other
	compressible bool // of RFC 1035: they may be compressed (RFC 3597 §4)
}

// layoutOf returns the layout of the types whose names are in lower case in canonical
// form (RFC 4034 §6.2 as corrected by RFC 6840 §5.1: not NSEC). The obsolete A6 and
// NXT are left out: no zone has them.
func layoutOf(rrtype uint16) layout {
	switch rrtype {
	case dns.TypeNS, dns.TypeCNAME, dns.TypePTR, dns.TypeMB, dns.TypeMD, dns.TypeMF, dns.TypeMG, dns.TypeMR:
		return layout{names: 1, compressible: true}
	case dns.TypeMX:
		return layout{skip: 2, names: 1, compressible: true}
	case dns.TypeSOA, dns.TypeMINFO:
		return layout{names: 2, compressible: true}
	case dns.TypeDNAME:
		return layout{names: 1}
	case dns.TypeRP:
		return layout{names: 2}
	case dns.TypeAFSDB, dns.TypeRT, dns.TypeKX:
		return layout{skip: 2, names: 1}
	case dns.TypePX:
		return layout{skip: 2, names: 2}
	case dns.TypeSRV:
		return layout{skip: 6, names: 1}
	case dns.TypeNAPTR:
		return layout{skip: 4, texts: 3, names: 1}
	case dns.TypeRRSIG, dns.TypeSIG:
		return layout{skip: 18, names: 1}
	}
	return layout{}
}

// names appends the extents of the names in the record's data to dst, as pairs of
// offsets into Wire. It fails when the data has not the form of its type, which a
// backend may send as RFC 3597's generic data.
func (r *Record) names(dst []int) ([]int, error) {
	l := layoutOf(r.Type())
	if l.names == 0 {
		return dst, nil
	}
	at := r.owner + rrFixedSize + l.skip
	for range l.texts {
		if at >= len(r.Wire) {
			return dst, errNames
		}
		at += 1 + int(r.Wire[at])
	}
	for range l.names {
		if at > len(r.Wire) {
			return dst, errNames
		}
		size, err := skipName(r.Wire[at:])
		if err != nil {
			return dst, errNames
		}
		dst = append(dst, at, at+size)
		at += size
	}
	return dst, nil
}

var errNames = fmt.Errorf("%w: data without the names of its type", ErrFormat)

// Canonical puts the record into canonical form in place: the letters of its owner
// and of the names in its data in lower case (RFC 4034 §6.2).
func (r *Record) Canonical() {
	lowerName(r.Owner())
	var extents [4]int
	found, _ := r.names(extents[:0])
	for i := 0; i < len(found); i += 2 {
		lowerName(r.Wire[found[i]:found[i+1]])
	}
}

// lowerName lowers a name in wire format; length octets are below 'A'.
func lowerName(b []byte) {
	for i, c := range b {
		b[i] = lower(c)
	}
}

// ParseMessage takes the octets of a message that a [Packer] made; first says whether
// it is the first of its transfer. The error wraps [ErrFormat].
func ParseMessage(b []byte, first bool) (Message, error) {
	m := Message{Bytes: b, First: first}
	if len(b) < headerSize || first != (b[5] == 1) || b[4] != 0 {
		return Message{}, fmt.Errorf("%w: message is cut short, or not in its place", ErrFormat)
	}
	m.Records = int(binary.BigEndian.Uint16(b[6:]))
	return m, nil
}

// Begin is the offset of the message's first record. The error wraps [ErrFormat].
func (m Message) Begin() (int, error) {
	if len(m.Bytes) < headerSize {
		return 0, fmt.Errorf("%w: message is cut short", ErrFormat)
	}
	if !m.First {
		return headerSize, nil
	}
	size, err := skipName(m.Bytes[headerSize:])
	if err != nil {
		return 0, err
	}
	return headerSize + size + 4, nil
}

// Read expands the record at offset into r, which keeps nothing of what it held, and
// returns the offset of the next one. The error wraps [ErrFormat].
func (m Message) Read(offset int, r *Record) (next int, err error) {
	b := m.Bytes
	r.Wire, offset, err = expandName(r.Wire[:0], b, offset)
	if err != nil {
		return 0, err
	}
	if len(b) < offset+rrFixedSize {
		return 0, fmt.Errorf("%w: record is cut short", ErrFormat)
	}
	r.owner = len(r.Wire)
	r.Wire = append(r.Wire, b[offset:offset+rrFixedSize]...)
	data := offset + rrFixedSize
	next = data + int(binary.BigEndian.Uint16(b[data-2:]))
	if len(b) < next {
		return 0, fmt.Errorf("%w: record is cut short", ErrFormat)
	}
	l := layoutOf(r.Type())
	if !l.compressible {
		r.Wire = append(r.Wire, b[data:next]...)
		return next, nil
	}
	if next-data < l.skip {
		return 0, errNames
	}
	r.Wire = append(r.Wire, b[data:data+l.skip]...)
	at := data + l.skip
	for range l.names {
		if r.Wire, at, err = expandName(r.Wire, b, at); err != nil {
			return 0, err
		}
	}
	if at > next {
		return 0, errNames
	}
	r.Wire = append(r.Wire, b[at:next]...)
	binary.BigEndian.PutUint16(r.Wire[r.owner+8:], uint16(len(r.Data())))
	return next, nil
}

// expandName appends the name at offset, pointers followed (RFC 1035 §4.1.4), and
// returns the offset of what follows it there.
func expandName(dst, msg []byte, offset int) ([]byte, int, error) {
	begin, after := len(dst), 0
	for at, limit := offset, offset; at < len(msg); {
		c := int(msg[at])
		switch {
		case c == 0:
			if after == 0 {
				after = at + 1
			}
			return append(dst, 0), after, nil
		case c >= pointerBits>>8:
			if at+1 >= len(msg) {
				return dst, 0, errPointer
			}
			if after == 0 {
				after = at + 2
			}
			at = (c<<8 | int(msg[at+1])) & (pointerLimit - 1)
			if at >= limit { // backwards only, so it ends
				return dst, 0, errPointer
			}
			limit = at
		case c > maxLabel || at+1+c > len(msg) || len(dst)-begin+c+2 > maxName:
			return dst, 0, errPointer
		default:
			dst = append(dst, msg[at:at+1+c]...)
			at += 1 + c
		}
	}
	return dst, 0, errPointer
}

var errPointer = fmt.Errorf("%w: a name is cut short or its pointers lead astray", ErrFormat)

// load takes a name in uncompressed wire format that is known to be valid.
func (n *name) load(b []byte) {
	copy(n.wire[:], b)
	n.labels = 0
	at := 0
	for ; b[at] != 0; at += 1 + int(b[at]) {
		n.start[n.labels] = uint8(at)
		n.labels++
	}
	n.start[n.labels] = uint8(at)
}

// appendRecord appends a record from its wire format, as appendRR does.
func (e *encoder) appendRecord(msg []byte, r *Record) ([]byte, error) {
	var extents [4]int
	compressible := layoutOf(r.Type()).compressible
	found := extents[:0]
	if compressible {
		var err error
		if found, err = r.names(found); err != nil {
			return msg, err
		}
	}
	e.lastOwner, e.lastOff = "", 0
	b := e.appendWireName(msg, r.Owner())
	b = append(b, r.Wire[r.owner:r.owner+rrFixedSize]...)
	start, at := len(b), r.owner+rrFixedSize
	for i := 0; i < len(found); i += 2 {
		b = append(b, r.Wire[at:found[i]]...)
		b = e.appendWireName(b, r.Wire[found[i]:found[i+1]])
		at = found[i+1]
	}
	b = append(b, r.Wire[at:]...)
	binary.BigEndian.PutUint16(b[start-2:], uint16(len(b)-start))
	return b, nil
}

// appendWireName appends a name given in wire format, compressed if that is done here.
func (e *encoder) appendWireName(msg, wire []byte) []byte {
	if e.compressor == nil {
		return append(msg, wire...)
	}
	e.name.load(wire)
	msg, _ = e.compressor.append(msg, &e.name)
	return msg
}
