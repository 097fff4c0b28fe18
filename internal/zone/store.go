// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// Options are what a store is made with.
type Options struct {
	// Limit is how many octets of memory the versions that are kept may take, their
	// messages and their index, and what is known of how they came about. A larger zone is
	// packed for each who asks.
	Limit int64
	// Identity names a zone of this server block and view in the process and in the
	// journal. It must be the same after a reload, and no other block's.
	Identity func(apex string) string
	// Journal, if not nil, gives the journal that keeps a zone's past on disk; nil is memory
	// only.
	Journal func(apex string) Journal
	// Judges, if not nil, gives those who judge a zone's versions before they are offered:
	// all of them must agree. A zone without a judge is offered as it comes.
	Judges func(apex string) []Judge
	// OnHeld, if not nil, is called when a version is held back: once a version and reason.
	OnHeld func(Held)
	// OnReleased, if not nil, is called with the version that goes out after one was held.
	OnReleased func(Held, ReleaseReason)
	// OnLineage, if not nil, is called when a serial comes back with other content.
	OnLineage func(apex string, serial uint32, digest Digest)
	// OnCorrected, if not nil, is called with what was corrected in the records that a backend
	// sent: once a version and reason.
	OnCorrected func(apex string, serial uint32, c Correction)
	// OnFault, if not nil, is called with what other servers refuse a version for: once a
	// version and kind.
	OnFault func(apex string, serial uint32, f Fault)
	// Inspect, if not nil, looks at each version that has become the current one, one of a
	// zone at a time, until ctx is done.
	Inspect func(ctx context.Context, i *Inspection)
	// OnError, if not nil, is called with what went wrong and hurts no transfer: the
	// journal's errors, and builds that nobody waits for.
	OnError func(apex string, err error)
}

// Store has the current versions of one server block's zones.
type Store struct {
	sources []Source
	quick   bool // all sources have their zones in memory: asking them is cheap
	o       Options
	number  uint64

	mu     sync.Mutex
	slots  map[string]*slot                // by apex
	onSOA  func(apex string, soa *dns.SOA) // of the watch; never nil
	size   int64                           // of all versions that are kept, and of the zones' past
	loose  atomic.Int64                    // of what is built and what clients hold beside; see account
	closed chan struct{}
	stop   context.CancelFunc // of the watch
	until  context.Context    // done when the watch has to end
	work   sync.WaitGroup     // the watch

	looking sync.WaitGroup // those who look at versions
}

// slot is the place of one zone.
type slot struct {
	apex    string
	lineage *lineage

	mu      sync.Mutex
	current *Version // the latest, maybe still being built; with quick sources also one that failed
	opening *opening
	large   bool        // the zone is too large to be kept
	streams streams     // what holds contents of the zone in the backend
	apart   atomic.Bool // records of one owner come far apart
	watched bool        // its serial is to be told also when nobody asks for the zone
	seen    *Version    // what the watch saw last of such a zone; has no messages
	gone    bool        // the store has it no more
	look    looks

	judges    []Judge  // of its versions; never changes
	held      *Version // the latest, when it is held back; its build has ended
	holds     *Held    // what is held back now; nil when nothing is
	restoring *opening // of the last good version

	settling sync.Mutex // held while a version is settled; taken before mu
	counting sync.Mutex // held while the lineage's past is looked at and counted; taken before Store.mu

	used time.Time // guarded by Store.mu
	kept *Version  // counted in Store.size; guarded by Store.mu
	past int64     // what the lineage takes, as counted in Store.size; guarded by Store.mu
}

var stores atomic.Uint64

// NewStore returns a store for these zones over the backends, tried in order. It must be
// closed.
func NewStore(sources []Source, zones []string, o Options) *Store {
	s := &Store{
		sources: sources, quick: true, o: o, number: stores.Add(1),
		slots: make(map[string]*slot), closed: make(chan struct{}),
		onSOA: func(string, *dns.SOA) {},
	}
	for _, src := range sources {
		if _, known := inMemory(src, "."); !known {
			s.quick = false
		}
	}
	s.until, s.stop = context.WithCancel(context.Background())
	s.Add(false, zones...)
	return s
}

