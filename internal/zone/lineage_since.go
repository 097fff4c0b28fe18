// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/xfrguard/xfrguard/internal/wire"
)

// Bounds of the work that an incremental answer may cost. Whoever has an old serial can
// have it done, and nobody else may wait for it.
const (
	// condensed is how many octets are taken, at most, to make one answer, for each of
	// the deltas that it is made of: the rows, their keys, and the messages.
	condensed = 6
	// turn is how long a request waits until others have been made; then it gets the
	// whole zone, which is ready.
	turn = time.Second
)

// condensing has room for the large answers that are made at once in this process. Small
// ones, of minPast octets at most, cost a few milliseconds and wait for nothing.
var condensing = make(chan struct{}, 1)

// way leads from one version to another.
type way struct{ from, to Digest }

// flight is an incremental answer that is being made, for all who ask for it meanwhile.
type flight struct {
	done     chan struct{}
	messages []wire.Message // empty: the whole zone is better
	err      error          // of who makes it
}

// since gives the messages that lead from the serial to the version, nil when that has
// to be the whole zone.
func (s *Store) since(ctx context.Context, sl *slot, v *Version, serial uint32, clients []string) ([]wire.Message, error) {
	l := sl.lineage
	for {
		l.mu.Lock()
		chain, newest := l.chainLocked(v, serial, clients)
		if len(chain) == 0 || costly(chain, v) {
			l.mu.Unlock()
			return nil, nil
		}
		if messages, ok := l.packed[serial]; ok && newest {
			l.mu.Unlock()
			return messages, nil
		}
		w := way{chain[0].FromDigest, chain[len(chain)-1].ToDigest}
		f := l.making[w]
		if f == nil {
			f = &flight{done: make(chan struct{})}
			l.making[w] = f
			l.mu.Unlock()
			return s.make(ctx, sl, v, serial, w, f, chain)
		}
		l.mu.Unlock()
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for %s: %w", l.apex, context.Cause(ctx))
		}
		if f.err == nil {
			return f.messages, nil
		}
		// Who made it has gone, or could not: the next one tries.
	}
}

// chainLocked returns the deltas that lead from the serial to the version, none when there
// is no way, and whether the version is the newest.
func (l *lineage) chainLocked(v *Version, serial uint32, clients []string) (chain []Delta, newest bool) {
	if v.index == nil || !v.index.digested {
		return nil, false
	}
	first, end := l.fromLocked(serial, clients), l.placeLocked(v.index.digest)
	if first < 0 || first >= end {
		return nil, false
	}
	return l.deltas[first:end:end], end == len(l.deltas)
}

// costly reports whether the deltas are so much larger than the zone that making one of
// them is not worth the work. What is removed again may make the answer smaller, but that
// is not known before.
func costly(chain []Delta, v *Version) bool {
	most := max(v.Size(), minPast)
	if len(chain) == 1 {
		most *= 2 // not packed yet, which the zone is
	}
	return sizeOf(chain) > most
}

// make makes an answer, when there is a turn and room for it.
func (s *Store) make(ctx context.Context, sl *slot, v *Version, serial uint32, w way, f *flight, chain []Delta) (_ []wire.Message, err error) {
	l := sl.lineage
	var messages []wire.Message
	f.err = errUnread // should it panic
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		f.messages, f.err = messages, err
		delete(l.making, w)
		close(f.done)
	}()
	cost := condensed * sizeOf(chain)
	if cost > condensed*minPast {
		patience := time.NewTimer(turn)
		defer patience.Stop()
		select {
		case condensing <- struct{}{}:
			defer func() { <-condensing }()
		case <-patience.C:
			return nil, nil
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for %s: %w", l.apex, context.Cause(ctx))
		}
		if !s.fits(cost) {
			return nil, nil
		}
	}
	l.account.add(cost)
	defer l.account.add(-cost)
	d, err := condense(ctx, chain)
	if err != nil {
		return nil, err
	}
	if messages, err = pack(l.apex, d); err != nil {
		return nil, err
	}
	if float64(sizeOfMessages(messages)) > DeltaRatio*float64(v.Size()) {
		messages = nil
	}
	l.remember(v, serial, messages)
	return messages, nil
}

// remember keeps an answer ready, if it leads to the newest version, in the room that is
// counted for them.
func (l *lineage) remember(v *Version, serial uint32, messages []wire.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.known || v.index.digest != l.digest {
		return
	}
	ready, room := sizeOfMessages(messages), min(v.Size(), readyLimit(sizeOf(l.deltas)))
	if ready > room {
		return
	}
	for _, others := range l.packed {
		ready += sizeOfMessages(others)
	}
	if len(l.packed) >= maxPacked || ready > room {
		clear(l.packed)
	}
	l.packed[serial] = messages
}

// Hold counts an incremental answer while it is being sent. The function that it returns
// ends that; it may be called again.
func (s *Store) Hold(apex string, messages []wire.Message) (release func()) {
	sl := s.slot(apex)
	if sl == nil || len(messages) == 0 {
		return func() {}
	}
	l, first, size := sl.lineage, &messages[0], sizeOfMessages(messages)
	hold := func(n int) {
		l.mu.Lock()
		defer l.mu.Unlock()
		before := l.held[first]
		l.held[first] += n
		switch after := before + n; {
		case before == 0:
			l.account.add(size)
		case after == 0:
			delete(l.held, first)
			l.account.add(-size)
		}
	}
	hold(1)
	return sync.OnceFunc(func() { hold(-1) })
}
