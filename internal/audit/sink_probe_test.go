// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"errors"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit/audittest"
)

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
