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
type Sink interface {
	// Append returns nil once the event is as durable as this sink can make it
	// (docs/EVENTS.md says what that is for each), or an error.
	Append(ctx context.Context, event []byte) error
	// Post hands the event over to be written soon. It never blocks; ErrBusy
	// says that there is no room.
	Post(event []byte) error
	// Close writes what was posted, waits a bounded time, and ends the sink.
	Close() error
}

// accountant is a sink that watches itself: it may be called while it is down, keeps
// account of the appends that failed, and writes the gap event. The audit file is one.
type accountant interface {
	// watch has changed called with the error when the sink goes down and with nil
	// when it is up again; it is called first with the state as it is.
	watch(changed func(error))
}

// poster is a sink that can say afterwards that a posted event was not written.
type poster interface {
	post(event []byte, failed func(error)) error
}

// roomy is a sink that tells whether it would take a posted event.
type roomy interface {
	// hasRoom reports whether the next Post would find a place, if nobody else comes first.
	hasRoom() bool
}

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
	case errors.Is(err, errSinkDown):
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

// openSink makes the sink of an `audit` line.
func openSink(spec corefile.Sink, keyPath string) (Sink, error) {
	switch spec.Kind {
	case "stdout":
		return newStdoutSink()
	case "file":
		return newFileSink(spec.Path, keyPath)
	case "journald":
		return newJournalSink()
	case "syslog":
		return newSyslogSink(spec.Network, spec.Address)
	}
	return nil, fmt.Errorf("unknown audit sink %q: expected stdout, file, journald or syslog", spec.Kind)
}
