// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// Progress is how far the client of a transfer has come.
type Progress struct {
	// Bytes is what the client has acknowledged, in octets of TCP, those of TLS included;
	// where that is not known, what the connection has taken.
	Bytes int64
	Known bool // Bytes are acknowledged
	// Idle is how long the transfer has not waited for the client: it waited for its
	// pace, or for more to send.
	Idle time.Duration
}

// Progress tells how far the client has come. It may be called from any goroutine, and
// after Close.
func (s *Sender) Progress() Progress {
	p := Progress{Bytes: s.taken.Load(), Idle: s.idle.read()}
	if s.stream == nil {
		return p
	}
	m := s.stream.meter.Load()
	if m == nil {
		return p
	}
	if now, ok := m.look(); ok && m.plausible(now, p.Bytes) {
		p.Bytes, p.Known = m.taken(now), true
	}
	return p
}

// Settle waits until the client has acknowledged all but most octets of what was
// flushed, under the same limits as a write. Where that is not known it does not wait.
func (s *Sender) Settle(most int64) error {
	if s.err != nil || s.stream == nil {
		return s.err
	}
	s.idle.end()
	s.err = s.stream.settle(most)
	return s.err
}

// Confirm waits until the client has acknowledged everything that was flushed, but no
// longer than patience, and no longer than until the client has something more to say:
// its next request, or goodbye. It tells how much of Stats().Bytes is acknowledged, at
// least; not known where nobody tells.
func (s *Sender) Confirm(patience time.Duration) (acked int64, known bool) {
	if s.stream == nil {
		return 0, false
	}
	return s.stream.confirm(patience, s.stats.Bytes)
}

func (s *stream) confirm(patience time.Duration, sent int64) (acked int64, known bool) {
	unacked, known := s.unacked()
	if !known || unacked == 0 || s.blind {
		return sent, known && !s.blind
	}
	end := time.Now().Add(patience)
	heard := buffered(s.conn)
	for pause := time.Millisecond; ; pause = min(2*pause, 20*time.Millisecond) {
		acked = max(0, sent-unacked)
		now := time.Now()
		if unacked == 0 || heard || !now.Before(end) || s.ctx.Err() != nil {
			return acked, true
		}
		// What is heard brings the acknowledgement with it, so there is one more look. The
		// deadline is set anew before the next read.
		if t, ok := TCPConnOf(s.conn); !ok || t.SetReadDeadline(earlier(now.Add(pause), end)) != nil {
			return acked, true
		}
		heard = awaitReadable(s.raw)
		n, ok := s.unacked()
		if !ok {
			return acked, true
		}
		unacked = n
	}
}

// idleClock counts the time in which a transfer does not wait for its client.
type idleClock struct {
	mu    sync.Mutex
	total time.Duration
	since time.Time // zero while it waits for the client
}

func (c *idleClock) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.since.IsZero() {
		c.since = time.Now()
	}
}

func (c *idleClock) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.since.IsZero() {
		c.total += time.Since(c.since)
		c.since = time.Time{}
	}
}

func (c *idleClock) read() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.since.IsZero() {
		return c.total
	}
	return c.total + time.Since(c.since)
}

// lookEach is after how many messages on average Within looks at what is not acknowledged:
// each look is a system call, about as much as a tenth of a refusal costs. Which messages
// is left to chance, so that no client can know them; one that reads nothing has at most a
// few dozen more of them in the kernel.
const lookEach = 16

// Within runs write, which writes one message of at most a few KiB to conn, under the
// limits of a transfer: it ends when the message is not taken within the stall time, when
// more than about Unacknowledged octets of it and others before it stay so for that long,
// when the total time is over, and when ctx is done. After an error the connection must be
// closed (see [Abort]). Nobody else may write to conn or set its write deadline meanwhile.
func Within(ctx context.Context, conn net.Conn, o SendOptions, write func() error) error {
	o.setDefaults()
	now := time.Now()
	s := &stream{ctx: ctx, conn: conn, stall: o.Stall, total: now.Add(o.Total)}
	if ctx.Done() != nil {
		s.stop = context.AfterFunc(ctx, s.interrupt)
	}
	err := s.arm(earlier(now.Add(s.stall), s.total))
	if err == nil {
		if err = write(); err != nil {
			err = s.cause(err)
		}
	}
	if err == nil && rand.N(lookEach) == 0 {
		s.raw = rawConnOf(conn)
		err = s.settle(Unacknowledged)
	}
	s.release(err == nil)
	return err
}
