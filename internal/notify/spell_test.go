// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// states are those of a lab, as "35s timeout 4 tries since 0s", or "answers" before.
type states struct {
	mu    sync.Mutex
	began time.Time
	all   []string
	heard int // answers in all
}

func (s *states) take(st State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.Up {
		s.heard++
	}
	if !st.Turned {
		return
	}
	text := fmt.Sprint(time.Since(s.began), " ", st.Outcome, " ", st.Spell.Tries, " tries since ", st.Spell.Since.Sub(s.began), " ", st.Target.Addr)
	if st.Up {
		text = "up " + text
	}
	s.all = append(s.all, text)
}

// told returns the states so far.
func (s *states) told() []string {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all)
}

func (s *states) expect(t *testing.T, want ...string) {
	t.Helper()
	if got := s.told(); !slices.Equal(got, want) {
		t.Errorf("the states are\n%q, want\n%q", got, want)
	}
}

// A target that answers nothing is told of once, however often its zones change, and again
// when it answers, whatever it says.
func TestDeadTarget(t *testing.T) {
	for _, dead := range []Outcome{Timeout, Unreachable, TLSFailed} {
		for _, back := range []Outcome{Accepted, Refused, ServerFailure} {
			synctest.Test(t, func(t *testing.T) {
				var up atomic.Bool
				st := &states{began: time.Now()}
				l := newLab(Options{State: st.take}, func(ctx context.Context, _ *Target, _ *request) reply {
					if up.Load() {
						return says(back)
					}
					select {
					case <-time.After(6 * time.Second): // UDP, and then TCP
					case <-ctx.Done():
					}
					return reply{answer: answer{outcome: dead}, transport: TCP}
				})
				defer l.Close()
				to := target(1)
				for i := range 100 { // an edit each 7 s: no NOTIFY comes to its end
					l.Send(to, "example.org.", testSOA(uint32(i)), 0)
					time.Sleep(7 * time.Second)
				}
				st.expect(t, fmt.Sprint("34s ", dead, " 5 tries since 0s 127.0.0.1:53"))
				synctest.Wait()
				if got := l.outcomes(); got[len(got)-1] != "superseded 98 1" || !slices.Contains(got, fmt.Sprint(dead, " 4 5")) ||
					len(slices.DeleteFunc(got, func(s string) bool { return s[:10] == "superseded" })) != 1 {
					t.Errorf("ended %q", got)
				}
				up.Store(true)
				l.Send(to, "example.org.", testSOA(200), 0)
				time.Sleep(time.Hour)
				st.expect(t, fmt.Sprint("34s ", dead, " 5 tries since 0s 127.0.0.1:53"),
					fmt.Sprint("up 11m40s ", back, " 100 tries since 0s 127.0.0.1:53"))
				up.Store(false) // and once more
				l.Send(to, "example.org.", testSOA(201), 0)
				time.Sleep(time.Hour)
				if got := st.told(); len(got) != 3 {
					t.Errorf("the states are %q", got)
				}
			})
		}
	}
}

// What is no spell: a target that answers now and then, one that is lost for a moment, an
// answer that proves nothing, a sender that is closed.
func TestNoSpell(t *testing.T) {
	for name, script := range map[string][]reply{
		"one of two":       {{answer: answer{outcome: Timeout}, transport: TCP}, says(ServerFailure)},
		"SERVFAIL":         {says(ServerFailure)},
		"two in vain":      {{answer: answer{outcome: Timeout}, transport: TCP}, {answer: answer{outcome: Timeout}, transport: TCP}, says(Accepted)},
		"unproven, by UDP": {{answer: answer{outcome: Unproven}, transport: UDP}},
	} {
		synctest.Test(t, func(t *testing.T) {
			st := &states{began: time.Now()}
			n, to := 0, target(1)
			l := newLab(Options{State: st.take}, func(context.Context, *Target, *request) reply {
				n++
				return script[(n-1)%len(script)]
			})
			for i := range 50 {
				l.Send(to, "example.org.", testSOA(uint32(i)), 0)
				time.Sleep(7 * time.Second)
			}
			l.Close()
			if len(st.all) > 0 {
				t.Errorf("%s: %q", name, st.all)
			}
			if (st.heard == 0) != (name == "unproven, by UDP") {
				t.Errorf("%s: %d answers were told", name, st.heard)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		st := &states{began: time.Now()}
		l := newLab(Options{State: st.take, DownTries: 1, DownAfter: time.Nanosecond}, func(ctx context.Context, _ *Target, _ *request) reply {
			<-ctx.Done()
			return reply{answer: answer{outcome: Timeout}, transport: TCP}
		})
		l.Send(target(1), "example.org.", testSOA(1), 0)
		time.Sleep(time.Second)
		l.Close()
		st.expect(t)
	})
}

// A spell goes on in the next Sender.
func TestResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &states{began: time.Now()}
		old := newLab(Options{State: st.take, Pause: secondsApart}, always(Timeout))
		old.Send(target(1), "example.org.", testSOA(1), 0)
		old.Send(target(2), "example.org.", testSOA(1), 0)
		time.Sleep(15 * time.Second) // two tries, at 0 and 10 s
		spells := old.Spells()
		old.Close()
		st.expect(t)
		if len(spells) != 2 {
			t.Fatalf("%d spells", len(spells))
		}
		l := newLab(Options{State: st.take, Pause: secondsApart}, always(Timeout))
		for to, spell := range spells {
			if to.Addr == target(1).Addr {
				l.Resume(to, spell)
				l.Send(to, "example.org.", testSOA(2), 20*time.Second)
			}
		}
		time.Sleep(time.Minute)
		st.expect(t, "35s timeout 3 tries since 0s 127.0.0.1:53")
		spells = l.Spells()
		l.Close()
		l = newLab(Options{State: st.take}, always(Accepted))
		defer l.Close()
		for to, spell := range spells {
			l.Resume(to, spell)
			l.Send(to, "example.org.", testSOA(2), 0)
		}
		time.Sleep(time.Second)
		if got := st.told(); len(got) != 2 || !strings.HasPrefix(got[1], "up 1m15s accepted") {
			t.Errorf("the states are %q", got)
		}
	})
}

