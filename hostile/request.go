// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/interop/peer"
)

// ids makes every request another one: of two equal ones in a second the guard would
// take the second for a replay.
var ids atomic.Uint32

// question is a request to be packed.
type question struct {
	qtype  uint16
	zone   string
	serial uint32 // of an IXFR
	key    *peer.Key
	at     time.Time // Time Signed, zero: now
}

func axfr(key peer.Key) question { return question{qtype: dns.TypeAXFR, zone: origin, key: &key} }

// message returns the request, and its bytes without a length prefix.
func (q question) message() (*dns.Msg, []byte) {
	m := new(dns.Msg)
	switch q.qtype {
	case dns.TypeAXFR:
		m.SetAxfr(q.zone)
	case dns.TypeIXFR:
		m.SetIxfr(q.zone, q.serial, ".", ".")
	default:
		m.SetQuestion(q.zone, q.qtype)
	}
	m.Id = uint16(ids.Add(1))
	if q.key == nil {
		b, err := m.Pack()
		if err != nil {
			panic(err) // the names are ours
		}
		return m, b
	}
	if q.at.IsZero() {
		q.at = time.Now()
	}
	m.SetTsig(q.key.Name, q.key.Algorithm, 300, q.at.Unix())
	b, _, err := dns.TsigGenerate(m, q.key.Secret, "", false)
	if err != nil {
		panic(err)
	}
	return m, b
}

// stream returns the request's id and its bytes as TCP carries them.
func (q question) stream() (uint16, []byte) {
	m, b := q.message()
	return m.Id, prefixed(b)
}

// prefixed puts the length in front of a message (RFC 1035 §4.2.2).
func prefixed(b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(make([]byte, 0, len(b)+2), uint16(len(b))), b...)
}
