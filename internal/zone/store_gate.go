// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A zone with judges has a gate: each version is built and judged before anybody gets a
// message of it. Meanwhile, and as long as a version is held, clients get the last good
// one: the newest of the lineage, which is in memory or comes out of the journal.

// Held is a version that is held back.
type Held struct {
	Apex    string
	Serial  uint32
	Digest  Digest // zero where there is none: then it cannot be approved
	Records int64  // the SOA once
	Since   time.Time
	Objection
}

// patience is how long after a new version has been seen a client waits for the verdict
// before it gets the last good one: most verdicts take milliseconds.
const patience = time.Second

// gated reports whether versions of the zone are judged before they are offered.
func (sl *slot) gated() bool { return len(sl.judges) > 0 }

// Held returns what is held back now, ordered by apex.
func (s *Store) Held() (all []Held) {
	for _, sl := range s.all() {
		sl.mu.Lock()
		if sl.holds != nil {
			all = append(all, *sl.holds)
		}
		sl.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b Held) int { return strings.Compare(a.Apex, b.Apex) })
	return all
}

// Approve lets the versions out that are held now and have this digest, and returns them.
// They are offered when it returns. What is not held is not approved for later.
func (s *Store) Approve(d Digest) (out []Held) {
	if d == (Digest{}) {
		return nil
	}
	for _, sl := range s.all() {
		sl.mu.Lock()
		v, holds := sl.held, sl.holds
		mine := v != nil && v.digest() == d && sl.current == v
		if mine {
			sl.held, sl.holds = nil, nil
		}
		sl.mu.Unlock()
		if mine && s.offer(sl, v, ReleasedApproved) {
			out = append(out, *holds)
		}
	}
	return out
}

// guardVersion makes a version one that is judged before anybody gets it.
func (s *Store) guardVersion(v *Version) {
	v.judged, v.hurried = make(chan struct{}), true
	v.life, v.end = context.WithCancel(s.until)
}

// conclude says whether a version that is judged may go out. One that may not can be let
// out later.
func (v *Version) conclude(o *Objection) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.objection = o
	v.end()
	select {
	case <-v.judged:
	default:
		close(v.judged)
	}
}

// free reports whether a version that is judged may go out.
func (v *Version) free() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.objection == nil
}

// letGo closes a version that is held by a store that ends.
func (sl *slot) letGo() {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	if held := sl.held; held != nil {
		sl.held, sl.holds, sl.current = nil, nil, nil
		held.close()
	}
}

// buildGated makes a version that nobody gets before the verdict.
func (s *Store) buildGated(sl *slot, v *Version, st *stream) {
	go v.indexAlong(v.attach(true))
	v.build(st, s.o.Limit, func() bool { return s.makeRoom(sl) })
	<-v.indexed
	s.faultOf(sl, v)
	if !s.complete(sl, v) {
		v.close()
		var o *Objection
		if v.isPassing() {
			s.notInspected(sl, v)
			o = &Objection{HeldNotJudged, fmt.Sprintf("serial %d does not fit into cache, where it has to be while it is judged; raise cache", v.Serial)}
			s.hold(sl, nil, o, Held{Apex: sl.apex, Serial: v.Serial, Since: time.Now()})
		}
		v.conclude(o)
		return
	}
	s.correct(sl, v)
	if o := s.judge(sl, v); o != nil {
		s.holdBack(sl, v, o)
		return
	}
	s.offer(sl, v, ReleasedSuperseded)
}

// judge asks whether a version may go out.
func (s *Store) judge(sl *slot, v *Version) *Objection {
	if v.digest() == (Digest{}) {
		return notJudged(errors.New("the zone has no digest"))
	}
	given, err := sl.lineage.lastGiven()
	s.report(sl.apex, err)
	c := &Case{Apex: sl.apex, Version: v, Given: given, lineage: sl.lineage}
	o := consult(v.life, sl.judges, c)
	if o == nil { // and nobody looks at it any more
		v.since = c.changes
	}
	return o
}

