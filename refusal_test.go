// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"context"
	"testing"

	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"
)

// maxRefusalAllocs is twice what a refusal takes today: BenchmarkRefusal has its CPU, which
// a busy machine does not let a test hold.
const maxRefusalAllocs = 34

// TestRefusalAllocates: an unsigned refusal that is folded costs no more than it must.
func TestRefusalAllocates(t *testing.T) {
	xfrtest.Serve(t, xfrtest.Guarded("allow as ns2 net 192.0.2.53 key a.example.net.", ""), map[string]string{"db": xfrtest.ZoneOrg})
	g := latestInstance().sorted()[0]
	ctx := context.WithValue(t.Context(), dnsserver.Key{}, &dnsserver.Server{Addr: "dns://127.0.0.1:53"})
	for qtype, q := range map[string]*dns.Msg{"AXFR": xfrtest.Question(dns.TypeAXFR), "IXFR": xfrtest.Question(dns.TypeIXFR, xfrtest.WithSerial(1))} {
		w := &test.ResponseWriter{}
		n := testing.AllocsPerRun(500, func() {
			if _, err := g.answer(ctx, w, q); err != nil {
				t.Fatal(err)
			}
		})
		if n > maxRefusalAllocs {
			t.Errorf("%s: %v allocations", qtype, n)
		}
		t.Logf("%s: %v allocations", qtype, n)
	}
}
