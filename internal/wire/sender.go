// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/time/rate"
)

// Ends of a transfer that did not succeed. After any of them the connection must be
// closed (see [Abort]): part of a message may be on the wire.
var (
	// ErrStalled: the client has taken nothing for the stall time.
	ErrStalled = errors.New("client takes no data")
	// ErrTimeout: the transfer's total time, or the context's deadline, is over.
	ErrTimeout = errors.New("transfer takes too long")
	// ErrClientGone: the client has closed or reset the connection, or is unreachable.
	ErrClientGone = errors.New("client is gone")
	// ErrCanceled: the context was canceled; its cause is wrapped too.
	ErrCanceled = errors.New("transfer is canceled")
	// ErrWrite: the connection failed in another way.
	ErrWrite = errors.New("writing failed")
)

// Defaults of [SendOptions].
const (
	DefaultStall = 30 * time.Second
	defaultTotal = 2 * time.Hour
	defaultBatch = 128 << 10
)

// Unacknowledged is how many octets of a transfer may be left to the kernel, in all
// likelihood on their way, when it counts as over (see [Sender.Settle]).
const Unacknowledged = 64 << 10

// SendOptions bounds what one transfer may take. The zero value means the defaults.
type SendOptions struct {
	// Stall is the longest time in which the client may acknowledge nothing of what it
	// has been sent. Time spent pacing, or between calls, does not count. Default
	// DefaultStall.
	//
	// Where the kernel does not tell what the client acknowledges (elsewhere than on
	// Linux, and without a TCP connection) what counts is what the connection takes. A
	// TLS connection is ruined by a write that timed out, so there 16 KiB must pass within
	// Stall; and a kernel takes more only when a part of its buffer is free, so that a
	// slow reader may pass for stalled.
	Stall time.Duration
	// Total is the longest time from NewSender to the last octet. Default two
	// hours.
	Total time.Duration
	// BytesPerSecond paces the transfer; 0 means as fast as the client reads.
	BytesPerSecond int
	// Batch is the size in octets from which messages are written. Default
	// 128 KiB.
	Batch int
}

// SendStats counts what the connection has taken. That is what left this process; what
// has arrived tell [Sender.Progress] and [Sender.Confirm].
type SendStats struct {
	Messages int   // complete ones
	Records  int   // in complete messages
	Bytes    int64 // with the 2-octet length prefixes, without TLS
}

// Sender writes the messages of one transfer, in large batches. It is not safe for
// concurrent use; canceling its context is.
//
// Each error is one of ErrStalled, ErrTimeout, ErrClientGone, ErrCanceled and ErrWrite,
// or one of [Envelope.Append]. After an error nothing more is written, and every call
// returns it.
type Sender struct {
	ctx      context.Context
	envelope Envelope
	out      output
	pace     *rate.Limiter
	total    time.Time
	batch    int
	stop     context.CancelFunc // of ctx
	buf      *[]byte            // messages with length prefix, not yet written
	ends     []messageEnd       // of the messages in buf
	stats    SendStats
	err      error
	stream   *stream      // out, where it is one
	taken    atomic.Int64 // octets, by writes that are over
	idle     idleClock
}

type messageEnd struct{ offset, records int }

// output is a connection or what stands for one.
type output interface {
	// write writes b and returns how much of it was taken.
	write(b []byte) (int, error)
	// release gives the connection back, ready for the next answer if ok.
	release(ok bool)
}

// Room for a batch that is not quite full and one more message of the usual size; and,
// for the many answers of one message, room for that.
var (
	sendBuffers  = bufferPool(defaultBatch + 2*pointerLimit)
	smallBuffers = bufferPool(pointerLimit)
)

func bufferPool(size int) *sync.Pool {
	return &sync.Pool{New: func() any {
		b := make([]byte, 0, size)
		return &b
	}}
}

// makeRoom changes a small buffer for a large one before it would grow.
func (s *Sender) makeRoom(size int) {
	small := s.buf
	if cap(*small) > pointerLimit || len(*small)+size <= cap(*small) {
		return
	}
	s.buf = sendBuffers.Get().(*[]byte)
	*s.buf = append((*s.buf)[:0], *small...)
	smallBuffers.Put(small)
}

// NewSender writes a transfer to a TCP or TLS connection, with a write deadline for
// each batch. Canceling ctx interrupts a blocked write at once. The caller must call
// Close, and nobody else may write to conn or set its write deadline meanwhile.
func NewSender(ctx context.Context, conn net.Conn, envelope Envelope, o SendOptions) *Sender {
	s := newSender(ctx, envelope, &o)
	s.stream = newStream(s.ctx, conn, o.Stall, s.total)
	s.out = s.stream
	return s
}

// NewMessageSender writes a transfer through w, one message a call, where there is no
// way to the connection ([ConnOf]). It cannot interrupt a blocked write: limits are
// checked between writes only, and who needs more closes w.
func NewMessageSender(ctx context.Context, w dns.ResponseWriter, envelope Envelope, o SendOptions) *Sender {
	s := newSender(ctx, envelope, &o)
	s.batch = 1
	s.out = messageWriter{w: w, stall: o.Stall}
	return s
}

