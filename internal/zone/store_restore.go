// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/xfrguard/xfrguard/internal/zone/journal"
)

// lastGood returns a reader of the last good version, which it builds from the journal
// when it is not in memory. It fails with errForgotten when there is none.
func (s *Store) lastGood(ctx context.Context, sl *slot) (*Reader, error) {
	for {
		if r := sl.lineage.inMemory(); r != nil {
			return r, nil
		}
		op := s.restore(sl)
		if err := wait(ctx, sl.apex, op.done); err != nil {
			return nil, err
		}
		if op.err != nil {
			return nil, op.err
		}
	}
}

// restore begins to build the last good version, or joins who does.
func (s *Store) restore(sl *slot) *opening {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	if sl.restoring != nil {
		return sl.restoring
	}
	op := &opening{done: make(chan struct{})}
	sl.restoring = op
	go func() {
		err := s.rebuild(sl)
		sl.mu.Lock()
		defer sl.mu.Unlock()
		sl.restoring, op.err = nil, err
		close(op.done)
	}()
	return op
}

// rebuild puts the last good version into memory, if no later one is there meanwhile.
func (s *Store) rebuild(sl *slot) (err error) {
	defer caught(sl.apex, ErrInvalid, &err)
	g, err := sl.lineage.recollect()
	switch {
	case errors.Is(err, errForgotten) && sl.lineage.hasNewest():
		return nil
	case errors.Is(err, errForgotten):
		return err
	}
	var v *Version
	if err == nil {
		v, err = s.remake(sl, g)
	}
	if err != nil {
		sl.lineage.distrust()
		s.report(sl.apex, fmt.Errorf("the last good version cannot be read, clients get none until a good one comes or the one that is held is approved: %w", err))
		return errForgotten
	}
	sl.settling.Lock()
	defer sl.settling.Unlock()
	if sl.lineage.restored(v) {
		s.keep(sl, v)
	}
	v.close()
	return nil
}

// remake makes a version of what the journal has.
func (s *Store) remake(sl *slot, g *recollection) (*Version, error) {
	v := newVersion(sl.apex, &stream{soa: g.soa, asked: time.Now(), source: noSource})
	v.account, v.hurried = &sl.lineage.account, true
	go v.indexAlong(v.attach(true))
	v.finish(g.fill(v))
	<-v.indexed
	_, err := v.finished()
	if err == nil && v.digest() != g.digest {
		err = fmt.Errorf("%w: the records of %s are not those that were written", journal.ErrCorrupt, sl.apex)
	}
	if err != nil {
		v.close()
	}
	return v, err
}

// noSource is the source of a version that comes from none.
const noSource = -1
