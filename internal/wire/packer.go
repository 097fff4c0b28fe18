// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/miekg/dns"
)

const (
	headerSize  = 12 // of a message
	rrFixedSize = 10 // type, class, TTL and RDLENGTH

	// maxPointable is the size of a message of several records, everything that is
	// appended later included: below 16 KiB every name can be pointed to.
	maxPointable = pointerLimit - 1

	// defaultReserve is the room in octets that messages leave for what is appended
	// to them: an OPT RR without options (11), and a TSIG RR with a key name of 255
	// octets and hmac-sha512 (255 + 10 + 13 + 16 + 64).
	defaultReserve = 11 + 358

	flagQR = 1 << 15
	flagAA = 1 << 10
	flagRD = 1 << 8
)

// Message is one packed message of a transfer: QR and AA set, everything else of the
// header but the counts zero, the zone's name as question in the first message only
// (RFC 5936 §2.2). It is sent through an [Envelope].
type Message struct {
	Bytes   []byte // without length prefix
	Records int    // in the answer section
	First   bool   // it has the question
}

// Packer packs a stream of records into the messages of one zone transfer. Messages
// stay below 16 KiB with everything that is appended later; a record that does not
// fit there gets a message of its own of up to 65535 octets. It is not safe for
// concurrent use. The zero value is not usable; see [NewPacker].
type Packer struct {
	*packState
	question []byte
	limit    int
	emit     func(Message) error
	records  int
	first    bool
	err      error
}

// packState is what is worth keeping from one transfer to the next.
type packState struct {
	encoder
	buf   []byte
	table compressor
}

var packStates = sync.Pool{New: func() any {
	s := &packState{buf: make([]byte, 0, 2*pointerLimit)}
	s.compressor = &s.table
	return s
}}

var errPackerDone = errors.New("packer is closed")

// NewPacker starts the messages of a transfer of the zone qname. reserve is the room
// in octets that each message leaves below 16 KiB for OPT and TSIG; 0 means
// that of one signature and an OPT.
//
// emit gets each message as soon as it is full; Message.Bytes belongs to the packer
// and is valid until emit returns, so who keeps it copies it. An error of emit ends
// the packing and is returned by Add or Close as it is. A qname that is no domain
// name is reported by the first Add.
//
// A Packer must be ended with Close or Discard, which give its buffers back.
func NewPacker(qname string, reserve int, emit func(Message) error) *Packer {
	if reserve <= 0 {
		reserve = defaultReserve
	}
	p := &Packer{
		packState: packStates.Get().(*packState),
		limit:     max(maxPointable-reserve, headerSize),
		emit:      emit,
		first:     true,
	}
	if p.question, p.err = AppendName(nil, qname); p.err != nil {
		p.err = fmt.Errorf("question %w", p.err)
	}
	p.begin()
	return p
}

// begin starts a message.
func (p *Packer) begin() {
	p.encoder.reset()
	p.records = 0
	p.buf = append(p.buf[:0], make([]byte, headerSize)...)
	binary.BigEndian.PutUint16(p.buf[2:], flagQR|flagAA)
	if p.first {
		p.buf = append(p.buf, p.question...)
		p.buf = binary.BigEndian.AppendUint16(p.buf, dns.TypeAXFR)
		p.buf = binary.BigEndian.AppendUint16(p.buf, dns.ClassINET)
		p.buf[5] = 1
	}
}

// Add packs one record. It only reads rr, so records of a live zone may be given. It
// fails with an error that names owner and type and wraps [ErrRecordTooLarge] or
// [ErrName], or with the error of emit; after an error every call returns it, and
// nothing more is emitted.
func (p *Packer) Add(rr dns.RR) error {
	if p.err != nil {
		return p.err
	}
	p.err = p.add(rr)
	return p.err
}

func (p *Packer) add(rr dns.RR) error {
	err := p.place(func(b []byte) ([]byte, error) { return p.appendRR(b, rr) })
	if errors.Is(err, errOverflow) {
		h := rr.Header()
		return fmt.Errorf("%s %s: %w", h.Name, dns.Type(h.Rrtype), ErrRecordTooLarge)
	}
	return err
}

// AddRecord packs one record that is in wire format, as Add does.
func (p *Packer) AddRecord(r *Record) error {
	if p.err != nil {
		return p.err
	}
	p.err = p.place(func(b []byte) ([]byte, error) { return p.appendRecord(b, r) })
	if errors.Is(p.err, errOverflow) {
		p.err = fmt.Errorf("record of type %s: %w", dns.Type(r.Type()), ErrRecordTooLarge)
	}
	return p.err
}

var errOverflow = errors.New("message is over 65535 octets")

// place lets a record be appended to the message, or to the next one when it does not
// fit any more.
func (p *Packer) place(appendTo func([]byte) ([]byte, error)) error {
	before := len(p.buf)
	b, err := appendTo(p.buf)
	if err != nil {
		return err
	}
	p.buf = b
	if len(b) > p.limit && p.records > 0 {
		// Its pointers lead into the message it does not fit, so it is packed again.
		p.buf = b[:before]
		if err := p.send(); err != nil {
			return err
		}
		if p.buf, err = appendTo(p.buf); err != nil {
			return err
		}
	}
	if len(p.buf) > math.MaxUint16 {
		return errOverflow
	}
	p.records++
	if len(p.buf) > p.limit {
		return p.send()
	}
	return nil
}

// send emits the message and begins the next one.
func (p *Packer) send() error {
	binary.BigEndian.PutUint16(p.buf[6:], uint16(p.records))
	if err := p.emit(Message{Bytes: p.buf, Records: p.records, First: p.first}); err != nil {
		return err
	}
	p.first = false
	p.begin()
	return nil
}

// Close emits what is left, if anything, and ends the packer. It returns the first
// error of the packing.
func (p *Packer) Close() error {
	if p.err == nil && p.records > 0 {
		p.err = p.send()
	}
	err := p.err
	p.Discard()
	return err
}

// Discard ends the packer without emitting the message in hand, for a stream that
// turned out to be broken. After Close it does nothing.
func (p *Packer) Discard() {
	if p.packState == nil {
		return
	}
	p.lastOwner = "" // pins no zone
	if cap(p.buf) <= 8*pointerLimit {
		packStates.Put(p.packState)
	}
	p.packState = nil
	if p.err == nil {
		p.err = errPackerDone
	}
}
