// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// RFC 1996 §3.6: again, with growing pauses, until an answer comes or there were enough
// tries; and not after an answer, but for SERVFAIL.
func TestSenderRetries(t *testing.T) {
	five := []string{"0s example.org. 7", "10s example.org. 7", "30s example.org. 7", "1m0s example.org. 7", "1m40s example.org. 7"}
	for _, o := range Outcomes() {
		if o == Superseded || o == Stopped || o == Unsendable {
			continue
		}
		again := slices.Contains([]Outcome{Timeout, Unreachable, TLSFailed, ServerFailure, Unproven}, o)
		synctest.Test(t, func(t *testing.T) {
			l := newLab(Options{Pause: secondsApart}, always(o))
			defer l.Close()
			l.Send(target(1), "example.org.", testSOA(7), 0)
			time.Sleep(time.Hour)
			if again {
				l.expect(t, five, []string{string(o) + " 7 5"})
			} else {
				l.expect(t, five[:1], []string{string(o) + " 7 1"})
			}
			if (l.results[0].Err == nil) != (o == Accepted) {
				t.Errorf("%s: error %v", o, l.results[0].Err)
			}
		})
	}
}

func TestSenderRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var up atomic.Bool
		l := newLab(Options{Pause: secondsApart}, func(context.Context, *Target, *request) reply {
			if up.Load() {
				return says(Accepted)
			}
			return says(Timeout)
		})
		defer l.Close()
		l.Send(target(1), "example.org.", testSOA(7), 3*time.Second)
		time.Sleep(14 * time.Second)
		up.Store(true)
		time.Sleep(time.Hour)
		l.expect(t, []string{"3s example.org. 7", "13s example.org. 7", "33s example.org. 7"}, []string{"accepted 7 3"})
	})
}

// The pauses by default: four of them, growing, about two minutes in all, and not the
// same for everybody.
func TestPause(t *testing.T) {
	seen := map[time.Duration]bool{}
	for range 200 {
		var sum time.Duration
		for tries, about := range map[int]time.Duration{1: 4 * time.Second, 2: 12 * time.Second, 3: 36 * time.Second, 4: time.Minute, 9: time.Minute} {
			d := pause(tries)
			if d < about*3/4 || d > about*5/4 {
				t.Errorf("after try %d: %v", tries, d)
			}
			if tries < 5 {
				sum += d
			}
		}
		seen[sum] = true
	}
	if len(seen) < 100 {
		t.Errorf("%d different pauses in 200", len(seen))
	}
}

// A newer serial takes the place of one that waits, begins at once and with all tries;
// the same serial is not sent twice. When all tries for the zone were in vain, that is told.
func TestSenderSupersedes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(Options{Pause: secondsApart, Tries: 2}, always(Timeout))
		defer l.Close()
		to := target(1)
		l.Send(to, "example.org.", testSOA(7), 0)
		time.Sleep(5 * time.Second)
		l.Send(to, "example.org.", testSOA(7), 0)
		l.Send(to, "example.org.", testSOA(8), 0)
		l.Send(to, "example.org.", testSOA(6), 0) // the operator went back
		time.Sleep(time.Minute)
		l.expect(t, []string{"0s example.org. 7", "5s example.org. 8", "5s example.org. 6", "15s example.org. 6"},
			[]string{"superseded 7 1", "timeout 8 2", "timeout 6 2"})
	})
}

// While a try is under way a newer serial waits for its end.
func TestSenderSupersedesRunning(t *testing.T) {
	for _, o := range []Outcome{Accepted, Timeout} {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(Options{Pause: secondsApart, Tries: 1}, func(context.Context, *Target, *request) reply {
				time.Sleep(3 * time.Second)
				return says(o)
			})
			defer l.Close()
			to := target(1)
			l.Send(to, "example.org.", testSOA(7), 0)
			for serial := uint32(8); serial < 11; serial++ {
				time.Sleep(500 * time.Millisecond)
				l.Send(to, "example.org.", testSOA(serial), 0)
			}
			time.Sleep(time.Minute)
			l.expect(t, []string{"0s example.org. 7", "3s example.org. 10"}, []string{string(o) + " 7 1", string(o) + " 10 1"})
		})
	}
	synctest.Test(t, func(t *testing.T) { // and back to the one under way
		l := newLab(Options{}, func(context.Context, *Target, *request) reply {
			time.Sleep(time.Second)
			return says(Accepted)
		})
		defer l.Close()
		to := target(1)
		for _, serial := range []uint32{7, 8, 7} {
			l.Send(to, "example.org.", testSOA(serial), 0)
			synctest.Wait()
		}
		time.Sleep(time.Minute)
		l.expect(t, []string{"0s example.org. 7"}, []string{"accepted 7 1"})
	})
}

