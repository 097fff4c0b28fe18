// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/coredns"
	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/policy"

	"github.com/miekg/dns"
)

// errZoneGone ends the transfers of a zone that is no longer there.
var errZoneGone = errors.New("the zone is gone")

// rosterPeriod is how often the lists of the backends are read. A zone that is missing in
// two looks is gone.
const rosterPeriod = 800 * time.Millisecond

// roster is which zones the patterns of a block stand for at this moment: those in the
// lists of its backends. A list that cannot be read is no list.
type roster struct {
	guard    *guard
	patterns []pattern // the longest first

	looking sync.Mutex // held for a look
	lister  *coredns.Lister
	ours    func(apex string) bool // whether queries for a zone come to this block
	listed  map[string]string      // what the lists had last that comes to this block, by apex
	unseen  bool                   // the lists have changed since zones were taken out of them
	dirty   bool                   // they have, since missing zones were counted
	missing bool                   // a zone was not in the lists when that was done last
	fault   string                 // of the lists, as it was told last

	mu    sync.RWMutex
	zones map[string]*member // by apex

	started bool
	stop    chan struct{}
	work    sync.WaitGroup
	ending  sync.Once
}

// pattern is one entry of ZONES that stands for zones which come and go.
type pattern struct {
	text      string
	directive *directive
	policy    *policy.Policy
}

// member is a zone that a pattern stands for.
type member struct {
	*pattern
	backend string
	missed  int // looks of the watch in which it was not there; guarded by roster.looking
	gone    atomic.Bool
}

// newRoster returns the roster of a block with these patterns.
func newRoster(g *guard, patterns []pattern) *roster {
	slices.SortStableFunc(patterns, func(a, b pattern) int {
		return cmp.Compare(labelsOf(b.text), labelsOf(a.text))
	})
	return &roster{guard: g, patterns: patterns, zones: make(map[string]*member), stop: make(chan struct{})}
}

// labelsOf says how long a pattern is: of two that stand for a zone the longer one holds.
func labelsOf(pattern string) int {
	if pattern == corefile.Everything {
		return 0
	}
	return 1 + dns.CountLabel(corefile.Below(pattern))
}

// any reports whether the block has patterns.
func (r *roster) any() bool { return r != nil && len(r.patterns) > 0 }

// covering returns the pattern that stands for a zone of this name, whether there is one
// or not.
func (r *roster) covering(apex string) *pattern {
	if r == nil {
		return nil
	}
	for i := range r.patterns {
		if p := &r.patterns[i]; corefile.Covers(p.text, apex) {
			return p
		}
	}
	return nil
}

