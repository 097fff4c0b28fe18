// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package policy

import "github.com/miekg/dns"

// search goes through the rules that hold a client and that its proofs lead to.
type search struct {
	*index
	req  *Request
	gate gateID
	deny ruleID // the first denial that holds the client: no rule behind it counts

	asked ruleID // the first rule that allows what is asked for
	full  ruleID // the first rule that allows an AXFR

	near  ruleID // of those that do not allow it the one that got furthest; of equals the first
	stage int    // how far that is
	lack  Reason
}

// search begins one, at the gate of the client.
func (x *index) search(q *Request) search {
	none := ruleID(len(x.rules))
	s := search{index: x, req: q, asked: none, full: none, near: none, stage: -1}
	if q.ClientUntrusted { // only what is for every address holds, but for denials
		s.deny = x.deny
		return s
	}
	s.gate, _ = x.table.Lookup(q.Client.Unmap())
	s.deny = x.gates[s.gate].deny
	return s
}

// first returns the first rule whose addresses hold the client, or nil.
func (s *search) first() *Rule {
	if !s.req.Client.IsValid() {
		return nil
	}
	return s.rule(min(s.gates[s.gate].first, s.deny))
}

func (s *search) rule(i ruleID) *Rule {
	if int(i) >= len(s.rules) {
		return nil
	}
	return &s.rules[i]
}

// run asks every rule that the client's proofs lead to.
func (s *search) run() {
	var keys [2]proofID
	n := 1
	if s.req.TSIG.Status == TSIGValid {
		if keys[1] = s.keys[s.req.TSIG.Key]; keys[1] != noProof {
			n = 2
		}
	}
	var room [16]proofID
	certs := append(room[:0], noProof)
	certs = s.shown(certs)
	for g := s.gate; g >= 0; g = s.gates[g].around {
		for _, k := range keys[:n] {
			for _, c := range certs {
				s.ask(s.lists[class{g, k, c}])
			}
		}
	}
	if s.allowed() || s.rule(s.deny) != nil {
		return
	}
	// Nobody allows it. The nearest may also be one that another certificate would lead to;
	// when there is none of these either, all lack a key.
	for g := s.gate; g >= 0; g = s.gates[g].around {
		for _, k := range keys[:n] {
			s.ask(s.lists[class{g, k, anyCert}])
		}
	}
	s.consider(s.gates[s.gate].first)
}

func (s *search) allowed() bool { return s.rule(s.asked) != nil || s.rule(s.full) != nil }

// shown appends what the client's certificate may be known by.
func (s *search) shown(certs []proofID) []proofID {
	add := func(id proofID) {
		if id != noProof {
			certs = append(certs, id)
		}
	}
	t := &s.req.TLS
	if !t.HasCert || len(s.pins)+len(s.names) == 0 {
		return certs
	}
	add(s.pins[t.SPKI])
	if !t.Verified {
		return certs
	}
	for _, san := range t.Names {
		add(s.names[san])
		label, parent := splitHost(san)
		if parent == "" {
			continue
		}
		add(s.stars[parent])
		if label == "*" {
			add(s.under[parent])
		}
	}
	return certs
}

// ask considers the rules of a list that stand before whatever has decided.
func (s *search) ask(list []ruleID) {
	for _, i := range list {
		if i >= s.deny || i >= s.asked && i >= s.full {
			return
		}
		s.consider(i)
	}
}

// consider asks one rule whether it allows the request, and an AXFR in its place.
func (s *search) consider(i ruleID) {
	r := &s.rules[i]
	lack, stage := r.lacks(s.req)
	if lack == "" {
		asked, full := r.allows(s.req.Type), r.allows(dns.TypeAXFR)
		lack, stage = ReasonTypeNotAllowed, stageType
		switch possible := asked || full && s.req.Type == dns.TypeIXFR; {
		case possible && r.Expired(s.req.Now):
			lack, stage = ReasonRuleExpired, stageExpires
		case possible:
			if full {
				s.full = min(s.full, i)
			}
			if asked {
				s.asked = min(s.asked, i)
				return
			}
		}
	}
	if stage > s.stage || stage == s.stage && i < s.near {
		s.near, s.stage, s.lack = i, stage, lack
	}
}

// decision is what a search that has run has found.
func (s *search) decision() (d Decision) {
	if r := s.rule(s.full); r != nil {
		d.Full, d.FullBy = true, r
	}
	switch {
	case s.rule(s.asked) != nil:
		d.By = s.rule(s.asked)
	case d.Full && s.req.Type == dns.TypeIXFR:
		d.By, d.FullOnly = d.FullBy, true
	case s.rule(s.deny) != nil:
		return s.rule(s.deny).stranger(s.req)
	default:
		near := s.rule(s.near)
		return Decision{Reason: s.lack, Near: near.Name, By: near}
	}
	d.Allow, d.Rule, d.Reason = true, d.By.Name, ReasonAllowed
	return d
}
