// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"time"

	"github.com/miekg/dns"
)

// laterLocked puts the notice into its lane after the delay.
func (s *Sender) laterLocked(n *notice, delay time.Duration) {
	if delay <= 0 {
		s.dueLocked(n)
		return
	}
	n.timer = time.AfterFunc(delay, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.closed && !n.forgotten {
			s.dueLocked(n)
			s.dispatchLocked()
		}
	})
}

func (s *Sender) dueLocked(n *notice) {
	l := n.lane
	if len(l.due)+len(l.begun) == 0 {
		s.ready = append(s.ready, l)
	}
	if n.calm {
		n.waiting = true
		l.begun = append(l.begun, n)
	} else {
		l.due = append(l.due, n)
	}
}

// hurryLocked takes the notice out of those that keep a pace, unless it is sent once more
// as one of them.
func (s *Sender) hurryLocked(n *notice, calm bool) {
	if calm || !n.calm {
		return
	}
	n.calm = false
	if n.waiting { // its place in the lane's begun is passed over
		n.waiting = false
		n.lane.due = append(n.lane.due, n)
	}
}

// dispatchLocked starts what may run now.
func (s *Sender) dispatchLocked() {
	for !s.closed && s.inFlight < s.o.InFlight {
		i, later := s.freeLocked()
		if i < 0 {
			if later {
				s.slowLocked(time.Second / time.Duration(s.o.PerStart))
			}
			return
		}
		if !s.pace.Allow() {
			s.slowLocked(time.Second / time.Duration(s.o.PerSecond))
			return
		}
		s.startLocked(i)
	}
}

// freeLocked finds the next lane that may have another try; silent targets have one at
// a time, so that a dead one costs the others little. later says that there is none, but
// one that only has to keep its pace.
func (s *Sender) freeLocked() (at int, later bool) {
	for i, l := range s.ready {
		switch {
		case l.inFlight > 0 && (l.silent || l.inFlight >= s.o.PerTarget):
		case len(l.due) > 0 || l.calm.Tokens() >= 1:
			return i, false
		default:
			later = true
		}
	}
	return -1, later
}

// takeLocked takes the next notice of the lane out of it, nil when only places were left
// of notices that are elsewhere by now.
func (l *lane) takeLocked() *notice {
	if len(l.due) > 0 {
		n := l.due[0]
		l.due[0] = nil
		l.due = l.due[1:]
		return n
	}
	for len(l.begun) > 0 {
		n := l.begun[0]
		l.begun[0] = nil
		l.begun = l.begun[1:]
		if n.waiting {
			n.waiting = false
			l.calm.Allow()
			return n
		}
	}
	return nil
}

// slowLocked arranges a dispatch for when the pace allows it.
func (s *Sender) slowLocked(d time.Duration) {
	if s.slowed {
		return
	}
	s.slowed = true
	time.AfterFunc(d, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.slowed = false
		s.dispatchLocked()
	})
}

// startLocked takes a notice of lane i, which goes behind the others.
func (s *Sender) startLocked(i int) {
	l := s.ready[i]
	n := l.takeLocked()
	s.ready = append(s.ready[:i], s.ready[i+1:]...)
	if len(l.due)+len(l.begun) > 0 {
		s.ready = append(s.ready, l)
	} else {
		l.due, l.begun = nil, nil
	}
	if n == nil {
		return
	}
	n.running = true
	n.tries++
	l.inFlight++
	s.inFlight++
	soa, first, began := n.soa, l.algorithm, time.Now()
	s.runs.Go(func() {
		r, used := s.try(l.target, n.zone, soa, first)
		s.ended(n, r, used, began)
		s.tell()
	})
}

// try sends one NOTIFY and waits for its answer. Where the target does not take the
// algorithm, those of the key are tried in turn; should it take none, the answer that
// counts is the first that proves itself, or else the first.
func (s *Sender) try(t *Target, zone string, soa *dns.SOA, first int) (best reply, used int) {
	algorithms := []string{""}
	if t.Key != nil {
		algorithms = t.Key.Algorithms
	}
	best.outcome, best.err = Unsendable, errNoAlgorithm
	for i := range algorithms {
		at := (first + i) % len(algorithms)
		m, err := newRequest(zone, soa, t.Key, algorithms[at])
		if err != nil {
			return reply{answer: answer{outcome: Unsendable}, err: err}, at
		}
		r := s.o.exchange(s.ctx, t, m, s.o.Wait)
		if !r.otherAlgorithm() {
			return r, at
		}
		if i == 0 || r.proven && !best.proven {
			best, used = r, at
		}
	}
	return best, used
}

// otherAlgorithm reports whether the key with another algorithm may have a better
// answer. NSD says REFUSED, and signs it, where others say BADKEY.
func (r reply) otherAlgorithm() bool {
	switch r.outcome {
	case Refused:
		return true
	case BadKey, BadSignature, NotAuth:
		return !r.proven
	}
	return false
}

// again reports whether the target is asked again: also after a refusal that anybody may
// have sent.
func (r reply) again() bool {
	return r.outcome.Again() || (r.transport == UDP && !r.proven)
}