// Close ends the store. Versions that are being sent go on; what is remembered of the
// zones' past is written to the journal.
func (s *Store) Close() {
	s.mu.Lock()
	select {
	case <-s.closed:
		s.mu.Unlock()
		return
	default:
	}
	close(s.closed)
	s.mu.Unlock()
	s.stop()
	s.work.Wait()
	s.looking.Wait()
	for _, sl := range s.all() {
		s.leave(sl)
	}
}

// Retire ends the watch of a store that a newer one has taken the place of, and lets go of
// the versions that it keeps and of those that it builds. Who has asked it still gets the
// zone.
func (s *Store) Retire() {
	s.stop()
	s.work.Wait() // what the watch has begun to look at would be kept
	for _, sl := range s.all() {
		sl.settling.Lock()
		sl.mu.Lock()
		before := sl.current
		sl.current = nil
		sl.supersedeLocked(before)
		sl.mu.Unlock()
		s.mu.Lock()
		s.size -= sl.kept.memory() + sl.past
		sl.kept.unkeep()
		sl.kept, sl.past = nil, 0
		s.mu.Unlock()
		sl.settling.Unlock()
	}
}

func (s *Store) report(apex string, err error) {
	if err != nil && s.o.OnError != nil {
		s.o.OnError(apex, err)
	}
}

// Current returns a reader of the zone's current version, when all of it or 1 MiB is
// ready; it must be closed. It fails with ErrUnavailable, ErrInvalid, an error of
// internal/wire for a record that cannot be packed, or when ctx is done.
func (s *Store) Current(ctx context.Context, apex string) (*Reader, error) {
	s.mu.Lock()
	sl := s.slots[apex]
	if sl != nil {
		sl.used = time.Now()
	}
	s.mu.Unlock()
	if sl == nil {
		return nil, fmt.Errorf("%w: %s", ErrUnavailable, apex)
	}
	if sl.gated() {
		return s.offered(ctx, sl)
	}
	for {
		v, err := s.latest(ctx, sl, forClient)
		if err != nil {
			return nil, err
		}
		if v == nil {
			return s.private(ctx, sl)
		}
		r := v.attach(false)
		if r == nil { // its beginning is gone: it is too large to be kept, or has just been let go of
			sl.outgrow(v)
			continue
		}
		select {
		case <-v.begun:
		case <-ctx.Done():
			r.Close()
			return nil, fmt.Errorf("waiting for %s: %w", apex, context.Cause(ctx))
		}
		if done, err := v.finished(); done && err != nil {
			r.Close()
			if errors.Is(err, errUnread) {
				continue
			}
			return nil, err
		}
		return r, nil
	}
}

// outgrow lets go of a version that nobody can begin to read any more. It notes that the
// zone is too large to be kept, before the build of this version has come to its end: its
// readers may take long.
func (sl *slot) outgrow(v *Version) {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	sl.large = sl.large || v.isPassing()
	if sl.current == v {
		sl.current = nil
	}
}

// newVersion returns the version that a stream brings, which the store counts.
func (s *Store) newVersion(sl *slot, st *stream) *Version {
	v := newVersion(sl.apex, st)
	v.account, v.streaming, v.held, v.gather = &sl.lineage.account, sl.streams.enter, true, begin
	if sl.apart.Load() {
		v.gather = max(begin, s.o.Limit)
	}
	if sl.gated() {
		s.guardVersion(v)
	}
	v.noted = func(own *Version) { s.note(sl, own) }
	v.reopen = func(ctx context.Context) (*stream, error) { return s.open(ctx, sl.apex, nil, forClient) }
	if st.origin != (origin{}) { // this very content, whatever comes after it
		v.reopen = func(context.Context) (*stream, error) {
			again := *st
			return &again, nil
		}
		sl.streams.enter(v)
	}
	return v
}

// build makes a version for all who ask for it.
func (s *Store) build(sl *slot, v *Version, st *stream) {
	if sl.gated() {
		s.buildGated(sl, v, st)
		return
	}
	go v.indexAlong(v.attach(true))
	v.build(st, s.o.Limit, func() bool { return s.makeRoom(sl) })
	sl.release(v)
	<-v.indexed
	s.faultOf(sl, v)
	settled := s.complete(sl, v) && s.settle(sl, v)
	if settled {
		s.inspect(sl, v)
	} else {
		s.note(sl, v)
		s.notInspected(sl, v)
	}
	s.correct(sl, v)
	v.close()
	if settled {
		s.tell(sl, v.SOA)
	}
}

