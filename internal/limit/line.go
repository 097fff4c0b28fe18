// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"cmp"
	"container/list"
	"time"

	"github.com/xfrguard/xfrguard/internal/policy"
)

// waiter is a request that has not started yet. It stands in line when it has a place.
type waiter struct {
	lease   *Lease // what it will get
	slots   slots
	buckets [2]*bucket
	never   policy.Reason // why it can never start; "" for most
	gone    func() bool
	seq     uint64        // in the order of arrival
	turn    chan struct{} // closed when the waiting is over
	place   *list.Element // nil once out of the line
	reason  policy.Reason // why it got no slot, "" if it did
}

// waiterLocked returns the request as one that may start.
func (s *limitScope) waiterLocked(a *Admission, now time.Time) *waiter {
	w := &waiter{
		lease: &Lease{limiter: s.limiter, scope: s, party: s.partyLocked(a), pace: a.Limits.Pace},
		slots: a.slots(),
		gone:  a.Gone,
	}
	var rated bool
	w.buckets, rated = s.bucketsLocked(a, now)
	switch {
	case !rated, w.buckets[0].behind(now) > a.Limits.Wait, w.buckets[1].behind(now) > a.Limits.Wait:
		w.never = policy.ReasonRateLimited
	case w.slots.hopeless():
		w.never = policy.ReasonConcurrencyLimited
	}
	return w
}

// nextToken returns how long it takes until each of its buckets has a token.
func (w *waiter) nextToken(now time.Time) time.Duration {
	return max(w.buckets[0].next(1, now), w.buckets[1].next(1, now))
}

// lacksLocked returns what keeps the request from starting now, "" for nothing.
func (w *waiter) lacksLocked(now time.Time) policy.Reason {
	switch {
	case w.never != "":
		return w.never
	case w.nextToken(now) > 0:
		return policy.ReasonRateLimited
	case !w.lease.scope.freeLocked(&w.lease.party, w.slots):
		return policy.ReasonConcurrencyLimited
	}
	return ""
}

// startLocked makes the request a running transfer, which pays its tokens.
func (w *waiter) startLocked() {
	s, slot := w.lease.scope, w.lease
	for _, b := range w.buckets {
		b.take()
	}
	slot.paid, slot.held = w.buckets, true
	s.inFlight++
	if slot.party.own != nil && slot.party.own.running == 0 {
		s.firsts++
	}
	slot.party.each(func(c *counter) { c.running++ })
}

// queueLocked puts the request into the line, and lets all start that can.
func (s *limitScope) queueLocked(w *waiter, patience time.Duration, now time.Time) {
	lacks := w.lacksLocked(now)
	party := &w.lease.party
	switch {
	case w.never != "", lacks != "" && patience <= 0, party.client.waiting >= maxLinePerClient:
		w.reason = cmp.Or(lacks, policy.ReasonConcurrencyLimited)
		s.forgetLocked(party)
		return
	}
	s.seq++
	w.seq = s.seq
	w.turn = make(chan struct{})
	w.place = s.line.PushBack(w)
	party.each(func(c *counter) { c.waiting++ })
	w.use(1)
	if lacks == policy.ReasonConcurrencyLimited {
		s.tickLocked() // nobody else can start either
	} else {
		s.dispatchLocked(now)
	}
	if s.line.Len() > maxLine {
		last := s.lastLocked()
		last.leaveLocked(cmp.Or(last.lacksLocked(now), policy.ReasonConcurrencyLimited))
	}
	if w.place != nil && patience <= 0 {
		w.leaveLocked(cmp.Or(w.lacksLocked(now), policy.ReasonConcurrencyLimited))
	}
}

func (w *waiter) use(n int) {
	for _, b := range w.buckets {
		if b != nil {
			b.users += n
		}
	}
}

// leaveLocked takes a waiter out of the line, as a running transfer when reason is "".
func (w *waiter) leaveLocked(reason policy.Reason) {
	s := w.lease.scope
	s.line.Remove(w.place)
	w.place, w.reason = nil, reason
	w.lease.party.each(func(c *counter) { c.waiting-- })
	w.use(-1)
	if reason == "" {
		w.startLocked()
	} else {
		s.forgetLocked(&w.lease.party)
	}
	close(w.turn)
}

// result is what became of a request that no longer waits.
func (w *waiter) result() (*Lease, policy.Reason) {
	if w.reason != "" {
		return nil, w.reason
	}
	return w.lease, ""
}

// dispatchLocked lets all start that can, the first in order before the others. It is
// called whenever somebody in line might be able to: when a slot is free again, when
// somebody has come, and when a token has.
func (s *limitScope) dispatchLocked(now time.Time) {
	for s.line.Len() > 0 {
		w := s.firstLocked(now)
		if w == nil {
			break
		}
		if w.gone != nil && w.gone() {
			w.leaveLocked(policy.ReasonConcurrencyLimited)
			continue
		}
		w.leaveLocked("")
	}
	s.armLocked(now)
}

// firstLocked returns the first in order of those that can start, or nil.
func (s *limitScope) firstLocked(now time.Time) *waiter {
	var first *waiter
	for e := s.line.Front(); e != nil; e = e.Next() {
		w := e.Value.(*waiter)
		if w.lacksLocked(now) == "" && (first == nil || compareWaiters(w, first) < 0) {
			first = w
		}
	}
	return first
}

// compareLocked orders those who wait: whose client runs fewest, then whose last
// transfer was complete, then who has come first.
func compareWaiters(a, b *waiter) int {
	x, y := a.lease.party.client, b.lease.party.client
	return cmp.Or(
		cmp.Compare(x.running, y.running),
		cmp.Compare(x.standing, y.standing),
		cmp.Compare(a.seq, b.seq))
}

// lastLocked returns who leaves the line when it is too long: one whose client did not
// take its last transfer, before one of a client that has the most in line, and of
// these the last to come.
func (s *limitScope) lastLocked() *waiter {
	var last *waiter
	for e := s.line.Front(); e != nil; e = e.Next() {
		w := e.Value.(*waiter)
		if last == nil {
			last = w
			continue
		}
		x, y := w.lease.party.client, last.lease.party.client
		if cmp.Or(cmp.Compare(x.standing, y.standing), cmp.Compare(x.crowd(), y.crowd())) >= 0 {
			last = w
		}
	}
	return last
}

func (c *counter) crowd() int { return c.running + c.waiting }

// armLocked sets the timers for those who are left in line: for the next token that
// somebody needs who has a slot, and for the next look at the line.
func (s *limitScope) armLocked(now time.Time) {
	next := time.Duration(-1)
	for e := s.line.Front(); e != nil; e = e.Next() {
		w := e.Value.(*waiter)
		if d := w.nextToken(now); d > 0 && (next < 0 || d < next) {
			next = d
		}
	}
	switch {
	case next < 0 && s.token != nil:
		s.token.Stop()
	case next >= 0 && s.token != nil:
		s.token.Reset(next)
	case next >= 0:
		s.token = time.AfterFunc(next, s.tokenCame)
	}
	s.tickLocked()
}

func (s *limitScope) tokenCame() {
	s.limiter.mu.Lock()
	defer s.limiter.mu.Unlock()
	s.dispatchLocked(s.limiter.now())
}
