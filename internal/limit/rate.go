// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"math"
	"time"

	"github.com/xfrguard/xfrguard/internal/policy"
)

// bucketID names whose requests count together: each has a token bucket. A client has
// one for each zone, and so has a proof, for all its addresses.
//
// Buckets are bounded by dropping the ones used longest ago; one that is dropped starts
// full again. docs/THREATS.md says why nobody gains by that.
type bucketID struct {
	client clientID // without an address: the proof's
	zone   string
	rule   string // "" under Limits.Rate
}

// bucket is a token bucket. It is never fuller than its burst; Rated may take it below
// zero.
type bucket struct {
	perNS  float64 // tokens
	burst  float64
	tokens float64
	last   time.Time
	users  int // requests in line that need a token of it
}

// rounding is what may be missing of a token.
const rounding = 1e-9

// behind returns how long it takes until there is a token for one more than those who
// wait for one.
func (b *bucket) behind(now time.Time) time.Duration {
	if b == nil {
		return 0
	}
	return b.next(b.users+1, now)
}

// set makes the bucket one of this rate from now on. What is in it stays.
func (b *bucket) set(r policy.Rate, share int, now time.Time) {
	b.fill(now)
	b.perNS = float64(r.Count) * float64(share) / float64(r.Period)
	b.burst = float64(r.Burst) * float64(share)
	b.tokens = min(b.tokens, b.burst)
}

func (b *bucket) fill(now time.Time) {
	if d := now.Sub(b.last); d > 0 {
		b.tokens = min(b.burst, b.tokens+float64(d)*b.perNS)
		b.last = now
	}
}

// next returns how long it takes until there are that many tokens; 0 is now. No bucket
// asks for none.
func (b *bucket) next(n int, now time.Time) time.Duration {
	if b == nil {
		return 0
	}
	b.fill(now)
	missing := float64(n) - b.tokens
	if missing <= rounding {
		return 0
	}
	wait := missing / b.perNS
	if !(wait < math.MaxInt64/2) { // also what is no number
		return math.MaxInt64 / 2
	}
	return max(1, time.Duration(math.Ceil(wait)))
}

func (b *bucket) take() {
	if b != nil {
		b.tokens--
	}
}

func (b *bucket) giveBack() {
	if b != nil {
		b.tokens = min(b.burst, b.tokens+1)
	}
}

// Rated reports whether Admit would let the request through as far as rates go, waiting
// for a token included, and counts it as Admit does.
func (l *Limiter) Rated(a Admission) bool {
	a.settle()
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	buckets, ok := l.scopeLocked(a.Scope).bucketsLocked(&a, now)
	if !ok {
		return false
	}
	for _, b := range buckets {
		if b.behind(now) > a.Limits.Wait {
			return false
		}
	}
	for _, b := range buckets {
		b.take()
	}
	return true
}

// bucketsLocked returns the buckets that the request needs a token of, under the rates
// of today: the client's, and its proof's or nil. It is false for a rate that never
// gives one.
func (s *limitScope) bucketsLocked(a *Admission, now time.Time) (found [2]*bucket, ok bool) {
	id := bucketID{client: a.id(), zone: a.Zone}
	r := a.Limits.Rate
	if a.RuleRate != nil {
		id.rule = a.Rule
		r = *a.RuleRate
	}
	if r.Count <= 0 || r.Period <= 0 || r.Burst <= 0 {
		return found, false
	}
	s.dropFullLocked(now)
	found[0] = s.bucketLocked(id, r, 1, now)
	if a.Proof != "" {
		id.client = clientID{proof: a.Proof}
		found[1] = s.bucketLocked(id, r, a.shares(), now)
	}
	return found, true
}

func (s *limitScope) bucketLocked(id bucketID, r policy.Rate, share int, now time.Time) *bucket {
	b, ok := s.buckets.Get(id)
	if !ok {
		b = &bucket{last: now, tokens: math.Inf(1)}
		s.buckets.Add(id, b)
	}
	b.set(r, share, now)
	return b
}

// dropFullLocked drops some of the buckets used longest ago, more than one request can
// add, if they are full.
func (s *limitScope) dropFullLocked(now time.Time) {
	for range 4 {
		id, b, ok := s.buckets.GetOldest()
		if !ok {
			return
		}
		if b.fill(now); b.tokens < b.burst || b.users > 0 {
			return
		}
		s.buckets.Remove(id)
	}
}
