// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/time/rate"
)

// Options of a Sender. The zero value of a field has its default.
type Options struct {
	// Done is told the end of every notice. It must not block, nor call the Sender.
	Done func(Result)

	Tries int // for one notice, default 5 (RFC 1996 §3.6)
	// Wait is for an answer over UDP, and then over TCP, or over TLS; default 3 s.
	Wait time.Duration
	// Pause is how long to wait before the next try, after that many; default 4 s, 12 s,
	// 36 s, 60 s, each ±25 %.
	Pause     func(tries int) time.Duration
	PerSecond int // tries begun, to all targets; default 100
	InFlight  int // tries at once, to all targets; default 64
	PerTarget int // tries at once, to one target; default 4, 1 while it keeps silent

	exchange func(context.Context, *Target, *request, time.Duration) reply
}

func (o *Options) defaults() {
	set := func(n *int, to int) {
		if *n <= 0 {
			*n = to
		}
	}
	set(&o.Tries, 5)
	set(&o.PerSecond, 100)
	set(&o.InFlight, 64)
	set(&o.PerTarget, 4)
	if o.Wait <= 0 {
		o.Wait = 3 * time.Second
	}
	if o.Pause == nil {
		o.Pause = pause
	}
	if o.Done == nil {
		o.Done = func(Result) {}
	}
	if o.exchange == nil {
		o.exchange = exchange
	}
}

// pause grows threefold from 4 s to 60 s, give or take a quarter, so that many notices
// which failed together are not repeated together.
func pause(tries int) time.Duration {
	d := 4 * time.Second
	for range tries - 1 {
		d = min(3*d, time.Minute)
	}
	return d*3/4 + rand.N(d/2)
}

// Result is the end of one notice.
type Result struct {
	Target    *Target
	Zone      string
	Serial    uint32
	Outcome   Outcome
	Tries     int
	Transport Transport // of the answer, or of the last try; "" when there was none
	Algorithm string    // of the TSIG, when there was one
	Proven    bool      // the answer is signed with the target's key
	Err       error     // what went wrong in the last try; without secrets
}

// Sender sends notices. It holds at most one notice for each zone and target, with a
// next one while a try is under way. It is safe for concurrent use.
type Sender struct {
	o      Options
	ctx    context.Context
	cancel context.CancelFunc
	pace   *rate.Limiter
	runs   sync.WaitGroup

	mu       sync.Mutex
	lanes    map[*Target]*lane
	ready    []*lane // with notices to send, in turn
	inFlight int
	slowed   bool // a timer will dispatch
	closed   bool
	over     []Result // for tell

	telling sync.Mutex // held while Done is called; taken before mu
}

// lane is what is known of one target.
type lane struct {
	target    *Target
	notices   map[string]*notice // by zone
	due       []*notice
	inFlight  int
	silent    bool // the last try had no answer
	algorithm int  // of the key's, the one to try first
}

// notice is one zone's serial on its way to one target.
type notice struct {
	lane    *lane
	zone    string
	soa     *dns.SOA
	tries   int
	timer   *time.Timer // runs while it waits for its next try
	running bool
	next    *dns.SOA // came while a try was under way
}

// NewSender returns a Sender that runs until Close.
func NewSender(o Options) *Sender {
	o.defaults()
	s := &Sender{o: o, lanes: make(map[*Target]*lane), pace: rate.NewLimiter(rate.Limit(o.PerSecond), o.PerSecond)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Send has the target told of the zone's SOA, after a delay. A notice of another serial
// of that zone that waits for its turn or next try is superseded; one of the same
// serial is on its way already. zone is the apex. Send does not block; after Close it
// does nothing.
func (s *Sender) Send(t *Target, zone string, soa *dns.SOA, delay time.Duration) {
	defer s.tell()
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.laneLocked(t)
	n := l.notices[zone]
	switch {
	case s.closed:
	case n == nil:
		n = &notice{lane: l, zone: zone, soa: soa}
		l.notices[zone] = n
		s.laterLocked(n, delay)
	case n.running:
		n.next = nil
		if soa.Serial != n.soa.Serial {
			n.next = soa
		}
	case soa.Serial != n.soa.Serial:
		s.overLocked(n, reply{answer: answer{outcome: Superseded}}, "")
		n.soa = soa
		if n.tries > 0 && n.timer.Stop() {
			s.dueLocked(n)
		}
		n.tries = 0
	}
	s.dispatchLocked()
}

func (s *Sender) laneLocked(t *Target) *lane {
	l := s.lanes[t]
	if l == nil {
		l = &lane{target: t, notices: make(map[string]*notice)}
		s.lanes[t] = l
	}
	return l
}

// laterLocked puts the notice into its lane after the delay.
func (s *Sender) laterLocked(n *notice, delay time.Duration) {
	if delay <= 0 {
		s.dueLocked(n)
		return
	}
	n.timer = time.AfterFunc(delay, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.closed {
			s.dueLocked(n)
			s.dispatchLocked()
		}
	})
}

func (s *Sender) dueLocked(n *notice) {
	l := n.lane
	l.due = append(l.due, n)
	if len(l.due) == 1 {
		s.ready = append(s.ready, l)
	}
}

// dispatchLocked starts what may run now.
func (s *Sender) dispatchLocked() {
	for !s.closed && s.inFlight < s.o.InFlight {
		i := s.freeLocked()
		if i < 0 {
			return
		}
		if !s.pace.Allow() {
			s.slowLocked()
			return
		}
		s.startLocked(i)
	}
}

// freeLocked finds the next lane that may have another try; silent targets have one at
// a time, so that a dead one costs the others little.
func (s *Sender) freeLocked() int {
	for i, l := range s.ready {
		if l.inFlight == 0 || (!l.silent && l.inFlight < s.o.PerTarget) {
			return i
		}
	}
	return -1
}

// slowLocked arranges a dispatch for when the pace allows it.
func (s *Sender) slowLocked() {
	if s.slowed {
		return
	}
	s.slowed = true
	time.AfterFunc(time.Second/time.Duration(s.o.PerSecond), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.slowed = false
		s.dispatchLocked()
	})
}

