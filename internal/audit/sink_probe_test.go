// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"errors"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit/audittest"
	"github.com/xfrguard/xfrguard/internal/trail"
)

// selfWatching is a sink that says by itself when it is down.
type selfWatching struct {
	*audittest.FaultySink
	changed func(error)
}

func (s *selfWatching) watch(changed func(error)) {
	s.changed = changed
	changed(nil)
}

// TestGapWaitsForTheSink: what a sink with accounts of its own has missed is told once it
// is up. A gap event that is tried before would be one more that it counts as lost.
func TestGapWaitsForTheSink(t *testing.T) {
	s := &selfWatching{FaultySink: audittest.NewFaultySink(t)}
	w := WatchSink("self-watching", s, time.Second, func(*WatchedSink, *Event) {})
	defer func() { _ = w.Close() }()
	s.changed(errors.New("no space left on device"))
	w.postMissed(&record{action: ActionEnd, event: []byte(`{"a":1}`)}, trail.ErrBusy)
	time.Sleep(2 * firstProbe)
	if lines := s.Take(); len(lines) > 0 {
		t.Errorf("while it is down: %s", lines)
	}
	s.changed(nil)
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if lines := s.Take(); len(lines) > 0 {
			if n := audittest.Count(t, lines, ActionGap, func(m map[string]any) {
				if audittest.Number(m["coredns.xfr.audit.lost"]) != 1 {
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

// TestLossesBehindAGap: what is lost while a gap event is being written is told at the
// close, whether that event comes through or not.
func TestLossesBehindAGap(t *testing.T) {
	for name, fault := range map[string]error{"it comes through": nil, "it fails": errors.New("no space left on device")} {
		t.Run(name, func(t *testing.T) {
			s := audittest.NewFaultySink(t)
			hang, tried := make(chan struct{}), make(chan struct{})
			first := true
			s.Set(hang, func([]byte) error {
				if first {
					first = false
					close(tried)
					return fault
				}
				return nil
			})
			w := WatchSink("busy", s, 5*time.Second, func(*WatchedSink, *Event) {})
			lost := &record{action: ActionDecision, event: []byte(`{"a":1}`), denials: 1}
			w.postMissed(lost, errBusy)
			audittest.Eventually(t, func() bool {
				w.mu.Lock()
				defer w.mu.Unlock()
				return w.probing
			})
			w.postMissed(lost, errBusy)
			closed := make(chan error)
			go func() { closed <- w.Close() }()
			audittest.Eventually(t, func() bool {
				w.mu.Lock()
				defer w.mu.Unlock()
				return w.closed
			})
			close(hang)
			<-tried
			if err := <-closed; err != nil {
				t.Fatal(err)
			}
			told := 0
			audittest.Count(t, s.Take(), ActionGap, func(m map[string]any) { told += int(audittest.Number(m["coredns.xfr.audit.lost"])) })
			if told != 2 {
				t.Errorf("%d of 2 lost events are told", told)
			}
		})
	}
}
