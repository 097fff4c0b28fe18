// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"sync"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/trail"

	"github.com/miekg/dns"
	dto "github.com/prometheus/client_model/go"
)

// fakeClock is a machine's clock that a test sets.
type fakeClock struct {
	mu sync.Mutex
	at trail.Clock
}

func (c *fakeClock) read() trail.Clock {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

// pass lets time pass, and sets the clock by so much beside that.
func (c *fakeClock) pass(d, step time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at.Mono += d
	c.at.Wall = c.at.Wall.Add(d + step)
}

// withClock gives the process a clock that the test sets.
func withClock(t *testing.T) *fakeClock {
	t.Helper()
	fake := &fakeClock{at: trail.ReadClock()}
	before := clock
	clock = newProcessClock(fake.read)
	t.Cleanup(func() { clock = before })
	return fake
}

// TestClockSteps: only what is set is a step, however long nobody looks and however slowly
// the clock drifts away by small ones.
func TestClockSteps(t *testing.T) {
	fake := &fakeClock{at: trail.ReadClock()}
	c := newClockWatch(fake.read)
	var got []time.Duration
	cancel := c.subscribe(func(step time.Duration) { got = append(got, step) })
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
		fake.pass(s.pass, s.step)
		c.check()
		c.check()
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
	fake.pass(0, time.Hour)
	c.check()
	if len(got) != len(want) {
		t.Error("told after the end of the subscription")
	}
}

// TestClockStepOnRecord: a step is an event in every sink and a count.
func TestClockStepOnRecord(t *testing.T) {
	noLeak(t)
	fake := withClock(t)
	before := stepsBack(t)
	kept := newFaultySink(t)
	a := recordTo(t, corefile.AuditRefuse, time.Second, map[string]sink{"one": kept})
	a.watchClock()
	fake.pass(time.Second, -time.Hour)
	eventually(t, func() bool { return len(kept.take()) > 0 }) // nobody has asked for anything
	closeAuditor(t, a)
	lines := kept.take()
	validateEvents(t, lines...)
	if n := count(t, lines, ActionClockStep, func(m map[string]any) {
		if m["event.reason"] != string(ClockBack) || number(m[trail.FieldClockStep]) != -time.Hour.Nanoseconds() {
			t.Errorf("on record as %v", m)
		}
	}); n != 1 {
		t.Errorf("%d events", n)
	}
	if n := stepsBack(t) - before; n != 1 {
		t.Errorf("counted %v times", n)
	}
}

// TestClockSetBackLocksNobodyOut: the clock was an hour ahead, the memory has forgotten
// requests of that hour, and the clock is set right.
func TestClockSetBackLocksNobodyOut(t *testing.T) {
	fake := withClock(t)
	s := serve(t, guarded("allow as ns2 net 127.0.0.1 key a.example.net.", ""), map[string]string{"db": zoneOrg})
	tcp := s.addr(t, "tcp", 0)
	hour := newReplayMemory(1, 1)
	before := replays
	replays = hour
	t.Cleanup(func() { replays = before })
	ahead := time.Now().Add(time.Hour)
	for n := range 2 { // the first is forgotten and leaves a floor an hour ahead
		if !hour.Accept(keyA, replayMAC(n), ahead.Add(time.Duration(n)*time.Second), ahead) {
			t.Fatal("not accepted")
		}
	}
	if m := ask1(t, "tcp", tcp, "", signed(t, question(dns.TypeAXFR), keyA, dns.HmacSHA256, secretA)); len(m.Answer) > 0 {
		t.Fatal("the floor of a time ahead refuses nobody: this test shows nothing")
	}
	fake.pass(0, -time.Hour)
	fresh := signed(t, question(dns.TypeAXFR), keyA, dns.HmacSHA256, secretA)
	if m := ask1(t, "tcp", tcp, "", fresh); len(m.Answer) == 0 {
		t.Fatalf("a fresh request after the step: %v", m)
	}
	wantRefused(t, ask(t, "tcp", tcp, "", fresh, 1), dns.RcodeNotAuth)
}

func stepsBack(t *testing.T) float64 {
	t.Helper()
	var m dto.Metric
	if err := clockSteps.WithLabelValues(string(ClockBack)).Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}
