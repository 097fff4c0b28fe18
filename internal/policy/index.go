// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/gaissmai/bart"
)

// index finds the rules that can decide about a request by what it shows, so that a
// decision costs the same however many rules there are for others. It is built once, and
// the zones of one directive share it. Rules are named by their place.
//
// A gate stands for the addresses whose longest prefix in any rule is the same: the same
// rules hold all of them, those of the gate's own prefix and of the gates around it.
type index struct {
	rules []Rule
	gates []gate             // the first is that of the rules for every address
	table bart.Table[gateID] // the gate of an address
	deny  ruleID             // the first denial of all

	// lists are the rules by what they ask for, each list in the order of the rules. A rule
	// may be in a list that says less than the rule asks for: whoever finds it there asks it.
	lists map[class][]ruleID
	keys  map[string]proofID
	pins  map[[32]byte]proofID
	names map[string]proofID // of certificates
	stars map[string]proofID // the name *.PARENT, by PARENT
	under map[string]proofID // all names one label below PARENT: what a SAN *.PARENT may stand for
	ids   proofID            // the last one given
}

type (
	ruleID  int32
	gateID  int32
	proofID int32 // of a key, or of something that a certificate shows
)

// noProof is the proof of a rule that asks for none. anyCert, in the place of a
// certificate, has the first rule of the gate and the key that asks for one, whichever.
const (
	noProof proofID = 0
	anyCert proofID = -1
)

// class is what the rules of a list have in common.
type class struct {
	gate      gateID
	key, cert proofID
}

type gate struct {
	prefix netip.Prefix
	around gateID // the next larger one; -1 for the first gate
	first  ruleID // the first rule that holds these addresses
	deny   ruleID // the first denial that does
}

// maxListed is in how many lists a rule may be. One that asks for more keys, certificates
// and addresses than that, multiplied, is found by less of it.
var maxListed = 1 << 16

func newIndex(rules []Rule) *index {
	none := ruleID(len(rules))
	x := &index{
		rules: rules, deny: none, gates: []gate{{around: -1, first: none, deny: none}},
		lists: make(map[class][]ruleID), keys: make(map[string]proofID), pins: make(map[[32]byte]proofID),
		names: make(map[string]proofID), stars: make(map[string]proofID), under: make(map[string]proofID),
	}
	x.open()
	for i := range rules {
		x.add(ruleID(i))
	}
	for i := range x.gates[1:] { // those around come first
		g := &x.gates[i+1]
		around := &x.gates[g.around]
		g.first, g.deny = min(g.first, around.first), min(g.deny, around.deny)
	}
	return x
}

// open makes the gates, the larger ones first.
func (x *index) open() {
	seen := make(map[netip.Prefix]bool)
	var all []netip.Prefix
	for i := range x.rules {
		for p := range x.rules[i].Nets.prefixes().All() {
			if !x.rules[i].Nets.any && !seen[p] {
				seen[p] = true
				all = append(all, p)
			}
		}
	}
	slices.SortFunc(all, func(a, b netip.Prefix) int { return a.Bits() - b.Bits() })
	for _, p := range all {
		around, _ := x.table.LookupPrefix(p) // the first gate when there is none
		x.table.Insert(p, gateID(len(x.gates)))
		x.gates = append(x.gates, gate{prefix: p, around: around, first: x.gates[0].first, deny: x.deny})
	}
}

// add enters a rule into the gates of its addresses and the lists of what it asks for.
func (x *index) add(i ruleID) {
	r := &x.rules[i]
	var gates []gateID
	if r.Nets.any {
		gates = []gateID{0}
	} else {
		for p := range r.Nets.prefixes().All() {
			g, _ := x.table.Get(p)
			gates = append(gates, g)
		}
	}
	for _, g := range gates {
		x.gates[g].first = min(x.gates[g].first, i)
		if r.Deny {
			x.gates[g].deny = min(x.gates[g].deny, i)
		}
	}
	if r.Deny {
		x.deny = min(x.deny, i)
	}
	if r.Deny || len(r.Keys)+len(r.Certs) == 0 && !r.Unsigned {
		return // nothing that a client shows leads to it
	}
	keys, certs := x.proofs(r, len(gates))
	for _, g := range gates {
		for _, k := range keys {
			for _, c := range certs {
				x.list(class{g, k, c}, i)
			}
			if first := (class{g, k, anyCert}); certs[0] != noProof && x.lists[first] == nil {
				x.list(first, i)
			}
		}
	}
}

func (x *index) list(c class, i ruleID) {
	if l := x.lists[c]; len(l) == 0 || l[len(l)-1] != i {
		x.lists[c] = append(l, i)
	}
}

// proofs are what may lead to the rule, as far as there is room for it in the lists.
func (x *index) proofs(r *Rule, gates int) (keys, certs []proofID) {
	none := []proofID{noProof}
	for _, k := range r.Keys {
		keys = append(keys, id(x, x.keys, k))
	}
	for _, c := range r.Certs {
		certs = append(certs, x.certProofs(c)...)
	}
	if len(keys) == 0 {
		keys = none
	}
	if len(certs) == 0 || gates*len(keys)*len(certs) > maxListed {
		certs = none
	}
	if gates*len(keys) > maxListed {
		keys = none
	}
	return keys, certs
}

func (x *index) certProofs(c Cert) []proofID {
	if c.Name == "" {
		return []proofID{id(x, x.pins, c.SPKI)}
	}
	proofs := []proofID{id(x, x.names, c.Name)}
	label, parent := splitHost(c.Name)
	if parent == "" {
		return proofs
	}
	if label == "*" {
		proofs = append(proofs, id(x, x.stars, parent))
	}
	return append(proofs, id(x, x.under, parent))
}

// id returns the number of a key or of something a certificate shows, a new one if it has
// none.
func id[K comparable](x *index, ids map[K]proofID, of K) proofID {
	if ids[of] == noProof {
		x.ids++
		ids[of] = x.ids
	}
	return ids[of]
}

// splitHost returns the left-most label of a name and what is below it if a wildcard may
// stand for that label; else an empty parent. See sameHost.
func splitHost(name string) (label, parent string) {
	label, parent, _ = strings.Cut(name, ".")
	if strings.Count(parent, ".") < 2 {
		return label, ""
	}
	return label, parent
}