func (o *SendOptions) setDefaults() {
	if o.Stall <= 0 {
		o.Stall = DefaultStall
	}
	if o.Total <= 0 {
		o.Total = defaultTotal
	}
	if o.Batch <= 0 {
		o.Batch = defaultBatch
	}
}

func newSender(ctx context.Context, envelope Envelope, o *SendOptions) *Sender {
	o.setDefaults()
	s := &Sender{
		envelope: envelope,
		batch:    o.Batch,
		total:    time.Now().Add(o.Total),
		buf:      smallBuffers.Get().(*[]byte),
	}
	*s.buf = (*s.buf)[:0]
	s.idle.begin()
	// Not WithDeadline, which would start a timer and end the transfer with no
	// distinction between a stall and the total time.
	s.ctx, s.stop = context.WithCancel(ctx)
	if o.BytesPerSecond > 0 {
		// Ten steps a second are smooth enough and few enough.
		burst := min(max(o.BytesPerSecond/10, 512), o.Batch)
		s.pace = rate.NewLimiter(rate.Limit(o.BytesPerSecond), burst)
	}
	return s
}

// Send takes one message, and writes when enough are there. m.Bytes is copied.
func (s *Sender) Send(m Message) error {
	if s.err != nil {
		return s.err
	}
	s.makeRoom(2 + len(m.Bytes) + s.envelope.overhead())
	b := append(*s.buf, 0, 0)
	start := len(b)
	b, err := s.envelope.Append(b, m)
	if err != nil {
		s.err = err
		return err
	}
	binary.BigEndian.PutUint16(b[start-2:], uint16(len(b)-start))
	*s.buf = b
	s.ends = append(s.ends, messageEnd{offset: len(b), records: m.Records})
	if len(b) >= s.batch {
		return s.Flush()
	}
	return nil
}

// Flush writes what is there. It must follow the last Send; before, it may be used to
// let the client have what is ready while the next message is not.
func (s *Sender) Flush() error {
	if s.err != nil {
		return s.err
	}
	n, err := s.write(*s.buf)
	s.stats.Bytes += int64(n)
	for _, end := range s.ends {
		if end.offset <= n {
			s.stats.Messages++
			s.stats.Records += end.records
		}
	}
	*s.buf, s.ends = (*s.buf)[:0], s.ends[:0]
	s.err = err
	return err
}

// write writes b at the pace of the transfer.
func (s *Sender) write(b []byte) (n int, err error) {
	for n < len(b) {
		if err := s.expired(); err != nil {
			return n, err
		}
		next := b[n:]
		if s.pace != nil {
			next = next[:min(len(next), s.pace.Burst())]
			if err := s.wait(len(next)); err != nil {
				return n, err
			}
		}
		s.idle.end()
		taken, err := s.out.write(next)
		s.idle.begin()
		n += taken
		s.taken.Add(int64(taken))
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// wait sleeps until size more octets may be sent, or the transfer must end.
func (s *Sender) wait(size int) error {
	delay := s.pace.ReserveN(time.Now(), size).Delay()
	if delay == 0 {
		return nil
	}
	timer := time.NewTimer(min(delay, time.Until(s.total)))
	defer timer.Stop()
	select {
	case <-s.ctx.Done():
	case <-timer.C:
	}
	return s.expired()
}

func (s *Sender) expired() error {
	if s.ctx.Err() != nil {
		return canceled(s.ctx)
	}
	if !time.Now().Before(s.total) {
		return ErrTimeout
	}
	return nil
}

// canceled is the error of a context that is done.
func canceled(ctx context.Context) error {
	cause := context.Cause(ctx)
	if errors.Is(cause, context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", ErrTimeout, cause)
	}
	return fmt.Errorf("%w: %w", ErrCanceled, cause)
}

// Stats tells how far the transfer has come, also after an error.
func (s *Sender) Stats() SendStats { return s.stats }

// Close ends the sender: it removes the write deadline, so that the connection can
// serve the next request, unless the transfer failed. It writes nothing and does not
// close the connection. It may be called twice.
func (s *Sender) Close() {
	if s.buf == nil {
		return
	}
	s.out.release(s.err == nil)
	s.stop()
	switch size := cap(*s.buf); {
	case size <= pointerLimit:
		smallBuffers.Put(s.buf)
	case size <= 4*defaultBatch:
		sendBuffers.Put(s.buf)
	}
	s.buf = nil
	if s.err == nil {
		s.err = errors.New("sender is closed")
	}
}

// messageWriter writes single messages to a ResponseWriter, which adds the length
// prefix itself.
type messageWriter struct {
	w     dns.ResponseWriter
	stall time.Duration
}

func (m messageWriter) write(b []byte) (int, error) {
	begin := time.Now()
	if _, err := m.w.Write(b[2:]); err != nil {
		return 0, writeError(err)
	}
	if time.Since(begin) > m.stall {
		return len(b), ErrStalled
	}
	return len(b), nil
}

func (messageWriter) release(bool) {}
