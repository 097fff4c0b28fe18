// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"context"
	"testing"

	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"
)

// ordinary is a query that is none of the guard's business, on its way through door and gate.
func ordinary() (plugin.Handler, *dns.Msg) {
	end := plugin.HandlerFunc(func(context.Context, dns.ResponseWriter, *dns.Msg) (int, error) { return 0, nil })
	g := &guard{mode: ModeEnforce}
	return &door{guard: g, next: &gate{guard: g, next: end}}, new(dns.Msg).SetQuestion("www.example.org.", dns.TypeA)
}

// BenchmarkOrdinaryQuery is what door and gate cost every query.
func BenchmarkOrdinaryQuery(b *testing.B) {
	h, q := ordinary()
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		_, _ = h.ServeDNS(ctx, nil, q)
	}
}

func TestOrdinaryQueryAllocatesNothing(t *testing.T) {
	h, q := ordinary()
	ctx := context.Background()
	if n := testing.AllocsPerRun(1000, func() { _, _ = h.ServeDNS(ctx, nil, q) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
