// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// opening is a look at the sources that is under way, for all who wait for it. When done
// is closed, version or err is set.
type opening struct {
	done    chan struct{}
	version *Version
	err     error
	how     look
}

// latest looks at the sources, or joins who does. It returns nil when the zone is too
// large to be shared.
func (s *Store) latest(ctx context.Context, sl *slot, how look) (*Version, error) {
	for again := false; ; {
		op, joined := s.look(sl, how)
		if op == nil {
			return nil, nil
		}
		if err := wait(ctx, sl.apex, op.done); err != nil {
			return nil, err
		}
		// A look that had begun before this request may have seen the zone before a
		// change that this request comes after. One that is joined later has not.
		serves := how == forWatch || op.how == forClient // serials alone say nothing to a client
		if !joined || again && serves {
			return op.version, op.err
		}
		again = again || serves
	}
}

// look begins a look at the sources, or joins the one that is under way. It returns nil
// when the zone is too large to be shared.
func (s *Store) look(sl *slot, how look) (op *opening, joined bool) {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	if sl.large {
		return nil, false
	}
	if sl.opening != nil {
		return sl.opening, true
	}
	op = &opening{done: make(chan struct{}), how: how}
	if sl.gone {
		op.err = errGone(sl.apex)
		close(op.done)
		return op, false
	}
	kept := s.keptLocked(sl)
	if s.quick {
		st, err := openAny(s.sources, sl.apex, kept, how)
		s.enterLocked(sl, op, kept, st, err)
		return op, false
	}
	sl.opening = op
	go func() {
		st, err := openAny(s.sources, sl.apex, kept, how)
		sl.mu.Lock()
		defer sl.mu.Unlock()
		sl.opening = nil
		if errors.Is(err, errPasses) {
			sl.large = true
			close(op.done)
			return
		}
		s.enterLocked(sl, op, kept, st, err)
	}()
	return op, false
}

// wait waits for what a backend has to do before it begins to send, but not for ever.
func wait(ctx context.Context, apex string, what <-chan struct{}) error {
	select {
	case <-what:
		return nil
	default:
	}
	timeout := time.NewTimer(silence)
	defer timeout.Stop()
	select {
	case <-what:
		return nil
	case <-timeout.C:
		return errSilent(apex)
	case <-ctx.Done():
		return fmt.Errorf("waiting for %s: %w", apex, context.Cause(ctx))
	}
}

// keptLocked is the version that the sources may say is still the current one. One whose
// build failed is not, but for a zone in memory: the same would fail again.
func (s *Store) keptLocked(sl *slot) *Version {
	if sl.current == nil {
		return nil
	}
	if done, err := sl.current.finished(); done && err != nil && (!s.quick || errors.Is(err, errUnread)) {
		return nil
	}
	return sl.current
}

// enterLocked takes what the sources said, and begins to build what is new.
func (s *Store) enterLocked(sl *slot, op *opening, kept *Version, st *stream, err error) {
	defer close(op.done)
	before := sl.current
	defer sl.supersedeLocked(before)
	switch {
	case err == nil && sl.gone:
		st.stop()
		op.err = errGone(sl.apex)
	case err != nil:
		op.err = err
		sl.current, sl.holds = nil, nil
	case st.same:
		st.stop()
		op.version = kept
	default:
		op.version = s.newVersion(sl, st)
		sl.current = op.version
		go s.build(sl, op.version, st)
	}
	if sl.current == nil && kept != nil {
		go s.drop(sl, kept)
	}
}

// open opens a stream that is this caller's own.
func (s *Store) open(ctx context.Context, apex string, kept *Version, how look) (*stream, error) {
	var (
		st  *stream
		err error
	)
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		st, err = openAny(s.sources, apex, kept, how)
	}()
	if early := wait(ctx, apex, opened); early != nil {
		go func() {
			if <-opened; err == nil {
				st.stop()
			}
		}()
		return nil, early
	}
	return st, err
}
