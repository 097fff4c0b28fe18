// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"context"
	"errors"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/evidence"
	"github.com/xfrguard/xfrguard/internal/limit"
	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/wire"
	"github.com/xfrguard/xfrguard/internal/zone"

	"github.com/miekg/dns"
)

// exchange is one request for a transfer on its way through the guard.
type exchange struct {
	*evidence.Evidence
	guard *guard
	cfg   *corefile.Config // of the zone asked for; nil when this block guards none of that name
	entry string           // of ZONES that stands for it, as metrics have it; "-" for none
	w     dns.ResponseWriter
	r     *dns.Msg
	tap   *tap
	conn  net.Conn // nil where the writers could not be followed
	run   *underWay
	lease *limit.Lease // nil before the request is admitted
	audit *audit.Auditor
	ev    audit.Event
	rule  string // identity of the client under the rule that allowed it

	directive *directive // of cfg
	member    *member    // the zone, where a pattern stands for it

	unproven bool         // over UDP, and anybody may have sent it: see takeUnproven
	content  atomic.Value // audit.Served: what the answer holds, once it is planned
}

// answer takes a request the whole way: decision, lease, record, answer, record.
func (g *guard) answer(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	x := g.exchange(ctx, w, r)
	run := transfers.begin(ctx, x)
	if run == nil {
		x.abort()
		return dns.RcodeSuccess, nil
	}
	defer transfers.end(run)
	d := g.decide(x)
	if d.Allow && x.frozen() {
		d.Refuse(policy.ReasonFrozen)
	}
	if d.Allow && !x.takeUnproven() {
		d.Refuse(policy.ReasonRateLimited)
	}
	if !d.Allow {
		x.deny(&d)
		return dns.RcodeSuccess, nil
	}
	defer func() { x.lease.Release() }()
	if x.admit(run.ctx, &d); !d.Allow {
		x.deny(&d)
		return dns.RcodeSuccess, nil
	}
	plan, err := x.plan(run.ctx, &d)
	defer plan.close()
	if err != nil {
		log.Errorf("Zone %s cannot be transferred: %v", x.Req.Zone, err)
		x.ev.Error = err.Error()
		d.Refuse(unplanned(err))
	}
	x.admitWhole(run.ctx, &d, &plan)
	x.content.Store(plan.served)
	if d.Allow && x.overruled() {
		d.Refuse(policy.ReasonShutdown)
	}
	if d.Allow && x.expired(&d) {
		d.Refuse(policy.ReasonRuleExpired)
	}
	if d.Allow && x.frozen() {
		d.Refuse(policy.ReasonFrozen)
	}
	if d.Allow && !x.accept() {
		d.Refuse(policy.ReasonTSIGReplay)
	}
	if !d.Allow {
		plan.close()
		x.deny(&d)
		return dns.RcodeSuccess, nil
	}
	x.serve(run.ctx, &d, plan)
	return dns.RcodeSuccess, nil
}

// exchange reads the evidence and finds the way to the connection.
func (g *guard) exchange(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) *exchange {
	x := &exchange{Evidence: g.Examine(ctx, w, r), guard: g, w: w, r: r}
	x.place()
	if x.carried() {
		x.conn, _ = wire.ConnOf(w)
		x.tap = tapUnder(w)
	}
	x.ev = x.event()
	return x
}

// carried reports whether the transport is one whose connections are known here.
func (x *exchange) carried() bool {
	t := x.Req.Transport
	return t == policy.TransportUDP || t == policy.TransportTCP || t == policy.TransportTLS
}

// client names the other end for log lines.
func (x *exchange) client() string {
	return net.JoinHostPort(x.Req.Client.String(), strconv.Itoa(int(x.Port)))
}

// zone returns the zone, or "-": never a name that the client made up.
func (x *exchange) zone() string {
	if x.cfg == nil {
		return "-"
	}
	return x.Req.Zone
}

// deny records and answers a refusal. A client that does not read it takes no place from
// others.
func (x *exchange) deny(d *policy.Decision) {
	x.lease.Release()
	if d.Reason.Passes() && errors.Is(context.Cause(x.run.ctx), errFrozen) { // while it waited
		d.Refuse(policy.ReasonFrozen)
	}
	x.decided(d)
	x.ev.Rcode = wire.RcodeName(d.Verdict(x.Req.TSIG.Status).Rcode)
	x.count(d)
	x.audit.Denied(&x.ev)
	transfers.recorded(x.run)
	x.refuse(d)
	x.remind(d)
}

// accept enters a signature that is about to open a zone into the replay memory.
// It fails when the very same one got there first. Over UDP a client gets the SOA alone,
// and comes again with the same message over TCP, or sends the datagram once more: such a
// signature has opened nothing.
func (x *exchange) accept() bool {
	if x.Req.TSIG.Status != policy.TSIGValid || x.Req.Transport.Forgeable() {
		return true
	}
	audit.Clock.Check()
	return replays.Accept(x.Req.TSIG.Key, x.MAC, time.Unix(int64(x.Signature.TimeSigned), 0), time.Now())
}

// serve records the decision, and only then sends.
func (x *exchange) serve(ctx context.Context, d *policy.Decision, p plan) {
	x.decided(d)
	x.warnWeak(d)
	x.rule = x.identity(d.By)
	x.ev.Rcode = wire.RcodeName(dns.RcodeSuccess)
	x.ev.SerialServed = &p.version.Serial
	x.ev.Digest = digestOf(done, p.version)
	x.ev.SerialFuture = x.Req.Type == dns.TypeIXFR && zone.Newer(x.Req.Serial, p.version.Serial)
	record := x.audit.Decision
	if p.served.SOAAlone() {
		x.ev.Served = p.served
		record = x.audit.Answer
	}
	if err := record(ctx, &x.ev); err != nil {
		d.Refuse(policy.ReasonAuditUnavailable)
		x.ev.SerialServed, x.ev.Digest, x.ev.Served, x.ev.Complete = nil, "", audit.ServedNone, false
		x.deny(d)
		return
	}
	x.count(d)
	g := inFlight.WithLabelValues(x.Listener, x.entry, x.View)
	g.Inc()
	defer g.Dec()
	end := outcome{reason: audit.EndInternalError}
	defer func() { // also when something panics
		if end.reason == audit.EndInternalError {
			x.abort()
		}
		x.lease.Release()
		p.close() // the build of a version that is not kept waits for its readers
		x.ended(ctx, p, end)
	}()
	switch p.served {
	case audit.ServedUpToDate, audit.ServedUseTCP:
		end = x.sendSOA(p)
	default:
		end = x.send(ctx, p)
	}
}

// done is a context for questions that must be answered at once.
var done = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// refuseRewritten refuses a transfer that another plugin made out of another query.
func (g *guard) refuseRewritten(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	x := g.observed(ctx, w, r)
	if x.carried() {
		x.conn, _ = wire.ConnOf(w)
	}
	run := transfers.begin(ctx, x)
	if run == nil {
		x.abort() // no record, no answer
		return dns.RcodeSuccess, nil
	}
	defer transfers.end(run)
	x.deny(&policy.Decision{Reason: policy.ReasonRewritten})
	return dns.RcodeSuccess, nil
}
