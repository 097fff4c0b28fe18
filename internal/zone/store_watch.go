// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"context"
	"time"

	"github.com/miekg/dns"
)

// Period is how often a watch reads the serials: backends tell nobody of a new one.
const Period = 2 * time.Second

// Watch begins to read the serials every period, until the store is closed. A new
// version of a zone that has been asked for is built at once, before the secondaries ask.
// onSOA gets the SOA of the watched zones and of those that have been asked for, again
// and again the same, and that of a new version when it is ready to be sent; it must not
// block. It may be nil.
func (s *Store) Watch(period time.Duration, watched []string, onSOA func(apex string, soa *dns.SOA)) {
	for _, apex := range watched {
		if sl := s.slot(apex); sl != nil {
			sl.mu.Lock()
			sl.watched = true
			sl.mu.Unlock()
		}
	}
	if onSOA != nil {
		s.mu.Lock()
		s.onSOA = onSOA
		s.mu.Unlock()
	}
	s.work.Add(1)
	go func() {
		defer s.work.Done()
		ctx := s.until
		tick := time.NewTicker(period)
		defer tick.Stop()
		for {
			for _, sl := range s.all() {
				s.read(ctx, sl)
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
}

// read reads the serial of one zone.
func (s *Store) read(ctx context.Context, sl *slot) {
	if ctx.Err() != nil {
		return
	}
	if err := sl.lineage.flush(); err != nil {
		s.report(sl.apex, err)
	}
	sl.mu.Lock()
	current, opening, large, watched, seen := sl.current, sl.opening, sl.large, sl.watched, sl.seen
	sl.mu.Unlock()
	switch {
	case opening != nil:
	case current != nil && !large:
		v, err := s.latest(ctx, sl, forWatch)
		if err == nil && v != nil {
			v.hurry()
		}
		if err == nil && v != nil && v.Settled() { // what is wrong with it, a client is told
			s.tell(sl, v.SOA)
			s.inspectAgain(sl, v)
		} else if sl.gated() {
			s.tellGood(ctx, sl)
		}
	case watched || sl.gated():
		st, err := s.open(ctx, sl.apex, seen, forWatch)
		if err != nil {
			return
		}
		st.stop()
		if !st.same {
			sl.mu.Lock()
			sl.seen = newVersion(sl.apex, st)
			sl.large = sl.large && !sl.gated()
			sl.mu.Unlock()
		}
		switch {
		case !sl.gated():
			s.tell(sl, st.soa)
		case !st.same: // it is told of when it has been judged
			_, _ = s.latest(ctx, sl, forWatch) // what is wrong with it, a client is told
		default:
			s.tellGood(ctx, sl)
		}
	}
}

// tellGood tells of what is offered while the latest version of a zone is not.
func (s *Store) tellGood(ctx context.Context, sl *slot) {
	sl.mu.Lock()
	held := sl.holds != nil
	sl.mu.Unlock()
	if kept, _ := sl.lineage.keepsGood(); !held || !kept {
		return
	}
	r, err := s.lastGood(ctx, sl)
	if err != nil {
		return // reported
	}
	s.tell(sl, r.Version.SOA)
	r.Close()
}

// tell hands the SOA of a zone that has been read to who wants it.
func (s *Store) tell(sl *slot, soa *dns.SOA) {
	s.mu.Lock()
	onSOA := s.onSOA
	s.mu.Unlock()
	if onSOA != nil {
		onSOA(sl.apex, soa)
	}
}
