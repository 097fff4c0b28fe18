// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/internal/wire"
	"github.com/xfrguard/xfrguard/interop/lab"
	"github.com/xfrguard/xfrguard/interop/peer"
)

// limitEnv makes this program the limit: ADDRESS=FILE of the zone.
const limitEnv = "XFRGUARD_BENCH_LIMIT"

// limitBatch is how many octets the limit writes at a time.
const limitBatch = 128 << 10

// Room for a batch that is not quite full and the largest message.
var limitBuffers = sync.Pool{New: func() any {
	b := make([]byte, 0, limitBatch+1<<16)
	return &b
}}

// limit is what a server cannot be faster than: packed messages copied from memory to
// the socket in large writes, each with its HMAC when the request is signed. It checks
// nothing, and is a process of its own, so that it is measured like the others.
var limit = software{name: "limit", listens: true, configure: func(t *lab.Lifetime, s *server) []string {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return []string{"env", fmt.Sprintf("%s=%s=%s", limitEnv, peer.Loopback(s.port), s.zoneFile()), exe}
}}

// serveLimit is the whole program of the child.
func serveLimit(ctx context.Context, spec string) error {
	addr, path, _ := strings.Cut(spec, "=")
	messages, err := packZone(path)
	if err != nil {
		return err
	}
	secret, err := base64.StdEncoding.DecodeString(keySecret)
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { l.Close() })
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			if err := answerLimit(conn, messages, secret); err != nil && err != io.EOF {
				fmt.Fprintln(os.Stderr, "limit:", err)
			}
		}()
	}
}

// packZone packs the zone file as an AXFR sends it, SOA to SOA.
func packZone(path string) ([]wire.Message, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var messages []wire.Message
	p := wire.NewPacker(origin, 0, func(m wire.Message) error {
		m.Bytes = slices.Clone(m.Bytes)
		messages = append(messages, m)
		return nil
	})
	defer p.Discard()
	var soa dns.RR
	parser := dns.NewZoneParser(bufio.NewReaderSize(f, 1<<20), origin, path)
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		if soa == nil {
			soa = rr
		}
		if err := p.Add(rr); err != nil {
			return nil, err
		}
	}
	if err := parser.Err(); err != nil {
		return nil, fmt.Errorf("read zone: %w", err)
	}
	if err := p.Add(soa); err != nil {
		return nil, err
	}
	return messages, p.Close()
}

// answerLimit answers one request.
func answerLimit(conn net.Conn, messages []wire.Message, secret []byte) error {
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return err
	}
	packed := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, packed); err != nil {
		return err
	}
	req := new(dns.Msg)
	if err := req.Unpack(packed); err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	envelope, err := wire.EnvelopeFor(req)
	if err != nil {
		return err
	}
	if t := req.IsTsig(); t != nil {
		if envelope.Signer, err = wire.NewResponseSigner(t, secret); err != nil {
			return err
		}
	}
	room := limitBuffers.Get().(*[]byte)
	defer limitBuffers.Put(room)
	buf := (*room)[:0]
	for i, m := range messages {
		start := len(buf)
		if buf, err = envelope.Append(append(buf, 0, 0), m); err != nil {
			return err
		}
		binary.BigEndian.PutUint16(buf[start:], uint16(len(buf)-start-2))
		if len(buf) >= limitBatch || i == len(messages)-1 {
			if _, err := conn.Write(buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
	}
	return nil
}
