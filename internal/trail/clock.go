// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package trail

import "time"

// Clock is one reading of the two clocks of a machine: the one that tells the time and
// can be set, and the one that only ever goes on.
type Clock struct {
	Wall time.Time     // without a monotonic reading
	Mono time.Duration // since some moment in this process
}

// leastStep is how far the wall clock has to be set to count as a step. A leap second
// does not count.
const leastStep = 2 * time.Second

var clockStart = time.Now()

// ReadClock reads both.
func ReadClock() Clock {
	now := time.Now()
	return Clock{Wall: now.Round(0), Mono: now.Sub(clockStart)}
}

// Step reports how far the wall clock was set between two readings, and whether that is
// far enough to be one. Small ones are not forgotten as long as the first reading stays
// the same.
func (c Clock) Step(now Clock) (time.Duration, bool) {
	step := now.Wall.Sub(c.Wall) - (now.Mono - c.Mono)
	return step, step.Abs() >= leastStep
}

// lookAtClock notes that the clock was set: the times of the lines before and after it
// are not comparable then.
func (w *writer) lookAtClock() {
	now := w.readClock()
	step, ok := w.clock.Step(now)
	if !ok {
		return
	}
	w.clock = now
	cause := causeForward
	if step < 0 {
		cause = causeBack
	}
	w.announce(KindClock, map[string]any{FieldCause: cause, FieldClockStep: step.Nanoseconds()})
}

// clockSet takes a step out of the age of the lines that no checkpoint covers yet.
func (v *verifier) clockSet(o *own) {
	step := time.Duration(o.ClockStep)
	// The first of them is the line that tells of it, and has the new time.
	if c := v.cur; c.unsigned > 1 {
		c.unsignedSince = c.unsignedSince.Add(step)
	}
	v.warn(ProblemClock, v.at, "the clock was set by %s, or stood still while the machine slept: times before and after do not compare", step)
}
