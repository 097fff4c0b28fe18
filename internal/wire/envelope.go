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

var (
	// ErrMessageTooLarge says that a message is over 65535 octets with the OPT and TSIG
	// of this transfer.
	ErrMessageTooLarge = errors.New("message is over 65535 octets with its OPT and TSIG")
	// ErrQuestion says that an envelope is for another zone than the message, or that a
	// request has not exactly one question.
	ErrQuestion = errors.New("question does not match")
)

// Envelope is what makes packed messages the answer to one request. It holds the
// state of the signature chain: one envelope serves one transfer.
type Envelope struct {
	ID               uint16
	RecursionDesired bool    // copied from the request, RFC 1035 §4.1.1
	Name             []byte  // of the question, in wire format with the client's letter case
	Type             uint16  // of the question
	OPT              []byte  // a packed OPT record for every message, or nil; see [PackOPT]
	Block            int     // messages with OPT are padded to a multiple of this (RFC 7830); 0: not at all
	Signer           *Signer // nil: unsigned
}

// EnvelopeFor returns the envelope of an unsigned answer without EDNS; the caller sets
// OPT and Signer. A request without exactly one question, with a valid name, gives
// [ErrQuestion] or [ErrName].
func EnvelopeFor(req *dns.Msg) (Envelope, error) {
	if len(req.Question) != 1 {
		return Envelope{}, fmt.Errorf("%w: %d questions", ErrQuestion, len(req.Question))
	}
	q := req.Question[0]
	name, err := AppendName(nil, q.Name)
	if err != nil {
		return Envelope{}, fmt.Errorf("question %w", err)
	}
	return Envelope{ID: req.Id, RecursionDesired: req.RecursionDesired, Name: name, Type: q.Qtype}, nil
}

// PackOPT packs an OPT record for [Envelope.OPT] (RFC 6891 §6.1.2, RFC 9103 §6.3.4).
func PackOPT(opt *dns.OPT) ([]byte, error) {
	b, err := AppendRR(nil, opt)
	if err != nil {
		return nil, fmt.Errorf("packing OPT: %w", err)
	}
	return b, nil
}

// overhead is what the envelope adds to each message, in octets, without padding,
// which is left out where there is no room.
func (e *Envelope) overhead() int {
	n := len(e.OPT)
	if e.Signer != nil {
		n += e.Signer.Size()
	}
	return n
}

// Fits tells whether a packed message of that many octets can be sent in the envelope.
func (e *Envelope) Fits(size int) bool { return size+e.overhead() <= math.MaxUint16 }

// Append appends the message as this transfer sends it, without length prefix; m is
// not changed. Messages must come in the order they are sent in, as the signatures
// depend on it. The errors are [ErrMessageTooLarge] and [ErrQuestion].
func (e *Envelope) Append(dst []byte, m Message) ([]byte, error) {
	if len(m.Bytes) < headerSize {
		return dst, errors.New("message has no header")
	}
	if !e.Fits(len(m.Bytes)) {
		return dst, ErrMessageTooLarge
	}
	start := len(dst)
	b := append(dst, m.Bytes...)
	msg := b[start:]
	binary.BigEndian.PutUint16(msg, e.ID)
	if e.RecursionDesired {
		msg[2] |= flagRD >> 8
	}
	if m.First {
		if err := e.patchQuestion(msg[headerSize:]); err != nil {
			return dst, err
		}
	}
	if len(e.OPT) > 0 {
		binary.BigEndian.PutUint16(msg[10:], binary.BigEndian.Uint16(msg[10:])+1)
		opt := len(b)
		b = e.pad(append(b, e.OPT...), start, opt)
	}
	if e.Signer != nil {
		b = e.Signer.seal(b, start)
	}
	return b, nil
}

// patchQuestion puts the client's spelling of the name into the question. No record
// points there, so none changes its letter case.
func (e *Envelope) patchQuestion(q []byte) error {
	if len(e.Name) == 0 || len(q) < len(e.Name)+4 {
		return ErrQuestion
	}
	for i, c := range e.Name {
		if lower(c) != lower(q[i]) {
			return ErrQuestion
		}
	}
	copy(q, e.Name)
	binary.BigEndian.PutUint16(q[len(e.Name):], e.Type)
	return nil
}

// paddingHeader is what the padding option adds beside its data.
const paddingHeader = 4

// Padding returns how many octets of data a padding option must have that makes a
// message of that size, TSIG included, a multiple of block with it; -1 if the message
// has no room for one.
func Padding(size, block int) int {
	size += paddingHeader
	n := (block - size%block) % block
	if size+n > math.MaxUint16 {
		return -1
	}
	return n
}

// pad puts the padding option into the OPT record, which is the end of b.
func (e *Envelope) pad(b []byte, start, opt int) []byte {
	if e.Block <= 0 {
		return b
	}
	size := len(b) - start
	if e.Signer != nil {
		size += e.Signer.Size()
	}
	n := Padding(size, e.Block)
	if n < 0 {
		return b
	}
	const ownerTypeClassTTL = 1 + 2 + 2 + 4
	length := b[opt+ownerTypeClassTTL:]
	binary.BigEndian.PutUint16(length, binary.BigEndian.Uint16(length)+uint16(paddingHeader+n))
	b = binary.BigEndian.AppendUint16(b, dns.EDNS0PADDING)
	b = binary.BigEndian.AppendUint16(b, uint16(n))
	return append(b, make([]byte, n)...)
}
