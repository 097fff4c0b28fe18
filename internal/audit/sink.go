// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/trail"
)

// Sink is where events go. Events are encoded objects without a newline; they
// belong to the caller, who never changes them afterwards. All methods may be
// called at the same time.
//
// A sink accounts for itself: it counts each event that it does not take, or loses
// later, and tells of them in a gap event of its own when it can.
type Sink interface {
	// Append returns nil once the event is as durable as this sink can make it
	// (docs/EVENTS.md says what that is for each), or an error, when ctx ends at the
	// latest.
	Append(ctx context.Context, event []byte) error
	// Post hands the event over to be written soon. It never blocks.
	Post(event []byte) error
	// Room reports whether the next Post would find a place, if nobody else comes first.
	Room() bool
	// Close writes what was posted, tells what is lost, waits a bounded time, and ends
	// the sink.
	Close() error
}

// Opener opens the sink of that name. The sink calls state with the error when it goes
// down and with nil when it is up again, also while it is being opened. state returns at
// once and does not call the sink.
type Opener func(name string, state func(error)) (Sink, error)

// The errors of sinks.
var (
	errBusy       = errors.New("audit sink has no room for more events")
	errSinkDown   = errors.New("audit sink is down")
	errSinkClosed = errors.New("audit sink is closed")
	errDeadline   = errors.New("audit sink did not record the event in time")
)

// failureClass sorts errors for the metrics label class: a closed list.
func failureClass(err error) string {
	switch {
	case errors.Is(err, errSinkDown), errors.Is(err, errSinkClosed), errors.Is(err, trail.ErrClosed):
		return "down"
	case errors.Is(err, errBusy), errors.Is(err, trail.ErrBusy):
		return "busy"
	case errors.Is(err, errDeadline), errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "timeout"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "full"
	case errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, io.EOF):
		return "gone"
	case errors.Is(err, syscall.EIO):
		return "io"
	case errors.Is(err, errPanic):
		return "panic"
	}
	return "other"
}

var errPanic = errors.New("audit sink panicked")

// openSink opens the sink of an `audit` line.
func openSink(spec corefile.Sink, keyPath string) Opener {
	return func(name string, state func(error)) (Sink, error) {
		switch spec.Kind {
		case "stdout":
			return newStdoutSink(name, state)
		case "file":
			return newFileSink(spec.Path, keyPath, state)
		case "journald":
			return newJournalSink(name, state)
		case "syslog":
			return newSyslogSink(name, spec.Network, spec.Address, state)
		}
		return nil, fmt.Errorf("unknown audit sink %q: expected stdout, file, journald or syslog", spec.Kind)
	}
}
