// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"context"
	"errors"
	"time"

	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/wire"
)

// errBackendHangs ends a transfer whose backend has stopped sending.
var errBackendHangs = errors.New("its backend hands out nothing")

// backendStalls is how many times a client's stall the backend of a zone may hand out
// nothing. A zone that is too large to be kept comes at the pace of its slowest reader,
// who takes eight of them for a batch at worst.
const backendStalls = 10

// backendWait is how long a transfer waits for more of its zone: while it waits it has
// one of the places that `concurrent` gives out, and nobody else would end it. A build,
// which belongs to no client, has a clock of its own: internal/zone/source.go.
func backendWait(l *policy.Limits) time.Duration {
	if l.Stall <= 0 || l.Timeout <= 0 {
		return backendStalls * wire.DefaultStall
	}
	return min(backendStalls*l.Stall, l.Timeout)
}

// watchdog cancels a context unless it is reset in time. A nil one does nothing.
type watchdog struct {
	wait  time.Duration
	timer *time.Timer
}

// newWatchdog starts one, which cancel ends too.
func newWatchdog(ctx context.Context, wait time.Duration) (*watchdog, context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watchdog{wait: wait, timer: time.AfterFunc(wait, func() { cancel(errBackendHangs) })}
	return w, ctx, func() {
		w.timer.Stop()
		cancel(nil)
	}
}

// pause keeps it quiet until resume.
func (w *watchdog) pause() {
	if w != nil {
		w.timer.Stop()
	}
}

func (w *watchdog) resume() {
	if w != nil {
		w.timer.Reset(w.wait)
	}
}
