// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/xfrguard/xfrguard/internal/wire"

	"github.com/miekg/dns"
	"golang.org/x/time/rate"
)

// Options of a Sender. The zero value of a field has its default.
type Options struct {
	// Done is told the end of every notice, and State whether targets answer. They must
	// not block, nor call the Sender.
	Done  func(Result)
	State func(State)

	Tries int // for one notice, default 5 (RFC 1996 §3.6)
	// Wait is for an answer over UDP, and then over TCP, or over TLS; default 3 s.
	Wait time.Duration
	// Pause is how long to wait before the next try, after that many; default 4 s, 12 s,
	// 36 s, 60 s, each ±25 %.
	Pause     func(tries int) time.Duration
	PerSecond int // tries begun, to all targets; default 100
	InFlight  int // tries at once, to all targets; default 64
	PerTarget int // tries at once, to one target; default 4, 1 while it keeps silent
	PerStart  int // tries a second of Begin, to one target; default 20
	// DownTries is after how many tries without an answer a target is down, and DownAfter
	// how long there must have been none; default 3, and 30 s.
	DownTries int
	DownAfter time.Duration

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
	set(&o.PerStart, 20)
	set(&o.DownTries, 3)
	if o.DownAfter <= 0 {
		o.DownAfter = 30 * time.Second
	}
	if o.Wait <= 0 {
		o.Wait = 3 * time.Second
	}
	if o.Pause == nil {
		o.Pause = pause
	}
	if o.Done == nil {
		o.Done = func(Result) {}
	}
	if o.State == nil {
		o.State = func(State) {}
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
	states   []State  // likewise

	telling sync.Mutex // held while Done is called; taken before mu
}

// lane is what is known of one target.
type lane struct {
	target    *Target
	notices   map[string]*notice // by zone
	due       []*notice
	begun     []*notice     // of Begin, behind those of due
	calm      *rate.Limiter // of begun
	inFlight  int
	silent    bool // the last try had no answer
	algorithm int  // of the key's, the one to try first
	spell     Spell
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

	calm    bool // it was sent with Begin
	waiting bool // in the lane's begun

	failed  int    // tries that were not enough, of this serial and of those it took the place of
	last    reply  // the last of them
	lastBy  string // the algorithm it was signed with
	accused bool   // that has been told

	forgotten bool // its zone is gone
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
	s.send(t, zone, soa, delay, false)
}

// Begin is Send for what there is to tell of at a start, where no secondary is in a hurry
// and one may have thousands of zones: those to one target keep a pace, and let what is
// new pass.
func (s *Sender) Begin(t *Target, zone string, soa *dns.SOA, delay time.Duration) {
	s.send(t, zone, soa, delay, true)
}

func (s *Sender) send(t *Target, zone string, soa *dns.SOA, delay time.Duration, calm bool) {
	defer s.tell()
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.laneLocked(t)
	n := l.notices[zone]
	switch {
	case s.closed:
	case n == nil:
		n = &notice{lane: l, zone: zone, soa: soa, calm: calm}
		l.notices[zone] = n
		s.laterLocked(n, delay)
	case n.running:
		n.forgotten = false // the zone is there again
		n.next, n.calm = nil, n.calm && calm
		if soa.Serial != n.soa.Serial {
			n.next = soa
		}
	case soa.Serial != n.soa.Serial:
		s.supersededLocked(n)
		n.soa = soa
		if n.tries > 0 && n.timer.Stop() {
			s.dueLocked(n)
		}
		n.tries = 0
		s.hurryLocked(n, calm)
	default:
		s.hurryLocked(n, calm)
	}
	s.dispatchLocked()
}

func (s *Sender) laneLocked(t *Target) *lane {
	l := s.lanes[t]
	if l == nil {
		l = &lane{target: t, notices: make(map[string]*notice), calm: rate.NewLimiter(rate.Limit(s.o.PerStart), 1)}
		s.lanes[t] = l
	}
	return l
}

// ended takes the end of a try.
func (s *Sender) ended(n *notice, r reply, used int, began time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.dispatchLocked()
	l := n.lane
	l.inFlight--
	s.inFlight--
	n.running = false
	l.silent = r.silent()
	s.heardLocked(n, r, began)
	algorithm := ""
	if key := l.target.Key; key != nil && used < len(key.Algorithms) {
		algorithm = key.Algorithms[used]
	}
	if r.outcome == Accepted {
		l.algorithm = used
	}
	if r.again() {
		n.failed, n.last, n.lastBy = n.failed+1, r, algorithm
	}
	if n.next != nil {
		if r.outcome == Accepted {
			s.overLocked(n, r, algorithm, n.tries)
			n.failed, n.accused = 0, false
		} else {
			s.supersededLocked(n)
		}
		n.soa, n.next, n.tries = n.next, nil, 0
		if !s.closed {
			s.dueLocked(n)
			return
		}
		r = reply{}
	}
	switch {
	case (s.closed || n.forgotten) && r.outcome != Accepted:
		r.outcome = Stopped
	case !s.closed && n.tries < s.o.Tries && r.again():
		s.laterLocked(n, s.o.Pause(n.tries))
		return
	}
	delete(l.notices, n.zone)
	s.overLocked(n, r, algorithm, n.tries)
}

// supersededLocked notes that another serial takes the place of the notice's. When all
// that was tried for a zone was in vain, however often its serial changed meanwhile, that
// is told once in place of it.
func (s *Sender) supersededLocked(n *notice) {
	if n.failed < s.o.Tries || n.accused {
		s.overLocked(n, reply{answer: answer{outcome: Superseded}}, "", n.tries)
		return
	}
	n.accused = true
	s.overLocked(n, n.last, n.lastBy, n.failed)
}

// overLocked notes the end of a notice, for tell.
func (s *Sender) overLocked(n *notice, r reply, algorithm string, tries int) {
	if r.err == nil && r.outcome.Failed() {
		r.err = errors.New("the answer is " + wire.RcodeName(r.rcode))
	}
	s.over = append(s.over, Result{
		Target: n.lane.target, Zone: n.zone, Serial: n.soa.Serial, Outcome: r.outcome, Tries: tries,
		Transport: r.transport, Algorithm: algorithm, Proven: r.proven && n.lane.target.Key != nil, Err: r.err,
	})
}

// tell hands the ends to Done, in their order: of one zone and target, the last
// serial's end comes last.
func (s *Sender) tell() {
	s.telling.Lock()
	defer s.telling.Unlock()
	s.mu.Lock()
	over, states := s.over, s.states
	s.over, s.states = nil, nil
	s.mu.Unlock()
	for _, st := range states {
		s.o.State(st)
	}
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
				s.overLocked(n, reply{answer: answer{outcome: Stopped}}, "", n.tries)
			}
		}
	}
	s.mu.Unlock()
	s.runs.Wait()
	s.tell()
}
