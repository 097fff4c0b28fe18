// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"container/list"
	"net/netip"
	"sync"
	"time"

	"github.com/xfrguard/xfrguard/internal/policy"

	"golang.org/x/time/rate"
)

// foldClass keeps apart what must not share windows, budgets or memory: a source
// address over UDP can be forged, so that a flood of forged packets must not hide
// an attempt over TCP, and neither may hide what came with a proven identity. A
// signature over UDP proves less: whoever saw the packet can send it again, from any
// address. One that was used before proves nothing at all.
type foldClass int

const (
	FoldUDP foldClass = iota
	foldSignedUDP
	foldStream
	foldProven
	foldClasses
)

// foldClassNames are the classes in events: coredns.xfr.suppressed.class.
var foldClassNames = [foldClasses]string{FoldUDP: "udp", foldSignedUDP: "udp-signed", foldStream: "stream", foldProven: "proven"}

// foldLimits bounds what denials may write and remember.
type foldLimits struct {
	window    time.Duration // between two lines of one kind
	perPrefix int           // windows of one source prefix or identity, and lines; its further kinds share a line
	tries     int           // of one client have a line each though their kind has one
	Class     [foldClasses]foldBudget
	first     foldFirst
}

// foldRate is a number of lines a second, and at once.
type foldRate struct {
	perSecond float64
	Burst     int
}

// foldBudget bounds one class. Every first line and every summary costs one of the
// budget; the class's own summary, one per window, is free.
type foldBudget struct {
	foldRate
	windows int

	// Where there are proven identities each has a budget, and what it takes of that it
	// takes of the class's too: none can use up all of it.
	identity foldRate
	// The first line of an identity costs this, which the others cannot use up either.
	first foldRate
}

// foldFirst says which line is an identity's first.
type foldFirst struct {
	within   time.Duration // since the one before
	everyOne bool          // of its zones, not of all of them
	remember int           // how many are told apart
}

// DefaultFold lets all classes together write two lines in three seconds in the long run,
// and a summary each in each window: less than 100 MB a day. What comes at once, as when
// a secondary is set up, has room in the bursts.
var DefaultFold = foldLimits{
	window:    30 * time.Second,
	perPrefix: 16,
	tries:     5,
	Class: [foldClasses]foldBudget{
		FoldUDP:       {foldRate: foldRate{0.05, 50}, windows: 1024},
		foldSignedUDP: {foldRate: foldRate{0.02, 50}, windows: 1024, identity: foldRate{0.01, 10}, first: foldRate{0.02, 50}},
		foldStream:    {foldRate: foldRate{0.4, 200}, windows: 4096},
		foldProven:    {foldRate: foldRate{0.12, 500}, windows: 1024, identity: foldRate{0.05, 100}, first: foldRate{0.04, 250}},
	},
	first: foldFirst{within: 30 * time.Second, remember: 4096},
}

// foldKey names a kind of denial. Nothing in it is a client's invention: zone,
// block and view are configured ones, identity is a proven one.
type foldKey struct {
	class             foldClass
	all               bool // the class's or the identity's own window, for what found no other
	prefix            netip.Prefix
	block, view, zone string
	reason            string
	enforced          bool
	identity          string
}

// foldSource is who has windows: a proven identity, or a source prefix.
type foldSource struct {
	class    foldClass
	prefix   netip.Prefix
	identity string
}

func (k foldKey) source() foldSource {
	if k.identity != "" {
		return foldSource{class: k.class, identity: k.identity}
	}
	return foldSource{class: k.class, prefix: k.prefix}
}

// folder decides which denials get a line of their own and counts the others, so
// that the lines and the counts always add up to all of them. Its memory is bounded.
type folder struct {
	limits foldLimits
	action Action // of the lines that stand for several
	keyOf  func(e *Event, client netip.Addr) foldKey
	Emit   func(*Event) // called without the lock; must not block

	Mu      sync.Mutex
	Closed  bool
	windows map[foldKey]*foldWindow
	order   list.List // of *foldWindow, by end: all windows are equally long
	sources map[foldSource]*foldShare
	open    [foldClasses]int
	shares  [foldClasses]int // windows that identities have for all that found no other
	budget  [foldClasses]*rate.Limiter
	proven  *foldIdentities
	timer   *time.Timer

	emitting sync.WaitGroup // lines on their way; added to under mu
}

