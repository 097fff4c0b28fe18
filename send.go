// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"context"
	"errors"
	"time"

	"github.com/xfrguard/xfrguard/internal/wire"
	"github.com/xfrguard/xfrguard/internal/zone"
)

// confirmation is how long the end of a transfer waits for the acknowledgement of what is
// on its way. The transfer's place is free by then.
const confirmation = time.Second

// outcome is what became of an allowed request.
type outcome struct {
	reason EndReason
	stats  wire.SendStats
	acked  *int64    // of stats.Bytes, acknowledged by the client; nil where nobody tells
	over   time.Time // when the place was free; zero: now
}

// sendOptions are the limits on what is sent to the client. A request that no directive
// is for has those of the defaults.
func (x *exchange) sendOptions() wire.SendOptions {
	if x.cfg == nil {
		return wire.SendOptions{}
	}
	l := &x.cfg.Limits
	return wire.SendOptions{Stall: l.Stall, Total: l.Timeout, BytesPerSecond: int(l.Bandwidth)}
}

// send writes the packed version to the connection. The place of the transfer is free as
// soon as little enough is not acknowledged.
func (x *exchange) send(ctx context.Context, p plan) (end outcome) {
	var s *wire.Sender
	if x.conn != nil {
		s = wire.NewSender(ctx, x.conn, p.envelope, x.sendOptions())
	} else {
		s = wire.NewMessageSender(ctx, x.w, p.envelope, x.sendOptions())
	}
	defer s.Close()
	x.watch(s)
	err := p.send(ctx, s, backendWait(&x.cfg.Limits))
	if err == nil {
		err = s.Flush()
	}
	if err == nil {
		err = s.Settle(wire.Unacknowledged)
	}
	patience := time.Duration(0)
	if err == nil {
		x.lease.Release()
		p.close()
		end.over = time.Now()
		patience = confirmation
	}
	if acked, known := s.Confirm(patience); known {
		end.acked = &acked
		if cause := context.Cause(ctx); err == nil && errors.Is(cause, errRevoked) && acked < s.Stats().Bytes {
			err = cause
		}
	}
	if err != nil {
		x.abort()
		x.ev.Error = err.Error()
	}
	end.reason, end.stats = endReason(err), s.Stats()
	return end
}

// watch lets the limiter end the transfer when the client is below the pace and somebody
// waits for its place. Time in which the client was waited for by nobody counts as if it
// had kept the pace: the backend or the bandwidth may be slower than that.
func (x *exchange) watch(s *wire.Sender) {
	if x.lease == nil {
		return
	}
	pace := float64(x.cfg.Limits.Pace)
	x.lease.Watch(func() int64 {
		p := s.Progress()
		return p.Bytes + int64(p.Idle.Seconds()*pace)
	}, func(cause error) { x.run.cancel(cause) })
}

// endReason names what became of a transfer.
func endReason(err error) EndReason {
	switch {
	case err == nil:
		return EndComplete
	case errors.Is(err, errRevoked):
		return EndPolicyRevoked
	case errors.Is(err, errShutdown):
		return EndShutdown
	case errors.Is(err, errTooSlow), errors.Is(err, zone.ErrTooSlow):
		return EndTooSlow
	case errors.Is(err, wire.ErrStalled):
		return EndStalled
	case errors.Is(err, wire.ErrTimeout):
		return EndTimeout
	case errors.Is(err, wire.ErrClientGone):
		return EndClientGone
	case errors.Is(err, zone.ErrInvalid):
		return EndStreamInvalid
	case errors.Is(err, zone.ErrUnavailable), errors.Is(err, errBackendHangs):
		return EndZoneUnavailable
	case errors.Is(err, wire.ErrMessageTooLarge), errors.Is(err, wire.ErrRecordTooLarge):
		return EndRecordTooLarge
	}
	return EndInternalError
}
