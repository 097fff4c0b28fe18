// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

// Package limit bounds what allowed clients take: their rate, how many transfers run at
// once, the pace of those that others wait for, and which signatures were seen before.
package limit

import (
	"cmp"
	"container/list"
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/xfrguard/xfrguard/internal/policy"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// The bounds of what is kept for one scope.
const (
	maxBuckets       = 1 << 16 // token buckets
	maxStandings     = 1 << 12 // clients whose last transfer is known, of each kind
	maxLine          = 1024    // requests that wait for their turn
	maxLinePerClient = 256
)

// Admission is an allowed request that wants to start.
type Admission struct {
	Scope  string        // names one directive, the same before and after a reload
	Client netip.Addr    // its source address
	Proof  string        // the key or certificate that proved who it is; "" for none
	Zone   string        // the apex, canonical
	Rule   string        // the rule that allowed it
	Limits policy.Limits // the directive's; Rate, Total, PerClient, Wait and Pace count here

	RuleRate       *policy.Rate // the rule's own rate in place of Limits.Rate; nil: none
	RuleConcurrent int          // the rule's own count in place of Limits.PerClient; 0: none

	Own     string // the configured identity, which may always run one transfer; "" for none
	Single  bool   // the rule names this very address: it is a client of its own, in IPv6 too
	Singles int    // how many single addresses the rule names

	Gone   func() bool // reports, without blocking, that the client has closed its connection; may be nil
	OnWait func()      // called when the request gets in line; may be nil
}

// Limiter bounds how often and how many at once allowed clients may transfer.
// Limits travel with each admission: every request is judged by its own, so what
// a reload changes counts from the next request on. A limit of zero lets nothing
// through.
//
// A client is what it proved together with where it comes from, see limit_client.go.
// A request starts when its buckets have a token each (limit_rate.go) and a slot is
// free for it; until then it stands in line (limit_line.go), at most Limits.Wait. It
// pays its tokens when it starts: who is refused, or leaves, has paid nothing.
//
// Slots are counted per scope, per client and per proof. The first transfer of a
// configured identity needs none: Limits.Total bounds what clients hold beyond that.
// While somebody waits for a slot, the slowest transfers are ended (limit_pace.go).
type Limiter struct {
	now        func() time.Time
	maxBuckets int // of one scope

	mu       sync.Mutex
	scopes   map[string]*limitScope
	down     bool
	active   map[*limitScope]struct{} // those where somebody waits or is watched
	ticker   *time.Timer              // see tick; nil until it is needed for the first time
	ticks    bool                     // it runs
	slowTick bool                     // at tickIdle
}

// limitScope is the state of one directive.
type limitScope struct {
	limiter   *Limiter
	inFlight  int
	firsts    int // identities that run a transfer
	counters  map[counterID]*counter
	watched   map[*Lease]struct{}
	line      list.List // of *waiter, first come first
	seq       uint64    // of the last waiter
	buckets   *simplelru.LRU[bucketID, *bucket]
	standings standings
	token     *time.Timer // fires when the next token comes that somebody waits for
}

// Lease is the right to run one transfer.
type Lease struct {
	limiter *Limiter
	scope   *limitScope
	party   party
	paid    [2]*bucket // what a token was taken from
	pace    int64
	held    bool

	watch watch
}

// New returns a limiter that reads the time from now.
func New(now func() time.Time) *Limiter {
	return &Limiter{
		now: now, maxBuckets: maxBuckets, scopes: make(map[string]*limitScope),
		active: make(map[*limitScope]struct{}),
	}
}

// Admit lets an allowed request start, at once or after it has waited for its
// turn. It returns a lease and "", or nil and why not: ReasonRateLimited (no token
// in time), ReasonConcurrencyLimited (no place, no turn in time), ReasonShutdown.
// Who leaves the line, because ctx ends or the client is gone, is told what it waited
// for.
func (l *Limiter) Admit(ctx context.Context, a Admission) (*Lease, policy.Reason) {
	return l.Exchange(ctx, nil, a)
}

// Exchange gives a lease back as if it had never been, and admits the request in
// another way: under another rule. It goes before all who wait.
func (l *Limiter) Exchange(ctx context.Context, old *Lease, a Admission) (*Lease, policy.Reason) {
	a.settle()
	old.unwatch()
	l.mu.Lock()
	if l.down {
		old.returnLocked()
		l.mu.Unlock()
		return nil, policy.ReasonShutdown
	}
	now := l.now()
	scope := l.scopeLocked(a.Scope)
	old.undoLocked()
	w := scope.waiterLocked(&a, now)
	if w.lacksLocked(now) == "" && (old != nil || scope.line.Len() == 0) {
		w.startLocked()
	} else {
		scope.queueLocked(w, a.Limits.Wait, now)
	}
	if old != nil {
		old.scope.dispatchLocked(now)
	}
	waits := w.place != nil
	l.mu.Unlock()
	if !waits {
		return w.result()
	}
	if a.OnWait != nil {
		a.OnWait()
	}
	return l.wait(ctx, w, a.Limits.Wait)
}

// wait stands in line until it is the waiter's turn, or no longer.
func (l *Limiter) wait(ctx context.Context, w *waiter, patience time.Duration) (*Lease, policy.Reason) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-w.turn:
	case <-timer.C:
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.place != nil {
		w.leaveLocked(cmp.Or(w.lacksLocked(l.now()), policy.ReasonConcurrencyLimited))
	}
	return w.result() // a lease also where the turn came just as it left
}