func newFolder(limits foldLimits, emit func(*Event)) *folder {
	if limits.window == 0 {
		limits = DefaultFold
	}
	f := &folder{
		limits: limits, action: ActionDenied, keyOf: keyOf, Emit: emit,
		windows: make(map[foldKey]*foldWindow), sources: make(map[foldSource]*foldShare),
		proven: newFoldIdentities(&limits),
	}
	for c := range f.budget {
		f.budget[c] = limits.Class[c].limiter()
	}
	return f
}

// add writes the denial at once when it is the first of its kind and the budget
// lets it, or counts it.
func (f *folder) add(e *Event) {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	f.Mu.Lock()
	if f.Closed { // a straggler of a shutdown: nobody would write its summary
		f.Mu.Unlock()
		f.Emit(e)
		return
	}
	now := f.count(e)
	if now {
		f.emitting.Add(1)
	}
	f.Mu.Unlock()
	if now {
		defer f.emitting.Done()
		f.Emit(e)
	}
}

// count reports whether the denial is to be written now; it has counted it otherwise.
func (f *folder) count(e *Event) bool {
	client, _ := netip.ParseAddr(e.Client)
	k := f.keyOf(e, client)
	w := f.place(k, e, client)
	if w == nil {
		return true
	}
	w.add(e, client, k.reason)
	return false
}

// place returns the window that the event belongs to, nil when it is to be written now.
func (f *folder) place(k foldKey, e *Event, client netip.Addr) *foldWindow {
	cost := f.cost(e)
	if w := f.windows[k]; w != nil {
		if f.another(w, client, cost) {
			return nil
		}
		return w
	}
	if k.identity != "" && f.proven.first(k, cost) {
		return nil
	}
	tried := k.identity != "" && (k.class == foldProven || f.action == ActionAnswered)
	if tried && f.affords(k, cost) {
		return nil // while its budget lasts, an identity is never folded
	}
	w := f.openWindow(k, e)
	if !w.key.all && !tried && f.affords(k, cost) {
		f.wrote(w, client)
		return nil
	}
	return w
}

// keyOf sorts a denial into its kind.
func keyOf(e *Event, client netip.Addr) foldKey {
	k := foldKey{
		class: foldStream, prefix: sourcePrefix(client),
		block: e.Block, view: e.View, zone: e.Zone, reason: e.Reason, enforced: e.Enforced,
	}
	udp := e.Transport.Forgeable() // or nothing is known of it
	signed := e.TSIG.Status == policy.TSIGValid && e.Reason != string(policy.ReasonTSIGReplay)
	switch {
	case signed && udp:
		k.class, k.identity = foldSignedUDP, e.TSIG.Key
	case signed:
		k.class, k.identity = foldProven, e.TSIG.Key
	case e.TLS.Verified:
		k.class, k.identity = foldProven, e.TLS.SPKI
	case udp:
		k.class = FoldUDP
	}
	return k
}

// sourcePrefix returns what one client is likely to hold: /24 in IPv4, /48 in IPv6.
func sourcePrefix(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 48
	if a.Is4() {
		bits = 24
	}
	p, _ := a.Prefix(bits) // the zero Prefix for an invalid address
	return p
}

// openWindow returns a new window of the kind, or one for several kinds when there is no room.
func (f *folder) openWindow(k foldKey, e *Event) *foldWindow {
	sample, source := sampleOf(e, &k), k.source()
	share := f.sources[source]
	if f.open[k.class] >= f.limits.Class[k.class].windows || share != nil && share.windows >= f.limits.perPrefix {
		return f.shared(k, &sample)
	}
	if share == nil {
		share = &foldShare{}
		f.sources[source] = share
	}
	f.open[k.class]++
	share.windows++
	return f.start(&foldWindow{key: k, sample: sample})
}

