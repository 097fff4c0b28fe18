// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/wire"
	"github.com/xfrguard/xfrguard/internal/zone"

	"github.com/miekg/dns"
)

// exchange is one request for a transfer on its way through the guard.
type exchange struct {
	*evidence
	guard *guard
	cfg   *corefile.Config // of the zone asked for; nil when this block guards none of that name
	w     dns.ResponseWriter
	r     *dns.Msg
	tap   *tap
	conn  net.Conn // nil where the writers could not be followed
	run   *underWay
	lease *lease // nil before the request is admitted
	audit *auditor
	ev    Event
	rule  string // identity of the rule that allowed it

	unproven bool        // over UDP, and anybody may have sent it: see takeUnproven
	whole    atomic.Bool // the answer is a whole zone, whatever was asked for
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
	d := g.decide(x.evidence)
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
		log.Errorf("Zone %s cannot be transferred: %v", x.req.Zone, err)
		x.ev.Error = err.Error()
		d.Refuse(unplanned(err))
	}
	x.admitWhole(run.ctx, &d, &plan)
	x.whole.Store(plan.whole())
	if d.Allow && x.overruled() {
		d.Refuse(policy.ReasonShutdown)
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
	x := &exchange{evidence: g.examine(ctx, w, r), guard: g, w: w, r: r}
	x.cfg, x.audit = g.place(x.req.Zone)
	if x.carried() {
		x.conn, _ = wire.ConnOf(w)
		x.tap = tapUnder(w)
	}
	x.ev = x.event()
	return x
}

// carried reports whether the transport is one whose connections are known here.
func (x *exchange) carried() bool {
	t := x.req.Transport
	return t == policy.TransportUDP || t == policy.TransportTCP || t == policy.TransportTLS
}

// client names the other end for log lines.
func (x *exchange) client() string {
	return net.JoinHostPort(x.req.Client.String(), strconv.Itoa(int(x.port)))
}

// zone returns the configured zone, or "-": never a name that the client made up.
func (x *exchange) zone() string {
	if x.cfg == nil {
		return "-"
	}
	return x.req.Zone
}

// event starts the record of this exchange with what does not depend on the decision.
func (x *exchange) event() Event {
	q := x.r.Question[0]
	e := Event{
		Time:       x.req.Now,
		Action:     ActionDecision,
		Client:     x.req.Client.String(),
		ClientPort: int(x.port),
		Claimed:    x.claim(),
		Server:     x.server.Addr().String(),
		ServerPort: int(x.server.Port()),
		Transport:  x.req.Transport,
		QueryID:    x.r.Id,
		QueryName:  q.Name,
		QueryType:  dns.TypeToString[q.Qtype],
		QueryClass: dns.Class(q.Qclass).String(),
		Opcode:     opcodeName(x.r.Opcode),
		Block:      x.listener,
		Zone:       x.zone(),
		View:       x.view,
		Policy:     x.guard.digests[x.req.Zone],
		Enforced:   x.guard.mode != corefile.ModeObserve,
		TSIG:       x.req.TSIG,
		TLS:        x.tls,
		Served:     ServedNone,
	}
	if q.Qtype == dns.TypeIXFR && !x.req.Malformed {
		serial := x.req.Serial
		e.SerialRequested = &serial
	}
	return e
}

// opcodeName is what the record calls an opcode.
func opcodeName(opcode int) string {
	if s, ok := dns.OpcodeToString[opcode]; ok {
		return s
	}
	return fmt.Sprintf("OPCODE%d", opcode)
}

// decided puts the decision into the record.
func (x *exchange) decided(d *policy.Decision) {
	x.ev.Allowed = d.Allow
	x.ev.Reason = string(d.Reason)
	x.ev.Rule = d.Rule
	x.ev.Near = d.Near
	x.ev.TLSUntil = d.PlainUntil(&x.req)
}

// place returns what answers for a name: its directive, and the audit log.
func (g *guard) place(name string) (*corefile.Config, *auditor) {
	if a := g.each[name]; a != nil {
		return g.configs[name], a
	}
	return g.configs[name], g.audit
}

// count puts the decision into the metrics.
func (x *exchange) count(d *policy.Decision) {
	decision := "deny"
	if d.Allow {
		decision = "allow"
	}
	requestsTotal.WithLabelValues(x.listener, x.zone(), x.view, x.ev.QueryType, decision, string(d.Reason)).Inc()
}

// deny records and answers a refusal. A client that does not read it takes no place from
// others.
func (x *exchange) deny(d *policy.Decision) {
	x.lease.Release()
	x.decided(d)
	x.ev.Rcode = rcodeName(verdictFor(d, x.req.TSIG.Status).rcode)
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
	if x.req.TSIG.Status != policy.TSIGValid || x.req.Transport.Forgeable() {
		return true
	}
	clock.check()
	return replays.Accept(x.req.TSIG.Key, x.mac, time.Unix(int64(x.tsig.TimeSigned), 0), time.Now())
}

