// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"container/list"
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"
)

// limits is the one limiter of the process. It belongs to no plugin instance:
// a reload neither fills anybody's bucket nor forgets a running transfer.
var limits = newLimiter(time.Now)

// The bounds of what is kept for one scope.
const (
	maxBuckets       = 1 << 16 // token buckets
	maxLine          = 1024    // requests that wait for their turn
	maxLinePerClient = 256
)

// admission is an allowed request that wants to start.
type admission struct {
	Scope  string     // names one directive, the same before and after a reload
	Client netip.Addr // its source address; IPv6 counts by /64
	Zone   string     // the apex, canonical
	Rule   string     // the rule that allowed it
	Limits Limits     // the directive's; Rate, Total, PerClient and Wait count here

	RuleRate       *Rate // the rule's own rate in place of Limits.Rate; nil: none
	RuleConcurrent int   // the rule's own count in place of Limits.PerClient; 0: none
}

// limiter bounds how often and how many at once allowed clients may transfer.
// Limits travel with each admission: every request is judged by its own, so what
// a reload changes counts from the next request on. A limit of zero lets nothing
// through.
//
// The rate is looked at first, see limit_rate.go, so that a client over it takes
// no place in the line. A request that is then refused for want of a slot gets
// its token back: an honest secondary comes back soon, and must not be punished
// twice. While it waits the token is gone, so waiting is bounded by the rate as
// well; and a client that hangs up by itself has had it.
//
// Slots are counted per scope, and in it per client, or per client and rule where
// the rule has a count of its own. A request that finds none free stands in line,
// at most Limits.Wait. Slots go to the first in line whose own client is below
// its limit: in order of arrival, with those skipped that could not use the slot
// anyway. So nobody stands behind the queue of a client that is at its limit.
type limiter struct {
	now        func() time.Time
	maxBuckets int // of one scope

	mu     sync.Mutex
	scopes map[string]*limitScope
	down   bool
}

// limitScope is the state of one directive.
type limitScope struct {
	inFlight int
	holders  map[holderID]*holder
	line     list.List // of *waiter, first come first
	buckets  *simplelru.LRU[bucketID, *rate.Limiter]
}

// holderID names who a slot is counted for: a client, or a client under a rule
// that has its own count.
type holderID struct {
	client netip.Addr
	rule   string // "" under Limits.PerClient
}

// holder is a client that runs or waits for at least one transfer.
type holder struct {
	id      holderID
	running int
	waiting int
}

// lease is the right to run one transfer.
type lease struct {
	limiter *limiter
	scope   *limitScope
	holder  *holder // nil once released

	progress func() int64 // see Watch
	end      func(error)
}

// slots is how many transfers there may be for a request to start.
type slots struct {
	total  int // in the scope
	holder int // of its holder
}

// waiter is a request in line.
type waiter struct {
	lease  *lease
	slots  slots
	turn   chan struct{} // closed when the waiting is over
	place  *list.Element // nil once out of the line
	reason Reason        // why it got no slot, "" if it did
}

// newLimiter returns a limiter that reads the time from now.
func newLimiter(now func() time.Time) *limiter {
	return &limiter{now: now, maxBuckets: maxBuckets, scopes: make(map[string]*limitScope)}
}

// Admit lets an allowed request start, at once or after it has waited for its
// turn. It returns a lease and "", or nil and why not: ReasonRateLimited,
// ReasonConcurrencyLimited (no place, no turn in time, or ctx ended while
// waiting), ReasonShutdown.
func (l *limiter) Admit(ctx context.Context, a admission) (*lease, Reason) {
	a.Client = limitedClient(a.Client)
	l.mu.Lock()
	if l.down {
		l.mu.Unlock()
		return nil, ReasonShutdown
	}
	scope := l.scopeLocked(a.Scope)
	bucket, ok := scope.takeTokenLocked(&a, l.now())
	if !ok {
		l.mu.Unlock()
		return nil, ReasonRateLimited
	}
	id, want := a.holder()
	slot := &lease{limiter: l, scope: scope, holder: scope.holderLocked(id)}
	if scope.freeLocked(slot.holder, want) {
		scope.startLocked(slot)
		l.mu.Unlock()
		return slot, ""
	}
	w := scope.queueLocked(slot, want, a.Limits.Wait)
	if w == nil {
		l.returnTokenLocked(bucket)
		l.mu.Unlock()
		return nil, ReasonConcurrencyLimited
	}
	l.mu.Unlock()
	return l.wait(ctx, w, a.Limits.Wait, bucket)
}

// wait stands in line until it is the waiter's turn, or no longer.
func (l *limiter) wait(ctx context.Context, w *waiter, patience time.Duration, bucket *rate.Limiter) (*lease, Reason) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	gone := false
	select {
	case <-w.turn:
	case <-timer.C:
	case <-ctx.Done():
		gone = true
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	if w.place != nil {
		w.lease.scope.leaveLocked(w, ReasonConcurrencyLimited)
	}
	if w.reason == "" { // also where the turn came just as it left
		return w.lease, ""
	}
	if !gone {
		l.returnTokenLocked(bucket)
	}
	return nil, w.reason
}

