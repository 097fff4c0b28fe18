// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"errors"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/trail"
)

// selfWatching is a sink that says by itself when it is down.
type selfWatching struct {
	*faultySink
	changed func(error)
}

func (s *selfWatching) watch(changed func(error)) {
	s.changed = changed
	changed(nil)
}

// TestGapWaitsForTheSink: what a sink with accounts of its own has missed is told once it
// is up. A gap event that is tried before would be one more that it counts as lost.
func TestGapWaitsForTheSink(t *testing.T) {
	s := &selfWatching{faultySink: newFaultySink(t)}
	w := watchSink("self-watching", s, time.Second, func(*watchedSink, *Event) {})
	defer func() { _ = w.close() }()
	s.changed(errors.New("no space left on device"))
	w.postMissed(&record{action: ActionEnd, event: []byte(`{"a":1}`)}, trail.ErrBusy)
	time.Sleep(2 * firstProbe)
	if lines := s.take(); len(lines) > 0 {
		t.Errorf("while it is down: %s", lines)
	}
	s.changed(nil)
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if lines := s.take(); len(lines) > 0 {
			if n := count(t, lines, ActionGap, func(m map[string]any) {
				if number(m["coredns.xfr.audit.lost"]) != 1 {
					t.Errorf("told: %v", m)
				}
			}); n != 1 {
				t.Errorf("%d gap events: %s", n, lines)
			}
			return
		}
		if time.Since(begin) > 5*time.Second {
			t.Fatal("the gap is never told")
		}
	}
}
