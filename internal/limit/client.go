// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"net/netip"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/xfrguard/xfrguard/internal/policy"
)

// clientsOfProof is how many clients' worth one proof may take from all its addresses.
const clientsOfProof = 8

// clientID names a client: what it proved, and the address that stands for it. So two
// keys behind one address are two clients, and so is one key on two addresses.
type clientID struct {
	proof string // "" for none
	addr  netip.Addr
}

// settle turns the source address into the one that stands for the client: where the
// rule names the very address, that.
func (a *Admission) settle() {
	a.Client = a.Client.Unmap().WithZone("")
	if !a.Single {
		a.Client = policy.HostOf(a.Client)
	}
}

func (a *Admission) id() clientID { return clientID{a.Proof, a.Client} }

// shares returns how many clients' worth the proof may take.
func (a *Admission) shares() int { return max(clientsOfProof, a.Singles) }

// counter counts what somebody runs and waits for. One that counts nothing is dropped.
type counter struct {
	id      counterID
	running int
	waiting int

	standing standing // of a client
}

// counterID names who is counted.
type counterID struct {
	kind   counterKind
	client clientID
	name   string // the rule, where it has a count of its own; or the identity
}

type counterKind uint8

const (
	countClient counterKind = iota // all that a client has in the scope: for the order in line
	countLimit                     // what counts against per-client, or the rule's own count
	countProof                     // the same from all addresses of a proof
	countOwn                       // what a configured identity has
)

// party is all who a transfer counts for.
type party struct {
	client *counter
	limit  *counter
	proof  *counter // nil where nothing is proven
	own    *counter // nil where there is no identity
}

func (p *party) each(do func(*counter)) {
	do(p.client)
	do(p.limit)
	if p.proof != nil {
		do(p.proof)
	}
	if p.own != nil {
		do(p.own)
	}
}

// partyLocked returns who the request counts for.
func (s *limitScope) partyLocked(a *Admission) party {
	rule := ""
	if a.RuleConcurrent > 0 {
		rule = a.Rule
	}
	p := party{
		client: s.counterLocked(counterID{kind: countClient, client: a.id()}),
		limit:  s.counterLocked(counterID{kind: countLimit, client: a.id(), name: rule}),
	}
	if a.Proof != "" {
		p.proof = s.counterLocked(counterID{kind: countProof, client: clientID{proof: a.Proof}, name: rule})
	}
	if a.Own != "" {
		p.own = s.counterLocked(counterID{kind: countOwn, name: a.Own})
	}
	return p
}

func (s *limitScope) counterLocked(id counterID) *counter {
	c := s.counters[id]
	if c == nil {
		c = &counter{id: id}
		if id.kind == countClient {
			c.standing = s.standings.of(id.client)
		}
		s.counters[id] = c
	}
	return c
}

// forgetLocked drops the counters that count nothing.
func (s *limitScope) forgetLocked(p *party) {
	p.each(func(c *counter) {
		if c.running == 0 && c.waiting == 0 {
			delete(s.counters, c.id)
		}
	})
}

// slots is how many transfers there may be for a request to start.
type slots struct {
	total  int // in the scope, the first of each identity not counted
	client int
	proof  int
}

// slots returns the limits on the request.
func (a *Admission) slots() slots {
	own := a.Limits.PerClient
	if a.RuleConcurrent > 0 {
		own = a.RuleConcurrent
	}
	return slots{a.Limits.Total, own, own * a.shares()}
}

func (n slots) hopeless() bool { return n.total <= 0 || n.client <= 0 }

// freeLocked reports whether the party may start one more transfer.
func (s *limitScope) freeLocked(p *party, n slots) bool {
	if p.own != nil && p.own.running == 0 {
		return true
	}
	return s.inFlight-s.firsts < n.total && p.limit.running < n.client && (p.proof == nil || p.proof.running < n.proof)
}

// standing says how a client's last transfer ended; less is better.
type standing int

const (
	standingGood    standing = iota // complete
	standingUnknown                 // there was none lately
	standingBad                     // the client did not take it
)

// standings remembers how the last transfers ended. The good ones and the bad ones each
// have a memory of their own, so that a crowd of one kind pushes none of the other out.
type standings struct {
	good, bad *simplelru.LRU[clientID, struct{}]
}

func newStandings() standings {
	return standings{newLRU[clientID, struct{}](maxStandings), newLRU[clientID, struct{}](maxStandings)}
}

func (r *standings) of(id clientID) standing {
	switch {
	case r.good.Contains(id):
		return standingGood
	case r.bad.Contains(id):
		return standingBad
	}
	return standingUnknown
}

// Remember notes how the transfer of the lease has ended: taken as a whole, or not
// taken through the client's fault. Of what ended in another way nothing is to be
// noted. It may be called before or after Release, and on nil.
func (s *Lease) Remember(taken bool) {
	if s == nil {
		return
	}
	s.limiter.mu.Lock()
	defer s.limiter.mu.Unlock()
	id, is, was := s.party.client.id, s.scope.standings.good, s.scope.standings.bad
	if !taken {
		is, was = was, is
	}
	was.Remove(id.client)
	is.Add(id.client, struct{}{})
	if c := s.scope.counters[id]; c != nil {
		c.standing = s.scope.standings.of(id.client)
	}
}