// Release ends the lease and gives the slot to the next in line. It may be
// called from any goroutine, more than once, and on nil.
func (s *Lease) Release() {
	if s == nil {
		return
	}
	s.unwatch()
	s.limiter.mu.Lock()
	defer s.limiter.mu.Unlock()
	s.returnLocked()
}

// returnLocked gives the slot back, and to the next in line.
func (s *Lease) returnLocked() {
	if s == nil || !s.held {
		return
	}
	s.dropLocked()
	s.scope.dispatchLocked(s.limiter.now())
}

// undoLocked gives back what the lease has taken, its tokens too.
func (s *Lease) undoLocked() {
	if s == nil || !s.held {
		return
	}
	for _, b := range s.paid {
		b.giveBack()
	}
	s.dropLocked()
}

func (s *Lease) dropLocked() {
	s.held = false
	s.scope.inFlight--
	delete(s.scope.watched, s)
	s.party.each(func(c *counter) { c.running-- })
	if s.party.own != nil && s.party.own.running == 0 {
		s.scope.firsts--
	}
	s.scope.forgetLocked(&s.party)
}

// Shutdown makes every further Admit fail with ReasonShutdown, and those that
// wait too. Leases stay good until they are released.
func (l *Limiter) Shutdown() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = true
	for _, s := range l.scopes {
		for e := s.line.Front(); e != nil; e = s.line.Front() {
			e.Value.(*waiter).leaveLocked(policy.ReasonShutdown)
		}
		s.armLocked(l.now())
	}
}

// Resume undoes Shutdown: another instance has started in the same process.
func (l *Limiter) Resume() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = false
}

// Stopped reports whether Shutdown was called, and Resume not since.
func (l *Limiter) Stopped() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.down
}

// InFlight returns the number of leases of the scope that are not released.
func (l *Limiter) InFlight(scope string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.scopes[scope]; s != nil {
		return s.inFlight
	}
	return 0
}

// scopeLocked returns the state of the scope, new when there is none.
func (l *Limiter) scopeLocked(name string) *limitScope {
	s := l.scopes[name]
	if s == nil {
		s = &limitScope{
			limiter:   l,
			counters:  make(map[counterID]*counter),
			watched:   make(map[*Lease]struct{}),
			buckets:   newLRU[bucketID, *bucket](l.maxBuckets),
			standings: newStandings(),
		}
		l.scopes[name] = s
	}
	return s
}

func newLRU[K comparable, V any](size int) *simplelru.LRU[K, V] {
	lru, err := simplelru.NewLRU[K, V](size, nil)
	if err != nil {
		panic(err) // only for a size below one
	}
	return lru
}

// Forget empties the limiter as if the process had just started, for tests.
func (l *Limiter) Forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.scopes = make(map[string]*limitScope)
}

// Held returns how many places are given away, in all scopes.
func (l *Limiter) Held() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.scopes {
		n += s.inFlight
	}
	return n
}
