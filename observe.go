// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"context"

	"github.com/xfrguard/xfrguard/internal/policy"

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
	d := g.decide(x)
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
	x := &exchange{Evidence: g.Examine(ctx, w, r), guard: g, w: w, r: r}
	x.place()
	x.ev = x.event()
	return x
}
