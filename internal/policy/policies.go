// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"iter"
	"maps"
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"
	"github.com/miekg/dns"
)

// Policies are the policies of one server block, by apex. But for zones that
// come and go they do not change, and a copy shares them. The zero Policies deny everything.
type Policies struct {
	zones map[string]*Policy
	find  func(apex string) *Policy // of zones that come and go; nil: there are none

	known     *bart.Table[int] // how many rule sets let these addresses past their gate; nil: none
	elsewhere int              // the same, of all other addresses
	unproven  bool             // whether one lets those past that prove nothing
}

// NewPolicies makes the policies of a server block. It takes them over: neither they nor
// their rules may change any more.
func NewPolicies(list ...*Policy) Policies { return NewPatterned(nil, nil, list...) }

// NewPatterned makes the policies of a server block in which zones come and go: find
// returns which of patterns holds for a zone that is in none of list, nil for a zone that
// is not there. It is called with names that clients make up.
func NewPatterned(find func(apex string) *Policy, patterns []*Policy, list ...*Policy) Policies {
	ps := Policies{zones: make(map[string]*Policy), find: find}
	type slice struct { // the zones of one directive share their rules
		first *Rule
		count int
	}
	built := make(map[slice]*index)
	for i, p := range slices.Concat(list, patterns) {
		if p == nil {
			continue
		}
		if i < len(list) {
			ps.zones[p.Zone] = p
		}
		if len(p.Rules) == 0 {
			continue
		}
		same := slice{&p.Rules[0], len(p.Rules)}
		if built[same] == nil {
			built[same] = newIndex(p.Rules)
		}
		p.index = built[same]
	}
	ps.learn(maps.Values(built))
	return ps
}

// learn finds out which addresses are known. A gate that is open while the one around it is
// closed adds one to the addresses behind it; the other way round it takes one off.
func (ps *Policies) learn(all iter.Seq[*index]) {
	change := make(map[netip.Prefix]int)
	for x := range all {
		ps.elsewhere += x.openness(0)
		ps.unproven = ps.unproven || x.knows(&Request{Client: netip.IPv4Unspecified(), ClientUntrusted: true})
		for i := range x.gates[1:] {
			g := gateID(i + 1)
			change[x.gates[g].prefix] += x.openness(g) - x.openness(x.gates[g].around)
		}
	}
	ps.known = new(bart.Table[int])
	for _, p := range slices.SortedFunc(maps.Keys(change), func(a, b netip.Prefix) int { return a.Bits() - b.Bits() }) {
		around, ok := ps.known.LookupPrefix(p)
		if !ok {
			around = ps.elsewhere
		}
		ps.known.Insert(p, around+change[p])
	}
}

// openness is 1 when the gate lets its addresses in, else 0.
func (x *index) openness(g gateID) int {
	if i := x.gates[g].first; int(i) < len(x.rules) && !x.rules[i].Deny {
		return 1
	}
	return 0
}

func (x *index) knows(q *Request) bool {
	s := x.search(q)
	first := s.first()
	return first != nil && !first.Deny
}

// Of returns the policy of a zone, or nil.
func (ps Policies) Of(apex string) *Policy {
	if p, ok := ps.zones[apex]; ok || ps.find == nil {
		return p
	}
	return ps.find(apex)
}

// All returns the policies of the zones that are always there by apex, in no order.
func (ps Policies) All() iter.Seq2[string, *Policy] { return maps.All(ps.zones) }

// Decide finds the policy of the zone asked for and lets it decide. What is
// cheapest and tells least is checked first: transport, shape, apex, address.
//
// Known is found the same way whatever the reason: it depends on the address and
// on the block, never on the zone asked for, so a client that is known in none of
// the block's zones cannot tell one that exists from one that does not.
func (ps Policies) Decide(r *Request) Decision {
	var d Decision
	switch p := ps.Of(r.Zone); {
	case !r.Transport.Carries(r.Type):
		d.Reason = ReasonTransportUnsupported
	case r.Malformed || r.TSIG.Status == TSIGMalformed:
		d.Reason = ReasonMalformed
	case p == nil || r.Class != dns.ClassINET:
		d.Reason = ReasonNotAZone
	default:
		d = p.Decide(r)
	}
	d.Known = d.Known || ps.Knows(r)
	return d
}

// Knows reports whether any policy of the block lets the client past its address gate.
func (ps Policies) Knows(q *Request) bool {
	switch {
	case !q.Client.IsValid() || ps.known == nil:
		return false
	case q.ClientUntrusted:
		return ps.unproven
	}
	if n, ok := ps.known.Lookup(q.Client.Unmap()); ok {
		return n > 0
	}
	return ps.elsewhere > 0
}
