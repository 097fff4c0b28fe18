// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/xfrguard/xfrguard/internal/policy"
)

// reminders are the secondaries that are owed a NOTIFY: they may have the zone, and were
// refused for a cause that passes. Most would wait for the SOA's retry by themselves.
// They belong to the process: a reload is one of the causes.
var reminders = newReminderList()

// reminderList tells each that is owed it soon after the refusal and then at a steady
// pace, until it has the zone. Whether there is room shows when it comes: where there is
// none it is refused, and owed once more.
type reminderList struct {
	first time.Duration // from the refusal, and by chance up to as long again
	apart time.Duration // between two to one target and zone
	most  int           // to who does not come at all

	mu        sync.Mutex
	notifiers []teller // oldest first
	owed      map[reminderKey]*reminder
}

func newReminderList() *reminderList {
	return &reminderList{first: time.Second, apart: 10 * time.Second, most: 6, owed: make(map[reminderKey]*reminder)}
}

// reminderKey names a secondary of one block's zone in words that hold across a reload.
type reminderKey struct {
	server, view, apex string
	client             netip.Addr
}

// reminder is kept while something is owed, and for a while after the last NOTIFY, so that
// the next refusal does not bring one too soon.
type reminder struct {
	owed  bool
	told  int // how often since it was refused last
	timer *time.Timer
}

func (x *exchange) reminderKey() reminderKey {
	return reminderKey{x.guard.server(), x.guard.Config.ViewName, x.Req.Zone, x.Req.Client.Unmap()}
}

// remind has the client told of the zone again, where it is refused for a cause that passes
// and the address is not one that anybody may have written.
func (x *exchange) remind(d *policy.Decision) {
	if d.Reason.Passes() && (x.Req.Transport.Stream() || x.Req.TSIG.Status == policy.TSIGValid) {
		reminders.owe(x.reminderKey())
	}
}

// teller is what a notifier does for the list.
type teller interface {
	tells(k reminderKey) bool             // whether the client is one of its targets
	knows(apex string) bool               // whether there is a serial to tell of
	again(apex string, client netip.Addr) // tells the client of it
}

// enter takes a notifier that has begun. Of two for the same block the later one is used.
func (l *reminderList) enter(n teller) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.notifiers = append(l.notifiers, n)
}

// leave lets go of a notifier. What is owed waits for the one that follows it.
func (l *reminderList) leave(n teller) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.notifiers = slices.DeleteFunc(l.notifiers, func(other teller) bool { return other == n })
}

// tellerLocked returns the notifier that has this target, or nil.
func (l *reminderList) tellerLocked(k reminderKey) teller {
	for _, n := range slices.Backward(l.notifiers) {
		if n.tells(k) {
			return n
		}
	}
	return nil
}

// owe notes that a client was refused. Who is no target is owed nothing.
func (l *reminderList) owe(k reminderKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch r := l.owed[k]; {
	case r != nil: // its timer runs
		r.owed, r.told = true, 0
	case l.tellerLocked(k) != nil:
		r = &reminder{owed: true}
		r.timer = time.AfterFunc(l.first+rand.N(l.first), func() { l.due(k, r) })
		l.owed[k] = r
	}
}

// settled notes that a client has the zone.
func (l *reminderList) settled(k reminderKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.owed[k]; r != nil {
		r.owed = false
	}
}

// due tells a client that is still owed a NOTIFY.
func (l *reminderList) due(k reminderKey, r *reminder) {
	l.mu.Lock()
	if !r.owed || r.told >= l.most {
		delete(l.owed, k)
		l.mu.Unlock()
		return
	}
	r.timer.Reset(l.apart)
	n := l.tellerLocked(k)
	known := n != nil && n.knows(k.apex)
	if n == nil || known { // of a zone that is not there yet it is told as soon as it is
		r.told++
	}
	l.mu.Unlock()
	if known {
		n.again(k.apex, k.client)
	}
}