// Close ends what waits and what runs, tells it, and leaves nothing behind.
func TestSenderClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(Options{Pause: secondsApart, PerTarget: 1}, func(ctx context.Context, _ *Target, r *request) reply {
			if r.zone == "a.example." {
				return says(Timeout) // waits for its next try
			}
			<-ctx.Done()
			return says(Timeout)
		})
		two := target(2)
		l.Send(target(1), "a.example.", testSOA(1), 0)
		l.Send(two, "b.example.", testSOA(2), 0) // runs
		l.Send(two, "c.example.", testSOA(3), 0) // in line
		l.Send(target(3), "d.example.", testSOA(4), time.Minute)
		synctest.Wait()
		l.Send(two, "b.example.", testSOA(5), 0) // behind the one that runs
		synctest.Wait()
		l.Close()
		got := l.outcomes()
		slices.Sort(got)
		want := []string{"stopped 1 1", "stopped 3 0", "stopped 4 0", "stopped 5 0", "superseded 2 1"}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		l.Send(target(1), "a.example.", testSOA(9), 0)
		l.Close()
		time.Sleep(time.Hour)
		if len(l.outcomes()) != len(want) || len(l.sent) != 2 {
			t.Errorf("after Close: %q, sent %q", l.outcomes(), l.sent)
		}
	})
}

// atOnce counts the tries that run at the same time.
type atOnce struct {
	mu            sync.Mutex
	running, most map[*Target]int
	mostAll       int
}

// begin counts a try until the returned function is called.
func (c *atOnce) begin(to *Target) (end func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running[to]++
	c.most[to] = max(c.most[to], c.running[to])
	all := 0
	for _, n := range c.running {
		all += n
	}
	c.mostAll = max(c.mostAll, all)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.running[to]--
	}
}

// take returns the most tries at once to a target, and begins anew.
func (c *atOnce) take(to *Target) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer delete(c.most, to)
	return c.most[to]
}

// A target that keeps silent holds nobody else up, and has one try at a time; nothing
// exceeds the limits.
func TestSenderDeadTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := atOnce{running: map[*Target]int{}, most: map[*Target]int{}}
		var mu sync.Mutex
		dead := target(1)
		began := time.Now()
		var lastAlive time.Duration
		l := newLab(Options{Tries: 2, Pause: secondsApart, PerSecond: 1000, InFlight: 8, PerTarget: 4}, func(_ context.Context, to *Target, _ *request) reply {
			defer tries.begin(to)()
			if to == dead {
				time.Sleep(6 * time.Second)
				return says(Timeout)
			}
			time.Sleep(time.Millisecond)
			mu.Lock()
			lastAlive = time.Since(began)
			mu.Unlock()
			return says(Accepted)
		})
		defer l.Close()
		targets := []*Target{dead}
		for n := range 4 {
			targets = append(targets, target(n+2))
		}
		const zones = 300
		for i := range zones {
			for _, to := range targets {
				l.Send(to, fmt.Sprintf("z%d.example.", i), testSOA(1), 0)
			}
		}
		time.Sleep(5 * time.Second)
		deadAtOnce := tries.take(dead)
		mu.Lock()
		if lastAlive > 2*time.Second {
			t.Errorf("the others were told after %v", lastAlive)
		}
		mu.Unlock()
		time.Sleep(2 * zones * 6 * time.Second)
		synctest.Wait()
		if deadThen, other := tries.take(dead), tries.take(targets[1]); deadAtOnce > 4 || deadThen != 1 || tries.mostAll > 8 || other > 4 {
			t.Errorf("at once to the dead target %d, then %d, to another %d, in all %d", deadAtOnce, deadThen, other, tries.mostAll)
		}
		count := map[Outcome]int{}
		for _, r := range l.results {
			count[r.Outcome]++
		}
		if count[Accepted] != 4*zones || count[Timeout] != zones {
			t.Errorf("got %v", count)
		}
	})
}

func TestSenderPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(Options{PerSecond: 50}, always(Accepted))
		defer l.Close()
		var targets []*Target
		for n := range 7 {
			targets = append(targets, target(n))
		}
		for i := range 1000 {
			l.Send(targets[i%7], fmt.Sprintf("z%d.example.", i), testSOA(1), 0)
		}
		for _, at := range []int{1, 5, 10} {
			time.Sleep(time.Until(l.began.Add(time.Duration(at) * time.Second)))
			synctest.Wait()
			if n := len(l.outcomes()); n < 50*at || n > 50*(at+1) {
				t.Errorf("%d within %d s", n, at)
			}
		}
		time.Sleep(10 * time.Second)
		if n := len(l.outcomes()); n != 1000 {
			t.Errorf("%d in all", n)
		}
	})
}

// A key is tried with each algorithm, and from then on with the one that was taken.
func TestSenderAlgorithms(t *testing.T) {
	for name, no := range map[string]reply{
		"BADKEY":                          {answer: answer{outcome: BadKey}},
		"BADSIG":                          {answer: answer{outcome: BadSignature}},
		"NOTAUTH":                         {answer: answer{outcome: NotAuth}},
		"REFUSED, signed, as NSD says it": says(Refused),
	} {
		synctest.Test(t, func(t *testing.T) {
			var tried []string
			takes := "hmac-sha512"
			l := newLab(Options{}, func(_ context.Context, _ *Target, r *request) reply {
				tried = append(tried, r.algorithm)
				if r.algorithm == takes {
					return says(Accepted)
				}
				return no
			})
			defer l.Close()
			to := target(1)
			to.Key = testKey("hmac-sha256", "hmac-sha384", "hmac-sha512")
			for i, want := range [][]string{{"hmac-sha256", "hmac-sha384", "hmac-sha512"}, {"hmac-sha512"}, {"hmac-sha512", "hmac-sha256"}, {"hmac-sha256"}} {
				if i == 2 {
					takes = "hmac-sha256" // the key was changed there
				}
				tried = nil
				l.Send(to, "example.org.", testSOA(uint32(i)), 0)
				synctest.Wait()
				if !slices.Equal(tried, want) {
					t.Errorf("%s: notice %d was signed with %q, want %q", name, i, tried, want)
				}
				if r := l.results[i]; r.Outcome != Accepted || r.Algorithm != takes || !r.Proven {
					t.Errorf("%s: %+v", name, r)
				}
			}
			takes = "none"
			l.Send(to, "example.org.", testSOA(99), 0)
			synctest.Wait()
			if r := l.results[4]; r.Outcome != no.outcome || r.Algorithm != "hmac-sha256" || r.Tries != 1 {
				t.Errorf("%s: with none: %+v", name, r)
			}
		})
	}
	// An answer that is no refusal of the key, or proves it: no other algorithm.
	for _, r := range []reply{says(NotAuth), says(BadTime), says(NotImplemented), {answer: answer{outcome: NotImplemented}}} {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(Options{}, func(context.Context, *Target, *request) reply { return r })
			defer l.Close()
			to := target(1)
			to.Key = testKey("hmac-sha256", "hmac-sha512")
			l.Send(to, "example.org.", testSOA(1), 0)
			synctest.Wait()
			if len(l.sent) != 1 || l.results[0].Outcome != r.outcome {
				t.Errorf("%v: sent %q, %+v", r, l.sent, l.results)
			}
		})
	}
}

// What cannot be sent ends at once and says why.
func TestSenderUnsendable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(Options{}, always(Accepted))
		defer l.Close()
		to := target(1)
		to.Key = &Key{Name: "k.", Secret: []byte("s")}
		l.Send(to, "example.org.", testSOA(1), 0)
		l.Send(target(2), "not..a.name.", testSOA(2), 0)
		synctest.Wait()
		for _, r := range l.results {
			if r.Outcome != Unsendable || r.Err == nil {
				t.Errorf("%+v", r)
			}
		}
		if len(l.results) != 2 || len(l.sent) != 0 {
			t.Errorf("%d ends, sent %q", len(l.results), l.sent)
		}
	})
}
