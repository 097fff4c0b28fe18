// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"context"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"github.com/xfrguard/xfrguard/internal/wire"
	"github.com/xfrguard/xfrguard/internal/zone/journal"

	"github.com/miekg/dns"
)

// Digest is a zone's content digest; see [Version.Digest].
type Digest = journal.Digest

// Version is one serial of a zone, packed ready to send. It never changes, but it may
// be read while it is still being built: see [Reader].
type Version struct {
	Apex   string
	Serial uint32
	SOA    *dns.SOA

	source int
	origin origin
	asked  time.Time // when the source was asked for it

	begun   chan struct{} // closed when enough is there to begin, or all
	built   chan struct{} // closed when nothing more will come
	indexed chan struct{} // closed when the index is there, or will never be
	settled chan struct{} // closed when it was compared with the version before
	outgrew chan struct{} // closed when it turns out to be too large to be kept

	mu        sync.Mutex
	messages  []wire.Message // from number gone on
	gone      int            // messages of a passing version that every reader has had
	size      int64          // octets of messages
	total     int64          // octets of all messages
	largest   int
	records   int64
	done      bool // nothing more will come
	err       error
	passing   bool // too large to be kept: only its first readers get it
	over      bool // built, and entered into the lineage or never to be
	held      bool // no client may have its last message before it is over; see lineage.meant
	abandoned bool // who has to be waited for is lost; see streams
	leaving   bool // nothing pins it any more: only the readers that it has get the rest
	keeps     int  // stores that keep it
	newest    int  // 1 when the lineage compares the next one with it
	account   *account
	counted   int64                                  // in the account
	clients   int                                    // readers that are not closed, those that are lost too
	streaming func(*Version)                         // enters a version that streams what this one is of
	noted     func(*Version)                         // remembers the content of a version that goes on with this one
	sums      []uint64                               // of the messages, by number
	reopen    func(context.Context) (*stream, error) // for a reader that cannot keep up; nil when none can fall behind
	hurried   bool                                   // somebody waits for the index
	listeners map[*Reader]struct{}
	changed   chan struct{} // closed at the next change; nil when nobody waits

	gather      int64        // octets of records that the build may hold back to sort them by owner
	corrections []Correction // of what the source sent; set when the version is built
	faults      []Fault      // that other servers refuse it for; set as corrections
	content     pile         // what a source sent that is known by its Transfer alone; set as corrections
	unusable    bool         // a set may have several TTLs; set as corrections
	apart       bool         // owners have come apart, more than gather apart; set as corrections

	index *index // set before indexed is closed; nil when there is none

	// Of a version that is judged before anybody gets it:
	judged    chan struct{}   // closed with the first verdict; nil when it is not judged
	objection *Objection      // guarded by mu; nil when it may go out
	life      context.Context // done when its verdict is of no use any more
	end       context.CancelFunc
	since     *Delta // what changed since the last good version; set before it is settled
}

// begin is how much of a version must be there before a client may begin to read it:
// what cannot be sent, in a zone that is not larger, shows before the first octet.
const begin = 1 << 20

// window is how far the build of a version that is not kept may be ahead of its
// slowest reader.
const window = 1 << 20

func newVersion(apex string, st *stream) *Version {
	if st.soa.Hdr.Ttl > maxTTL {
		soa := *st.soa
		soa.Hdr.Ttl, st.soa = 0, &soa
	}
	return &Version{
		Apex: apex, Serial: st.soa.Serial, SOA: st.soa,
		source: st.source, origin: st.origin, asked: st.asked,
		begun: make(chan struct{}), built: make(chan struct{}), indexed: make(chan struct{}), settled: make(chan struct{}), outgrew: make(chan struct{}),
		listeners: make(map[*Reader]struct{}),
	}
}

// finished reports whether all of the version is there, and whether that went well.
func (v *Version) finished() (done bool, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.done, v.err
}

// Settled reports whether the version is complete, with its digest, and compared with
// the one before.
func (v *Version) Settled() bool {
	select {
	case <-v.settled:
		return true
	default:
		return false
	}
}

// Largest is the size in octets of the largest message so far.
func (v *Version) Largest() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.largest
}

// Size is the number of octets of all messages so far, as they are packed.
func (v *Version) Size() int64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.total
}

// Records is the number of records so far, both SOAs included.
func (v *Version) Records() int64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.records
}

