// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/coredns"
	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/limit"

	"github.com/coredns/caddy"
)

// What outlives an instance stands here together: it belongs to the process. Journals
// (engine.go), sinks (internal/audit), the limiter and the budget of what is unproven
// (internal/limit) are open once in it; reminders (notify_again.go) and transfers under way
// (inflight.go) are kept beside what they do.

// limits is the one limiter of the process.
var limits = limit.OfProcess

// replays is the one memory of the process: a request accepted before a reload,
// or by another server block, is a replay after it.
var replays = limit.NewReplayMemory(65_536, 262_144)

func memoryOfReplays() *limit.ReplayMemory { return replays }

func init() { watchClock(audit.Clock) }

// watchClock tells the replay memory when the clock is set back: that makes old signatures
// young again.
func watchClock(c *audit.ClockWatch) {
	c.Subscribe(func(step time.Duration) {
		if step < 0 {
			replays.SetBack()
		}
	})
}

// repeats are the signatures that were answered over UDP lately.
var repeats = limit.NewRepeatMemory(4096)

// scopes are the names that the limits of directives are counted under.
var scopes scopeNames

// instance is one load of the Corefile: its server blocks and their guards.
//
// CoreDNS runs the startups of an instance before it opens the listeners, so that a
// port which is taken fails a reload after them. Therefore an instance is first
// prepared: what it needs is open, and the one that serves is not touched. It goes live,
// with all that others can see, when its listeners are open; commit says when that is.
type instance struct {
	controller *caddy.Controller
	guards     map[int]*guard // by index of the server block; the catch-alls join them
	scoped     []scoped       // its directives, named
	statics    coredns.Statics
	reach      reach
	elsewhere  corefile.Elsewhere
	seen       time.Time
	late       sync.Once

	turn     sync.Mutex   // held while it is prepared, goes live or is thrown away
	stage    atomic.Int32 // changed under live
	open     atomic.Bool  // all of commit is done
	certain  atomic.Bool  // the listeners are known to be open, not only believed to be
	retiring sync.Once
	pruning  sync.WaitGroup
	made     madeOf
	files    *following
	rules    *expiring
	obeys    bool        // guarded by obeyed
	timer    *time.Timer // guarded by live

	// Guarded by live.
	replaced chan struct{} // closed when another one goes live in its place
	line     uint64        // the same for an instance and whatever takes its place
	previous *instance     // whose place this one is to take
	next     *instance     // what is to take the place of this one
	built    bool          // its servers were made
	failure  failure       // why it cannot start
	heir     *instance     // what has taken the place of this one when its servers closed,
	leftIn   string        // and the goroutine of that restart
}

// The stages of an instance.
const (
	stagePlaced     int32 = iota // the setups have run or are running
	stagePrepared                // its startup has run
	stageLive                    // it decides
	stageSuperseded              // another one does; its transfers under way go on
	stageStopped
)

// live are the instances from the begin of their preparation to their stop, oldest first.
var live struct {
	sync.Mutex
	instances []*instance
	lines     uint64
}

// latestInstance returns the instance that went live last, or nil.
func latestInstance() *instance {
	live.Lock()
	defer live.Unlock()
	for _, in := range slices.Backward(live.instances) {
		if s := in.stage.Load(); s == stageLive || s == stageSuperseded {
			return in
		}
	}
	return nil
}

func (in *instance) sorted() []*guard {
	var guards []*guard
	for _, g := range in.guards {
		guards = append(guards, g)
	}
	slices.SortFunc(guards, func(a, b *guard) int { return a.index - b.index })
	return guards
}

// prepare runs after the startups of all plugins, before the listeners are open. It
// opens what the guards need and does nothing that others could see. What it opens is
// closed again when it fails, for nobody else would.
func (in *instance) prepare() error {
	in.turn.Lock()
	defer in.turn.Unlock()
	guards := in.sorted()
	if err := in.check(guards); err != nil {
		return in.failed(audit.FailedParse, err)
	}
	err := in.enlist()
	if err == nil {
		err = in.ready(guards)
	}
	if err == nil {
		err = in.prepared()
	}
	if err != nil {
		release(guards)
		in.delist()
	}
	return in.failed(audit.FailedStart, err)
}

// check compares the guards with each other and with the rest of the Corefile.
func (in *instance) check(guards []*guard) error {
	list, err := coredns.Blocks(in.controller)
	if err != nil {
		return err
	}
	if err = sharedSecrets(list); err != nil {
		return err
	}
	in.reach = reachOf(list)
	listeners, err := listenersIn(list)
	if err != nil {
		return err
	}
	tellApart(guards)
	for _, g := range guards {
		g.listeners = listeners
		if err = g.check(); err != nil {
			return err
		}
	}
	in.scoped = nameScopes(guards)
	return nil
}

func (in *instance) ready(guards []*guard) error {
	for _, g := range guards {
		if err := g.start(in); err != nil {
			return err
		}
	}
	for _, g := range guards {
		if g.auditOf != nil {
			g.audit = g.auditOf.audit
		}
	}
	return nil
}

// enlist makes the instance one that has to be stopped, before it opens anything: whoever
// ends the process meanwhile waits for its turn. Once that has begun nothing is opened.
func (in *instance) enlist() error {
	live.Lock()
	defer live.Unlock()
	if ending.Load() || in.stage.Load() == stageStopped {
		return errShutdown
	}
	live.instances = append(live.instances, in)
	return nil
}

