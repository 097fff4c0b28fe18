// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"time"
)

// replays is the one memory of the process: a request accepted before a reload,
// or by another server block, is a replay after it.
var replays = newReplayMemory(100_000, 4096)

// replayWindow is how long a signature can be good, in seconds either side of
// its Time Signed: the widest fudge that is accepted.
const replayWindow = maxFudge

// minMAC is the fewest octets of a MAC that RFC 8945 §5.2.2.1 lets anybody send.
const minMAC = 10

// macID is what identifies a MAC: its first octets, as many as every legal MAC
// has. A MAC cut short is then still the same one, and a request sent again with
// its MAC truncated is still a replay. Two genuine MACs agree in 80 bits by
// chance only, or by the work of somebody who has the key, against that key.
type macID [minMAC]byte

// replayMemory remembers the signatures of accepted requests until they can be
// sent again no more, so that a recorded request opens nothing (RFC 8945 §5.2.3
// and §10).
//
// RFC 8945 §5.2.3 suggests one mark per key, the latest Time Signed, and to
// refuse what is older. A secondary that opens many connections has its requests
// arrive out of order, within a second and across, and would be refused at
// random. So each MAC is remembered, and a mark per key, the floor, stands only
// for what is not remembered any longer: whatever was signed at or before it
// counts as seen. Forgetting raises the floor, always. Hence a request is never
// accepted twice in the life of the process, whatever overflows and however the
// clock is set. What has expired is below every window, so in ordinary times the
// floor refuses nobody.
//
// Only requests whose MAC is proven may be put in: nobody without a key can
// fill it. When it is full the key with the most signatures loses its oldest:
// a client that floods takes nothing from other keys, and its own key, while it
// floods, refuses what was signed long before or arrives late.
//
// The memory starts empty with the process. A request recorded before a restart
// can be sent once more after it, while its window lasts.
type replayMemory struct {
	maxSignatures int
	maxKeys       int

	mu         sync.Mutex
	keys       map[string]*replayKey
	signatures int
	floor      int64 // of every key without a record
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

// newReplayMemory returns an empty memory for that many signatures and keys.
func newReplayMemory(maxSignatures, maxKeys int) *replayMemory {
	return &replayMemory{
		maxSignatures: maxSignatures,
		maxKeys:       maxKeys,
		keys:          make(map[string]*replayKey),
		floor:         math.MinInt64,
	}
}

// Seen reports whether a request with this proven MAC under this key (canonical
// name) is remembered. It changes nothing, and false is no promise: Accept
// decides, which knows the floor as well. A MAC too short to be legal counts as seen.
func (m *replayMemory) Seen(key string, mac []byte) bool {
	if len(mac) < minMAC {
		return true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.keys[key]
	if k == nil {
		return false
	}
	_, seen := k.macs[macID(mac)]
	return seen
}

// Accept remembers a request with this proven MAC, signed at that Time Signed,
// and reports whether it is new. Of two that are the same, at once or not, it
// accepts one. A time further ahead than any window is refused: its signature
// would have to be kept for as long.
func (m *replayMemory) Accept(key string, mac []byte, signed, now time.Time) bool {
	at := signed.Unix()
	if len(mac) < minMAC || at > now.Unix()+replayWindow {
		return false
	}
	id := macID(mac)
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.keys[key]
	if k == nil {
		k = &replayKey{floor: m.floor, macs: make(map[macID]struct{})}
	}
	if _, seen := k.macs[id]; seen || at <= k.floor {
		return false
	}
	m.keys[key] = k
	k.add(id, at)
	m.signatures++
	m.expireLocked(k, now)
	m.shrinkLocked(now)
	return true
}

// expireLocked forgets what no window reaches any longer.
func (m *replayMemory) expireLocked(k *replayKey, now time.Time) {
	for len(k.seconds) > 0 && now.Unix()-k.seconds[0].signed > replayWindow {
		m.signatures -= k.dropOldest()
	}
}

// shrinkLocked forgets until the memory is within its bounds.
func (m *replayMemory) shrinkLocked(now time.Time) {
	if m.signatures > m.maxSignatures {
		for _, k := range m.keys {
			m.expireLocked(k, now)
		}
	}
	for m.signatures > m.maxSignatures {
		m.signatures -= m.keys[m.firstKeyLocked(func(a, b *replayKey) int {
			return cmp.Compare(len(b.macs), len(a.macs))
		})].dropOldest()
	}
	for len(m.keys) > m.maxKeys {
		name := m.firstKeyLocked(func(a, b *replayKey) int { return cmp.Compare(a.latest(), b.latest()) })
		k := m.keys[name]
		m.floor = max(m.floor, k.latest())
		m.signatures -= len(k.macs)
		delete(m.keys, name)
	}
}

// firstKeyLocked returns the name of the key that sorts first, by name where
// keys are equal.
func (m *replayMemory) firstKeyLocked(compare func(a, b *replayKey) int) string {
	var first string
	var best *replayKey
	for name, k := range m.keys {
		if best == nil || cmp.Or(compare(k, best), cmp.Compare(name, first)) < 0 {
			first, best = name, k
		}
	}
	return first
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

// latest returns the last second of which anything is known.
func (k *replayKey) latest() int64 {
	if n := len(k.seconds); n > 0 {
		return max(k.floor, k.seconds[n-1].signed)
	}
	return k.floor
}
