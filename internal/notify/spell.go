// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package notify

import "time"

// Spell is a time in which a target answers nothing. The zero Spell is none.
type Spell struct {
	Since time.Time // when the first try without an answer began
	Tries int       // since then, of whatever zone and serial
	Down  bool      // it is long enough to be told of, and has been
}

// State says whether a target answers: after each answer, and once when it is down.
type State struct {
	Target    *Target
	Up        bool
	Turned    bool      // it was not so before; always true when it is down
	Spell     Spell     // the one that goes on, or has ended
	Zone      string    // what it was told of last
	Outcome   Outcome   // of that
	Transport Transport // likewise
	Err       error
}

// silent reports whether the target said nothing at all to a NOTIFY.
func (r reply) silent() bool {
	return r.outcome == Timeout || r.outcome == Unreachable || r.outcome == TLSFailed
}

// heardLocked takes notes of whether the target has answered a try. A datagram that
// proves nothing tells neither: anybody may have sent it.
func (s *Sender) heardLocked(n *notice, r reply, began time.Time) {
	l := n.lane
	st := State{Target: l.target, Zone: n.zone, Outcome: r.outcome, Transport: r.transport, Err: r.err}
	switch {
	case s.closed || r.outcome == Unsendable:
		return
	case r.silent():
		if l.spell.Tries == 0 || began.Before(l.spell.Since) {
			l.spell.Since = began
		}
		l.spell.Tries++
		if l.spell.Down || l.spell.Tries < s.o.DownTries || time.Since(l.spell.Since) < s.o.DownAfter {
			return
		}
		l.spell.Down = true
		st.Turned, st.Spell = true, l.spell
	case r.proven || r.transport != UDP:
		st.Up, st.Turned, st.Spell = true, l.spell.Down, l.spell
		l.spell = Spell{}
	default:
		return
	}
	s.states = append(s.states, st)
}

// Spells returns the targets that are silent.
func (s *Sender) Spells() map[*Target]Spell {
	s.mu.Lock()
	defer s.mu.Unlock()
	spells := make(map[*Target]Spell)
	for t, l := range s.lanes {
		if l.spell.Tries > 0 {
			spells[t] = l.spell
		}
	}
	return spells
}

// Resume has the spell of a target go on that began with another Sender.
func (s *Sender) Resume(t *Target, spell Spell) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.laneLocked(t)
	l.spell, l.silent = spell, true
}
