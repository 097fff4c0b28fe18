// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// attack goes on until ctx ends.
type attack func(ctx context.Context, s *server)

// smallWindow is the receive buffer of clients that do not mean to read.
const smallWindow = 4096

// comeback is about how long an attacker waits before it connects again.
const comeback = time.Second

// crowd is count attackers, each of which does one thing over and over.
type crowd struct {
	count     int
	addresses bool // many, else one
	keys      bool // many, else one
	tls       bool
	once      func(ctx context.Context, s *server, id identity)
}

// run is an attack.
func (c crowd) run(ctx context.Context, s *server) {
	var wg sync.WaitGroup
	for i := range c.count {
		id := crowdID(i, c.addresses, c.keys, c.tls)
		wg.Go(func() {
			pause(ctx, rand.N(time.Second)) // all at once would be one burst, and then another
			for ctx.Err() == nil {
				c.once(ctx, s, id)
				pause(ctx, comeback/2+rand.N(comeback))
			}
		})
	}
	wg.Wait()
}

// begin connects, asks for the zone and returns the connection, nil if that failed.
func begin(ctx context.Context, s *server, id identity) net.Conn {
	conn, err := id.dial(ctx, s, smallWindow)
	if err != nil {
		return nil
	}
	_, b := id.request()
	if _, err := conn.Write(b); err != nil {
		conn.Close()
		return nil
	}
	return conn
}

// stall asks for the zone and reads nothing of it, until the server closes.
func stall(ctx context.Context, s *server, id identity) {
	conn := begin(ctx, s, id)
	if conn == nil {
		return
	}
	defer cut(conn)
	for ctx.Err() == nil && alive(conn) {
		pause(ctx, time.Second)
	}
}

// trickle asks for the zone and reads 1 KiB of it every 5 s, until the server closes.
func trickle(ctx context.Context, s *server, id identity) {
	conn := begin(ctx, s, id)
	if conn == nil {
		return
	}
	defer cut(conn)
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	b := make([]byte, 1024)
	for {
		if _, err := io.ReadFull(conn, b); err != nil {
			return
		}
		pause(ctx, 5*time.Second)
	}
}

// leave reads some of the zone and resets the connection, or never reads and resets it at
// once: the server learns of it while it sends, while it waits, or before it begins.
func leave(ctx context.Context, s *server, id identity) {
	conn := begin(ctx, s, id)
	if conn == nil {
		return
	}
	defer cut(conn)
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	if n := rand.N(4); n > 0 {
		_, _ = io.CopyN(io.Discard, conn, rand.N(int64(n*n*16<<10)))
	}
}

// drip sends the request one octet at a time, and reads the answer.
func drip(ctx context.Context, s *server, id identity) {
	conn, err := id.dial(ctx, s, smallWindow)
	if err != nil {
		return
	}
	defer cut(conn)
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	_, b := id.request()
	for i := range b {
		if _, err := conn.Write(b[i : i+1]); err != nil {
			return
		}
		pause(ctx, 20*time.Millisecond)
	}
	_, _ = io.CopyN(io.Discard, conn, 64<<10)
}

// pipeline sends a hundred requests at once over one connection and reads nothing.
func pipeline(ctx context.Context, s *server, id identity) {
	conn, err := id.dial(ctx, s, smallWindow)
	if err != nil {
		return
	}
	defer cut(conn)
	var all []byte
	for range 100 {
		_, b := id.request()
		all = append(all, b...)
	}
	_ = conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Write(all); err != nil {
		return
	}
	for ctx.Err() == nil && alive(conn) {
		pause(ctx, time.Second)
	}
}

// slowSecondary is an honest one with a line of so many bytes a second.
type slowSecondary struct {
	identity
	speed int
	took  time.Duration
	bytes atomic.Int64
	err   error
}

// pull transfers the zone once at the line's speed.
func (c *slowSecondary) pull(ctx context.Context, s *server) {
	begin := time.Now()
	defer func() { c.took = time.Since(begin) }()
	conn, err := c.dial(ctx, s, 16<<10)
	if err != nil {
		c.err = err
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	qid, b := c.request()
	if _, c.err = conn.Write(b); c.err != nil {
		return
	}
	c.err = readZone(&paced{Conn: conn, ctx: ctx, speed: c.speed, count: &c.bytes, begin: begin}, qid, s.recordsOf(c.identity))
}

// paced is a connection that is read at a speed.
type paced struct {
	net.Conn
	ctx   context.Context //nolint:containedctx // of one transfer
	speed int
	count *atomic.Int64
	begin time.Time
}

// Read implements net.Conn, a tenth of a second's bytes at a time.
func (p *paced) Read(b []byte) (int, error) {
	due := p.begin.Add(time.Duration(float64(p.count.Load()) / float64(p.speed) * float64(time.Second)))
	pause(p.ctx, time.Until(due))
	n, err := p.Conn.Read(b[:min(len(b), max(1, p.speed/10))])
	p.count.Add(int64(n))
	return n, err
}
