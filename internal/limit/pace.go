// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"cmp"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/xfrguard/xfrguard/internal/policy"
)

// ErrTooSlow ends a transfer below the pace whose place somebody waits for.
var ErrTooSlow = errors.New("slower than the pace while others wait")

// How a transfer's pace is judged.
const (
	paceGrace  = 2 * time.Second // after its start nobody is slow
	paceWindow = time.Minute     // older progress does not count
	paceStep   = 5 * time.Second // between what is remembered of it
	paceRest   = 2 * time.Second // see stillLocked

	tickWaiting = 250 * time.Millisecond // between two looks at a line
	tickIdle    = time.Second            // and at running transfers while nobody waits
)

// watch is how the limiter knows the progress of a transfer, and ends it.
type watch struct {
	mu       sync.Mutex // held while one of the functions runs, before limiter.mu
	progress func() int64
	end      func(error)

	// Under limiter.mu:
	past  []sample // oldest first, at least paceStep apart, none much older than paceWindow
	grace *sample  // the first after the grace
	last  sample
	ended bool
}

// sample is how far a transfer was at some moment.
type sample struct {
	at    time.Time
	taken int64 // octets, by the client
}

// Watch lets the limiter end the transfer of the lease while somebody waits who could
// use its place. progress returns how many octets the client has taken so far, and
// counts time in which there was nothing to take as if it had kept the pace; end is
// called at most once, with errTooSlow, and must see to it that the transfer ends and
// the lease is released soon. Both are called from a goroutine of the limiter and never
// after Release has returned; so they must neither block nor call Release. A lease that
// is not watched is never ended.
func (s *Lease) Watch(progress func() int64, end func(cause error)) {
	if s == nil {
		return
	}
	w := &s.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	w.progress, w.end = progress, end
	first := sample{at: s.limiter.now(), taken: progress()}
	s.limiter.mu.Lock()
	defer s.limiter.mu.Unlock()
	if !s.held {
		w.progress, w.end = nil, nil
		return
	}
	w.past, w.last = append(w.past[:0], first), first
	s.scope.watched[s] = struct{}{}
	s.scope.tickLocked()
}

// unwatch waits until none of the functions runs, and lets none run again.
func (s *Lease) unwatch() {
	if s == nil {
		return
	}
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	s.watch.progress, s.watch.end = nil, nil
}

// measure returns how far the transfer is; false once it is no longer watched.
func (s *Lease) measure() (sample, bool) {
	w := &s.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.progress == nil {
		return sample{}, false
	}
	return sample{at: s.limiter.now(), taken: w.progress()}, true
}

// stop ends the transfer.
func (s *Lease) stop() {
	w := &s.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.end != nil {
		w.end(ErrTooSlow)
	}
}

// noteLocked remembers how far the transfer is.
func (w *watch) noteLocked(m sample) {
	w.last = m
	if w.grace == nil && m.at.Sub(w.past[0].at) >= paceGrace {
		w.grace = &m
	}
	if m.at.Sub(w.past[len(w.past)-1].at) >= paceStep {
		w.past = append(w.past, m)
	}
	for len(w.past) > 1 && m.at.Sub(w.past[1].at) >= paceWindow {
		w.past = w.past[1:]
	}
}

// since returns what the client took since, and in which time.
func (m sample) since(before sample) (taken int64, span time.Duration) {
	return m.taken - before.taken, m.at.Sub(before.at)
}

// slowLocked reports whether the transfer may be ended for anybody who waits: the
// average over the last minute, or since its start, is below the pace.
func (s *Lease) slowLocked() bool {
	w := &s.watch
	if s.pace <= 0 || w.grace == nil {
		return false
	}
	taken, span := w.last.since(w.past[0])
	return float64(taken) < float64(s.pace)*span.Seconds()
}

// stillLocked is slowLocked without what the client took at once: what its kernel has
// room for says nothing of its pace, and lets a reader that never reads pass for a
// quick one for up to a minute. A rest of two seconds is allowed. It is enough for
// those whose last transfer was complete to be let in before such a client, about four
// seconds after that one stopped.
func (s *Lease) stillLocked() bool {
	w := &s.watch
	if s.pace <= 0 || w.grace == nil {
		return false
	}
	before := *w.grace
	if w.past[0].at.After(before.at) {
		before = w.past[0]
	}
	taken, span := w.last.since(before)
	return float64(taken) < float64(s.pace)*(span-paceRest).Seconds()
}

// speedLocked is the average over the last minute in octets a second.
func (s *Lease) speedLocked() float64 {
	taken, span := s.watch.last.since(s.watch.past[0])
	return float64(taken) / max(span, 1).Seconds()
}

// tickLocked keeps the ticker running while there is something to look at.
func (s *limitScope) tickLocked() {
	if s.line.Len() == 0 && len(s.watched) == 0 {
		return
	}
	s.limiter.active[s] = struct{}{}
	if next := s.nextTickLocked(); !s.limiter.ticks || s.limiter.slowTick && next < tickIdle {
		s.limiter.setTickerLocked(next)
	}
}

