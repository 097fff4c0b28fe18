// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"errors"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/control"
	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/pool"
)

var errFrozen = errors.New("transfers are frozen")

// controls are the control directories, each looked at once in the process: a reload is no
// start, at which what cannot be read freezes everything.
var controls pool.Pool[*control.Dir]

// openControls begins to look at the control directories of the block.
func (g *guard) openControls() {
	for _, d := range g.directives {
		if d.Control == "" {
			continue
		}
		dir, release, err := controls.Acquire(d.Control, func() (*control.Dir, error) {
			return control.Open(d.Control, controlChanged), nil
		}, (*control.Dir).Close)
		if err != nil {
			log.Errorf("%s: %v", d.Pos, err) // never: opening does not fail
			continue
		}
		g.releases = append(g.releases, release)
		d.control = dir
	}
}

// controlChanged is called when a directory says something new. The instance that serves
// acts on it, and one that is about to serve does when it goes live.
func controlChanged(*control.Dir) {
	if in := latestInstance(); in != nil {
		in.obey()
	}
}

// frozen returns why transfers of a zone are frozen, nil when they are not.
func (d *directive) frozen(apex string) *control.Note {
	if d == nil || d.control == nil {
		return nil
	}
	return d.control.State().Frozen(apex)
}

// frozen reports whether the answer must not begin or go on: by what the guard has been
// told, or the block that would get the request now.
func (x *exchange) frozen() bool {
	apex := x.Req.Zone
	if x.guard.mode == corefile.ModeObserve {
		return false
	}
	if x.guard.covering(apex).frozen(apex) != nil {
		return true
	}
	latest := x.guard.successor()
	return latest != nil && slices.ContainsFunc(nearest(x, latest.sorted()), func(g *guard) bool {
		return g.mode != corefile.ModeObserve && g.covering(apex).frozen(apex) != nil
	})
}

// freeze ends the transfers under way that are frozen.
func (t *inflight) freeze() {
	t.mu.Lock()
	all := slices.Collect(maps.Keys(t.running))
	t.mu.Unlock()
	for _, u := range all {
		if u.x.frozen() {
			u.cancel(errFrozen)
		}
	}
}

// obeyFirst acts on what all directories say when the instance goes live, and from then on
// the instance acts when they change.
func (in *instance) obeyFirst() {
	obeyed.Lock()
	defer obeyed.Unlock()
	in.obeys = true
	frozenGauge.Reset()
	controlUp.Reset()
	in.obeyLocked()
}

func (in *instance) obey() {
	obeyed.Lock()
	defer obeyed.Unlock()
	if in.obeys && latestInstance() == in {
		in.obeyLocked()
	}
}

// obeyed is what is in force by control directories: what is on record of it, over
// reloads, too.
var obeyed = struct {
	sync.Mutex
	frozen map[frozenKey]control.Note
	down   map[controlKey]string
}{frozen: make(map[frozenKey]control.Note), down: make(map[controlKey]string)}

// frozenKey names what is frozen; zone is "*" for all zones of a directive, whose first
// one is there then.
type frozenKey struct{ server, view, zone, first string }

// controlKey names a directory of a block.
type controlKey struct{ server, view, dir string }

// obeyLocked puts what has changed on record and into the metrics, ends what is frozen, and
// tells who may come again.
func (in *instance) obeyLocked() {
	guards := in.sorted()
	frozen, thawed := make(map[frozenKey]control.Note), map[*guard][]string{}
	down := make(map[controlKey]string)
	approvals := make(map[*control.Dir][]control.Approval) // for all blocks that hold the version
	for _, g := range guards {
		up := 1.0
		for _, d := range g.directives {
			if g.auditOf != nil || d.control == nil {
				continue
			}
			if g.tellReadable(d, down) != nil {
				up = 0
			}
			g.tellFrozen(d, frozen)
			if _, read := approvals[d.control]; !read {
				approvals[d.control] = d.control.Approvals()
			}
			g.approve(d, approvals[d.control])
			controlUp.WithLabelValues(g.server(), g.Config.ViewName).Set(up)
		}
	}
	before := obeyed.frozen
	obeyed.frozen, obeyed.down = frozen, down
	transfers.freeze()
	for k, n := range before {
		if _, still := frozen[k]; !still {
			if k.zone != "*" {
				frozenGauge.DeleteLabelValues(k.server, k.zone, k.view)
			}
			for _, g := range guards {
				if apexes := g.thaw(k, &n); len(apexes) > 0 {
					thawed[g] = append(thawed[g], apexes...)
				}
			}
		}
	}
	for g, apexes := range thawed {
		g.notifier.everybody(apexes)
	}
}

// tellReadable puts on record that a directory can no longer be read, or can be again.
func (g *guard) tellReadable(d *directive, down map[controlKey]string) error {
	k := controlKey{g.server(), g.Config.ViewName, d.Control}
	err := d.control.State().Err
	was, known := obeyed.down[k]
	if err == nil {
		if known {
			log.Infof("%s: %s can be read again", d.Pos, d.Control)
			d.audit.Lifecycle(g.controlEvent(d, audit.ActionControlReadable, nil))
		}
		return nil
	}
	down[k] = err.Error()
	if was != err.Error() {
		log.Errorf("%s: what was frozen stays frozen: %v", d.Pos, err)
		e := g.controlEvent(d, audit.ActionControlUnreadable, nil)
		e.Error = err.Error()
		d.audit.Lifecycle(e)
	}
	return err
}

