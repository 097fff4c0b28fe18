// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit/audittest"
	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/trail"

	dto "github.com/prometheus/client_model/go"
)

// withClock gives the process a clock that the test sets.
func withClock(t *testing.T) *audittest.FakeClock {
	t.Helper()
	fake := &audittest.FakeClock{At: trail.ReadClock()}
	before := Clock
	Clock = NewProcessClock(fake.Read)
	t.Cleanup(func() { Clock = before })
	return fake
}

// TestClockSteps: only what is set is a step, however long nobody looks and however slowly
// the clock drifts away by small ones.
func TestClockSteps(t *testing.T) {
	fake := &audittest.FakeClock{At: trail.ReadClock()}
	c := newClockWatch(fake.Read)
	var got []time.Duration
	cancel := c.Subscribe(func(step time.Duration) { got = append(got, step) })
	for _, s := range []struct{ pass, step time.Duration }{
		{time.Second, 0},
		{100 * time.Hour, 0},
		{time.Second, time.Second}, // a leap second is none
		{time.Second, time.Second}, // two of them add up
		{time.Minute, -time.Hour},
		{0, time.Hour},
		{time.Second, -time.Second},
		{time.Second, time.Second},
	} {
		fake.Pass(s.pass, s.step)
		c.Check()
		c.Check()
	}
	want := []time.Duration{2 * time.Second, -time.Hour, time.Hour}
	if len(got) != len(want) {
		t.Fatalf("steps %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("steps %v, want %v", got, want)
		}
	}
	cancel()
	fake.Pass(0, time.Hour)
	c.Check()
	if len(got) != len(want) {
		t.Error("told after the end of the subscription")
	}
}

// TestClockStepOnRecord: a step is an event in every sink and a count.
func TestClockStepOnRecord(t *testing.T) {
	audittest.NoLeak(t)
	fake := withClock(t)
	before := stepsBack(t)
	kept := &audittest.FaultyWriter{}
	a := recordTo(t, corefile.AuditRefuse, time.Second, map[string]Opener{"one": ToLines(kept.Write)})
	a.watchClock()
	fake.Pass(time.Second, -time.Hour)
	audittest.Eventually(t, func() bool { return len(kept.Take()) > 0 }) // nobody has asked for anything
	closeAuditor(t, a)
	lines := kept.Take()
	audittest.ValidateEvents(t, lines...)
	if n := audittest.Count(t, lines, ActionClockStep, func(m map[string]any) {
		if m["event.reason"] != string(ClockBack) || audittest.Number(m[trail.FieldClockStep]) != -time.Hour.Nanoseconds() {
			t.Errorf("on record as %v", m)
		}
	}); n != 1 {
		t.Errorf("%d events", n)
	}
	if n := stepsBack(t) - before; n != 1 {
		t.Errorf("counted %v times", n)
	}
}

func stepsBack(t *testing.T) float64 {
	t.Helper()
	var m dto.Metric
	if err := ClockSteps.WithLabelValues(string(ClockBack)).Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}
