// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// chunk is what a connection that does not survive a timed out write is given at once,
// where it is not known what the client acknowledges: the data of one TLS record.
const chunk = 16 << 10

// past is a deadline that makes a write fail at once.
var past = time.Unix(1, 0)

// stream writes to a connection, as long as the client makes progress: octets that it
// acknowledges. A write that is blocked has the deadline of the whole transfer, and a
// watch looks now and then at what has become of it, because a TLS connection is ruined
// by a write that timed out. The watch is a timer that runs only beside writes.
//
// Where nobody tells what the client has acknowledged, writes that the connection takes
// are the progress, each with a deadline: writeBlind.
type stream struct {
	ctx       context.Context
	conn      net.Conn
	raw       syscall.RawConn       // nil where there is no way to the socket
	meter     atomic.Pointer[meter] // nil before much is sent, and for writeBlind
	stall     time.Duration
	total     time.Time
	resumable bool        // a write that timed out may go on where it stopped
	stop      func() bool // nil where ctx is never done

	mu       sync.Mutex // guards the write deadline, and all below
	released bool
	canceled bool
	armed    bool // the deadline is that of the transfer
	checked  bool // whether the meter tells the truth
	blind    bool // it does not
	stalled  bool // the watch has interrupted the write
	writing  bool
	watching bool
	watch    *time.Timer
	written  int64     // by writes that are over
	acked    int64     // as the watch has last seen it
	since    time.Time // when it grew, or the write began
}

// newStream watches ctx until release.
func newStream(ctx context.Context, conn net.Conn, stall time.Duration, total time.Time) *stream {
	s := &stream{ctx: ctx, conn: conn, raw: rawConnOf(conn), stall: stall, total: total}
	// Only for a plain TCP connection is it known that a timed out write has done no harm.
	_, s.resumable = conn.(*net.TCPConn)
	s.stop = context.AfterFunc(ctx, s.interrupt)
	return s
}

// interrupt makes a blocked write return.
func (s *stream) interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.canceled = true
	if !s.released {
		_ = s.conn.SetWriteDeadline(past)
	}
}

// arm sets the deadline of the next write, unless the transfer is canceled.
func (s *stream) arm(deadline time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.armLocked(deadline)
}

func (s *stream) armLocked(deadline time.Time) error {
	if s.canceled {
		return canceled(s.ctx)
	}
	if err := s.conn.SetWriteDeadline(deadline); err != nil {
		return writeError(err)
	}
	return nil
}

func (s *stream) release(ok bool) {
	if s.stop != nil {
		s.stop()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.released = true
	if s.watch != nil {
		s.watch.Stop()
	}
	if ok {
		_ = s.conn.SetWriteDeadline(time.Time{})
	}
}

// small is how much is written under a plain deadline: no client takes longer for it,
// and most answers need no more.
const small = 16 << 10

func (s *stream) write(b []byte) (n int, err error) {
	if s.meter.Load() == nil && s.written+int64(len(b)) <= small {
		if err := s.arm(earlier(time.Now().Add(s.stall), s.total)); err != nil {
			return 0, err
		}
		n, err = s.conn.Write(b)
		s.written += int64(n)
		if err != nil {
			err = s.cause(err)
		}
		return n, err
	}
	err = s.begin()
	if errors.Is(err, errBlind) {
		return s.writeBlind(b)
	}
	if err != nil {
		return 0, err
	}
	n, err = s.conn.Write(b)
	s.mu.Lock()
	s.writing = false
	s.written += int64(n)
	s.mu.Unlock()
	if err != nil {
		return n, s.cause(err)
	}
	return n, nil
}

// errBlind: nobody can watch.
var errBlind = errors.New("it is not known what the client acknowledges")

// begin starts the watch over a write.
func (s *stream) begin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.measured()
	if m != nil && s.written > 0 && !s.checked {
		p, ok := m.look()
		s.checked, s.blind = true, ok && !m.plausible(p, s.written)
	}
	if m == nil || s.blind {
		return errBlind
	}
	now := time.Now()
	if !now.Before(s.total) {
		return ErrTimeout
	}
	if !s.armed {
		if err := s.armLocked(s.total); err != nil {
			return err
		}
		s.armed = true
	}
	s.writing, s.since = true, now
	switch {
	case s.watching:
	case s.watch == nil:
		s.watch = time.AfterFunc(s.pause(), s.tick)
	default:
		s.watch.Reset(s.pause())
	}
	s.watching = true
	return nil
}

// measured returns the meter, a new one if need be.
func (s *stream) measured() *meter {
	m := s.meter.Load()
	if m == nil && s.raw != nil {
		if m = newMeter(s.raw, s.stall, s.written); m != nil {
			s.meter.Store(m)
		}
	}
	return m
}