// of returns the zone of this name, nil when there is none.
func (r *roster) of(apex string) *member {
	if !r.any() {
		return nil
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.zones[apex]
}

// policyOf is the policy of a zone that is there, see policy.NewPatterned.
func (r *roster) policyOf(apex string) *policy.Policy {
	if m := r.of(apex); m != nil {
		return m.policy
	}
	return nil
}

// has reports whether the block guards a zone of this name now.
func (g *guard) has(apex string) bool { return g.zones[apex] != nil || g.roster.of(apex) != nil }

// apexes are the zones that are there, sorted.
func (r *roster) apexes() []string {
	if !r.any() {
		return nil
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Sorted(maps.Keys(r.zones))
}

// begin makes the first look, when the backends have started and nobody asks yet.
func (r *roster) begin(lister *coredns.Lister, ours func(apex string) bool) {
	r.looking.Lock()
	defer r.looking.Unlock()
	r.lister, r.ours = lister, ours
	come, _ := r.lookLocked(false)
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.Copy(r.zones, come)
}

// watch follows the lists from now on.
func (r *roster) watch() {
	if !r.any() {
		return
	}
	r.looking.Lock()
	r.started = true
	r.looking.Unlock()
	r.work.Go(func() {
		tick := time.NewTimer(rosterPeriod)
		defer tick.Stop()
		for {
			select {
			case <-r.stop:
				return
			case <-tick.C:
				r.look(true)
				tick.Reset(rosterPeriod)
			}
		}
	})
}

// end ends the watch; a second time it does nothing.
func (r *roster) end() {
	if !r.any() {
		return
	}
	r.ending.Do(func() { close(r.stop) })
	r.work.Wait()
	r.looking.Lock()
	r.started = false
	r.looking.Unlock()
}

// seek looks whether a zone that somebody known asks for has appeared since the last look:
// whoever is told of it by its backend asks at once.
func (r *roster) seek(apex string) {
	if r.covering(apex) != nil && r.of(apex) == nil {
		r.look(false)
	}
}

// list returns the zones in the lists of the backends that come to this block.
func (r *roster) list() map[string]string {
	r.looking.Lock()
	defer r.looking.Unlock()
	return r.listed
}

// canList reports whether a backend of the block has a list.
func (r *roster) canList() bool { return r.lister != nil && r.lister.Any() }

// lists reports whether a backend has a zone of this name in its list, and this block
// would be asked for it.
func (r *roster) lists(apex string) bool {
	if r == nil {
		return false
	}
	r.looking.Lock()
	defer r.looking.Unlock()
	if r.lister == nil {
		return false
	}
	r.readLocked()
	_, ok := r.listed[apex]
	return ok
}

// look reads the lists and takes up what has changed. Only the looks of the watch, which
// are apart from each other, count what is missing.
func (r *roster) look(timed bool) {
	come, gone := r.change(timed)
	r.guard.tellZones(audit.ActionZoneAppeared, come)
	r.guard.tellZones(audit.ActionZoneGone, gone)
}

func (r *roster) change(timed bool) (come, gone map[string]*member) {
	r.looking.Lock()
	defer r.looking.Unlock()
	if !r.started {
		return nil, nil
	}
	come, gone = r.lookLocked(timed)
	r.guard.appear(come)
	r.guard.vanish(gone)
	return come, gone
}

// readLocked reads the lists.
func (r *roster) readLocked() {
	all, changed, err := r.lister.Read()
	if err != nil && err.Error() != r.fault {
		log.Errorf("%s: these zones are not there for xfrguard: %v", r.guard.pos, err)
		r.fault = err.Error()
	}
	if !changed {
		return
	}
	r.unseen, r.dirty = true, true
	r.listed = make(map[string]string, len(all))
	for apex, backend := range all {
		if r.ours(apex) {
			r.listed[apex] = backend
		}
	}
}

// lookLocked returns the zones that have come, and those that are gone.
func (r *roster) lookLocked(timed bool) (come, gone map[string]*member) {
	r.readLocked()
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.unseen {
		r.unseen = false
		come = r.comeLocked()
	}
	if timed && (r.dirty || r.missing) {
		r.dirty = false
		gone = r.goneLocked()
	}
	return come, gone
}

// comeLocked returns the zones of the lists that patterns stand for and that are not there yet.
func (r *roster) comeLocked() map[string]*member {
	come := make(map[string]*member)
	for apex, backend := range r.listed {
		if r.zones[apex] != nil || r.guard.zones[apex] != nil { // an exact name beats a pattern
			continue
		}
		if p := r.covering(apex); p != nil {
			come[apex] = &member{pattern: p, backend: backend}
		}
	}
	return come
}

// goneLocked counts in how many looks zones were missing, and returns those that are gone.
func (r *roster) goneLocked() map[string]*member {
	gone := make(map[string]*member)
	r.missing = false
	for apex, m := range r.zones {
		if _, ok := r.listed[apex]; ok {
			m.missed = 0
			continue
		}
		if m.missed++; m.missed > 1 {
			gone[apex] = m
		} else {
			r.missing = true
		}
	}
	return gone
}

// appear takes up zones that patterns of this block stand for. Their places are made before
// anybody can ask for them.
func (g *guard) appear(come map[string]*member) {
	if len(come) == 0 {
		return
	}
	apexes := slices.Sorted(maps.Keys(come))
	for _, apex := range apexes {
		watched := g.notifier != nil && g.notifier.appear(apex)
		if g.store != nil {
			g.store.Add(watched, apex)
		}
	}
	g.roster.mu.Lock()
	maps.Copy(g.roster.zones, come)
	g.roster.mu.Unlock()
}

// vanish ends all that there is of zones which are gone: nobody is let in any more, who
// is being served is ended, and what is kept of them is let go of.
func (g *guard) vanish(gone map[string]*member) {
	if len(gone) == 0 {
		return
	}
	apexes := slices.Sorted(maps.Keys(gone))
	g.roster.mu.Lock()
	for apex, m := range gone {
		m.gone.Store(true)
		delete(g.roster.zones, apex)
	}
	g.roster.mu.Unlock()
	transfers.gone(g, gone)
	if g.notifier != nil {
		g.notifier.vanish(apexes)
	}
	if g.store != nil {
		g.store.Remove(apexes...)
	}
	for _, apex := range apexes {
		g.static.Delete(apex)
		g.showEnd(apex, nil)
	}
}

// tellZones puts on record which zones have come or gone.
func (g *guard) tellZones(action audit.Action, of map[string]*member) {
	if len(of) == 0 {
		return
	}
	apexes := slices.Sorted(maps.Keys(of))
	for _, apex := range apexes {
		e := g.zoneEvent(of[apex].directive, apex, &audit.Event{Action: action, Reason: of[apex].backend})
		of[apex].directive.audit.Announce(e) // there may be thousands at once
	}
	what := "appeared"
	if action == audit.ActionZoneGone {
		what = "gone"
	}
	log.Infof("%s: %d zones %s: %s", g.pos, len(apexes), what, fewOf(apexes))
}
