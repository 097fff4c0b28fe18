// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// request is one transfer to ask for.
type request struct {
	addr      string
	signed    bool
	verifyAll bool   // not the last signature alone
	records   int    // that a full zone must have, 0: any number
	ixfr      bool   // else AXFR
	have      uint32 // serial that an IXFR is asked for
	soa       bool   // an ordinary query for the SOA instead, whose serial is have
}

// answer is what a transfer was.
type answer struct {
	Wall     time.Duration // from before the connection is made to the last octet
	First    time.Duration // to the first message
	Bytes    int64         // with the length prefixes
	Messages int
	Largest  int // octets of the largest message
	Records  int
	Style    style
	Serial   uint32
}

// Room for the largest message and what a batch of the server's may bring besides.
const bufferSize = 256 << 10

var buffers = sync.Pool{New: func() any {
	b := make([]byte, bufferSize)
	return &b
}}

// ids makes every request another one: of two equal ones in a second the guard would
// take the second for a replay.
var ids atomic.Uint32

// fetch makes one transfer over a connection of its own.
func fetch(ctx context.Context, r request) (answer, error) {
	begin := time.Now()
	a, err := r.fetch(ctx, begin)
	a.Wall = time.Since(begin)
	if err != nil {
		return a, fmt.Errorf("transfer from %s broke off after %d messages, %d records: %w", r.addr, a.Messages, a.Records, err)
	}
	return a, nil
}

func (r request) fetch(ctx context.Context, begin time.Time) (a answer, err error) {
	id, packed, signatures, err := r.pack()
	if err != nil {
		return a, err
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", r.addr)
	if err != nil {
		return a, err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return a, err
		}
	}
	if _, err := conn.Write(packed); err != nil {
		return a, err
	}
	s := stream{want: r.records, have: r.have, ixfr: r.ixfr || r.soa}
	err = readMessages(conn, func(m message) (bool, error) {
		if a.Messages == 0 {
			a.First = time.Since(begin)
		}
		a.Messages++
		a.Bytes += int64(len(m)) + 2
		a.Largest = max(a.Largest, len(m))
		if err := m.check(id); err != nil {
			return false, err
		}
		if err := s.add(m); err != nil {
			return false, err
		}
		if signatures != nil {
			return s.done, signatures.add(m, s.done)
		}
		return s.done, nil
	})
	a.Records, a.Style, a.Serial = s.records, s.style, s.serial
	return a, err
}

// pack returns the request with its length prefix.
func (r request) pack() (uint16, []byte, *chain, error) {
	q := new(dns.Msg)
	switch {
	case r.soa:
		q.SetQuestion(origin, dns.TypeSOA)
	case r.ixfr:
		q.SetIxfr(origin, r.have, "ns1."+origin, "hostmaster."+origin)
	default:
		q.SetAxfr(origin)
	}
	q.Id = uint16(ids.Add(1))
	var packed []byte
	var signatures *chain
	var err error
	if r.signed {
		var mac, secret []byte
		if packed, mac, err = sign(q); err != nil {
			return 0, nil, nil, err
		}
		if secret, err = base64.StdEncoding.DecodeString(keySecret); err != nil {
			return 0, nil, nil, err
		}
		signatures, err = newChain(secret, mac, r.verifyAll)
	} else {
		packed, err = q.Pack()
	}
	if err != nil {
		return 0, nil, nil, err
	}
	return q.Id, append(binary.BigEndian.AppendUint16(nil, uint16(len(packed))), packed...), signatures, nil
}

// readMessages calls f with each message, which is valid until f returns, until f says
// that it was the last.
func readMessages(conn io.Reader, f func(message) (bool, error)) error {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	b := *buf
	begin, end := 0, 0
	for {
		for end-begin >= 2 {
			size := int(binary.BigEndian.Uint16(b[begin:]))
			if end-begin < 2+size {
				break
			}
			done, err := f(message(b[begin+2 : begin+2+size]))
			begin += 2 + size
			switch {
			case err != nil:
				return err
			case done && begin < end:
				return errors.New("octets after the last message")
			case done:
				return nil
			}
		}
		end = copy(b, b[begin:end])
		begin = 0
		n, err := conn.Read(b[end:])
		end += n
		if n == 0 && err != nil {
			if errors.Is(err, io.EOF) {
				return io.ErrUnexpectedEOF
			}
			return err
		}
	}
}
