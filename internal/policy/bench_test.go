// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/policy/policytest"

	"github.com/miekg/dns"
)

// large is a server block of n rules or zones, and requests to it.
type large struct {
	name                    string
	rule                    func(i int) policy.Rule
	zones                   bool // n zones with one rule each
	shared                  bool // n zones with all rules
	sixteens                bool // n is a multiple of 16
	allowed, near, stranger func(n int) policy.Request
}

func hostAt(i int) netip.Addr {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], 10<<24+uint32(i))
	return netip.AddrFrom4(a)
}

func keyAt(i int) string { return fmt.Sprintf("ns%d.example.net.", i) }

// from is an AXFR from the address, signed with the key.
func from(a netip.Addr, key string) policy.Request { return axfr(a.String(), key) }

func outside(int) policy.Request { return axfr("192.0.2.1", "ns1.example.net.") }

// largeBlocks are ways in which a block gets large. In none do more than 16 rules share
// an address gate and a proof.
var largeBlocks = []large{
	{
		name:    "rules-by-address",
		rule:    func(i int) policy.Rule { return policy.Rule{Nets: singleHost(i), Keys: []string{keyAt(0)}} },
		allowed: func(n int) policy.Request { return from(hostAt(n-1), keyAt(0)) },
		near:    func(n int) policy.Request { return from(hostAt(n-1), keyAt(1)) }, stranger: outside,
	},
	{
		name: "rules-by-key",
		rule: func(i int) policy.Rule {
			return policy.Rule{Nets: policytest.Nets("10.0.0.0/8"), Keys: []string{keyAt(i)}}
		},
		allowed: func(n int) policy.Request { return from(hostAt(1), keyAt(n-1)) },
		near:    func(n int) policy.Request { return from(hostAt(1), keyAt(n)) }, stranger: outside,
	},
	{
		name: "rules-by-certificate",
		rule: func(i int) policy.Rule {
			return policy.Rule{Nets: policytest.Nets("10.0.0.0/8"), Certs: []policy.Cert{{Name: keyAt(i)}}}
		},
		allowed: func(n int) policy.Request {
			return with(from(hostAt(1), ""), showing(policytest.PinA, keyAt(n-1)))
		},
		near: func(n int) policy.Request {
			return with(from(hostAt(1), ""), showing(policytest.PinA, keyAt(n)))
		}, stranger: outside,
	},
	{
		name: "rules-16-alike", sixteens: true,
		rule: func(i int) policy.Rule {
			r := policy.Rule{Nets: policytest.Nets("10.0.0.0/8"), Keys: []string{keyAt(i / 16)}, Types: []uint16{dns.TypeIXFR}}
			if i%16 == 15 {
				r.Types = nil
			}
			return r
		},
		allowed: func(n int) policy.Request { return from(hostAt(1), keyAt(n/16-1)) },
		near:    func(n int) policy.Request { return from(hostAt(1), keyAt(n)) }, stranger: outside,
	},
	{
		name: "zones", zones: true,
		rule:    func(i int) policy.Rule { return policy.Rule{Nets: singleHost(i), Keys: []string{keyAt(i)}} },
		allowed: func(n int) policy.Request { return from(hostAt(0), keyAt(0)) },
		near:    func(n int) policy.Request { return from(hostAt(0), keyAt(1)) }, stranger: outside,
	},
	{
		name: "zones-and-rules", shared: true,
		rule:    func(i int) policy.Rule { return policy.Rule{Nets: singleHost(i), Keys: []string{keyAt(i)}} },
		allowed: func(n int) policy.Request { return from(hostAt(n-1), keyAt(n-1)) },
		near:    func(n int) policy.Request { return from(hostAt(n-1), keyAt(0)) }, stranger: outside,
	},
}

func singleHost(i int) (n policy.Nets) {
	n.Add(netip.PrefixFrom(hostAt(i), 32))
	return n
}

func (l *large) build(n int) policy.Policies {
	var rules []policy.Rule
	for i := range n {
		r := l.rule(i)
		r.Name = fmt.Sprintf("rule-%d", i+1)
		rules = append(rules, r)
	}
	first := policy.Policy{Zone: "example.org.", Algorithms: strongAlgorithms, Rules: rules}
	if l.zones {
		first.Rules = rules[:1]
	}
	all := []*policy.Policy{&first}
	for i := 1; (l.zones || l.shared) && i < n; i++ {
		p := policy.Policy{Zone: fmt.Sprintf("zone%d.example.", i), Algorithms: strongAlgorithms, Rules: rules}
		if l.zones {
			p.Rules = rules[i : i+1]
		}
		all = append(all, &p)
	}
	return policy.NewPolicies(all...)
}

// requests are those that a decision is measured with, and what becomes of them.
func (l *large) requests(n int) map[string]policy.Request {
	m := map[string]policy.Request{"allowed": l.allowed(n), "near": l.near(n), "stranger": l.stranger(n)}
	m["allowed-ixfr"] = with(m["allowed"], ixfr)
	m["not-a-zone"] = with(m["stranger"], func(r *policy.Request) { r.Zone = "no.such.zone." })
	return m
}

var largeSizes = []int{10, 1000, 10_000}

var largeKinds = []string{"allowed", "allowed-ixfr", "near", "stranger", "not-a-zone"}

func (l *large) sized(n int) int {
	if l.sixteens {
		return (n + 15) / 16 * 16
	}
	return n
}

// TestDecideCostsWhatIsAsked: however many rules and zones a block has for others, a
// decision allocates nothing and takes no time that grows with them.
func TestDecideCostsWhatIsAsked(t *testing.T) {
	const bound = 20 * time.Microsecond // a walk takes hundreds; the figure is under one
	for i := range largeBlocks {
		l := &largeBlocks[i]
		n := l.sized(10_000)
		ps := l.build(n)
		for kind, req := range l.requests(n) {
			d := ps.Decide(&req)
			if allowed := kind == "allowed" || kind == "allowed-ixfr"; d.Allow != allowed || d.Known == (kind == "stranger" || kind == "not-a-zone") {
				t.Errorf("%s/%s: %+v", l.name, kind, d)
			}
			if n := testing.AllocsPerRun(100, func() { ps.Decide(&req) }); n != 0 {
				t.Errorf("%s/%s: %v allocations", l.name, kind, n)
			}
			best := time.Hour
			for range 100 {
				began := time.Now()
				for range 20 {
					ps.Decide(&req)
				}
				best = min(best, time.Since(began)/20)
			}
			if best > bound {
				t.Errorf("%s/%s: %v, want less than %v", l.name, kind, best, bound)
			}
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	for i := range largeBlocks {
		l := &largeBlocks[i]
		for _, n := range largeSizes {
			n = l.sized(n)
			ps := l.build(n)
			requests := l.requests(n)
			for _, kind := range largeKinds {
				req := requests[kind]
				b.Run(fmt.Sprintf("%s/%d/%s", l.name, n, kind), func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						ps.Decide(&req)
					}
				})
			}
		}
	}
	ps, req := largeBlock()
	stranger := with(req, func(r *policy.Request) { r.Client = netip.MustParseAddr("192.0.2.1") })
	for name, r := range map[string]*policy.Request{"allowed": &req, "stranger": &stranger} {
		b.Run("one-rule/100000-prefixes/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				ps.Decide(r)
			}
		})
	}
}

// BenchmarkNewPolicies is what the index costs at start.
func BenchmarkNewPolicies(b *testing.B) {
	for i := range largeBlocks {
		l := &largeBlocks[i]
		b.Run(l.name+"/10000", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				l.build(l.sized(10_000))
			}
		})
	}
}