func (in *instance) delist() {
	live.Lock()
	defer live.Unlock()
	live.instances = slices.DeleteFunc(live.instances, func(other *instance) bool { return other == in })
}

// prepared makes the instance one that can go live. A shutdown may have come first.
func (in *instance) prepared() error {
	live.Lock()
	defer live.Unlock()
	if ending.Load() || in.stage.Load() == stageStopped {
		return errShutdown
	}
	in.stage.Store(stagePrepared)
	if in.previous != nil {
		in.timer = time.AfterFunc(listenTime, in.commit)
	}
	return nil
}

// listenTime is far longer than CoreDNS takes from the last startup to open listeners.
const listenTime = 250 * time.Millisecond

// enterOnce is called with each transfer that a door meets: its listener is open.
func (in *instance) enterOnce() {
	if !in.open.Load() {
		in.enter()
	}
}

// enter is called when the listeners are certainly open.
func (in *instance) enter() {
	in.certain.Store(true)
	in.commit()
}

// commit has a prepared instance go live; called again, it waits until that is done. It
// is called by whichever of these comes first:
//
//   - The first transfer that one of its doors meets. The old instance's listeners are
//     still open then; what the new one meets must be decided by the new policy.
//   - The shutdown of the old instance, which CoreDNS runs after a successful restart
//     only, but up to five seconds late: it waits for the connections of the old servers.
//   - Caddy's event that an instance has started. It is the only one at the first start
//     and where the old Corefile had no xfrguard.
//   - Where none of them came in time, the clock: a transfer that is no longer allowed
//     must not go on as long as it keeps the old server from stopping. Opening listeners
//     takes CoreDNS milliseconds and an error in it is known at once. Should one come
//     later all the same, the old instance goes on, and says so.
func (in *instance) commit() {
	in.turn.Lock()
	defer in.turn.Unlock()
	live.Lock()
	previous := in.previous
	live.Unlock()
	if in.stage.Load() != stagePrepared {
		return
	}
	if previous != nil {
		previous.commit() // done long ago, but for a restart right at the start
	}
	live.Lock()
	in.stage.Store(stageLive)
	in.stopTimerLocked()
	in.previous = nil
	if previous != nil {
		previous.stage.CompareAndSwap(stageLive, stageSuperseded)
		close(previous.replaced)
	}
	live.Unlock()

	guards := in.sorted()
	for _, g := range guards {
		g.openStore()
	}
	scopes.keep(in.scoped)
	limits.Resume()
	in.announce(previous)
	in.tellLoaded(previous)
	for _, g := range guards {
		g.startNotify(previous)
	}
	for _, g := range guards {
		g.roster.watch()
	}
	in.obeyFirst()
	in.open.Store(true)
	transfers.review(guards)
	in.rules.start(in)
	in.pruning.Go(func() { pruneJournals(guards) })
}

func (in *instance) stopTimerLocked() {
	if in.timer != nil {
		in.timer.Stop()
	}
}

// announce puts the policies in force on record and into the metrics.
func (in *instance) announce(previous *instance) {
	action := audit.ActionPolicyLoaded
	if previous != nil {
		action = audit.ActionReload
	}
	policyInfo.Reset()
	tlsUntil.Reset()
	ruleExpires.Reset()
	signaturesEnd.Reset()
	findingsGauge.Reset()
	for _, g := range in.sorted() {
		g.announce(action)
		g.announceFindings()
		g.showEnds()
	}
}

// leave runs when the servers of this instance are closed. After a restart its transfers
// may go on, and the sinks with them; at the end of the process shutdown follows.
func (in *instance) leave() {
	if ending.Load() || !restarts.heldBy(in) && in.stage.Load() != stageSuperseded {
		return
	}
	live.Lock()
	next := in.next
	in.next = nil
	in.heir, in.leftIn = next, goroutine()
	live.Unlock()
	if next != nil {
		next.enter()
	} else if in.stage.Load() == stageLive { // the new Corefile guards nothing
		policyInfo.Reset()
		tlsUntil.Reset()
		ruleExpires.Reset()
		signaturesEnd.Reset()
		findingsGauge.Reset()
		frozenGauge.Reset()
		controlUp.Reset()
	}
	hookEvents()
	in.retiring.Do(in.retire)
	restarts.giveBack(in)
}

func (in *instance) retire() {
	in.files.end()
	in.rules.end()
	guards := in.sorted()
	if latest := latestInstance(); latest != nil && latest != in {
		transfers.review(latest.sorted()) // what began here after the new instance had looked
	}
	for _, g := range guards {
		g.roster.end()
		if g.store != nil {
			g.store.Retire()
		}
		g.stopNotify() // the new instance goes on with it
	}
	go func() {
		transfers.drain(guards)
		in.stop()
	}()
}

// stop closes what the guards have opened; a second time it waits for the first.
func (in *instance) stop() {
	in.files.end()
	in.rules.end()
	in.turn.Lock()
	defer in.turn.Unlock()
	live.Lock()
	in.stage.Store(stageStopped)
	in.stopTimerLocked()
	live.Unlock()
	in.pruning.Wait()
	guards := in.sorted()
	transfers.shut(guards)
	release(guards)
	in.delist() // only now: who ends the process waits for what it finds there
}

// release closes what the guards have opened; a second time it does nothing.
func release(guards []*guard) {
	for _, g := range guards {
		g.closing.Do(func() {
			g.roster.end()
			g.stopNotify()
			g.closeStore()
			g.closeAudit()
		})
	}
}