// faultOf reports why a version cannot be compared with others.
func (s *Store) faultOf(sl *slot, v *Version) {
	if v.index != nil && v.index.fault != nil {
		s.report(sl.apex, fmt.Errorf("serial %d cannot be compared with others, secondaries get it whole: %w", v.Serial, v.index.fault))
	}
}

// release lets clients have all of a version that was built, unless its serial may have
// meant another content: then the version is entered first.
func (sl *slot) release(v *Version) {
	if !sl.lineage.meant(v.Serial, v.origin) {
		v.release()
	}
}

// complete reports whether the build has made a version that can be kept.
func (s *Store) complete(sl *slot, v *Version) bool {
	_, err := v.finished()
	passing := v.isPassing()
	sl.mu.Lock()
	sl.large = sl.large || passing
	if v.apart {
		sl.apart.Store(true)
	}
	deterministic := s.quick && err != nil && !passing
	if sl.current == v && (passing || err != nil && !deterministic) {
		sl.current = nil
	}
	sl.mu.Unlock()
	if err != nil && !errors.Is(err, errUnread) {
		s.report(sl.apex, err)
	}
	return err == nil && !passing
}

// settle keeps a version that is complete, unless a later one has taken its place.
func (s *Store) settle(sl *slot, v *Version) (settled bool) {
	sl.settling.Lock()
	defer sl.settling.Unlock()
	var fault error
	defer func() { s.report(sl.apex, fault) }()
	defer caught(sl.apex, ErrInvalid, &fault)
	sl.mu.Lock()
	current := sl.current == v
	sl.mu.Unlock()
	if !current {
		return false
	}
	s.keep(sl, v)
	other, err := sl.lineage.settle(v, s.number)
	s.report(sl.apex, err)
	s.keepPast(sl)
	s.mu.Lock()
	gone := sl.kept != v // another zone has taken its place meanwhile
	s.mu.Unlock()
	if gone {
		sl.lineage.evict(v)
	}
	if other && s.o.OnLineage != nil {
		s.o.OnLineage(sl.apex, v.Serial, v.index.digest)
	}
	return true
}

// note remembers the content of a version that was handed out whole and is not settled.
func (s *Store) note(sl *slot, v *Version) {
	if _, err := v.finished(); err == nil {
		s.report(sl.apex, sl.lineage.note(v.Serial, v.digest()))
	}
}

// correct reports what was corrected in a version that was built, once.
func (s *Store) correct(sl *slot, v *Version) {
	if _, err := v.finished(); err != nil {
		return
	}
	if s.o.OnFault != nil {
		for _, f := range sl.lineage.newFaults(v.Serial, v.faults) {
			s.o.OnFault(sl.apex, v.Serial, f)
		}
	}
	if s.o.OnCorrected == nil {
		return
	}
	for _, c := range sl.lineage.news(v.Serial, v.corrections) {
		s.o.OnCorrected(sl.apex, v.Serial, c)
	}
}

// private opens a zone that is too large to be kept, for one client. Nothing is packed
// before it is read.
func (s *Store) private(ctx context.Context, sl *slot) (*Reader, error) {
	if sl.isGone() {
		return nil, errGone(sl.apex)
	}
	st, err := s.open(ctx, sl.apex, nil, forClient)
	if err != nil {
		return nil, err
	}
	v := s.newVersion(sl, st)
	v.outgrowLocked() // nobody else knows it yet
	v.gather = 0      // each client would have it in memory
	r := v.attach(false)
	r.start = func() {
		go v.indexAlong(v.attach(true))
		go func() {
			v.build(st, s.o.Limit, func() bool { return true })
			sl.release(v)
			<-v.indexed
			s.note(sl, v)
			s.correct(sl, v)
			v.close()
			if _, err := v.finished(); err == nil && s.fits(v.Size()+v.Records()*entrySize) {
				sl.mu.Lock()
				sl.large = false // it has become small enough
				sl.mu.Unlock()
			}
		}()
	}
	r.stop = func() {
		st.stop()
		close(v.indexed)
		v.close()
	}
	return r, nil
}