// A zone that a target never takes is told of, however often it changes, while others are
// taken; once, until it is.
func TestZoneNeverTaken(t *testing.T) {
	for _, no := range []Outcome{ServerFailure, Unproven} {
		synctest.Test(t, func(t *testing.T) {
			var good atomic.Bool
			l := newLab(Options{}, func(_ context.Context, _ *Target, r *request) reply {
				if r.zone == "bad.example." && !good.Load() {
					return says(no)
				}
				return says(Accepted)
			})
			defer l.Close()
			to := target(1)
			edits := func(from, end uint32) {
				for i := from; i < end; i++ {
					l.Send(to, "bad.example.", testSOA(i), 0)
					l.Send(to, "good.example.", testSOA(i), 0)
					time.Sleep(7 * time.Second)
				}
			}
			edits(0, 50)
			good.Store(true)
			edits(50, 51)
			good.Store(false)
			edits(51, 100)
			failures := map[uint32]int{}
			synctest.Wait()
			l.mu.Lock()
			defer l.mu.Unlock()
			for _, r := range l.results {
				if r.Outcome == no {
					failures[r.Serial] = r.Tries
				}
			}
			if len(failures) != 2 || failures[2] < 5 {
				t.Errorf("%s: the failures that are told, with their tries, are %v", no, failures)
			}
		})
	}
}

// What is told at a start keeps a pace of its own to each target; what is new passes.
func TestBeginKeepsAPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const zones = 200
		var mu sync.Mutex
		came := map[string][]time.Duration{}
		began := time.Now()
		l := newLab(Options{}, func(_ context.Context, to *Target, r *request) reply {
			mu.Lock()
			defer mu.Unlock()
			came[to.Addr.String()] = append(came[to.Addr.String()], time.Since(began))
			if serialIn(r) == 2 && time.Since(began) > 3200*time.Millisecond {
				t.Errorf("what is new was told after %v", time.Since(began))
			}
			return says(Accepted)
		})
		defer l.Close()
		targets := []*Target{target(1), target(2), target(3)}
		for i := range zones {
			for _, to := range targets {
				l.Begin(to, fmt.Sprintf("z%d.example.", i), testSOA(1), 0)
			}
		}
		time.Sleep(3 * time.Second)
		l.Send(targets[0], fmt.Sprintf("z%d.example.", zones-1), testSOA(2), 0) // it waits at the end of the line
		l.Send(targets[0], "new.example.", testSOA(2), 0)
		time.Sleep(time.Minute)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		for addr, times := range came {
			if want := zones + map[bool]int{true: 1}[addr == targets[0].Addr.String()]; len(times) != want {
				t.Errorf("%s: %d NOTIFYs, want %d", addr, len(times), want)
			}
			for i := 25; i < len(times); i++ { // 20, the two that are new, and where the second begins
				if times[i]-times[i-25] < time.Second {
					t.Fatalf("%s: more than 24 between %v and %v", addr, times[i-25], times[i])
				}
			}
			if last := times[len(times)-1]; last > (zones/20+2)*time.Second {
				t.Errorf("%s: the last came after %v", addr, last)
			}
		}
		synctest.Wait()
		if len(l.outcomes()) != 3*zones+2 {
			t.Errorf("%d ends", len(l.outcomes()))
		}
	})
}
