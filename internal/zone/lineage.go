// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"errors"
	"slices"
	"sync"

	"github.com/xfrguard/xfrguard/internal/wire"
)

// DeltaRatio is how large an incremental answer may be, as a part of the whole zone:
// beyond that the client gets the zone (RFC 1995 §4 leaves it to the server).
const DeltaRatio = 1.0

// Bounds of what is kept of a zone's past.
const (
	minPast   = 256 << 10 // octets of deltas that even a small zone may have
	maxDeltas = 10_000
	maxGiven  = 4096 // clients that are remembered for one version
	maxPacked = 8    // incremental answers kept ready; see readyLimit
)

// lineage is the past of one zone of one server block and view: how each version came
// out of the one before, to whom each was sent, and what serials have meant. It lives as
// long as any store uses it, so a reload does not end it; the journal makes it outlive the
// process.
//
// A version counts here by its digest, never by its serial alone: a serial that comes
// back with other content begins a new lineage.
type lineage struct {
	id, apex string
	journal  Journal

	mu           sync.Mutex
	users        map[uint64]struct{} // the stores, by number; only the newest may begin a new lineage
	loaded       bool
	known        bool // serial and digest are those of the newest version
	serial       uint32
	digest       Digest
	newest       *Version // nil when it is not in memory
	origin       origin   // of the newest version; zero when it is not known
	deltas       []Delta  // oldest first, up to the newest version
	given        map[Digest]map[string]struct{}
	packed       map[uint32][]wire.Message // incremental answers by the client's serial; empty: none
	making       map[way]*flight           // incremental answers that are being made
	held         map[*wire.Message]int     // how many send an incremental answer, by its first message
	broken       bool                      // the newest version has the serial of one with other content
	forks        forks
	faults       faults      // of the version that was built last
	noteOfLooks  any         // see Inspection.Note
	noteOfJudges any         // see Case.Note
	told         corrections // what was corrected in the version that was built last

	gate    gateNotes
	disk    disk
	account account
}

// lineages are those of this process, by identity.
var lineages = struct {
	sync.Mutex
	byID map[string]*lineage
}{byID: make(map[string]*lineage)}

// acquireLineage returns the lineage of an identity for a store, which must release it.
func acquireLineage(id, apex string, j Journal, store uint64) *lineage {
	lineages.Lock()
	defer lineages.Unlock()
	l := lineages.byID[id]
	if l == nil {
		l = &lineage{
			id: id, apex: apex, users: make(map[uint64]struct{}),
			given: make(map[Digest]map[string]struct{}), packed: make(map[uint32][]wire.Message),
			making: make(map[way]*flight), held: make(map[*wire.Message]int),
		}
		lineages.byID[id] = l
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.users[store] = struct{}{}
	if j != l.journal {
		l.journal, l.loaded = j, l.known // what is known here is newer than what is on disk
		l.disk = disk{}
	}
	return l
}

func (l *lineage) release(store uint64) {
	lineages.Lock()
	defer lineages.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.users, store)
	if len(l.users) == 0 {
		delete(lineages.byID, l.id)
	}
}

// ownedLocked reports whether the store is the newest of those that use the lineage.
func (l *lineage) ownedLocked(store uint64) bool {
	if _, ok := l.users[store]; !ok {
		return false
	}
	for other := range l.users {
		if other > store {
			return false
		}
	}
	return true
}

// settle enters a version that was built and indexed. It reports whether the version
// has a known serial and other content than that had. An error is about the journal or
// the comparison: the lineage goes on, with less in it.
//
// While a reload goes on two stores look at the same backend's data, and either may be
// the first to see a new version. So both may go on from the newest one, and one that
// comes to an earlier version changes nothing. Not so one that was judged: it goes out.
func (l *lineage) settle(v *Version, store uint64) (otherContent bool, err error) {
	defer func() { v.since = nil }()
	l.mu.Lock()
	defer l.mu.Unlock()
	digested := v.index != nil && v.index.digested
	if _, ok := l.users[store]; !ok {
		l.noteLocked(v.Serial, v.digest())
		return false, l.cutLocked()
	}
	loadErr := l.loadLocked()
	now, usable := v.contents()
	otherContent = l.noteLocked(v.Serial, v.digest()) && digested
	switch {
	case digested && l.known && v.index.digest == l.digest:
		switch l.setNewestLocked(v); {
		case usable && !l.broken:
			err = l.saveBaseLocked(now)
		case l.gate.on && l.journal != nil && !l.disk.based:
			err = l.onlyGoodLocked()
		}
		return false, errors.Join(loadErr, err)
	case digested && l.placeLocked(v.index.digest) >= 0 && (v.judged == nil || !l.ownedLocked(store)):
		return otherContent, errors.Join(loadErr, l.cutLocked())
	case digested && l.placeLocked(v.index.digest) >= 0:
		err = l.restartLocked(v, now, usable)
	case usable && l.known && Newer(v.Serial, l.serial) && !l.broken && !l.forks.has(v.Serial):
		err = l.advanceLocked(v, now)
	case !l.ownedLocked(store):
		return otherContent, errors.Join(loadErr, l.cutLocked())
	default:
		err = l.restartLocked(v, now, usable)
	}
	clear(l.packed)
	return otherContent, errors.Join(loadErr, err)
}