// Release ends the lease and gives the slot to the next in line. It may be
// called from any goroutine, more than once, and on nil.
func (s *lease) Release() {
	if s == nil {
		return
	}
	s.limiter.mu.Lock()
	defer s.limiter.mu.Unlock()
	h := s.holder
	if h == nil {
		return
	}
	s.holder = nil
	h.running--
	s.scope.inFlight--
	s.scope.forgetLocked(h)
	s.scope.dispatchLocked()
}

// Shutdown makes every further Admit fail with ReasonShutdown, and those that
// wait too. Leases stay good until they are released.
func (l *limiter) Shutdown() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = true
	for _, s := range l.scopes {
		for e := s.line.Front(); e != nil; e = s.line.Front() {
			s.leaveLocked(e.Value.(*waiter), ReasonShutdown)
		}
	}
}

// Resume undoes Shutdown: another instance has started in the same process.
func (l *limiter) Resume() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = false
}

// stopped reports whether Shutdown was called, and Resume not since.
func (l *limiter) stopped() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.down
}

// InFlight returns the number of leases of the scope that are not released.
func (l *limiter) InFlight(scope string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.scopes[scope]; s != nil {
		return s.inFlight
	}
	return 0
}

// scopeLocked returns the state of the scope, new when there is none.
func (l *limiter) scopeLocked(name string) *limitScope {
	s := l.scopes[name]
	if s == nil {
		buckets, err := simplelru.NewLRU[bucketID, *rate.Limiter](l.maxBuckets, nil)
		if err != nil {
			panic(err) // only for a size below one
		}
		s = &limitScope{holders: make(map[holderID]*holder), buckets: buckets}
		l.scopes[name] = s
	}
	return s
}

// holder returns who the request's slot is counted for, and the limits on it.
func (a *admission) holder() (holderID, slots) {
	if a.RuleConcurrent > 0 {
		return holderID{client: a.Client, rule: a.Rule}, slots{a.Limits.Total, a.RuleConcurrent}
	}
	return holderID{client: a.Client}, slots{a.Limits.Total, a.Limits.PerClient}
}

// holderLocked returns the holder, new when there is none.
func (s *limitScope) holderLocked(id holderID) *holder {
	h := s.holders[id]
	if h == nil {
		h = &holder{id: id}
		s.holders[id] = h
	}
	return h
}

// forgetLocked drops a holder that holds nothing.
func (s *limitScope) forgetLocked(h *holder) {
	if h.running == 0 && h.waiting == 0 {
		delete(s.holders, h.id)
	}
}

// freeLocked reports whether the holder may start one more transfer. Slots are
// given out as soon as they are free: one that a request finds when it arrives
// is one that nobody in line, under the same limits, could use.
func (s *limitScope) freeLocked(h *holder, want slots) bool {
	return s.inFlight < want.total && h.running < want.holder
}

func (s *limitScope) startLocked(slot *lease) {
	s.inFlight++
	slot.holder.running++
}

// queueLocked puts a request at the end of the line, or returns nil when there
// is no place, no time, or nothing to wait for.
func (s *limitScope) queueLocked(slot *lease, want slots, patience time.Duration) *waiter {
	h := slot.holder
	hopeless := want.total <= 0 || want.holder <= 0
	if hopeless || patience <= 0 || s.line.Len() >= maxLine || h.waiting >= maxLinePerClient {
		s.forgetLocked(h)
		return nil
	}
	w := &waiter{lease: slot, slots: want, turn: make(chan struct{})}
	w.place = s.line.PushBack(w)
	h.waiting++
	return w
}

// leaveLocked takes a waiter out of the line, with a slot when reason is "".
func (s *limitScope) leaveLocked(w *waiter, reason Reason) {
	s.line.Remove(w.place)
	w.place, w.reason = nil, reason
	h := w.lease.holder
	h.waiting--
	if reason == "" {
		s.startLocked(w.lease)
	} else {
		s.forgetLocked(h)
	}
	close(w.turn)
}

// dispatchLocked gives the free slots to those first in line that can use them.
func (s *limitScope) dispatchLocked() {
	for e := s.line.Front(); e != nil; {
		w := e.Value.(*waiter)
		e = e.Next()
		if s.freeLocked(w.lease.holder, w.slots) {
			s.leaveLocked(w, "")
		}
	}
}

// limitedClient returns the address that stands for the client: itself in IPv4,
// its /64 in IPv6, where one host has as many addresses as it likes.
func limitedClient(a netip.Addr) netip.Addr {
	a = a.Unmap()
	if !a.Is6() {
		return a
	}
	p, err := a.WithZone("").Prefix(64)
	if err != nil {
		return netip.Addr{}
	}
	return p.Addr()
}