// startLocked takes a notice of lane i, which goes behind the others.
func (s *Sender) startLocked(i int) {
	l := s.ready[i]
	n := l.due[0]
	l.due[0] = nil
	l.due = l.due[1:]
	s.ready = append(s.ready[:i], s.ready[i+1:]...)
	if len(l.due) > 0 {
		s.ready = append(s.ready, l)
	} else {
		l.due = nil
	}
	n.running = true
	n.tries++
	l.inFlight++
	s.inFlight++
	soa, first := n.soa, l.algorithm
	s.runs.Go(func() {
		r, used := s.try(l.target, n.zone, soa, first)
		s.ended(n, r, used)
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

// again reports whether the target is asked again: also after a refusal that anybody
// may have sent.
func (r reply) again() bool {
	return r.outcome.Again() || (r.transport == UDP && !r.proven)
}

// ended takes the end of a try.
func (s *Sender) ended(n *notice, r reply, used int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.dispatchLocked()
	l := n.lane
	l.inFlight--
	s.inFlight--
	n.running = false
	l.silent = r.outcome == Timeout || r.outcome == Unreachable || r.outcome == TLSFailed
	algorithm := ""
	if key := l.target.Key; key != nil && used < len(key.Algorithms) {
		algorithm = key.Algorithms[used]
	}
	if r.outcome == Accepted {
		l.algorithm = used
	}
	if n.next != nil {
		if r.outcome != Accepted {
			r = reply{answer: answer{outcome: Superseded}}
		}
		s.overLocked(n, r, algorithm)
		n.soa, n.next, n.tries = n.next, nil, 0
		if !s.closed {
			s.dueLocked(n)
			return
		}
		r = reply{}
	}
	switch {
	case s.closed && r.outcome != Accepted:
		r.outcome = Stopped
	case !s.closed && n.tries < s.o.Tries && r.again():
		s.laterLocked(n, s.o.Pause(n.tries))
		return
	}
	delete(l.notices, n.zone)
	s.overLocked(n, r, algorithm)
}

// overLocked notes the end of a notice, for tell.
func (s *Sender) overLocked(n *notice, r reply, algorithm string) {
	if r.err == nil && r.outcome.Failed() {
		r.err = errors.New("the answer is " + rcodeName(r.rcode))
	}
	s.over = append(s.over, Result{
		Target: n.lane.target, Zone: n.zone, Serial: n.soa.Serial, Outcome: r.outcome, Tries: n.tries,
		Transport: r.transport, Algorithm: algorithm, Proven: r.proven && n.lane.target.Key != nil, Err: r.err,
	})
}

// tell hands the ends to Done, in their order: of one zone and target, the last
// serial's end comes last.
func (s *Sender) tell() {
	s.telling.Lock()
	defer s.telling.Unlock()
	s.mu.Lock()
	over := s.over
	s.over = nil
	s.mu.Unlock()
	for _, r := range over {
		s.o.Done(r)
	}
}

// Close stops all notices and returns when nothing of the Sender runs any more.
func (s *Sender) Close() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		s.cancel()
		for _, l := range s.lanes {
			for zone, n := range l.notices {
				if n.running {
					continue // its end is told when the try has ended
				}
				if n.timer != nil {
					n.timer.Stop()
				}
				delete(l.notices, zone)
				s.overLocked(n, reply{answer: answer{outcome: Stopped}}, "")
			}
		}
	}
	s.mu.Unlock()
	s.runs.Wait()
	s.tell()
}