// placeLocked is the number of deltas that lead to the version with this digest; -1 when
// it is not known.
func (l *lineage) placeLocked(d Digest) int {
	if l.known && d == l.digest {
		return len(l.deltas)
	}
	for i := len(l.deltas) - 1; i >= 0; i-- {
		if l.deltas[i].FromDigest == d {
			return i
		}
	}
	return -1
}

// digest is zero when it is not known. The version must be indexed.
func (v *Version) digest() Digest {
	if v.index == nil || !v.index.digested {
		return Digest{}
	}
	return v.index.digest
}

// restartLocked begins a new lineage with the version.
func (l *lineage) restartLocked(v *Version, now contents, usable bool) error {
	l.noteDeltasLocked(l.deltas)
	l.deltas = nil
	clear(l.given)
	l.setNewestLocked(v)
	l.known, l.serial = v.index != nil && v.index.digested, v.Serial
	if l.known {
		l.digest = v.index.digest
	}
	if l.broken = l.forks.has(v.Serial); l.broken {
		return l.forkLocked()
	}
	l.disk = disk{full: l.disk.full}
	if !usable {
		return l.blankLocked()
	}
	return l.saveBaseLocked(now)
}

// advanceLocked compares the version with the newest so far and goes on from there.
func (l *lineage) advanceLocked(v *Version, now contents) error {
	old, err := l.newestLocked()
	if err != nil {
		if errors.Is(err, errForgotten) || errors.Is(err, errUnusable) { // the latter was said when it was built
			err = nil
		}
		return errors.Join(err, l.restartLocked(v, now, true))
	}
	d := v.since // the judges have looked at it already
	if d == nil || d.FromDigest != old.digest || d.ToDigest != now.digest {
		if d, err = compare(old, now); err != nil {
			return errors.Join(err, l.restartLocked(v, now, true))
		}
	}
	l.deltas = append(l.deltas, *d)
	l.setNewestLocked(v)
	l.serial, l.digest = v.Serial, now.digest
	l.dropLocked(l.surplusLocked(v.Size()))
	return l.saveDeltaLocked(d, now)
}

// newestLocked gives the contents of the newest version, from memory or from the journal.
func (l *lineage) newestLocked() (contents, error) {
	if l.newest == nil {
		return l.recallLocked()
	}
	c, ok := l.newest.contents()
	if !ok {
		return contents{}, errUnusable
	}
	return c, nil
}

var errForgotten = errors.New("the version before is no longer known")

// surplusLocked is how many of the oldest deltas are too many: longer chains than the
// zone would not be sent.
func (l *lineage) surplusLocked(zone int64) int {
	drop := max(len(l.deltas)-maxDeltas, 0)
	size, limit := sizeOf(l.deltas[drop:]), max(2*zone, minPast)
	for drop < len(l.deltas) && size > limit {
		size -= int64(l.deltas[drop].Size())
		drop++
	}
	return drop
}

// sizeOf is the size of deltas in octets.
func sizeOf(deltas []Delta) (size int64) {
	for i := range deltas {
		size += int64(deltas[i].Size())
	}
	return size
}

// evict lets go of a version that is to leave memory.
func (l *lineage) evict(v *Version) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.newest == v {
		l.setNewestLocked(nil)
		clear(l.packed)
	}
}

// give remembers that a client was sent the version with this digest: from here on it may
// read what this version had and later ones have not.
func (l *lineage) give(o Outline, client string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.knowsLocked(o.Digest) {
		return nil
	}
	newer := l.gaveLocked(o)
	if l.giveLocked(o.Digest, client) && l.journal != nil {
		l.disk.unsaved = append(l.disk.unsaved, grant{o.Digest, client})
	}
	if newer && l.gate.on { // what comes next is held against it, also after kill -9
		return l.flushLocked()
	}
	return nil
}

func (l *lineage) knowsLocked(d Digest) bool {
	return l.placeLocked(d) >= 0
}

// giveLocked reports whether that is new.
func (l *lineage) giveLocked(d Digest, client string) bool {
	clients := l.given[d]
	if _, ok := clients[client]; ok || len(clients) >= maxGiven {
		return false
	}
	if clients == nil {
		clients = make(map[string]struct{})
		l.given[d] = clients
	}
	clients[client] = struct{}{}
	return true
}

// wasGivenLocked reports whether any of the clients was given the version.
func (l *lineage) wasGivenLocked(d Digest, clients []string) bool {
	return slices.ContainsFunc(clients, func(client string) bool {
		_, ok := l.given[d][client]
		return ok
	})
}

// fromLocked finds the delta that begins with the serial; -1 when there is none, or the
// version with that serial was given to none of the clients, or there were two with it.
func (l *lineage) fromLocked(serial uint32, clients []string) int {
	if l.forks.has(serial) {
		return -1
	}
	for i := len(l.deltas) - 1; i >= 0; i-- {
		if d := &l.deltas[i]; d.From == serial {
			if l.wasGivenLocked(d.FromDigest, clients) {
				return i
			}
			return -1
		}
	}
	return -1
}

// mayLead reports whether there may be a way from the serial to a version that is not
// settled yet.
func (l *lineage) mayLead(serial uint32, clients []string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.loaded && l.journal != nil {
		return true
	}
	return l.known && serial == l.serial || l.fromLocked(serial, clients) >= 0
}

// isBroken reports whether the version has the serial of one with other content: who has
// that serial may have either.
func (l *lineage) isBroken(v *Version) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.broken && v.Serial == l.serial
}
