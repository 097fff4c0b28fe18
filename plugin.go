// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"context"

	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/wire"

	"github.com/coredns/coredns/plugin"
	clog "github.com/coredns/coredns/plugin/pkg/log"
	"github.com/coredns/coredns/plugin/pkg/nonwriter"

	"github.com/miekg/dns"
	ot "github.com/opentracing/opentracing-go"
)

const (
	pluginName = "xfrguard"
	gateName   = "xfrguard_gate"
)

var log = clog.NewWithPlugin(pluginName)

// door stands early in the chain of a server block, right after dnstap: it
// meets every AXFR and IXFR before a plugin can answer, alter or hide it, and
// answers it. Everything else goes on untouched.
type door struct {
	guard *guard
	next  plugin.Handler
}

// Name implements plugin.Handler.
func (*door) Name() string { return pluginName }

// ServeDNS implements plugin.Handler. Its frame is kept small, for it is on the
// way of every query: miekg/dns starts a goroutine for each one over UDP, and a
// deeper frame makes the stacks of those goroutines grow.
func (d *door) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	if asksForZone(r) {
		return d.transfer(ctx, w, r)
	}
	if d.next == nil || d.guard.traced {
		return pass(ctx, d.next, w, r)
	}
	return d.next.ServeDNS(ctx, w, r)
}

//go:noinline
func (d *door) transfer(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	d.guard.in.enterOnce()
	made := internal(w)
	switch {
	case d.guard.mode != corefile.ModeObserve && made:
		return d.guard.refuseRewritten(ctx, w, r)
	case d.guard.mode != corefile.ModeObserve:
		return d.guard.answer(ctx, w, r)
	case made:
		d.guard.observeRewritten(ctx, w, r)
	default:
		d.guard.observe(ctx, w, r)
	}
	return pass(context.WithValue(ctx, metKey{}, true), d.next, w, r)
}

// internal reports whether the server asks itself: plugins that follow a CNAME send
// the query through the chain again, under a writer that keeps the answer. A rewrite
// may have made a transfer of it, and the client never asked for one.
func internal(w dns.ResponseWriter) bool {
	return wire.Unwrap(w, func(w dns.ResponseWriter) bool {
		_, ok := w.(*nonwriter.Writer)
		return ok
	})
}

// gate stands right before transfer. The door has answered every genuine AXFR
// and IXFR, so what arrives here was made by a plugin in between, out of another
// query (CVE-2026-26017 is of this kind): it is refused and recorded.
type gate struct {
	guard *guard
	Next  plugin.Handler
}

// Name implements plugin.Handler.
func (*gate) Name() string { return gateName }

// ServeDNS implements plugin.Handler.
func (g *gate) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	if asksForZone(r) {
		return g.transfer(ctx, w, r)
	}
	if g.Next == nil || g.guard.traced {
		return pass(ctx, g.Next, w, r)
	}
	return g.Next.ServeDNS(ctx, w, r)
}

//go:noinline
func (g *gate) transfer(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	g.guard.in.enterOnce()
	if g.guard.mode == corefile.ModeObserve {
		if ctx.Value(metKey{}) == nil { // the door has recorded the genuine ones
			g.guard.observeRewritten(ctx, w, r)
		}
		return pass(ctx, g.Next, w, r)
	}
	return g.guard.refuseRewritten(ctx, w, r)
}

// metKey marks the context of a transfer that the door has met.
type metKey struct{}

// asksForZone reports whether the message asks for a zone transfer, whatever
// its opcode and class.
func asksForZone(r *dns.Msg) bool {
	for i := range r.Question {
		if t := r.Question[i].Qtype; t == dns.TypeAXFR || t == dns.TypeIXFR {
			return true
		}
	}
	return false
}

// pass hands the query on where the short way will not do: with a tracing span,
// which every hop wraps, and at the end of the chain of a block without plugins,
// whose ordinary queries CoreDNS refuses.
func pass(ctx context.Context, next plugin.Handler, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	switch {
	case next == nil:
		return dns.RcodeRefused, nil
	case ot.SpanFromContext(ctx) != nil:
		return plugin.NextOrFailure(pluginName, next, ctx, w, r)
	}
	return next.ServeDNS(ctx, w, r)
}
