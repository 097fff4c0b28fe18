// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"context"
	"time"

	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/wire"
)

// admit asks for the right to run the transfer, under the rule that allows it, and puts
// the wait on record.
func (x *exchange) admit(ctx context.Context, d *policy.Decision) {
	a := x.admission(d)
	labels := []string{x.listener, x.zone(), x.view}
	began, queued := time.Now(), false
	a.OnWait = func() {
		queued = true
		waitingRequests.WithLabelValues(labels...).Inc()
	}
	if x.conn != nil {
		a.Gone = wire.Gone(x.conn)
	}
	var why policy.Reason
	x.lease, why = limits.Exchange(ctx, x.lease, a)
	waited := time.Duration(0)
	if queued {
		waitingRequests.WithLabelValues(labels...).Dec()
		waited = time.Since(began)
		x.ev.Wait += waited
	}
	waitSeconds.WithLabelValues(labels...).Observe(waited.Seconds())
	if why != "" {
		d.Refuse(why)
	}
}

// admitWhole puts the rule that allows a whole zone in the place of the one that allowed
// the IXFR, where the answer is a whole zone: the rule whose permission is used pays, is
// on record, and is granted.
func (x *exchange) admitWhole(ctx context.Context, d *policy.Decision, p *plan) {
	if !d.Allow || p.served != ServedAXFRFallback || d.FullBy == d.By {
		return
	}
	d.By, d.Rule = d.FullBy, d.FullBy.Name
	x.admit(ctx, d)
}

func (x *exchange) admission(d *policy.Decision) admission {
	a := admission{
		Scope:  x.guard.scopeOf(x.cfg, x.req.Transport),
		Client: x.req.Client,
		Zone:   x.req.Zone,
		Rule:   d.Rule,
		Limits: x.cfg.Limits,
	}
	if r := d.By; r != nil {
		a.RuleRate, a.RuleConcurrent = r.Rate, r.Concurrent
		if !x.unproven { // else it must not use up what its key may take
			a.Proof, a.Own = r.Proof(&x.req), r.Place(&x.req)
		}
		a.Single, a.Singles = r.Nets.Names(x.req.Client), r.Nets.Singles()
	}
	return a
}

// note lets the limiter know how the transfer has ended, as far as it is the client's doing.
func (s *lease) note(end EndReason) {
	switch end {
	case EndComplete:
		s.Remember(true)
	case EndStalled, EndTooSlow, EndTimeout, EndClientGone:
		s.Remember(false)
	}
}
