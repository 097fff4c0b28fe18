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
			w := &audittest.FaultyWriter{}
			hang, begun, tried := make(chan struct{}), make(chan struct{}), make(chan struct{})
			first := true
			s, err := newLineSink("busy", func(line []byte) error {
				if first {
					close(begun)
				}
				return w.Write(line)
			}, nil, up)
			if err != nil {
				t.Fatal(err)
			}
			w.Set(hang, func([]byte) error {
				if first {
					first = false
					close(tried)
					return fault
				}
				return nil
			})
			s.setRoom(0)
			lose := func() {
				if err := s.Post(denied("192.0.2.1").Encode()); !errors.Is(err, errBusy) {
					t.Errorf("there is room: %v", err)
				}
			}
			lose()
			select {
			case <-begun:
			case <-time.After(10 * time.Second):
				t.Fatal("the gap is never told")
			}
			lose()
			closed := make(chan error)
			go func() { closed <- s.Close() }()
			audittest.Eventually(t, func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				return s.closing
			})
			close(hang)
			<-tried
			if err := <-closed; err != nil {
				t.Fatal(err)
			}
			told, denials := 0, 0
			audittest.Count(t, w.Take(), ActionGap, func(m map[string]any) {
				told += int(audittest.Number(m["coredns.xfr.audit.lost"]))
				denials += int(audittest.Number(m["coredns.xfr.audit.lost_denials"]))
			})
			if told != 2 || denials != 2 {
				t.Errorf("%d of 2 lost events are told, and %d denials", told, denials)
			}
		})
	}
}