// directiveOf returns the directive that has the entry among its ZONES, nil for none.
func (g *guard) directiveOf(entry string) *directive {
	for _, d := range g.directives {
		if slices.Contains(d.Names(), entry) {
			return d
		}
	}
	return nil
}

// tellFrozen puts on record what is frozen, and notes it. A text that changes is on record
// again.
func (g *guard) tellFrozen(d *directive, frozen map[frozenKey]control.Note) {
	state := d.control.State()
	note := func(k frozenKey, n control.Note, apex string, reason audit.FreezeReason) {
		frozen[k] = n
		frozenGauge.WithLabelValues(k.server, k.zone, k.view).Set(1)
		if was, known := obeyed.frozen[k]; known && was == n {
			return
		}
		log.Warningf("%s: transfers of %s are frozen by %s: %s", d.Pos, orAll(apex), n.By, n.Text)
		e := g.controlEvent(d, audit.ActionFrozen, &n)
		e.Reason = string(reason)
		if apex != "" {
			e.Zone = apex
		}
		d.audit.Lifecycle(e)
	}
	entries := d.Names()
	if len(entries) == 0 {
		return
	}
	all := frozenKey{g.server(), g.Config.ViewName, "*", entries[0]}
	if state.All != nil {
		note(all, *state.All, "", audit.FreezeAll)
	} else {
		frozenGauge.WithLabelValues(all.server, all.zone, all.view).Set(anyFrozen(frozen, all))
	}
	for apex, n := range state.Zones {
		if g.covering(apex) == d {
			note(frozenKey{all.server, all.view, apex, ""}, n, apex, audit.FreezeZone)
		}
	}
}

// anyFrozen is 1 when another directive of the block is frozen as a whole.
func anyFrozen(frozen map[frozenKey]control.Note, of frozenKey) float64 {
	for k := range frozen {
		if k.server == of.server && k.view == of.view && k.zone == "*" {
			return 1
		}
	}
	return 0
}

func orAll(apex string) string {
	if apex == "" || apex == "*" {
		return "all zones"
	}
	return apex
}

// thaw puts on record that something is no longer frozen, where it is the guard's, and
// returns the zones whose secondaries may come again.
func (g *guard) thaw(k frozenKey, n *control.Note) (apexes []string) {
	if g.auditOf != nil || g.server() != k.server || g.Config.ViewName != k.view {
		return nil
	}
	d, reason := g.covering(k.zone), audit.FreezeZone
	if k.zone == "*" {
		d, reason = g.directiveOf(k.first), audit.FreezeAll
	}
	if d == nil || d.audit == nil {
		return nil
	}
	e := g.controlEvent(d, audit.ActionThawed, n)
	e.Reason = string(reason)
	if k.zone != "*" {
		e.Zone = k.zone
	}
	log.Infof("%s: transfers of %s are no longer frozen", d.Pos, orAll(k.zone))
	d.audit.Lifecycle(e)
	for _, apex := range g.apexesOf(d, math.MaxInt) {
		if (k.zone == "*" || k.zone == apex) && d.frozen(apex) == nil {
			apexes = append(apexes, apex)
		}
	}
	if g.notifier == nil {
		return nil
	}
	return apexes
}

// controlEvent is what is on record of a directory: for which zones, who says so, and why.
func (g *guard) controlEvent(d *directive, action audit.Action, n *control.Note) *audit.Event {
	e := g.policyEvent(action, d)
	delete(e.Extra, audit.ExtraPolicy)
	e.Reason, e.Block, e.Time = "", g.server(), time.Now()
	if n != nil {
		e.Extra[audit.ExtraControlBy] = n.By
		e.Extra[audit.ExtraControlText] = n.Text
	}
	return e
}

// everybody tells the secondaries of these zones of the serials that they have, as at
// start: they were refused meanwhile. Of a serial that is not known yet all of them are
// told as soon as it is, also those who were told of it before a reload.
func (n *notifier) everybody(apexes []string) {
	for _, apex := range apexes {
		n.mu.Lock()
		soa, targets := n.seen[apex], n.targets[apex]
		for _, t := range targets {
			delete(n.told, keyOfNotice(apex, t))
		}
		n.mu.Unlock()
		if soa == nil {
			continue
		}
		for _, t := range targets {
			n.sender.Begin(t, apex, soa, rand.N(notifySpread))
		}
	}
}

// approve lets out the held versions that an operator has approved since they are held. A
// line of the file counts once, for whatever blocks hold the version, and for none that is
// held later.
func (g *guard) approve(d *directive, waiting []control.Approval) {
	if g.store == nil {
		return // in observe mode nothing is held
	}
	for _, a := range waiting {
		for _, held := range g.store.Held() {
			if held.Digest != a.Digest || g.covering(held.Apex) != d || a.Given.Add(clockGrain).Before(held.Since) {
				continue
			}
			if len(g.store.Approve(held.Digest)) == 0 {
				continue // it is not held any more
			}
			d.control.Use(a)
			log.Infof("%s: serial %d of zone %s is approved by %s: %s", d.Pos, held.Serial, held.Apex, a.By, a.Text)
			e := g.controlEvent(d, audit.ActionApproved, &a.Note)
			e.Zone, e.SerialServed, e.Digest = held.Apex, &held.Serial, digestText(held.Digest)
			d.audit.Lifecycle(e)
		}
	}
}

// clockGrain is more than the time of a file is behind the clock.
const clockGrain = 20 * time.Millisecond
