// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"net/netip"
	"time"

	"golang.org/x/time/rate"
)

// bucketID names whose requests count together: each has a token bucket.
//
// Buckets are bounded by dropping the ones used longest ago, and whoever was
// dropped starts with a full one. Nobody can harm another that way: the worst an
// attacker with many addresses does to a secondary is to give it a full bucket
// early. What he can gain: n clients have n budgets whatever is remembered; only
// one with more than maxBuckets pairs of client and zone, all of them allowed by
// the policy and used in turn before they have filled again, takes more than
// those budgets. Limits.Total is what holds him, for it does not depend on
// memory. Nor can he reach into another scope. A bucket that is full again says
// nothing and goes first, so what is kept is about those who came lately.
type bucketID struct {
	client netip.Addr
	zone   string
	rule   string // "" under Limits.Rate
}

// Rated reports whether Admit would let the request through as far as rates go, and
// counts it as Admit does.
func (l *limiter) Rated(a admission) bool {
	a.Client = limitedClient(a.Client)
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.scopeLocked(a.Scope).takeTokenLocked(&a, l.now())
	return ok
}

// takeTokenLocked takes a token from the request's bucket, under the rate of
// today, and reports whether there was one.
func (s *limitScope) takeTokenLocked(a *admission, now time.Time) (*rate.Limiter, bool) {
	id := bucketID{client: a.Client, zone: a.Zone}
	r := a.Limits.Rate
	if a.RuleRate != nil {
		id.rule = a.Rule
		r = *a.RuleRate
	}
	if r.Count <= 0 || r.Period <= 0 || r.Burst <= 0 {
		return nil, false
	}
	limit := rate.Limit(float64(r.Count) / r.Period.Seconds())

	bucket, ok := s.buckets.Get(id)
	if !ok {
		bucket = rate.NewLimiter(limit, r.Burst)
		s.buckets.Add(id, bucket)
	}
	if bucket.Limit() != limit {
		bucket.SetLimitAt(now, limit)
	}
	if bucket.Burst() != r.Burst {
		bucket.SetBurstAt(now, r.Burst)
	}
	ok = bucket.AllowN(now, 1)
	s.dropFullLocked(now)
	return bucket, ok
}

// dropFullLocked drops up to two of the buckets used longest ago, more than one
// request can add, if they are full.
func (s *limitScope) dropFullLocked(now time.Time) {
	for range 2 {
		id, bucket, ok := s.buckets.GetOldest()
		if !ok || bucket.TokensAt(now) < float64(bucket.Burst()) {
			return
		}
		s.buckets.Remove(id)
	}
}

// returnTokenLocked undoes a take. rate.Reservation cannot: it gives nothing
// back for a moment that has passed. A bucket never gets fuller than its burst.
func (l *limiter) returnTokenLocked(bucket *rate.Limiter) {
	bucket.AllowN(l.now(), -1)
}
