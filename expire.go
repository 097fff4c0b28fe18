// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/finding"
	"github.com/xfrguard/xfrguard/internal/lint"
	"github.com/xfrguard/xfrguard/internal/policy"
)

// expiring is the part of an instance that acts when rules end: each request is decided
// by the clock anyway, but transfers under way have to end, and it has to be on record.
type expiring struct {
	quit    chan struct{}
	looking sync.WaitGroup

	mu    sync.Mutex
	ended bool
}

func newExpiring() *expiring { return &expiring{quit: make(chan struct{})} }

// expiryLook is how often the clock is looked at: it may be set, and a timer does not
// know of that.
const expiryLook = time.Second

// start begins to look, unless no rule of the instance will ever end. What was over when
// the Corefile was read is a finding; what ends while it is being loaded may be told twice.
func (e *expiring) start(in *instance) {
	e.mu.Lock()
	defer e.mu.Unlock()
	last := in.seen
	if e.ended || !in.expiresAfter(last) {
		return
	}
	e.looking.Go(func() {
		for in.expiresAfter(last) {
			wait := time.NewTimer(in.nextExpiry(last))
			select {
			case <-e.quit:
				wait.Stop()
				return
			case <-wait.C:
			}
			now := time.Now()
			in.expire(last, now)
			last = now
		}
	})
}

// end stops it, and waits until nothing of it goes on record any more.
func (e *expiring) end() {
	e.mu.Lock()
	if !e.ended {
		close(e.quit)
	}
	e.ended = true
	e.mu.Unlock()
	e.looking.Wait()
}

// rulesWithEnd calls f with every rule of the instance that has an end.
func (in *instance) rulesWithEnd(f func(g *guard, d *directive, i int)) {
	for _, g := range in.sorted() {
		if g.auditOf != nil {
			continue
		}
		for _, d := range g.directives {
			for i := range d.Rules {
				if !d.Rules[i].Expires.IsZero() {
					f(g, d, i)
				}
			}
		}
	}
}

// expiresAfter reports whether a rule ends later than that.
func (in *instance) expiresAfter(moment time.Time) (later bool) {
	in.rulesWithEnd(func(_ *guard, d *directive, i int) { later = later || d.Rules[i].Expires.After(moment) })
	return later
}

// nextExpiry is how long to wait until something may have to be done.
func (in *instance) nextExpiry(now time.Time) time.Duration {
	wait := expiryLook
	in.rulesWithEnd(func(_ *guard, d *directive, i int) {
		if left := d.Rules[i].Expires.Sub(now); left > 0 {
			wait = min(wait, left)
		}
	})
	return max(wait, time.Millisecond)
}

// expire does what is to be done for the rules that ended, and those that came near their
// end, in between.
func (in *instance) expire(last, now time.Time) {
	passed := func(t time.Time) bool { return t.After(last) && !t.After(now) }
	ended := false
	in.rulesWithEnd(func(g *guard, d *directive, i int) {
		switch end := d.Rules[i].Expires; {
		case passed(end):
			ended = true
			g.ruleExpired(d, &d.Rules[i])
		case passed(end.Add(-lint.ExpiresSoon)):
			g.ruleExpiresSoon(d, i, now)
		}
	})
	if latest := latestInstance(); ended && latest != nil { // during a reload it is another one
		transfers.reviewAll(latest.sorted())
	}
}

// ruleExpired puts on record that a rule has ended.
func (g *guard) ruleExpired(d *directive, r *policy.Rule) {
	log.Warningf("%s: rule %q has ended, as its 'expires' says: it allows nobody any more", d.Pos, r.Name)
	e := g.policyEvent(audit.ActionRuleExpired, d)
	delete(e.Extra, audit.ExtraPolicy)
	e.Reason, e.Block, e.Rule = "", g.server(), r.Name
	e.Message = fmt.Sprintf("rule %s ended at %s", r.Name, r.Expires.Format(time.RFC3339))
	d.audit.Announce(e)
}

// ruleExpiresSoon tells what the self-check would, at the moment from which it would.
func (g *guard) ruleExpiresSoon(d *directive, i int, now time.Time) {
	if slices.Contains(g.except, finding.RuleExpiresSoon) {
		return
	}
	var fs lint.Findings
	fs.Expiry(d.Config, i, now)
	for i := range fs {
		f := &fs[i]
		f.Block, f.View = g.server(), g.Config.ViewName
		logFinding(f)
		findingsGauge.WithLabelValues(f.Block, string(f.Code)).Inc()
		d.audit.Announce(findingEvent(f))
	}
}

// announceExpiry puts the ends of rules into the metrics.
func (g *guard) announceExpiry(d *directive) {
	for i := range d.Rules {
		if r := &d.Rules[i]; !r.Expires.IsZero() {
			for _, name := range d.Names() {
				ruleExpires.WithLabelValues(g.server(), name, g.Config.ViewName, r.Name).Set(float64(r.Expires.Unix()))
			}
		}
	}
}

// reviewAll decides every transfer under way again, those of these guards, too.
func (t *inflight) reviewAll(guards []*guard) {
	t.mu.Lock()
	all := make([]*underWay, 0, len(t.running))
	for u := range t.running {
		all = append(all, u)
	}
	t.mu.Unlock()
	reviewed(all, guards)
}

// expired reports whether the rule that allowed a request has ended since, and no other
// allows it. Either reviewAll sees what is about to be sent, or this sees the end.
func (x *exchange) expired(d *policy.Decision) bool {
	now := time.Now()
	over := d.By.Expired(now) || d.FullBy != nil && d.FullBy.Expired(now)
	return over && x.guard.mode != corefile.ModeObserve && !stillAllowed(x, x.guard.in.sorted())
}