// serve records the decision, and only then sends.
func (x *exchange) serve(ctx context.Context, d *policy.Decision, p plan) {
	x.decided(d)
	x.warnWeak(d)
	x.rule = x.identity(d.By)
	x.ev.Rcode = rcodeName(dns.RcodeSuccess)
	x.ev.SerialServed = &p.version.Serial
	x.ev.Digest = digestOf(done, p.version)
	x.ev.SerialFuture = x.req.Type == dns.TypeIXFR && zone.Newer(x.req.Serial, p.version.Serial)
	record := x.audit.Decision
	if p.served.soaAlone() {
		x.ev.Served = p.served
		record = x.audit.Answer
	}
	if err := record(ctx, &x.ev); err != nil {
		d.Refuse(policy.ReasonAuditUnavailable)
		x.ev.SerialServed, x.ev.Digest, x.ev.Served, x.ev.Complete = nil, "", ServedNone, false
		x.deny(d)
		return
	}
	x.count(d)
	g := inFlight.WithLabelValues(x.listener, x.zone(), x.view)
	g.Inc()
	defer g.Dec()
	end := outcome{reason: EndInternalError}
	defer func() { // also when something panics
		if end.reason == EndInternalError {
			x.abort()
		}
		x.lease.Release()
		p.close() // the build of a version that is not kept waits for its readers
		x.ended(ctx, p, end)
	}()
	switch p.served {
	case ServedUpToDate, ServedUseTCP:
		end = x.sendSOA(p)
	default:
		end = x.send(ctx, p)
	}
}

// sendSOA sends the current SOA alone.
func (x *exchange) sendSOA(p plan) outcome {
	if err := x.soaOnly(p.version.SOA); err != nil {
		log.Debugf("Answer to %s not written: %v", x.client(), err)
		x.ev.Error = err.Error()
		return outcome{reason: unwritten(err)}
	}
	end := EndUpToDate
	if p.served == ServedUseTCP {
		end = EndUseTCP
	}
	return outcome{reason: end, stats: wire.SendStats{Messages: 1, Records: 1, Bytes: int64(x.soaSize(p.version.SOA))}}
}

// unwritten names why an answer of one message is not written.
func unwritten(err error) EndReason {
	if end := endReason(err); end != EndInternalError {
		return end
	}
	return EndClientGone
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
	if x.req.TSIG.Status == policy.TSIGValid {
		env.Signer, err = wire.NewResponseSigner(x.tsig, x.secret)
	}
	return env, err
}

// ended records how the transfer ended, for the audit log, the metrics, and the
// plugins in front.
func (x *exchange) ended(ctx context.Context, p plan, o outcome) {
	end, stats := o.reason, o.stats
	now := time.Now()
	took := now.Sub(x.req.Now)
	if !o.over.IsZero() {
		took = o.over.Sub(x.req.Now)
	}
	labels := []string{x.listener, x.zone(), x.view}
	transfersTotal.WithLabelValues(append(labels, string(p.served), string(end))...).Inc()
	transferBytes.WithLabelValues(labels...).Add(float64(stats.Bytes))
	transferRecords.WithLabelValues(labels...).Add(float64(stats.Records))
	transferDuration.WithLabelValues(labels...).Observe(took.Seconds())

	e := x.ev
	e.Action, e.Reason, e.Time = ActionEnd, string(end), now
	e.Served = p.served
	e.Messages, e.Records, e.Bytes = int64(stats.Messages), int64(stats.Records), stats.Bytes
	e.BytesAcked = o.acked
	e.Duration = took
	x.lease.note(end)
	e.Complete = end == EndComplete || end == EndUpToDate || end == EndUseTCP
	if content := p.served != ServedUpToDate && p.served != ServedUseTCP; content {
		x.summarize(stats.Bytes)
		x.remember(ctx, p, &e)
	} else if end == EndUpToDate {
		x.remember(ctx, p, &e)
	}
	x.audit.End(&e)
}

// patience is how long the end of a transfer waits for the digest of a version that has
// only just been built. One that was cut off waits for nothing: its zone may never be
// complete, and a shutdown closes the audit log soon.
const patience = 10 * time.Second

// remember puts the digest of what was sent on record, and notes that the client of this
// rule has the version. Neither a revocation nor the end of the server waits for that.
func (x *exchange) remember(ctx context.Context, p plan, e *Event) {
	if e.Complete {
		reminders.settled(x.reminderKey())
	}
	if e.Complete && !p.version.Settled() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	} else {
		ctx = done
	}
	e.Digest = digestOf(ctx, p.version)
	if e.Complete {
		x.guard.store.Give(ctx, p.version, x.rule)
	}
}

// done is a context for questions that must be answered at once.
var done = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// digestOf writes the digest of a version, "" when it is not known by then.
func digestOf(ctx context.Context, v *zone.Version) string {
	d, ok := v.Digest(ctx)
	if !ok {
		return ""
	}
	return "sha384:" + hex.EncodeToString(d[:])
}
