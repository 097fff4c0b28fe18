// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"slices"
	"sync"
	"time"

	"github.com/xfrguard/xfrguard/internal/trail"
)

// Clock is the one watch over the machine's clock in this process.
var Clock = NewProcessClock(trail.ReadClock)

// NewProcessClock returns a watch that counts the steps.
func NewProcessClock(now func() trail.Clock) *ClockWatch {
	for _, d := range ClockDirections {
		ClockSteps.WithLabelValues(string(d))
	}
	c := newClockWatch(now)
	c.Subscribe(func(step time.Duration) {
		ClockSteps.WithLabelValues(string(directionOf(step))).Inc()
	})
	return c
}

// clockEvery is how often the clock is looked at when nobody asks for a transfer.
const clockEvery = time.Second

// ClockDirection says where the clock was set: event.reason of clock-step.
type ClockDirection string

// The directions of a step.
const (
	ClockForward ClockDirection = "forward" // also what a suspended machine looks like when it wakes up
	ClockBack    ClockDirection = "back"
)

// ClockDirections is every ClockDirection.
var ClockDirections = []ClockDirection{ClockForward, ClockBack}

func directionOf(step time.Duration) ClockDirection {
	if step < 0 {
		return ClockBack
	}
	return ClockForward
}

// ClockWatch notices steps of the wall clock: it compares it with the monotonic one,
// which nobody can set, and which NTP slews together with it. That one stands still
// while the machine is suspended, so that waking up is a step forward.
type ClockWatch struct {
	now func() trail.Clock

	mu        sync.Mutex
	last      trail.Clock
	listeners []*clockListener
}

type clockListener struct{ stepped func(step time.Duration) }

func newClockWatch(now func() trail.Clock) *ClockWatch {
	return &ClockWatch{now: now, last: now()}
}

// Check looks at the clock and tells of a step before it returns.
func (c *ClockWatch) Check() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	step, ok := c.last.Step(now)
	if !ok {
		return
	}
	c.last = now
	for _, l := range c.listeners {
		l.stepped(step)
	}
}

// Subscribe has stepped called at each step, with how far the clock was set. It must
// not block, and must not call the watch. The function that it returns ends that.
func (c *ClockWatch) Subscribe(stepped func(step time.Duration)) (cancel func()) {
	l := &clockListener{stepped}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listeners = append(c.listeners, l)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.listeners = slices.DeleteFunc(c.listeners, func(o *clockListener) bool { return o == l })
	}
}

// watch looks at the clock from time to time until the function that it returns is called.
func (c *ClockWatch) watch() (cancel func()) {
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		t := time.NewTicker(clockEvery)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				c.Check()
			case <-stop:
				return
			}
		}
	}()
	return func() {
		close(stop)
		<-done
	}
}

// clockStep records a step in the sinks that do not see it themselves: the audit file does.
func (r *Recorder) clockStep(step time.Duration) {
	e := &Event{
		Action: ActionClockStep, Reason: string(directionOf(step)),
		Extra: map[string]any{trail.FieldClockStep: step.Nanoseconds()},
	}
	Stamp(e)
	rec := recordOf(e)
	for _, s := range r.sinks {
		if _, file := s.sink.(*fileSink); !file {
			s.post(rec)
		}
	}
}

// watchClock has steps recorded from now on.
func (r *Recorder) watchClock() {
	cancel, stop := Clock.Subscribe(r.clockStep), Clock.watch()
	r.unwatch = func() {
		stop()
		cancel()
	}
}
