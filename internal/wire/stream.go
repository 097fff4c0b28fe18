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
	"syscall"
	"time"
)

// chunk is what a connection that does not survive a timed out write is given at once:
// the data of one TLS record.
const chunk = 16 << 10

// past is a deadline that makes a write fail at once.
var past = time.Unix(1, 0)

// stream writes to a connection under deadlines.
type stream struct {
	ctx       context.Context
	conn      net.Conn
	stall     time.Duration
	total     time.Time
	resumable bool // a write that timed out may go on where it stopped
	stop      func() bool

	mu       sync.Mutex // guards the write deadline against interrupt
	released bool
	canceled bool
}

// newStream watches ctx until release.
func newStream(ctx context.Context, conn net.Conn, stall time.Duration, total time.Time) *stream {
	s := &stream{ctx: ctx, conn: conn, stall: stall, total: total}
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
	if s.canceled {
		return canceled(s.ctx)
	}
	if err := s.conn.SetWriteDeadline(deadline); err != nil {
		return writeError(err)
	}
	return nil
}

func (s *stream) release(ok bool) {
	s.stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.released = true
	if ok {
		_ = s.conn.SetWriteDeadline(time.Time{})
	}
}

func (s *stream) write(b []byte) (n int, err error) {
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
	if !time.Now().Before(s.total) {
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
