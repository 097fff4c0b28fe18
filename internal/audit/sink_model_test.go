// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit/audittest"

	"pgregory.net/rapid"
)

// TestLineSinkModel: after any course of appends, posts, faults, hangs and callers that
// give up, each event is in the sink or in its gap events, with what it stood for, and no
// caller waits beyond his deadline.
func TestLineSinkModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		// Drawn before: the bubble's goroutine is not the one that rapid knows.
		steps := rapid.SliceOfN(rapid.SampledFrom([]string{
			"append", "append", "append", "post", "post", "fail", "panic", "heal", "hang", "go on", "full", "room", "a moment", "a minute",
		}), 1, 60).Draw(rt, "steps")
		synctest.Test(t, func(*testing.T) {
			m := &lineModel{t: rt}
			m.open()
			for _, step := range steps {
				m.step(step)
			}
			m.check()
		})
	})
}

type lineModel struct {
	t     *rapid.T
	sink  *lineSink
	w     audittest.FaultyWriter
	fault func([]byte) error
	hang  chan struct{} // the steps' own, as is fault

	given, allowed, denials uint64 // events, and what they stood for
	acked, wrong            int
	down                    bool
}

const modelDeadline = 2 * time.Second

func (m *lineModel) open() {
	var err error
	m.sink, err = newLineSink("model", m.w.Write, nil, func(err error) {
		if m.down == (err != nil) {
			m.wrong++
		}
		m.down = err != nil
	})
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *lineModel) step(step string) {
	synctest.Wait()
	switch step {
	case "append":
		m.given++
		m.allowed++
		event := allowed().Encode()
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), modelDeadline)
			defer cancel()
			start := time.Now()
			err := m.sink.Append(ctx, event)
			if time.Since(start) > modelDeadline {
				m.t.Errorf("an append took %s", time.Since(start))
			}
			m.sink.mu.Lock()
			defer m.sink.mu.Unlock()
			if err == nil {
				m.acked++
			}
		}()
	case "post":
		e := denied("192.0.2.1")
		e.Action, e.Suppressed = ActionDenied, &Suppressed{Count: 3, Class: "stream"}
		m.given++
		m.denials += 3
		_ = m.sink.Post(e.Encode())
	case "fail":
		m.fault = func([]byte) error { return syscall.EIO }
	case "panic":
		m.fault = func([]byte) error { panic("disk on fire") }
	case "heal":
		m.fault = nil
	case "hang":
		if m.hang == nil {
			m.hang = make(chan struct{})
		}
	case "go on":
		m.goOn()
	case "full":
		m.sink.setRoom(2)
	case "room":
		m.sink.setRoom(lineQueue)
	case "a moment":
		time.Sleep(modelDeadline / 3)
	case "a minute":
		time.Sleep(time.Minute)
	}
	m.w.Set(m.hang, m.fault)
	synctest.Wait()
}

func (m *lineModel) goOn() {
	if hang := m.hang; hang != nil {
		m.hang = nil
		m.w.Set(nil, m.fault)
		close(hang)
	}
}

func (m *lineModel) check() {
	m.goOn()
	m.step("heal")
	time.Sleep(modelDeadline)
	if err := m.sink.Close(); err != nil {
		m.t.Error(err)
	}
	synctest.Wait()
	var lost, lostAllowed, lostDenials, late, decisions, events, allowed, denials uint64
	for i, line := range m.w.Take() {
		var l struct {
			Seq     int    `json:"event.sequence"`
			Action  Action `json:"event.action"`
			Lost    uint64 `json:"coredns.xfr.audit.lost"`
			Allowed uint64 `json:"coredns.xfr.audit.lost_allowed"`
			Denials uint64 `json:"coredns.xfr.audit.lost_denials"`
			Late    uint64 `json:"coredns.xfr.audit.late"`
		}
		if err := json.Unmarshal(line, &l); err != nil || l.Seq != i+1 {
			m.t.Fatalf("line %d: %v: %s", i+1, err, line)
		}
		if l.Action == ActionGap {
			lost, late = lost+l.Lost, late+l.Late
			lostAllowed, lostDenials = lostAllowed+l.Allowed, lostDenials+l.Denials
			continue
		}
		a, d := standsFor(bytes.TrimSpace(line))
		events, allowed, denials, decisions = events+1, allowed+a, denials+d, decisions+a
	}
	if events+lost-late != m.given || denials+lostDenials != m.denials || allowed+lostAllowed-late != m.allowed {
		m.t.Errorf("of %d events (%d allowed, %d denials) %d (%d, %d) are there, %d (%d, %d) told as lost, %d of them late",
			m.given, m.allowed, m.denials, events, allowed, denials, lost, lostAllowed, lostDenials, late)
	}
	if decisions != uint64(m.acked)+late {
		m.t.Errorf("%d decisions in the sink, %d callers know, %d are late", decisions, m.acked, late)
	}
	if m.wrong > 0 || m.down {
		m.t.Errorf("down %v; told %d times what was known", m.down, m.wrong)
	}
}

// TestFailedEventFailsAlone: a write that fails or panics fails its event; who waits
// behind it, or was posted, is written all the same.
func TestFailedEventFailsAlone(t *testing.T) {
	for name, fault := range map[string]func(){"it fails": func() {}, "it panics": func() { panic("disk on fire") }} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun, gate := make(chan struct{}), make(chan struct{})
				var lines [][]byte
				n := 0
				s, err := newLineSink("lines", func(line []byte) error {
					if n++; n == 1 {
						close(begun)
						<-gate
						fault()
						return syscall.EIO
					}
					lines = append(lines, line)
					return nil
				}, nil, up)
				if err != nil {
					t.Fatal(err)
				}
				first, second := make(chan error, 1), make(chan error, 1)
				go func() { first <- s.Append(t.Context(), allowed().Encode()) }()
				<-begun
				if err := s.Post(denied("192.0.2.1").Encode()); err != nil {
					t.Fatal(err)
				}
				go func() { second <- s.Append(t.Context(), allowed().Encode()) }()
				synctest.Wait()
				close(gate)
				if err := <-first; !errors.Is(err, syscall.EIO) && !errors.Is(err, errPanic) {
					t.Errorf("the first: %v", err)
				}
				if err := <-second; err != nil {
					t.Errorf("the second: %v", err)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				var got []Action
				for _, line := range lines {
					var l struct {
						Action Action `json:"event.action"`
						Lost   int    `json:"coredns.xfr.audit.lost"`
					}
					if err := json.Unmarshal(line, &l); err != nil || l.Action == ActionGap && l.Lost != 1 {
						t.Errorf("%v: %s", err, line)
					}
					got = append(got, l.Action)
				}
				if len(got) != 3 {
					t.Errorf("%s", got)
				}
			})
		})
	}
}
