// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/wire"
)

// confirmation is how long the end of a transfer waits for the acknowledgement of what is
// on its way. The transfer's place is free by then.
const confirmation = time.Second

// outcome is what became of an allowed request.
type outcome struct {
	reason audit.EndReason
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
		if cause := context.Cause(ctx); err == nil && (errors.Is(cause, errRevoked) || errors.Is(cause, errZoneGone) || errors.Is(cause, errFrozen)) && acked < s.Stats().Bytes {
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

// sendSOA sends the current SOA alone.
func (x *exchange) sendSOA(p plan) outcome {
	if err := x.soaOnly(p.version.SOA); err != nil {
		log.Debugf("Answer to %s not written: %v", x.client(), err)
		x.ev.Error = err.Error()
		return outcome{reason: unwritten(err)}
	}
	end := audit.EndUpToDate
	if p.served == audit.ServedUseTCP {
		end = audit.EndUseTCP
	}
	return outcome{reason: end, stats: wire.SendStats{Messages: 1, Records: 1, Bytes: int64(x.soaSize(p.version.SOA))}}
}

// unwritten names why an answer of one message is not written.
func unwritten(err error) audit.EndReason {
	if end := endReason(err); end != audit.EndInternalError {
		return end
	}
	return audit.EndClientGone
}

// soaSize is about what soaOnly puts on the wire; the writers count for themselves.
func (x *exchange) soaSize(soa *dns.SOA) int {
	m := new(dns.Msg).SetReply(x.r)
	m.Compress = true
	m.Answer = []dns.RR{soa}
	return m.Len()
}

// abort closes the connection: part of a message may be on its way, and nothing
// may follow it.
func (x *exchange) abort() {
	if x.conn != nil {
		_ = wire.Abort(x.conn)
		return
	}
	_ = x.w.Close()
}

// envelope is what this client's messages carry beside the zone.
func (x *exchange) envelope() (wire.Envelope, error) {
	env, err := wire.EnvelopeFor(x.r)
	if err != nil {
		return env, err
	}
	if opt := x.opt(policy.ReasonAllowed); opt != nil {
		if env.OPT, err = wire.PackOPT(opt); err != nil {
			return env, err
		}
		env.Block = x.padding()
	}
	if x.Req.TSIG.Status == policy.TSIGValid {
		env.Signer, err = wire.NewResponseSigner(x.Signature, x.Secret)
	}
	return env, err
}

// soaOnly answers an IXFR whose client has to know no more than the current
// serial: it is up to date, or asked over UDP and must come back over TCP because
// the answer does not fit (RFC 1995 §2).
func (x *exchange) soaOnly(soa *dns.SOA) error {
	m := new(dns.Msg).SetReply(x.r)
	m.Authoritative = true
	m.Answer = []dns.RR{soa}
	if opt := x.opt(policy.ReasonAllowed); opt != nil {
		m.Extra = append(m.Extra, opt)
	}
	return x.within(x.run.ctx, func() error { return x.writeSigned(m, 0) })
}

// summarize tells the plugins in front of a transfer that went past them: one
// message with the rcode, and the bytes.
func (x *exchange) summarize(bytes int64) {
	if x.tap == nil {
		return
	}
	x.tap.swallow = true
	m := new(dns.Msg).SetReply(x.r)
	m.Authoritative = true
	x.tap.size = int(max(0, bytes-int64(m.Len())))
	_ = x.w.WriteMsg(m)
	_, _ = x.w.Write(nil)
}

// next returns the messages of the answer one after the other, io.EOF after the last.
func (p *plan) next(ctx context.Context) (wire.Message, error) {
	if p.served != audit.ServedIXFR {
		return p.reader.Next(ctx) //nolint:wrapcheck // endReason knows it
	}
	if len(p.messages) == 0 {
		return wire.Message{}, io.EOF
	}
	m := p.messages[0]
	p.messages = p.messages[1:]
	return m, nil
}

// send hands every message of the answer to the sender, which has limits of its own.
func (p *plan) send(ctx context.Context, s *wire.Sender, wait time.Duration) error {
	var dog *watchdog
	if p.served != audit.ServedIXFR && !p.reader.Complete() {
		var cancel context.CancelFunc
		dog, ctx, cancel = newWatchdog(ctx, wait)
		defer cancel()
	}
	for {
		m, err := p.next(ctx)
		dog.pause()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = s.Send(m)
		}
		if err != nil {
			return err
		}
		dog.resume()
	}
}
