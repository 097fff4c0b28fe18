// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"context"
	"fmt"
	"io"

	"github.com/xfrguard/xfrguard/internal/wire"
)

// Reader hands out the messages of one version, in order, as they become ready. It is
// not safe for concurrent use.
type Reader struct {
	Version *Version

	next   int
	closed bool
	lost   bool // it could not keep up with the others: the rest comes from own
	own    *Reader
	quiet  bool   // reads along, but nothing is built for it
	start  func() // begins the build; nil when it has begun
	stop   func() // ends what has not begun
}

// attach adds a reader at the beginning; nil when a part is gone already, or about to go.
func (v *Version) attach(quiet bool) *Reader {
	r := &Reader{Version: v, quiet: quiet}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.gone > 0 || v.leaving {
		return nil
	}
	v.listeners[r] = struct{}{}
	if !quiet {
		v.clients++
	}
	return r
}

// Next returns the next message, which is shared and must not be changed. It waits for
// it when the version is still being built, and returns io.EOF at the end of a whole
// zone only, the error of the build, or the context's cause.
func (r *Reader) Next(ctx context.Context) (wire.Message, error) {
	if r.start != nil {
		r.start()
		r.start, r.stop = nil, nil // they hold the backend's zone
	}
	if r.own != nil {
		return r.nextOwn(ctx)
	}
	v := r.Version
	v.mu.Lock()
	defer v.mu.Unlock()
	for {
		switch at := r.next - v.gone; {
		case r.lost:
			v.mu.Unlock()
			defer v.mu.Lock()
			return r.resume(ctx)
		case v.done && v.err != nil:
			return wire.Message{}, v.err
		case r.next < v.readyLocked(r):
			r.next++
			m := v.messages[at]
			if v.passing || v.leaving {
				v.settleLocked()
				v.changeLocked()
			}
			return m, nil
		case v.done && at == len(v.messages):
			return wire.Message{}, io.EOF
		}
		changed := v.waitLocked()
		v.mu.Unlock()
		select {
		case <-ctx.Done():
			v.mu.Lock()
			return wire.Message{}, fmt.Errorf("waiting for the zone: %w", context.Cause(ctx))
		case <-changed:
			v.mu.Lock()
		}
	}
}

// heldBackLocked reports whether the reader may not have the last message yet.
func (v *Version) heldBackLocked(r *Reader) bool { return v.held && !v.over && !r.quiet }

// readyLocked is how many messages there are for the reader.
func (v *Version) readyLocked(r *Reader) int {
	n := v.gone + len(v.messages)
	if v.heldBackLocked(r) {
		n--
	}
	return n
}

// release lets clients have the last message.
func (v *Version) release() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.held = false
	v.changeLocked()
}

// Complete reports whether Next will not have to wait any more.
func (r *Reader) Complete() bool {
	if r.start != nil || r.own != nil {
		return false
	}
	v := r.Version
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.done && !v.heldBackLocked(r)
}

// Close lets go of the version. It may be called twice.
func (r *Reader) Close() {
	if r.start != nil {
		r.stop()
		r.start = nil
	}
	if r.own != nil {
		r.own.Close()
	}
	v := r.Version
	v.mu.Lock()
	defer v.mu.Unlock()
	if !r.closed && !r.quiet {
		v.clients--
	}
	r.closed = true
	if _, ok := v.listeners[r]; ok {
		delete(v.listeners, r)
		v.settleLocked()
		v.changeLocked()
	}
}
