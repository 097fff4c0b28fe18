// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"context"
	"fmt"
	"hash/maphash"
	"time"

	"github.com/xfrguard/xfrguard/internal/wire"
)

// lag is how long the readers of a version that is not kept wait for one of them that is
// a whole window behind. Then it loses its place among them, and gets the rest from a
// build of its own.
const lag = 500 * time.Millisecond

// paceLocked waits while a passing version is far enough ahead of its readers. It fails
// with errUnread when there are none left.
func (v *Version) paceLocked() error {
	began := time.Now()
	for {
		v.settleLocked()
		if v.unreadLocked() {
			return errUnread
		}
		if v.size <= window {
			return nil
		}
		if v.abandoned {
			v.loseLocked()
			continue
		}
		patience := lag - time.Since(began)
		starving := v.starvingLocked()
		if starving && patience <= 0 && v.shedLocked() {
			continue
		}
		changed := v.waitLocked()
		v.mu.Unlock()
		if starving && patience > 0 {
			waitFor(changed, patience)
		} else {
			<-changed
		}
		v.mu.Lock()
	}
}

func waitFor(changed <-chan struct{}, patience time.Duration) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	}
}

// starvingLocked reports whether one of the readers has had all that there is.
func (v *Version) starvingLocked() bool {
	for r := range v.listeners {
		if !r.quiet && r.next >= v.readyLocked(r) {
			return true
		}
	}
	return false
}

// shedLocked takes its place from who is in the rear half of the window, for whom the
// others wait, and reports whether there was anybody. For the index all have to wait.
func (v *Version) shedLocked() (some bool) {
	for r := range v.listeners {
		if !r.quiet && r.next < v.gone+len(v.messages)/2 {
			r.lost, some = true, true
			delete(v.listeners, r)
		}
	}
	if some {
		v.changeLocked()
	}
	return some
}

// resume goes on behind what the reader has had, with a build of its own. What that
// begins with must be the same, octet by octet: then all of it is the backend's zone.
func (r *Reader) resume(ctx context.Context) (wire.Message, error) {
	v := r.Version
	v.mu.Lock()
	reopen := v.reopen
	v.mu.Unlock()
	if reopen == nil {
		return wire.Message{}, fmt.Errorf("%w: %s", ErrTooSlow, v.Apex)
	}
	st, err := reopen(ctx)
	if err != nil {
		return wire.Message{}, err
	}
	if st.soa.Serial != v.Serial {
		st.stop()
		return wire.Message{}, errChanged(v.Apex)
	}
	own := newVersion(v.Apex, st)
	own.account, own.gather, own.held = v.account, v.gather, true
	own.outgrowLocked() // nobody else knows it
	if own.origin != (origin{}) {
		v.streaming(own)
	}
	r.own, r.lost = own.attach(false), false
	go own.indexAlong(own.attach(true))
	go func() {
		own.build(st, 0, func() bool { return false })
		<-own.indexed
		v.noted(own) // v may have no reader left, and never be
		own.close()
	}()
	for range r.next {
		if _, err := r.nextOwn(ctx); err != nil {
			return wire.Message{}, err
		}
	}
	return r.nextOwn(ctx)
}

// nextOwn takes a message from the reader's own build, and holds it against the other one
// as far as that has come.
func (r *Reader) nextOwn(ctx context.Context) (wire.Message, error) {
	at := r.own.next
	m, err := r.own.Next(ctx)
	if err != nil {
		return m, err
	}
	v := r.Version
	v.mu.Lock()
	defer v.mu.Unlock()
	if at < len(v.sums) && v.sums[at] != maphash.Bytes(seeds[0], m.Bytes) {
		return wire.Message{}, errChanged(v.Apex)
	}
	return m, nil
}

func errChanged(apex string) error {
	return fmt.Errorf("%w: %s has changed since a client began to read it that cannot keep up with the others", ErrUnavailable, apex)
}