func (s *limitScope) nextTickLocked() time.Duration {
	if s.line.Len() > 0 {
		return tickWaiting
	}
	return tickIdle
}

func (l *Limiter) setTickerLocked(next time.Duration) {
	if l.ticker == nil {
		l.ticker = time.AfterFunc(next, l.tick)
	} else {
		l.ticker.Reset(next)
	}
	l.ticks, l.slowTick = true, next == tickIdle
}

// tick looks at all who wait and all that run: who has gone leaves the line, and who is
// slow makes room. What the system is asked is asked without the lock.
func (l *Limiter) tick() {
	l.mu.Lock()
	var line []*waiter
	var running []*Lease
	for s := range l.active {
		for e := s.line.Front(); e != nil; e = e.Next() {
			if w := e.Value.(*waiter); w.gone != nil {
				line = append(line, w)
			}
		}
		for r := range s.watched {
			running = append(running, r)
		}
	}
	l.mu.Unlock()

	line = slices.DeleteFunc(line, func(w *waiter) bool { return !w.gone() })
	measured := make(map[*Lease]sample, len(running))
	for _, r := range running {
		if m, ok := r.measure(); ok {
			measured[r] = m
		}
	}
	for _, r := range l.look(line, measured) {
		r.stop()
	}
}

// look works with what tick has found out, and returns the transfers to end.
func (l *Limiter) look(gone []*waiter, measured map[*Lease]sample) []*Lease {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	for _, w := range gone {
		if w.place != nil {
			w.leaveLocked(cmp.Or(w.lacksLocked(now), policy.ReasonConcurrencyLimited))
		}
	}
	for r, m := range measured {
		if r.held {
			r.watch.noteLocked(m)
		}
	}
	var slow []*Lease
	l.ticks = false
	for s := range l.active {
		slow = append(slow, s.makeRoomLocked(now)...)
		if s.line.Len() == 0 && len(s.watched) == 0 {
			delete(l.active, s)
		}
		s.tickLocked()
	}
	return slow
}

// candidate is a transfer that may be ended.
type candidate struct {
	lease *Lease
	slow  bool // for anybody; else for a client of good standing alone
	speed float64
}

// makeRoomLocked returns the transfers to end: one for each who waits for nothing but a
// slot, as far as slow ones hold a slot that it could use.
func (s *limitScope) makeRoomLocked(now time.Time) []*Lease {
	if s.line.Len() == 0 {
		return nil
	}
	slow, ending := s.candidatesLocked()
	if len(slow) == 0 {
		return nil
	}
	var owed []*waiter
	for e := s.line.Front(); e != nil; e = e.Next() {
		if w := e.Value.(*waiter); w.lacksLocked(now) == policy.ReasonConcurrencyLimited {
			owed = append(owed, w)
		}
	}
	slices.SortFunc(owed, compareWaiters)
	var out []*Lease
	for _, w := range owed {
		if i := slices.IndexFunc(ending, w.helpedByLocked); i >= 0 {
			ending = slices.Delete(ending, i, i+1) // its place is on its way
			continue
		}
		good := w.lease.party.client.standing == standingGood
		i := slices.IndexFunc(slow, func(c candidate) bool { return (c.slow || good) && w.helpedByLocked(c.lease) })
		if i < 0 {
			continue
		}
		slow[i].lease.watch.ended = true
		out = append(out, slow[i].lease)
		slow = slices.Delete(slow, i, i+1)
	}
	return out
}

// candidatesLocked returns the transfers that may be ended, in that order, and those
// that have been ended and still hold their slot.
func (s *limitScope) candidatesLocked() (slow []candidate, ending []*Lease) {
	for r := range s.watched {
		switch c := (candidate{lease: r, slow: r.slowLocked()}); {
		case r.watch.ended:
			ending = append(ending, r)
		case c.slow || r.stillLocked():
			c.speed = r.speedLocked()
			slow = append(slow, c)
		}
	}
	slices.SortFunc(slow, func(a, b candidate) int {
		switch {
		case a.slow && b.slow:
			return cmp.Compare(a.speed, b.speed)
		case a.slow:
			return -1
		case b.slow:
			return 1
		}
		return cmp.Or(
			cmp.Compare(b.lease.party.client.standing, a.lease.party.client.standing), // the worst first
			cmp.Compare(a.speed, b.speed))
	})
	return slow, ending
}

// helpedByLocked reports whether the request could start if that transfer were over.
func (w *waiter) helpedByLocked(r *Lease) bool {
	s, mine, its := w.lease.scope, &w.lease.party, &r.party
	left := func(c, other *counter) int {
		if c != nil && c == other {
			return c.running - 1
		}
		return c.running
	}
	shared := s.inFlight - s.firsts
	if its.own == nil || its.own.running > 1 {
		shared--
	}
	if mine.own != nil && left(mine.own, its.own) == 0 {
		return true
	}
	return shared < w.slots.total && left(mine.limit, its.limit) < w.slots.client &&
		(mine.proof == nil || left(mine.proof, its.proof) < w.slots.proof)
}