// shared returns the identity's own window for several kinds, or the class's.
func (f *folder) shared(of foldKey, sample *Event) *foldWindow {
	k := foldKey{class: of.class, all: true, enforced: of.enforced, identity: of.identity}
	if w := f.windows[k]; w != nil {
		return w
	}
	if k.identity != "" && f.shares[k.class] < f.limits.Class[k.class].windows/4 {
		f.shares[k.class]++
		return f.start(&foldWindow{key: k, sample: Event{TSIG: sample.TSIG, TLS: sample.TLS}})
	}
	k.identity = ""
	if w := f.windows[k]; w != nil {
		return w
	}
	return f.start(&foldWindow{key: k})
}

func (f *folder) start(w *foldWindow) *foldWindow {
	f.windows[w.key] = w
	f.queue(w)
	return w
}

// queue gives the window its end, which is the latest of all.
func (f *folder) queue(w *foldWindow) {
	w.end = time.Now().Add(f.limits.window)
	w.place = f.order.PushBack(w)
	if f.timer == nil && !f.Closed {
		f.timer = time.AfterFunc(f.limits.window, f.tick)
	}
}

// tick writes the summaries of the windows that are over and waits for the next.
func (f *folder) tick() {
	f.Mu.Lock()
	if f.Closed {
		f.Mu.Unlock()
		return
	}
	now := time.Now()
	lines := f.expire(func(w *foldWindow) bool { return !w.end.After(now) })
	f.timer = nil
	if first := f.order.Front(); first != nil {
		f.timer = time.AfterFunc(time.Until(first.Value.(*foldWindow).end), f.tick)
	}
	f.emitting.Add(1)
	f.Mu.Unlock()
	defer f.emitting.Done()
	for _, e := range lines {
		f.Emit(e)
	}
}

// expire ends the windows that are over. One that counted something goes on, so that
// a steady flood makes one line a window and nothing else.
func (f *folder) expire(over func(*foldWindow) bool) []*Event {
	var lines []*Event
	for n := f.order.Len(); n > 0; n-- {
		w := f.order.Front().Value.(*foldWindow)
		if !over(w) {
			break
		}
		f.order.Remove(w.place)
		if w.count == 0 {
			f.drop(w)
			continue
		}
		line := w.summary(f.action)
		if !w.key.all && !f.affords(w.key, f.cost(line)) {
			f.shared(w.key, &w.sample).merge(w)
		} else {
			lines = append(lines, line)
		}
		w.reset()
		if w.key.all {
			f.drop(w)
		} else {
			f.queue(w)
		}
	}
	return lines
}

func (f *folder) drop(w *foldWindow) {
	delete(f.windows, w.key)
	if w.key.all {
		if w.key.identity != "" {
			f.shares[w.key.class]--
		}
		return
	}
	f.open[w.key.class]--
	source := w.key.source()
	share := f.sources[source]
	if share.windows--; share.windows == 0 {
		delete(f.sources, source)
	}
}

// close writes what is counted, within the budgets, ends the timer, and waits for the
// lines that others are writing.
func (f *folder) close() {
	f.Mu.Lock()
	f.Closed = true
	if f.timer != nil {
		f.timer.Stop()
		f.timer = nil
	}
	lines := f.expire(func(*foldWindow) bool { return true })
	for _, w := range f.windows { // what found no budget went to those for several kinds
		if w.key.all && w.count > 0 {
			lines = append(lines, w.summary(f.action))
			w.reset()
		}
	}
	f.Mu.Unlock()
	for _, e := range lines {
		f.Emit(e)
	}
	f.emitting.Wait()
}

// Counted is how many events wait for a line that stands for them.
func (f *folder) Counted() (n int64) {
	f.Mu.Lock()
	defer f.Mu.Unlock()
	for _, w := range f.windows {
		n += w.count
	}
	return n
}
