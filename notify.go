// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/notify"
	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/zone"

	"github.com/miekg/dns"
)

// The first notices of an instance wait until its listeners are open, and a little
// longer by chance: who is notified asks back.
const (
	notifySettle = time.Second
	notifySpread = time.Second
)

// notifier tells the secondaries of one server block of new serials.
type notifier struct {
	guard  *guard
	sender *notify.Sender
	began  time.Time
	left   sync.Once

	mu      sync.Mutex
	targets map[string][]*notify.Target // by apex; the lists do not change
	seen    map[string]*dns.SOA         // the last one, by apex
	told    map[noticeKey]uint32
	past    map[string]serialPast // by apex
	down    map[*notify.Target]bool
	servers map[noticeKey]*notify.Target // the Target that zones share
	series  map[seriesKey]bool           // of its targets; guarded by targetSeries
}

// noticeKey names a target in words that hold across a reload.
type noticeKey struct {
	apex   string
	addr   netip.AddrPort
	source netip.Addr
	key    string
	tls    bool
}

func keyOfNotice(apex string, t *notify.Target) noticeKey {
	k := noticeKey{apex: apex, addr: t.Addr, source: t.Source, tls: t.TLS}
	if t.Key != nil {
		k.key = t.Key.Name
	}
	return k
}

// startNotify begins to follow the serials and to notify, when there is somebody to. What
// the previous instance has brought to its targets is not sent again; the rest is.
func (g *guard) startNotify(previous *instance) {
	if g.auditOf != nil || g.mode != corefile.ModeEnforce {
		return
	}
	n := &notifier{
		guard: g, targets: g.notifyTargets(), began: time.Now(),
		seen: make(map[string]*dns.SOA), told: make(map[noticeKey]uint32), past: make(map[string]serialPast),
		down: make(map[*notify.Target]bool), series: make(map[seriesKey]bool), servers: make(map[noticeKey]*notify.Target),
	}
	o := notifyOptions
	o.Done, o.State = n.done, n.heard
	n.sender = notify.NewSender(o)
	for _, targets := range n.targets {
		targetSeries.enter(n, targets)
		for _, t := range targets {
			n.servers[keyOfServer(t)] = t
		}
	}
	if previous != nil {
		n.inherit(previous)
	}
	g.notifier = n
	reminders.enter(n)
	g.store.Watch(zone.Period, slices.Collect(maps.Keys(n.targets)), n.OnSerial)
}

// stopNotify ends what startNotify began; a second time it does nothing.
func (g *guard) stopNotify() {
	if n := g.notifier; n != nil {
		reminders.leave(n)
		n.sender.Close()
		n.left.Do(func() { targetSeries.leave(n) })
	}
}

// notifyOptions are those of every Sender; tests have shorter times.
var notifyOptions notify.Options

// inherit takes over what the same block told its targets before a reload, and which of
// them were silent.
func (n *notifier) inherit(previous *instance) {
	for _, old := range previous.sorted() {
		if old.notifier == nil || !old.sameListener(n.guard) {
			continue
		}
		old.notifier.mu.Lock()
		for apex, targets := range n.targets {
			for _, t := range targets {
				k := keyOfNotice(apex, t)
				if serial, ok := old.notifier.told[k]; ok {
					n.told[k] = serial
				}
			}
		}
		maps.Copy(n.past, old.notifier.past)
		old.notifier.mu.Unlock()
		n.resume(old.notifier.sender.Spells())
	}
}

// OnSerial takes the SOA of a zone as it is now and notifies when its serial is a new
// one. It does not block.
func (n *notifier) OnSerial(apex string, soa *dns.SOA) {
	n.mu.Lock()
	if !n.guard.has(apex) { // it is gone, or not quite there yet
		n.mu.Unlock()
		return
	}
	before, known := n.seen[apex]
	n.seen[apex] = soa
	back := n.followLocked(apex, soa.Serial)
	var tell []*notify.Target
	if !known || before.Serial != soa.Serial {
		for _, t := range n.targets[apex] {
			if has, ok := n.told[keyOfNotice(apex, t)]; known || !ok || has != soa.Serial {
				tell = append(tell, t)
			}
		}
	}
	n.mu.Unlock()
	if back != nil {
		n.wentBack(apex, back, soa.Serial)
	}
	for _, t := range tell {
		delay := time.Until(n.began.Add(notifySettle))
		if known {
			n.sender.Send(t, apex, soa, delay)
		} else {
			n.sender.Begin(t, apex, soa, delay+rand.N(notifySpread))
		}
	}
	if len(tell) > 0 && !n.guard.has(apex) {
		n.sender.Forget(apex)
	}
}

// tells reports whether a client of the same block is told of a zone.
func (n *notifier) tells(k reminderKey) bool {
	return n.guard.server() == k.server && n.guard.Config.ViewName == k.view &&
		slices.ContainsFunc(n.targetsOf(k.apex), func(t *notify.Target) bool { return addrOf(t) == k.client })
}

// addrOf is the address of a target as its own requests have it.
func addrOf(t *notify.Target) netip.Addr { return t.Addr.Addr().WithZone("") }

// knows reports whether there is a serial to tell of.
func (n *notifier) knows(apex string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.seen[apex] != nil
}

// again tells a client of the zone as it is now, whatever it was told before.
func (n *notifier) again(apex string, client netip.Addr) {
	n.mu.Lock()
	soa, targets := n.seen[apex], n.targets[apex]
	n.mu.Unlock()
	for _, t := range targets {
		if soa != nil && addrOf(t) == client {
			n.sender.Send(t, apex, soa, 0)
		}
	}
}

// done puts the end of a notice into the metrics and on record.
func (n *notifier) done(r notify.Result) {
	g := n.guard
	notifiesTotal.WithLabelValues(g.server(), g.entryOf(r.Zone), g.Config.ViewName, string(r.Outcome)).Inc()
	e := n.event(audit.ActionNotifyFailed, r.Target, r.Zone)
	e.Reason, e.Transport = string(r.Outcome), policy.Transport(r.Transport)
	e.Extra[audit.ExtraNotifySerial], e.Extra[audit.ExtraNotifyTries] = int64(r.Serial), r.Tries
	if key := r.Target.Key; key != nil {
		e.TSIG = policy.TSIGProof{Key: key.Name, Algorithm: r.Algorithm}
		if r.Proven {
			e.TSIG.Status = policy.TSIGValid
		}
	}
	if r.Err != nil {
		e.Error = r.Err.Error()
	}
	switch {
	case r.Outcome == notify.Accepted:
		e.Action = audit.ActionNotified
		n.mu.Lock()
		n.told[keyOfNotice(r.Zone, r.Target)] = r.Serial
		n.mu.Unlock()
	case !r.Outcome.Failed():
		return // another notice tells what comes of it
	case n.isDown(r.Target): // that it is has been said
	default:
		log.Warningf("NOTIFY of %s, serial %d, to %s: %s: %s", r.Zone, r.Serial, r.Target.Addr, r.Outcome, e.Error)
	}
	g.covering(r.Zone).audit.Lifecycle(e)
}
