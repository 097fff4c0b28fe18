// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/interop/peer"
)

// flood sends messages of one kind, rate of them a second, over one TCP connection after
// the other and over UDP in turn, and reads the answers.
type flood struct {
	name string
	from string
	make func() []byte
}

// floods is one for each way to be refused.
func floods() []flood {
	crowd := crowdKey(0)
	plain := func(q question) func() []byte {
		return func() []byte {
			_, b := q.message()
			return b
		}
	}
	old := func() []byte {
		_, b := question{qtype: dns.TypeAXFR, zone: origin, key: &crowd, at: time.Now().Add(-time.Hour)}.message()
		return b
	}
	_, again := question{qtype: dns.TypeAXFR, zone: origin, key: &crowd}.message()
	weak := peer.Key{Name: crowd.Name, Algorithm: "hmac-sha1.", Secret: crowd.Secret}
	wrong := peer.Key{Name: crowd.Name, Algorithm: crowd.Algorithm, Secret: badKey.Secret}
	return []flood{
		{"stranger", strangerAddr, plain(axfr(crowd))},
		{"stranger unsigned", strangerAddr, plain(question{qtype: dns.TypeAXFR, zone: origin})},
		{"unsigned", crowdAddress, plain(question{qtype: dns.TypeAXFR, zone: origin})},
		{"unknown key", crowdAddress, plain(axfr(badKey))},
		{"key of another", crowdAddress, plain(axfr(ownKey))},
		{"wrong signature", crowdAddress, plain(axfr(wrong))},
		{"forged own", crowdAddress, plain(axfr(shadow))},
		{"weak algorithm", crowdAddress, plain(axfr(weak))},
		{"old", crowdAddress, old},
		{"replay", crowdAddress, func() []byte { return again }},
		{"no such zone", crowdAddress, plain(question{qtype: dns.TypeAXFR, zone: "sub." + origin, key: &crowd})},
		{"IXFR up to date", crowdAddress, plain(question{qtype: dns.TypeIXFR, zone: origin, serial: 1, key: &crowd})},
		{"malformed", crowdAddress, func() []byte {
			_, b := axfr(crowd).message()
			return append(b, 0, 0, 0)
		}},
	}
}

// floodRate is how many messages a second all floods send together.
const floodRate = 2000

// floodAll runs every flood at once.
func floodAll(perSecond int) attack {
	return func(ctx context.Context, s *server) {
		var wg sync.WaitGroup
		kinds := floods()
		for _, f := range kinds {
			wg.Go(func() { f.run(ctx, s, perSecond/len(kinds)) })
		}
		wg.Wait()
	}
}

func (f flood) run(ctx context.Context, s *server, perSecond int) {
	every := time.Second / time.Duration(perSecond)
	for ctx.Err() == nil {
		if rand.N(4) == 0 {
			f.udp(ctx, s, every)
		} else {
			f.tcp(ctx, s, every)
		}
		pause(ctx, every)
	}
}

// perConnection is how many messages go over one connection.
const perConnection = 50

func (f flood) tcp(ctx context.Context, s *server, every time.Duration) {
	conn, err := identity{address: f.from}.dial(ctx, s, 0)
	if err != nil {
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	var answers sync.WaitGroup
	answers.Go(func() { _, _ = io.Copy(io.Discard, conn) })
	for range perConnection {
		_ = conn.SetWriteDeadline(time.Now().Add(2 * time.Second))
		if _, err := conn.Write(prefixed(f.make())); err != nil || ctx.Err() != nil {
			break
		}
		pause(ctx, every)
	}
	cut(conn)
	answers.Wait()
}

func (f flood) udp(ctx context.Context, s *server, every time.Duration) {
	d := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(f.from)}}
	conn, err := d.DialContext(ctx, "udp", s.addr())
	if err != nil {
		return
	}
	defer conn.Close()
	for range perConnection {
		if _, err := conn.Write(f.make()); err != nil || ctx.Err() != nil {
			return
		}
		pause(ctx, every)
	}
}

// mutate sends requests with a few octets changed, cut, doubled or put in, some with a length
// that lies, and reads what comes for a moment.
func mutate(ctx context.Context, s *server, id identity) {
	conn, err := id.dial(ctx, s, 0)
	if err != nil {
		return
	}
	defer cut(conn)
	d := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(id.address)}}
	packets, err := d.DialContext(ctx, "udp", s.addr())
	if err != nil {
		return
	}
	defer packets.Close()
	for range 20 {
		_, b := axfr(id.key).message()
		b = mutated(b)
		_, _ = packets.Write(b)
		b = prefixed(b)
		if rand.N(20) == 0 {
			binary.BigEndian.PutUint16(b, uint16(rand.N(1<<16)))
		}
		_ = conn.SetDeadline(time.Now().Add(200 * time.Millisecond))
		if _, err := conn.Write(b); err != nil || ctx.Err() != nil {
			return
		}
		_, _ = conn.Read(make([]byte, 4096))
	}
}

func mutated(b []byte) []byte {
	for range 1 + rand.N(4) {
		at := rand.N(len(b))
		switch rand.N(8) {
		case 0:
			b = b[:at+1]
		case 1:
			b = append(b[:at:at], append([]byte{byte(rand.N(256))}, b[at:]...)...)
		case 2:
			b = append(b, b[at:]...)
		default:
			b[at] ^= 1 << rand.N(8)
		}
	}
	return b[:min(len(b), 60_000)]
}
