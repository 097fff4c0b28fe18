// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"context"

	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/wire"

	"github.com/miekg/dns"
)

// observe records what enforce would have done, and does none of it. Of the limits it
// knows the rate, so that nobody fills the audit log; the others make a request wait.
func (g *guard) observe(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) {
	x := g.observed(ctx, w, r)
	run := transfers.begin(ctx, x)
	if run == nil {
		return
	}
	defer transfers.end(run)
	d := g.decide(x.evidence)
	if d.Allow && (!x.takeUnproven() || !limits.Rated(x.admission(&d))) {
		d.Refuse(policy.ReasonRateLimited)
	}
	if d.Allow && !x.accept() {
		d.Refuse(policy.ReasonTSIGReplay)
	}
	x.note(&d)
}

// observeRewritten records a transfer that another plugin made out of another query.
func (g *guard) observeRewritten(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) {
	x := g.observed(ctx, w, r)
	run := transfers.begin(ctx, x)
	if run == nil {
		return
	}
	defer transfers.end(run)
	x.note(&policy.Decision{Reason: policy.ReasonRewritten})
}

func (g *guard) observed(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) *exchange {
	x := &exchange{evidence: g.examine(ctx, w, r), guard: g, w: w, r: r}
	x.cfg, x.audit = g.place(x.req.Zone)
	x.ev = x.event()
	return x
}

func (x *exchange) note(d *policy.Decision) {
	x.decided(d)
	x.count(d)
	x.audit.Observed(&x.ev)
}

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

// Observed records what would have become of a request. A denial may be folded
// like any other; nothing blocks.
func (a *auditor) Observed(e *Event) {
	if !e.Allowed {
		a.Denied(e)
		return
	}
	e.Action = ActionDecision
	if a.answers != nil && !a.answers.own(e) {
		a.answers.tally(e)
	} else {
		e.ID = newID()
		a.post(e)
	}
}