// Digest waits for the digest of the zone's content, which is computed while and after
// the version is built: SHA-384 over the records in canonical form and order, the SIMPLE
// scheme of RFC 8976 §3.4.1. ok is false when ctx is done before, or when there is none:
// the build failed, or a zone too large to be kept is not in canonical order.
func (v *Version) Digest(ctx context.Context) (d Digest, ok bool) {
	if !arrived(ctx, v.indexed) || v.index == nil {
		return Digest{}, false
	}
	return v.index.digest, v.index.digested
}

// hurry has the version indexed while it is being built.
func (v *Version) hurry() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.hurried {
		v.hurried = true
		v.changeLocked()
	}
}

// leisure waits until the index is wanted, or can be made without taking time from the
// build and from the clients that follow it.
func (v *Version) leisure() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for !v.done && !v.passing && !v.hurried {
		changed := v.waitLocked()
		v.mu.Unlock()
		<-changed
		v.mu.Lock()
	}
}

// arrived waits until what is closed, and reports whether it is: also when ctx is done too.
func arrived(ctx context.Context, what <-chan struct{}) bool {
	select {
	case <-what:
		return true
	default:
	}
	select {
	case <-what:
		return true
	case <-ctx.Done():
		return false
	}
}

// compared waits until the version is settled. It reports false for one that will never
// be compared, because it is too large to be kept: its build waits for its readers, so
// none of them may wait for its end. The error is that of ctx.
func (v *Version) compared(ctx context.Context) (bool, error) {
	if v.isPassing() {
		return false, nil
	}
	if v.Settled() {
		return true, nil
	}
	v.hurry()
	select {
	case <-v.settled:
		return true, nil
	case <-v.outgrew:
		return false, nil
	case <-ctx.Done():
		return false, fmt.Errorf("waiting for %s: %w", v.Apex, context.Cause(ctx))
	}
}

// outgrowLocked says that the version is too large to be kept.
func (v *Version) outgrowLocked() {
	if !v.passing {
		v.passing = true
		close(v.outgrew)
	}
}

// changeLocked tells who waits that something has changed.
func (v *Version) changeLocked() {
	if v.changed != nil {
		close(v.changed)
		v.changed = nil
	}
}

// waitLocked returns what is closed at the next change.
func (v *Version) waitLocked() <-chan struct{} {
	if v.changed == nil {
		v.changed = make(chan struct{})
	}
	return v.changed
}

// append puts a message at the end. It waits while a passing version is far enough
// ahead of its readers, and fails with errUnread when there are none left.
func (v *Version) append(m wire.Message, limit int64) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.messages = append(v.messages, m)
	v.sums = append(v.sums, maphash.Bytes(seeds[0], m.Bytes))
	v.size += int64(len(m.Bytes))
	v.total += int64(len(m.Bytes))
	v.records += int64(m.Records)
	v.largest = max(v.largest, len(m.Bytes))
	if v.total >= begin {
		v.beginLocked()
	}
	if v.total+v.records*entrySize > limit {
		v.outgrowLocked()
	}
	v.changeLocked()
	v.settleLocked()
	if v.passing {
		return v.paceLocked()
	}
	return nil
}

func (v *Version) beginLocked() {
	select {
	case <-v.begun:
	default:
		close(v.begun)
	}
}

// unreadLocked reports whether no client reads the version.
func (v *Version) unreadLocked() bool {
	for r := range v.listeners {
		if !r.quiet {
			return false
		}
	}
	return true
}

// trimLocked drops the messages that every reader has had, of a version that is passing
// or leaving.
func (v *Version) trimLocked() {
	if !v.passing && !v.leaving {
		return
	}
	had := v.gone + len(v.messages)
	for r := range v.listeners {
		had = min(had, r.next)
	}
	if had == v.gone {
		return
	}
	for i := range v.messages[:had-v.gone] {
		v.size -= int64(len(v.messages[i].Bytes))
		v.messages[i] = wire.Message{}
	}
	v.messages = v.messages[had-v.gone:]
	v.gone = had
}

// finish ends the build.
func (v *Version) finish(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.done, v.err = true, err
	close(v.built)
	if err != nil {
		v.messages, v.size = nil, 0 // nobody gets more of it
	}
	v.settleLocked()
	v.beginLocked()
	v.changeLocked()
}
