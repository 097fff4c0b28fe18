// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"context"
	"slices"
	"testing"

	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/nonwriter"
	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"
)

// chainEnd is where an ordinary query goes after the plugins in question.
var chainEnd = plugin.HandlerFunc(func(context.Context, dns.ResponseWriter, *dns.Msg) (int, error) { return 0, nil })

// ordinary is a query that is none of the guard's business, on its way through door and gate.
func ordinary() (plugin.Handler, *dns.Msg) {
	g := &guard{mode: corefile.ModeEnforce}
	return &door{guard: g, next: &gate{guard: g, Next: chainEnd}}, new(dns.Msg).SetQuestion("www.example.org.", dns.TypeA)
}

// stockChain is what stock CoreDNS needs to say the same as one rule of the guard.
func stockChain(tb testing.TB) plugin.Handler {
	tb.Helper()
	var h plugin.Handler = chainEnd
	directives := []struct{ name, corefile string }{
		{"tsig", "tsig {\n\tsecret a.example.net. " + xfrtest.SecretA + "\n\trequire AXFR IXFR\n}"},
		{"acl", "acl example.org {\n\tallow type AXFR net 192.0.2.53\n\tallow type IXFR net 192.0.2.53\n\tblock type AXFR\n\tblock type IXFR\n}"},
		{"transfer", "transfer example.org {\n\tto 192.0.2.53\n}"},
	}
	for _, d := range slices.Backward(directives) {
		c := caddy.NewTestController("dns", d.corefile)
		c.ServerBlockKeys = []string{"example.org."}
		setup, err := caddy.DirectiveAction("dns", d.name)
		if err != nil {
			tb.Fatal(err)
		}
		if err := setup(c); err != nil {
			tb.Fatal(err)
		}
		for _, p := range dnsserver.GetConfig(c).Plugin {
			h = p(h)
		}
		if h.Name() != d.name {
			tb.Fatalf("the chain begins with %s, want %s", h.Name(), d.name)
		}
	}
	return h
}

// BenchmarkOrdinaryQuery is what door and gate cost every query, and what the plugins
// cost that stock CoreDNS has for the same purpose.
func BenchmarkOrdinaryQuery(b *testing.B) {
	ours, q := ordinary()
	for _, c := range []struct {
		name  string
		chain plugin.Handler
	}{
		{"guard", ours},
		{"tsig+acl+transfer", stockChain(b)},
	} {
		b.Run(c.name, func(b *testing.B) {
			ctx := context.Background()
			w := &test.ResponseWriter{}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.chain.ServeDNS(ctx, w, q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestOrdinaryQueryAllocatesNothing: of no type, whole chain or none.
func TestOrdinaryQueryAllocatesNothing(t *testing.T) {
	whole, q := ordinary()
	alone := &door{guard: &guard{mode: corefile.ModeEnforce}} // in a block without plugins
	observing := &guard{mode: corefile.ModeObserve}
	ctx := context.Background()
	for name, h := range map[string]plugin.Handler{
		"door and gate": whole,
		"door alone":    alone,
		"observe":       &door{guard: observing, next: &gate{guard: observing, Next: chainEnd}},
		"gate, traced":  &gate{guard: &guard{traced: true}, Next: chainEnd},
	} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeANY, dns.TypeSOA, dns.TypeTSIG, dns.TypeMAILB} {
			m := q.Copy()
			m.Question[0].Qtype = qtype
			if n := testing.AllocsPerRun(1000, func() { _, _ = h.ServeDNS(ctx, nil, m) }); n != 0 {
				t.Errorf("%s, type %s: %v allocations", name, dns.Type(qtype), n)
			}
		}
	}
}

// TestOrdinaryQueryReachesTheEnd keeps the benchmark honest: the chains hand on what
// they shall, and the rcode of whoever answers comes back.
func TestOrdinaryQueryReachesTheEnd(t *testing.T) {
	ours, q := ordinary()
	for name, h := range map[string]plugin.Handler{"guard": ours, "stock": stockChain(t)} {
		if rcode, err := h.ServeDNS(t.Context(), &test.ResponseWriter{}, q); rcode != dns.RcodeSuccess || err != nil {
			t.Errorf("%s: %d, %v", name, rcode, err)
		}
	}
	alone := &door{guard: &guard{mode: corefile.ModeEnforce}}
	if rcode, err := alone.ServeDNS(t.Context(), nil, q); rcode != dns.RcodeRefused || err != nil {
		t.Errorf("a door without a next: %d, %v, want REFUSED", rcode, err)
	}
}

// TestBehindNonwriter: the server that asks itself, for a plugin that follows a name, gets
// no transfer, and the record has the transport of the client who made it ask.
func TestBehindNonwriter(t *testing.T) {
	s := xfrtest.Serve(t, xfrtest.Guarded("allow as all net 127.0.0.1 unsigned", ""), map[string]string{"db": xfrtest.ZoneOrg})
	d := &door{guard: latestInstance().sorted()[0]}
	ctx, c := xfrtest.LateRequest(t, "127.0.0.1")
	kept := nonwriter.New(c.ResponseWriter)
	if _, err := d.ServeDNS(ctx, kept, xfrtest.Question(dns.TypeAXFR)); err != nil {
		t.Fatal(err)
	}
	if m := kept.Msg; m == nil || m.Rcode != dns.RcodeRefused || len(m.Answer) > 0 {
		t.Errorf("got %v", m)
	}
	if e := s.Events(t, 1)[0]; e["event.reason"] != "rewritten" || e["coredns.xfr.transport"] != "tcp" {
		t.Errorf("on record as %v", e)
	}
}
