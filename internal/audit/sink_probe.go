// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"time"

	"github.com/xfrguard/xfrguard/internal/trail"
)

func (w *WatchedSink) probeSoon() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.probeSoonLocked()
}

// probeSoonLocked arms the probe; there is never more than one, also when it hangs.
func (w *WatchedSink) probeSoonLocked() {
	if w.probing || w.closed || w.timer != nil {
		return
	}
	if !w.down && time.Since(w.backAt) > lastProbe {
		w.wait = firstProbe // but not for a sink that comes and goes
	}
	w.timer = time.AfterFunc(w.wait, w.probe)
	w.wait = min(2*w.wait, lastProbe)
}

// probe tries to write what has to be said first when the sink is back: the gap event.
func (w *WatchedSink) probe() {
	w.mu.Lock()
	w.timer = nil
	if w.closed || w.probing || w.self && w.down { // its accountant would count the gap event as lost too
		w.mu.Unlock()
		return // setUp comes back to it
	}
	w.probing = true
	w.calls.Add(1) // a close waits for it, and tells what comes after
	defer w.calls.Done()
	w.mu.Unlock()
	if w.writeGap() == nil {
		w.setUp()
	}
}

// writeGap writes the gap event and takes off what it told. Of several with the
// same sink and since the last one counts: an earlier one whose fate was unknown may be there too.
func (w *WatchedSink) writeGap() error {
	w.mu.Lock()
	told, reason := w.lost, w.reason
	w.mu.Unlock()
	e := &Event{Action: ActionGap, Extra: map[string]any{
		extraSink: w.name, trail.FieldLost: told.events, ExtraLostAllowed: told.allowed, extraLostDenials: told.denials,
	}}
	if told.late > 0 {
		e.Extra[trail.FieldLate] = told.late
	}
	if !told.since.IsZero() {
		e.Extra[trail.FieldSince] = told.since
	}
	if reason != nil {
		e.Reason, e.Error = failureClass(reason), reason.Error()
	}
	Stamp(e)
	ctx, cancel := context.WithTimeout(context.Background(), w.deadline)
	defer cancel()
	err := w.try(ctx, e.line())

	w.mu.Lock()
	defer w.mu.Unlock()
	w.probing = false
	if err != nil {
		w.probeSoonLocked()
		return err
	}
	w.lost.take(told)
	w.backAt = time.Now()
	if w.lost.events > 0 || w.lost.late > 0 {
		w.probeSoonLocked()
	}
	return nil
}
