// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/miekg/dns"
)

// ErrRecordTooLarge says that a record does not fit a DNS message even alone
// (RDLENGTH and the TCP length prefix have 16 bits). The error that wraps it names
// owner and type.
var ErrRecordTooLarge = errors.New("record is too large for a DNS message")

var errRdata = errors.New("its data has no wire format")

// encoder writes records in wire format. Common types go straight from miekg/dns's
// structs without allocation (rdata.go), all others through miekg/dns.
type encoder struct {
	compressor *compressor // nil: compress nothing
	name       name
	scratch    []byte
	lastOwner  string // owner of the record before, and where it is in the message
	lastOff    uint16
}

// AppendRR appends the uncompressed wire form of one record (RFC 1035 §3.2.1), letter
// case kept. It reads rr only, so records may be shared. A name that is not valid
// wraps [ErrName], a record over 65535 octets of data wraps [ErrRecordTooLarge].
func AppendRR(dst []byte, rr dns.RR) ([]byte, error) {
	var e encoder
	return e.appendRR(dst, rr)
}

// Encoder appends records as [AppendRR] does, and keeps its room from one to the next. The
// zero value is ready.
type Encoder struct{ encoder }

// Append appends one record.
func (e *Encoder) Append(dst []byte, rr dns.RR) ([]byte, error) { return e.appendRR(dst, rr) }

// reset forgets the names of the message before.
func (e *encoder) reset() {
	e.lastOwner, e.lastOff = "", 0
	if e.compressor != nil {
		e.compressor.reset()
	}
}

// appendRR appends one record; on error msg is returned as it was.
func (e *encoder) appendRR(msg []byte, rr dns.RR) ([]byte, error) {
	if rr == nil {
		return msg, errors.New("nil record")
	}
	h := rr.Header()
	b, err := e.appendOwner(msg, h.Name)
	if err != nil {
		return msg, fmt.Errorf("owner %w", err)
	}
	b = binary.BigEndian.AppendUint16(b, h.Rrtype)
	b = binary.BigEndian.AppendUint16(b, h.Class)
	b = binary.BigEndian.AppendUint32(b, h.Ttl)
	b = append(b, 0, 0)
	start := len(b)
	b, known, err := e.appendRdata(b, rr)
	if err == nil && !known {
		b, err = e.appendViaMiekg(b, rr)
	}
	if err == nil && len(b)-start > math.MaxUint16 {
		err = ErrRecordTooLarge
	}
	if err != nil {
		return msg, fmt.Errorf("%s %s: %w", h.Name, dns.Type(h.Rrtype), err)
	}
	binary.BigEndian.PutUint16(b[start-2:], uint16(len(b)-start))
	return b, nil
}

// appendOwner writes a pointer at once when the owner is the one of the record before.
func (e *encoder) appendOwner(msg []byte, owner string) ([]byte, error) {
	if e.lastOff != 0 && owner == e.lastOwner {
		return binary.BigEndian.AppendUint16(msg, pointerBits|e.lastOff), nil
	}
	if err := e.name.parse(owner); err != nil {
		return msg, err
	}
	if e.compressor == nil {
		return append(msg, e.name.bytes()...), nil
	}
	msg, e.lastOff = e.compressor.append(msg, &e.name)
	e.lastOwner = owner
	return msg, nil
}

// appendCompressible is for names in the data of RFC 1035's types, which may be compressed.
func (e *encoder) appendCompressible(msg []byte, s string) ([]byte, error) {
	if err := e.name.parse(s); err != nil {
		return msg, err
	}
	if e.compressor == nil {
		return append(msg, e.name.bytes()...), nil
	}
	msg, _ = e.compressor.append(msg, &e.name)
	return msg, nil
}

// appendUncompressed is for names in the data of all other types (RFC 3597 §4).
func (e *encoder) appendUncompressed(msg []byte, s string) ([]byte, error) {
	if err := e.name.parse(s); err != nil {
		return msg, err
	}
	return append(msg, e.name.bytes()...), nil
}

// viaMiekgSize holds any record that miekg/dns can pack: it needs no exact size in
// advance, and one over the limit is found by its length.
const viaMiekgSize = 2 * dns.MaxMsgSize

// appendViaMiekg appends the data of a record as miekg/dns packs it. It packs a whole
// message because dns.PackRR writes into the record's header, which is a data race
// on a zone's shared records.
func (e *encoder) appendViaMiekg(dst []byte, rr dns.RR) ([]byte, error) {
	if e.scratch == nil {
		e.scratch = make([]byte, viaMiekgSize)
	}
	m := dns.Msg{Answer: []dns.RR{rr}}
	packed, err := m.PackBuffer(e.scratch)
	if err != nil {
		if dns.Len(rr) > math.MaxUint16 {
			return dst, fmt.Errorf("%w: %w", ErrRecordTooLarge, err)
		}
		return dst, err
	}
	if err := e.name.parse(rr.Header().Name); err != nil {
		return dst, err
	}
	rdata := headerSize + len(e.name.bytes()) + rrFixedSize
	if rdata > len(packed) {
		return dst, errRdata
	}
	return append(dst, packed[rdata:]...), nil
}
