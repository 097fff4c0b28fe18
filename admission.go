// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"context"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/evidence"
	"github.com/xfrguard/xfrguard/internal/limit"
	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/wire"
)

// admit asks for the right to run the transfer, under the rule that allows it, and puts
// the wait on record.
func (x *exchange) admit(ctx context.Context, d *policy.Decision) {
	a := x.admission(d)
	labels := []string{x.Listener, x.entry, x.View}
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
	if !d.Allow || p.served != audit.ServedAXFRFallback || d.FullBy == d.By {
		return
	}
	d.By, d.Rule = d.FullBy, d.FullBy.Name
	x.admit(ctx, d)
}

func (x *exchange) admission(d *policy.Decision) limit.Admission {
	a := limit.Admission{
		Scope:  x.directive.scopeOf(x.Req.Transport),
		Client: x.Req.Client,
		Zone:   x.Req.Zone,
		Rule:   d.Rule,
		Limits: x.cfg.Limits,
	}
	if r := d.By; r != nil {
		a.RuleRate, a.RuleConcurrent = r.Rate, r.Concurrent
		if !x.unproven { // else it must not use up what its key may take
			a.Proof, a.Own = r.Proof(&x.Req), r.Place(&x.Req)
		}
		a.Single, a.Singles = r.Nets.Names(x.Req.Client), r.Nets.Singles()
	}
	return a
}

// noteEnd lets the limiter know how the transfer has ended, as far as it is the client's doing.
func noteEnd(s *limit.Lease, end audit.EndReason) {
	switch end {
	case audit.EndComplete:
		s.Remember(true)
	case audit.EndStalled, audit.EndTooSlow, audit.EndTimeout, audit.EndClientGone:
		s.Remember(false)
	}
}

// takeUnproven takes a token for a request that is not over a connection, so that anybody
// may have sent it, and reports whether there was one. Any other request needs none.
func (x *exchange) takeUnproven() bool {
	if !x.Req.Transport.Forgeable() {
		return true
	}
	if x.Req.TSIG.Status == policy.TSIGValid && !repeats.Again(x.Req.TSIG.Key, x.MAC) {
		return true
	}
	x.unproven = true
	return limit.Unproven.Allow()
}

// warnWeak tells once of a weak key that has opened a zone. Only who may have one anyway
// gets into the log this way.
func (x *exchange) warnWeak(d *policy.Decision) {
	if d.By == nil || len(d.By.Certs) == 0 {
		return
	}
	if weak := x.guard.WeakKey(x.Evidence); weak != "" {
		log.Warningf("The certificate sha256:%x, which rule %q accepts, rests on %s: issue one with RSA of %d bits or more, ECDSA or Ed25519",
			x.Req.TLS.SPKI, d.By.Name, weak, evidence.MinRSABits)
	}
}
