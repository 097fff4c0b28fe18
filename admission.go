// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/xfrguard/xfrguard/internal/wire"
)

// admit asks for the right to run the transfer, under the rule that allows it, and puts
// the wait on record.
func (x *exchange) admit(ctx context.Context, d *Decision) {
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
	var why Reason
	x.lease, why = limits.Exchange(ctx, x.lease, a)
	waited := time.Duration(0)
	if queued {
		waitingRequests.WithLabelValues(labels...).Dec()
		waited = time.Since(began)
		x.ev.Wait += waited
	}
	waitSeconds.WithLabelValues(labels...).Observe(waited.Seconds())
	if why != "" {
		d.refuse(why)
	}
}

// admitWhole puts the rule that allows a whole zone in the place of the one that allowed
// the IXFR, where the answer is a whole zone: the rule whose permission is used pays, is
// on record, and is granted.
func (x *exchange) admitWhole(ctx context.Context, d *Decision, p *plan) {
	if !d.Allow || p.served != ServedAXFRFallback || d.fullRule == d.rule {
		return
	}
	d.rule, d.Rule = d.fullRule, d.fullRule.Name
	x.admit(ctx, d)
}

func (x *exchange) admission(d *Decision) admission {
	a := admission{
		Scope:  x.guard.scopeOf(x.cfg, x.req.Transport),
		Client: x.req.Client,
		Zone:   x.req.Zone,
		Rule:   d.Rule,
		Limits: x.cfg.limits,
	}
	if r := d.rule; r != nil {
		a.RuleRate, a.RuleConcurrent = r.Rate, r.Concurrent
		if !x.unproven { // else it must not use up what its key may take
			a.Proof, a.Own = r.proof(&x.req), r.place(&x.req)
		}
		a.Single, a.Singles = r.Nets.names(x.req.Client), r.Nets.singles()
	}
	return a
}

// proof names what an allowed client has proved itself with: its key, the certificate that
// the rule asks for, or both; "" where an address alone does.
func (r *Rule) proof(q *Request) string {
	var proofs []string
	if q.TSIG.Status == TSIGValid {
		proofs = append(proofs, "key "+q.TSIG.Key)
	}
	if i := slices.IndexFunc(r.Certs, q.TLS.shows); i >= 0 {
		c := r.Certs[i]
		if c.wildcard() { // of the many that it stands for, this one
			c = Cert{SPKI: q.TLS.SPKI}
		}
		proofs = append(proofs, "cert "+c.String())
	}
	return strings.Join(proofs, " ")
}

// place names the identity of an allowed client that the Corefile knows, which may always
// run one transfer: a key, or a certificate that is named or pinned, with the address
// where the rule names that. What the Corefile does not tell apart has one place together.
func (r *Rule) place(q *Request) string {
	who := "rule " + r.Name
	known := len(r.Keys) > 0
	if i := slices.IndexFunc(r.Certs, q.TLS.shows); i >= 0 {
		known = known || !r.Certs[i].wildcard()
	}
	if known {
		who = r.proof(q)
	}
	if r.Nets.names(q.Client) {
		who += " net " + q.Client.String()
	}
	return who
}

func (c Cert) wildcard() bool { return strings.HasPrefix(c.Name, "*.") }

// note lets the limiter know how the transfer has ended, as far as it is the client's doing.
func (s *lease) note(end EndReason) {
	switch end {
	case EndComplete:
		s.Remember(true)
	case EndStalled, EndTooSlow, EndTimeout, EndClientGone:
		s.Remember(false)
	}
}