// pause is the time between two looks of the watch.
func (s *stream) pause() time.Duration {
	return min(max(s.stall/4, 10*time.Millisecond), time.Second)
}

// tick looks whether the client makes progress, and ends the write if it has made none
// for too long. The watch is over when no write is under way.
func (s *stream) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.writing || s.released || s.canceled {
		s.watching = false
		return
	}
	now := time.Now()
	p, ok := s.meter.Load().look()
	if ok && (p.acked != s.acked || p.unacked == 0) {
		s.acked, s.since = p.acked, now
	}
	left := s.stall - now.Sub(s.since)
	if left <= 0 {
		s.stalled, s.watching = true, false
		_ = s.conn.SetWriteDeadline(past)
		return
	}
	s.watch.Reset(min(left, s.pause()))
}

// settle waits until no more than most octets are neither acknowledged nor given up.
// It knows nothing, and does not wait, where nobody tells what is acknowledged.
func (s *stream) settle(most int64) error {
	if unacked, ok := s.unacked(); !ok || unacked <= most {
		return nil
	}
	m := s.measured()
	if m == nil {
		return nil
	}
	var timer *time.Timer
	acked, since := int64(-1), time.Now()
	for pause := 100 * time.Microsecond; ; pause = min(2*pause, 20*time.Millisecond) {
		p, ok := m.look()
		if !ok || p.unacked <= most || !m.plausible(p, s.written) {
			return nil
		}
		now := time.Now()
		if p.acked != acked {
			acked, since = p.acked, now
		}
		switch {
		case s.ctx.Err() != nil:
			return canceled(s.ctx)
		case p.closed:
			return fmt.Errorf("%w: %d octets were not acknowledged", ErrClientGone, p.unacked)
		case !now.Before(s.total):
			return ErrTimeout
		case now.Sub(since) >= s.stall:
			return ErrStalled
		}
		timer = s.sleep(timer, min(pause, since.Add(s.stall).Sub(now), s.total.Sub(now)))
	}
}

// unacked is how much of what was written is not acknowledged.
func (s *stream) unacked() (n int64, known bool) {
	if s.raw == nil {
		return 0, false
	}
	return unacknowledged(s.raw)
}

// sleep waits for that time, or until ctx is done. It returns the timer for next time.
func (s *stream) sleep(timer *time.Timer, d time.Duration) *time.Timer {
	if timer == nil {
		timer = time.NewTimer(d)
	} else {
		timer.Reset(d)
	}
	select {
	case <-timer.C:
	case <-s.ctx.Done():
		timer.Stop()
	}
	return timer
}

// writeBlind writes where only the connection tells of progress.
func (s *stream) writeBlind(b []byte) (n int, err error) {
	if s.resumable {
		return s.writePatiently(b)
	}
	for n < len(b) && err == nil {
		if err = s.arm(earlier(time.Now().Add(s.stall), s.total)); err != nil {
			break
		}
		var taken int
		taken, err = s.conn.Write(b[n:min(n+chunk, len(b))])
		n += taken
		if err != nil {
			err = s.cause(err)
		}
	}
	return n, err
}

// writePatiently lets a write time out several times within the stall time, to see
// whether the client takes anything: a slow reader may need longer for a batch.
func (s *stream) writePatiently(b []byte) (n int, err error) {
	progress := time.Now()
	look := max(s.stall/4, time.Millisecond)
	for {
		now := time.Now()
		next := earlier(now.Add(look), progress.Add(s.stall))
		if err := s.arm(earlier(next, s.total)); err != nil {
			return n, err
		}
		taken, err := s.conn.Write(b[n:])
		n += taken
		if err == nil {
			return n, nil
		}
		err = s.cause(err)
		if !errors.Is(err, ErrStalled) {
			return n, err
		}
		now = time.Now()
		if taken > 0 {
			progress = now
		} else if now.Sub(progress) >= s.stall {
			return n, err
		}
	}
}

// cause says why a write failed; a deadline that was not the total time's is a stall.
func (s *stream) cause(err error) error {
	if s.ctx.Err() != nil {
		return canceled(s.ctx)
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return writeError(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stalled && !time.Now().Before(s.total) {
		return ErrTimeout
	}
	return ErrStalled
}

// writeError classifies the failure of a write.
func writeError(err error) error {
	for _, gone := range [...]error{syscall.EPIPE, syscall.ECONNRESET, syscall.ETIMEDOUT, syscall.EHOSTUNREACH, io.ErrClosedPipe} {
		if errors.Is(err, gone) {
			return fmt.Errorf("%w: %w", ErrClientGone, err)
		}
	}
	return fmt.Errorf("%w: %w", ErrWrite, err)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
