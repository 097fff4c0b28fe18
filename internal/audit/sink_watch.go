// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	DefaultDeadline = 2 * time.Second      // for one durable record in one sink
	roomPause       = 5 * time.Millisecond // before a queue is looked at again
)

// record is an encoded event on its way to the sinks.
type record struct {
	action Action
	event  []byte
}

func recordOf(e *Event) *record { return &record{action: e.Action, event: e.line()} }

// WatchedSink gives a sink its deadline and its metrics, and tells the others when it
// goes down and comes up.
type WatchedSink struct {
	name     string
	sink     Sink
	deadline time.Duration
	keyPath  string
	tell     func(from *WatchedSink, e *Event) // tells the other sinks

	mu     sync.Mutex
	down   error // nil: it is up
	closed bool
}

// WatchSink opens a sink and watches it.
func WatchSink(name string, open Opener, deadline time.Duration, tell func(*WatchedSink, *Event)) (*WatchedSink, error) {
	w := &WatchedSink{name: name, deadline: deadline, tell: tell}
	sink, err := open(name, w.changed)
	if err != nil {
		return nil, err
	}
	w.sink = sink
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down == nil {
		AuditSinkUp.WithLabelValues(name).Set(1)
	}
	return w, nil
}

// append returns nil once the sink has the event durably, and an error after the
// deadline at the latest.
func (w *WatchedSink) append(r *record) error {
	ctx, cancel := context.WithTimeout(context.Background(), w.deadline)
	defer cancel()
	return w.note(r, w.sink.Append(ctx, r.event))
}

// post hands the event over without waiting for anything.
func (w *WatchedSink) post(r *record) { _ = w.note(r, w.sink.Post(r.event)) }

func (w *WatchedSink) note(r *record, err error) error {
	if err != nil {
		AuditFailures.WithLabelValues(w.name, failureClass(err)).Inc()
		return fmt.Errorf("%s: %w", w.name, err)
	}
	AuditEvents.WithLabelValues(w.name, string(r.action)).Inc()
	return nil
}

// begin is append for the first line. A sink that is down already keeps it until it is
// up, if it can.
func (w *WatchedSink) begin(r *record) error {
	w.mu.Lock()
	down := w.down
	w.mu.Unlock()
	if down == nil {
		return w.append(r)
	}
	w.post(r)
	return fmt.Errorf("%s: %w: %w", w.name, errSinkDown, down)
}

// awaitRoom waits until the sink would take a posted event, or no longer than its deadline.
func (w *WatchedSink) awaitRoom() {
	for end := time.Now().Add(w.deadline); !w.sink.Room() && w.up() && time.Now().Before(end); {
		time.Sleep(roomPause)
	}
}

func (w *WatchedSink) up() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.down == nil && !w.closed
}

// changed is told when the sink goes down and comes up: one log line and one event in the
// other sinks each.
func (w *WatchedSink) changed(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	was := w.down
	w.down = err
	switch {
	case w.closed, (was == nil) == (err == nil):
	case err != nil:
		AuditSinkUp.WithLabelValues(w.name).Set(0)
		w.announce(&Event{
			Action: ActionSinkDown, Reason: failureClass(err), Error: err.Error(), Extra: map[string]any{extraSink: w.name},
		}, func() { log.Errorf("audit sink %s is down: %v", w.name, err) })
	default:
		AuditSinkUp.WithLabelValues(w.name).Set(1)
		w.announce(&Event{Action: ActionSinkUp, Extra: map[string]any{extraSink: w.name}},
			func() { log.Infof("audit sink %s is up again", w.name) })
	}
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

// Close ends the sink.
func (w *WatchedSink) Close() error {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
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
