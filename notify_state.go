// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"sync"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/notify"
	"github.com/xfrguard/xfrguard/internal/policy"
)

// event begins the record of what befell a target.
func (n *notifier) event(action audit.Action, t *notify.Target, apex string) *audit.Event {
	e := &audit.Event{
		Action: action, Block: n.guard.server(), Zone: apex, View: n.guard.Config.ViewName,
		Extra: map[string]any{audit.ExtraNotified: addrOf(t).String(), audit.ExtraNotifiedPort: int(t.Addr.Port())},
	}
	if link := t.Addr.Addr().Zone(); link != "" {
		e.Extra[audit.ExtraNotifyLink] = link
	}
	key := ""
	if t.Key != nil {
		key = t.Key.Name
	}
	if e.Secondary, e.Rule = secondaryOf(n.guard.covering(apex).Config, t.Addr.Addr(), key); e.Secondary == "" {
		e.Secondary = t.Addr.String()
	}
	return e
}

// heard takes note of whether a target answers. That one answers nothing, and that it
// does again, is told once, whatever happens to its notices.
func (n *notifier) heard(s notify.State) {
	targetSeries.set(n.seriesOf(s.Target), s.Up)
	if !s.Turned {
		return
	}
	e := n.event(audit.ActionTargetDown, s.Target, s.Zone)
	e.Reason, e.Transport = string(s.Outcome), policy.Transport(s.Transport)
	e.Extra[audit.ExtraNotifyTries], e.Extra[audit.ExtraNotifySince] = s.Spell.Tries, s.Spell.Since
	if s.Err != nil {
		e.Error = s.Err.Error()
	}
	since := s.Spell.Since.UTC().Format(time.RFC3339)
	n.mu.Lock()
	n.down[s.Target] = !s.Up
	n.mu.Unlock()
	if s.Up {
		e.Action = audit.ActionTargetUp
		log.Infof("NOTIFY to %s is answered again (%s), for the first time since %s", s.Target.Addr, s.Outcome, since)
	} else {
		log.Warningf("NOTIFY to %s has had no answer since %s, %d tries, the last about %s: %s: %s", s.Target.Addr, since, s.Spell.Tries, s.Zone, s.Outcome, e.Error)
	}
	n.guard.covering(s.Zone).audit.Lifecycle(e)
}

// isDown reports whether it is told already that the target answers nothing.
func (n *notifier) isDown(t *notify.Target) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.down[t]
}

// resume has the spells go on of targets that the new instance has, too.
func (n *notifier) resume(spells map[*notify.Target]notify.Spell) {
	byKey := make(map[noticeKey]notify.Spell)
	for t, spell := range spells {
		byKey[keyOfNotice("", t)] = spell
	}
	for _, targets := range n.targets {
		for _, t := range targets {
			if spell, ok := byKey[keyOfNotice("", t)]; ok {
				n.sender.Resume(t, spell)
				n.down[t] = spell.Down
			}
		}
	}
}

// seriesKey is a target's labels in the metrics.
type seriesKey struct{ server, view, target string }

func (n *notifier) seriesOf(t *notify.Target) seriesKey {
	return seriesKey{n.guard.server(), n.guard.Config.ViewName, t.Addr.String()}
}

// targetSeries keeps the metrics of targets as long as a notifier has them, so that they
// last over a reload and no longer than the target stands in the Corefile.
var targetSeries = seriesOfTargets{users: make(map[seriesKey]int)}

type seriesOfTargets struct {
	mu    sync.Mutex
	users map[seriesKey]int
}

// enter notes that a notifier has these targets, whatever zones there are.
func (s *seriesOfTargets) enter(n *notifier, targets []*notify.Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range targets {
		if k := n.seriesOf(t); !n.series[k] {
			n.series[k] = true
			s.users[k]++
		}
	}
}

func (s *seriesOfTargets) leave(n *notifier) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range n.series {
		if s.users[k]--; s.users[k] == 0 {
			delete(s.users, k)
			notifyUp.DeleteLabelValues(k.server, k.view, k.target)
			notifyLastAnswer.DeleteLabelValues(k.server, k.view, k.target)
		}
	}
}

// set notes an answer of the target, or that it is down.
func (s *seriesOfTargets) set(k seriesKey, up bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.users[k] == 0: // it left the Corefile meanwhile
	case up:
		notifyUp.WithLabelValues(k.server, k.view, k.target).Set(1)
		notifyLastAnswer.WithLabelValues(k.server, k.view, k.target).SetToCurrentTime()
	default:
		notifyUp.WithLabelValues(k.server, k.view, k.target).Set(0)
	}
}