// holdBack keeps a version from going out, unless another has taken its place meanwhile.
func (s *Store) holdBack(sl *slot, v *Version, o *Objection) {
	h := Held{Apex: sl.apex, Serial: v.Serial, Digest: v.digest(), Records: v.Outline().Records, Since: time.Now()}
	held := s.hold(sl, v, o, h)
	if !held {
		v.close()
	}
	v.conclude(o)
}

// hold notes what is held back: a version, or one that was too large to be kept.
func (s *Store) hold(sl *slot, v *Version, o *Objection, h Held) bool {
	h.Objection = *o
	sl.mu.Lock()
	if sl.current != v || s.until.Err() != nil {
		sl.mu.Unlock()
		return false
	}
	sl.held, sl.holds = v, &h
	sl.mu.Unlock()
	if sl.lineage.holds(h) && s.o.OnHeld != nil {
		s.o.OnHeld(h)
	}
	return true
}

// offer lets a version out, and tells of it.
func (s *Store) offer(sl *slot, v *Version, why ReleaseReason) bool {
	settled := s.settle(sl, v)
	if settled {
		s.inspect(sl, v)
	}
	v.close()
	v.conclude(nil)
	if !settled {
		return false
	}
	sl.mu.Lock()
	sl.holds = nil
	sl.mu.Unlock()
	if sl.lineage.releases() && s.o.OnReleased != nil {
		o := v.Outline()
		s.o.OnReleased(Held{Apex: sl.apex, Serial: v.Serial, Digest: o.Digest, Records: o.Records, Since: time.Now()}, why)
	}
	s.tell(sl, v.SOA)
	return true
}

// supersedeLocked ends what goes on for versions that are no longer the latest.
func (sl *slot) supersedeLocked(before *Version) {
	if before != nil && before != sl.current && before.end != nil {
		before.end()
	}
	if held := sl.held; held != nil && held != sl.current {
		sl.held = nil
		go held.close()
	}
}

// offered returns a reader of the latest version that may go out.
func (s *Store) offered(ctx context.Context, sl *slot) (*Reader, error) {
	for {
		v, err := s.latest(ctx, sl, forClient)
		if err != nil {
			return nil, err
		}
		kept, err := sl.lineage.keepsGood()
		s.report(sl.apex, err)
		judged := v == nil || v.verdict(ctx, kept)
		if judged && v != nil && v.free() {
			if _, err := v.finished(); err != nil && !errors.Is(err, errUnread) {
				return nil, err
			}
			if r := v.attach(false); r != nil {
				return r, nil
			}
			sl.outgrow(v)
			continue
		}
		if kept {
			r, err := s.lastGood(ctx, sl)
			if !errors.Is(err, errForgotten) {
				return r, err
			}
			if !judged {
				continue
			}
		}
		return nil, s.nothingGood(ctx, sl)
	}
}

// nothingGood says why there is nothing to give.
func (s *Store) nothingGood(ctx context.Context, sl *slot) error {
	sl.mu.Lock()
	holds := sl.holds
	sl.mu.Unlock()
	switch {
	case holds != nil:
		return fmt.Errorf("%w: %s, serial %d: %s: %s", ErrHeld, sl.apex, holds.Serial, holds.Reason, holds.Text)
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %s: no verdict yet: %w", ErrHeld, sl.apex, context.Cause(ctx))
	}
	return fmt.Errorf("%w: %s", ErrHeld, sl.apex)
}

// verdict waits until a version is judged, but not long where there is another to give. It
// reports whether it is judged.
func (v *Version) verdict(ctx context.Context, short bool) bool {
	var late <-chan time.Time
	if short {
		t := time.NewTimer(time.Until(v.asked.Add(patience)))
		defer t.Stop()
		late = t.C
	}
	select {
	case <-v.judged:
		return true
	default:
	}
	select {
	case <-v.judged:
		return true
	case <-late:
	case <-ctx.Done():
	}
	return false
}
