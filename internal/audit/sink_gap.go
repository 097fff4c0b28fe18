// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"encoding/json"
	"time"

	"github.com/xfrguard/xfrguard/internal/trail"
)

// The times between two tries to write the gap event: twice as long each time.
const (
	firstProbe = 250 * time.Millisecond
	lastProbe  = 30 * time.Second
)

// account is what a lineSink keeps of its failures.
type account struct {
	down    bool
	reason  error // of the last failure
	lost    losses
	probeAt time.Time     // when the gap event is tried next; zero: there is none to write
	wait    time.Duration // before the try after that
	backAt  time.Time     // when the last one came through
	lastTry bool          // the one at the end is made
}

// losses is what a gap event has to tell.
type losses struct {
	events, allowed, denials uint64
	late                     uint64 // events counted as lost, here or in an earlier gap, that arrived after all
	since                    time.Time
}

func (l *losses) any() bool { return l.events > 0 || l.late > 0 }

func (l *losses) take(told losses) {
	l.events -= told.events
	l.allowed -= told.allowed
	l.denials -= told.denials
	l.late -= told.late
	l.since = time.Now()
}

// loseLocked counts an event that is not in the sink, whoever learns of it.
func (s *lineSink) loseLocked(event []byte, err error) {
	if s.lost.events == 0 {
		s.lost.since = time.Now()
		if !s.down {
			s.reason = err
		}
	}
	allowed, denials := standsFor(event)
	s.lost.events++
	s.lost.allowed += allowed
	s.lost.denials += denials
	s.probeLocked()
}

// downLocked has the sink left alone until a gap event comes through.
func (s *lineSink) downLocked(err error) {
	s.reason = err
	if s.down || s.closing {
		return
	}
	s.down = true
	s.state(err)
}

// probeLocked sets the time of the next try to write the gap event.
func (s *lineSink) probeLocked() {
	if !s.probeAt.IsZero() {
		return
	}
	if !s.down && time.Since(s.backAt) > lastProbe {
		s.wait = firstProbe // but not for a sink that comes and goes
	}
	s.probeAt = time.Now().Add(s.wait)
	s.wait = min(2*s.wait, lastProbe)
	s.poke()
}

// tell writes the gap event and takes off what it told: the sink is up again. Of several
// with the same sink and since the last one counts: an earlier one that failed may be
// there too.
func (s *lineSink) tell() {
	s.mu.Lock()
	told, reason := s.lost, s.reason
	s.probeAt = time.Time{}
	s.mu.Unlock()
	err := s.put(gapEvent(s.name, told, reason))

	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.probeLocked()
		return
	}
	s.lost.take(told)
	s.backAt = time.Now()
	if s.lost.any() {
		s.probeLocked()
	}
	if s.down {
		s.down = false
		s.state(nil)
	}
}

func gapEvent(sink string, told losses, reason error) []byte {
	e := &Event{Action: ActionGap, Extra: map[string]any{
		extraSink: sink, trail.FieldLost: told.events, ExtraLostAllowed: told.allowed, extraLostDenials: told.denials,
		trail.FieldSince: told.since,
	}}
	if told.late > 0 {
		e.Extra[trail.FieldLate] = told.late
	}
	if reason != nil {
		e.Reason, e.Error = failureClass(reason), reason.Error()
	}
	Stamp(e)
	return e.line()
}

// standsFor says of a lost event for how many allow decisions and for how many denials it
// stood: a folded line stands for many.
func standsFor(event []byte) (allowed, denials uint64) {
	var e struct {
		Action  Action `json:"event.action"`
		Outcome string `json:"event.outcome"`
		Count   uint64 `json:"coredns.xfr.suppressed.count"`
	}
	if json.Unmarshal(event, &e) != nil {
		return 0, 0
	}
	switch {
	case e.Action == ActionAnswered:
		return e.Count, 0
	case e.Action == ActionDenied:
		return 0, e.Count
	case e.Action == ActionDecision && e.Outcome == "success":
		return 1, 0
	case e.Action == ActionDecision:
		return 0, 1
	}
	return 0, 0
}
