// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/xfrguard/xfrguard/internal/trail"
)

const (
	DefaultDeadline = 2 * time.Second      // for one durable record in one sink
	maxUnderWay     = 4096                 // appends at once in one sink
	roomPause       = 5 * time.Millisecond // before a queue is looked at again
	firstProbe      = 250 * time.Millisecond
	lastProbe       = 30 * time.Second
)

// record is an encoded event on its way to the sinks.
type record struct {
	action  Action
	event   []byte
	allowed int64 // allow decisions that the line stands for
	denials int64 // denials that it stands for
}

// recordOf encodes the event.
func recordOf(e *Event) *record {
	r := &record{action: e.Action, event: e.line()}
	n := int64(1)
	if e.Suppressed != nil {
		n = e.Suppressed.Count
	}
	switch {
	case e.Action == ActionAnswered, e.Action == ActionDecision && e.Allowed:
		r.allowed = n
	case e.Action == ActionDenied, e.Action == ActionDecision:
		r.denials = n
	}
	return r
}

// WatchedSink stands between the auditor and a sink, whatever the sink does: no
// call outlasts its deadline, a sink that failed is left alone and probed, and what
// it missed is told in a gap event once it is back.
type WatchedSink struct {
	name     string
	sink     Sink
	deadline time.Duration
	keyPath  string
	tell     func(from *WatchedSink, e *Event) // tells the other sinks
	self     bool                              // the sink is an accountant
	slots    chan struct{}

	mu      sync.Mutex
	down    bool
	closed  bool
	reason  error // of the last failure
	lost    losses
	probing bool
	timer   *time.Timer
	wait    time.Duration  // before the next probe
	backAt  time.Time      // when a probe last succeeded
	calls   sync.WaitGroup // appends under way
}

// losses is what a gap event has to tell.
type losses struct {
	events, allowed, denials int64
	late                     int64 // events counted as lost, here or in an earlier gap, that arrived after all
	since                    time.Time
}

func (l *losses) add(r *record) {
	if l.events == 0 {
		l.since = time.Now()
	}
	l.events++
	l.allowed += r.allowed
	l.denials += r.denials
}

func (l *losses) take(told losses) {
	l.events -= told.events
	l.allowed -= told.allowed
	l.denials -= told.denials
	l.late -= told.late
	l.since = time.Now()
}

func WatchSink(name string, s Sink, deadline time.Duration, tell func(*WatchedSink, *Event)) *WatchedSink {
	w := &WatchedSink{
		name: name, sink: s, deadline: deadline, tell: tell,
		slots: make(chan struct{}, maxUnderWay), wait: firstProbe,
	}
	AuditSinkUp.WithLabelValues(name).Set(1)
	if a, ok := s.(accountant); ok {
		w.self = true
		a.watch(func(err error) {
			if err != nil {
				w.setDown(err)
			} else {
				w.setUp()
			}
		})
	}
	return w
}

// append returns nil once the sink has the event durably, and an error after the
// deadline at the latest.
func (w *WatchedSink) append(r *record) error {
	if !w.admit(r) {
		AuditFailures.WithLabelValues(w.name, "down").Inc()
		return fmt.Errorf("%s: %w", w.name, errSinkDown)
	}
	ctx, cancel := context.WithTimeout(context.Background(), w.deadline)
	c := &call{result: make(chan error, 1)}
	go func() {
		defer w.calls.Done()
		defer cancel()
		err := w.try(ctx, r.event)
		<-w.slots
		if !c.finish(err) && err == nil {
			w.arrivedLate()
		}
	}()
	var err error
	select {
	case err = <-c.result:
	case <-ctx.Done():
		err = c.abandon(errDeadline)
	}
	if err != nil {
		w.missed(r, err)
		return fmt.Errorf("%s: %w", w.name, err)
	}
	AuditEvents.WithLabelValues(w.name, string(r.action)).Inc()
	return nil
}

// begin is append for the first line. One that is down already keeps it until it is up,
// if it can.
func (w *WatchedSink) begin(r *record) error {
	w.mu.Lock()
	waits := w.self && w.down
	reason := w.reason
	w.mu.Unlock()
	if !waits {
		return w.append(r)
	}
	w.post(r)
	return fmt.Errorf("%s: %w: %w", w.name, errSinkDown, reason)
}

// admit counts the event as lost when the sink is not to be called.
func (w *WatchedSink) admit(r *record) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.down && !w.self { // nobody calls a file that is closed
		w.lost.add(r)
		return false
	}
	select {
	case w.slots <- struct{}{}:
		w.calls.Add(1)
		return true
	default:
		w.lost.add(r)
		w.probeSoonLocked()
		return false
	}
}

// call is one Append whose caller may go away.
type call struct {
	mu     sync.Mutex
	over   bool
	result chan error
}

// finish reports whether the caller was still there.
func (c *call) finish(err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return false
	}
	c.over = true
	c.result <- err
	return true
}

