// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"time"
)

// ReplayWindow is how long a signature can be good, in seconds either side of its Time
// Signed: the widest fudge that is accepted, which is what RFC 8945 §10 recommends.
const ReplayWindow = 300

// longGone is for how many seconds more than a window a floor stays without signatures:
// longer than any request waits for its turn.
const longGone = 3600

// minMAC is the fewest octets of a MAC that RFC 8945 §5.2.2.1 allows.
const minMAC = 10

// macID is what identifies a MAC: its first octets, as many as every legal MAC
// has. A MAC cut short is then still the same one, and a request sent again with
// its MAC truncated is still a replay. Two genuine MACs agree in 80 bits by
// chance only, or by work of a holder of that key.
type macID [minMAC]byte

// ReplayMemory remembers the signatures of accepted requests, so that a recorded
// request opens nothing (RFC 8945 §5.2.3 and §10): all that a window still reaches,
// and the last ones whatever their age, for the clock may be set back.
//
// Each MAC is remembered, and for each key a mark, the floor: everything signed at or
// before it counts as seen. The floor stands for what is not remembered any longer, and
// forgetting always raises it. Only requests whose MAC is proven may be put in.
//
// docs/THREATS.md says why it is not one mark per key alone, as RFC 8945 §5.2.3
// suggests, what happens when the memory is full, and what a clock that is set back and
// a restart make possible.
type ReplayMemory struct {
	keep int // signatures that stay however old they are
	most int // signatures in all

	mu         sync.Mutex
	keys       map[string]*replayKey
	signatures int // under keys
	sweepAt    int // more signatures than that: look for expired ones
	past       replayPast
}

// replayKey is what is remembered of one key. Times are Unix seconds, which is
// what TSIG has.
type replayKey struct {
	floor   int64
	macs    map[macID]struct{}
	seconds []replaySecond // ascending
}

// replaySecond is what was signed in one second.
type replaySecond struct {
	signed int64
	macs   []macID
}

// NewReplayMemory returns an empty memory that keeps so many signatures however old
// they are, and has at most so many.
func NewReplayMemory(keep, most int) *ReplayMemory {
	return &ReplayMemory{
		keep: keep, most: most, sweepAt: keep,
		keys: make(map[string]*replayKey), past: replayPast{has: make(map[pastMAC]struct{})},
	}
}

// Seen reports whether a request with this proven MAC under this key (canonical
// name) is remembered. It changes nothing, and false is no promise: Accept
// decides, which knows the floor as well. A MAC too short to be legal counts as seen.
func (m *ReplayMemory) Seen(key string, mac []byte) bool {
	if len(mac) < minMAC {
		return true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seenLocked(key, macID(mac))
}

func (m *ReplayMemory) seenLocked(key string, id macID) bool {
	if k := m.keys[key]; k != nil {
		if _, seen := k.macs[id]; seen {
			return true
		}
	}
	_, seen := m.past.has[pastMAC{key, id}]
	return seen
}

// Accept remembers a request with this proven MAC, signed at that Time Signed,
// and reports whether it is new. Of two that are the same, at once or not, it
// accepts one. A time further ahead than any window is refused: its signature
// would have to be kept for as long.
func (m *ReplayMemory) Accept(key string, mac []byte, signed, now time.Time) bool {
	at := signed.Unix()
	if len(mac) < minMAC || at > now.Unix()+ReplayWindow {
		return false
	}
	id := macID(mac)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.seenLocked(key, id) {
		return false
	}
	k := m.keys[key]
	if k == nil {
		k = &replayKey{floor: math.MinInt64, macs: make(map[macID]struct{})}
		m.keys[key] = k
	}
	if at <= k.floor {
		return false
	}
	k.add(id, at)
	m.signatures++
	m.shrinkLocked(now.Unix())
	return true
}

// SetBack is called when the clock was set back: the floors are of a time that is
// still to come. The signatures stay.
func (m *ReplayMemory) SetBack() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.past.take(m.keys, m.keep)
	m.keys = make(map[string]*replayKey)
	m.signatures, m.sweepAt = 0, m.keep
}

// shrinkLocked forgets until the memory is within its bounds.
func (m *ReplayMemory) shrinkLocked(now int64) {
	m.past.shrink(m.keep - m.signatures)
	if m.signatures > m.sweepAt || m.signatures > m.most {
		m.sweepLocked(now - ReplayWindow - 1)
		m.sweepAt = max(m.signatures, m.keep) + m.keep/8
	}
	for m.signatures > m.most {
		m.signatures -= m.largestLocked().dropOldest()
	}
}

// sweepLocked forgets what was signed at that time or before, the oldest first, down to
// the number of signatures that stay in any case.
func (m *ReplayMemory) sweepLocked(expired int64) {
	type second struct {
		name   string
		key    *replayKey
		signed int64
		count  int
	}
	var old []second
	for name, k := range m.keys {
		if len(k.seconds) == 0 && k.floor < expired-longGone { // its key is gone, or idle
			delete(m.keys, name)
		}
		for _, s := range k.seconds {
			if s.signed > expired {
				break
			}
			old = append(old, second{name, k, s.signed, len(s.macs)})
		}
	}
	slices.SortFunc(old, func(a, b second) int {
		return cmp.Or(cmp.Compare(a.signed, b.signed), cmp.Compare(a.name, b.name))
	})
	for _, s := range old {
		if m.signatures-s.count < m.keep {
			return
		}
		m.signatures -= s.key.dropOldest()
	}
}

// largestLocked returns the key with the most signatures, the first by name of several.
func (m *ReplayMemory) largestLocked() *replayKey {
	var first string
	var best *replayKey
	for name, k := range m.keys {
		if best == nil || cmp.Or(cmp.Compare(len(best.macs), len(k.macs)), cmp.Compare(name, first)) < 0 {
			first, best = name, k
		}
	}
	return best
}

// add remembers a MAC that is not there yet.
func (k *replayKey) add(id macID, signed int64) {
	k.macs[id] = struct{}{}
	i, found := slices.BinarySearchFunc(k.seconds, signed, func(s replaySecond, at int64) int {
		return cmp.Compare(s.signed, at)
	})
	if !found {
		k.seconds = slices.Insert(k.seconds, i, replaySecond{signed: signed})
	}
	k.seconds[i].macs = append(k.seconds[i].macs, id)
}

// dropOldest forgets the oldest second as a whole, for the floor that it leaves
// covers all of it, and returns how many signatures that were.
func (k *replayKey) dropOldest() int {
	oldest := k.seconds[0]
	for _, id := range oldest.macs {
		delete(k.macs, id)
	}
	k.floor = max(k.floor, oldest.signed)
	k.seconds = slices.Delete(k.seconds, 0, 1)
	return len(oldest.macs)
}