func (c *call) abandon(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return <-c.result
	}
	c.over = true
	return err
}

// try calls the sink; a panic in it is one more way to fail.
func (w *WatchedSink) try(ctx context.Context, event []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errPanic, p)
		}
	}()
	return w.sink.Append(ctx, event)
}

// arrivedLate notes that an event which its caller was told to be lost is in the sink after all.
func (w *WatchedSink) arrivedLate() {
	if w.self {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lost.late++
	w.probeSoonLocked()
}

// post hands the event over without waiting for anything.
func (w *WatchedSink) post(r *record) {
	w.mu.Lock()
	if !w.self && (w.closed || w.down) {
		w.lost.add(r)
		w.mu.Unlock()
		AuditFailures.WithLabelValues(w.name, "down").Inc()
		return
	}
	w.mu.Unlock()
	var err error
	if p, ok := w.sink.(poster); ok {
		err = p.post(r.event, func(err error) { w.missed(r, err) })
	} else {
		err = w.sink.Post(r.event)
	}
	if err != nil {
		w.postMissed(r, err)
		return
	}
	AuditEvents.WithLabelValues(w.name, string(r.action)).Inc()
}

// awaitRoom waits until the sink would take a posted event, or no longer than its deadline.
func (w *WatchedSink) awaitRoom() {
	r, ok := w.sink.(roomy)
	if !ok {
		return
	}
	for end := time.Now().Add(w.deadline); !r.hasRoom() && time.Now().Before(end); {
		w.mu.Lock()
		useless := w.down || w.closed
		w.mu.Unlock()
		if useless {
			return
		}
		time.Sleep(roomPause)
	}
}

// missed counts an event that the sink failed to take and marks the sink down.
func (w *WatchedSink) missed(r *record, err error) {
	AuditFailures.WithLabelValues(w.name, failureClass(err)).Inc()
	if w.self { // it has counted the event and will say when it is down
		return
	}
	w.mu.Lock()
	w.lost.add(r)
	w.mu.Unlock()
	if isBusy(err) {
		w.probeSoon()
		return
	}
	w.setDown(err)
}

// postMissed counts an event that was not even accepted.
func (w *WatchedSink) postMissed(r *record, err error) {
	AuditFailures.WithLabelValues(w.name, failureClass(err)).Inc()
	if w.self {
		return
	}
	w.mu.Lock()
	w.lost.add(r)
	if w.reason == nil || w.lost.events == 1 {
		w.reason = err
	}
	w.mu.Unlock()
	if isBusy(err) {
		w.probeSoon()
		return
	}
	w.setDown(err)
}

func isBusy(err error) bool { return errors.Is(err, errBusy) || errors.Is(err, trail.ErrBusy) }

// setDown marks the sink down: one log line and one event in the other sinks per change.
func (w *WatchedSink) setDown(err error) {
	w.mu.Lock()
	w.reason = err
	if w.down || w.closed {
		w.mu.Unlock()
		return
	}
	if !w.self {
		w.probeSoonLocked()
	}
	w.down = true
	w.mu.Unlock()
	AuditSinkUp.WithLabelValues(w.name).Set(0)
	w.announce(&Event{
		Action: ActionSinkDown, Reason: failureClass(err), Error: err.Error(), Extra: map[string]any{extraSink: w.name},
	}, func() { log.Errorf("audit sink %s is down: %v", w.name, err) })
}

func (w *WatchedSink) setUp() {
	w.mu.Lock()
	if !w.down || w.closed {
		w.mu.Unlock()
		return
	}
	w.down = false
	w.mu.Unlock()
	AuditSinkUp.WithLabelValues(w.name).Set(1)
	w.announce(&Event{Action: ActionSinkUp, Extra: map[string]any{extraSink: w.name}},
		func() { log.Infof("audit sink %s is up again", w.name) })
}

// announce tells the other sinks and CoreDNS's log, without waiting: the log may go
// to the very pipe that nobody reads.
func (w *WatchedSink) announce(e *Event, say func()) {
	Stamp(e)
	go func() {
		w.tell(w, e)
		say()
	}()
}

// Close ends the sink. What is under way is waited for, and what was lost is told, if
// there is anybody to tell it: what nobody waits for any more may be lost as well.
func (w *WatchedSink) Close() error {
	w.mu.Lock()
	w.closed = true
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
	w.mu.Unlock()
	under := make(chan struct{})
	go func() { w.calls.Wait(); close(under) }()
	waitFor(under, w.deadline)
	w.mu.Lock()
	tell := (w.lost.events > 0 || w.lost.late > 0) && !w.probing
	w.probing = w.probing || tell
	w.mu.Unlock()
	if tell {
		done := make(chan struct{})
		go func() { defer close(done); _ = w.writeGap() }()
		waitFor(done, w.deadline)
	}
	return w.sink.Close()
}

func waitFor(done <-chan struct{}, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	}
}
