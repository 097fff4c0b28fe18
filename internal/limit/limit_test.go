// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xfrguard/xfrguard/internal/policy"

	"go.uber.org/goleak"
)

// limitStep is one request of a script: it arrives at a moment, holds its slot
// for a while when it gets one, and says what must become of it, and when.
type limitStep struct {
	at     time.Duration
	client string
	zone   string
	hold   time.Duration
	want   policy.Reason // "" is a lease
	after  time.Duration // spent in line
	text   string

	proof   string        // what the client proved
	owns    string        // its configured identity
	singles int           // how many addresses its rule names
	closes  time.Duration // the client closes its connection that long after it came; 0: never
	taken   bool          // the transfer is complete
	broken  bool          // it is not, through the client's fault
	rule    string        // with a rate or a count of its own
	own     int           // the rule's count
	ownRate *policy.Rate  // the rule's rate
	gone    time.Duration // the client leaves that long after it came; 0: it stays
	scope   string
	limits  *policy.Limits // in place of the script's, from here to the end of the step
}

// runLimitScript plays the steps on a virtual clock, each in its goroutine.
func runLimitScript(t *testing.T, def policy.Limits, steps []limitStep) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := New(time.Now)
		var running sync.WaitGroup
		for i, s := range steps {
			running.Go(func() {
				time.Sleep(s.at)
				a := Admission{
					Scope: s.scope, Client: netip.MustParseAddr(s.client), Zone: s.zone, Rule: s.rule,
					Limits: def, RuleConcurrent: s.own, RuleRate: s.ownRate, Proof: s.proof, Own: s.owns, Singles: s.singles,
				}
				if s.closes > 0 {
					closed := time.Now().Add(s.closes)
					a.Gone = func() bool { return !time.Now().Before(closed) }
				}
				if s.limits != nil {
					a.Limits = *s.limits
				}
				ctx := t.Context()
				if s.gone > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, s.gone)
					defer cancel()
				}
				came := time.Now()
				slot, got := l.Admit(ctx, a)
				if waited := time.Since(came); got != s.want || waited != s.after || (slot != nil) != (s.want == "") {
					t.Errorf("step %d (%s): got %q after %v, lease %t; want %q after %v",
						i, s.text, got, waited, slot != nil, s.want, s.after)
				}
				time.Sleep(s.hold)
				slot.Release()
				if s.taken || s.broken {
					slot.Remember(s.taken)
				}
			})
		}
		running.Wait()
		checkLimiterEmpty(t, l)
	})
}

// checkLimiterEmpty looks that nothing is left of requests that are over.
func checkLimiterEmpty(t testing.TB, l *Limiter) {
	t.Helper()
	for name, s := range l.scopes {
		users := 0
		for _, b := range s.buckets.Values() {
			users += b.users
		}
		if s.inFlight != 0 || s.firsts != 0 || s.line.Len() != 0 || len(s.counters) != 0 || len(s.watched) != 0 || users != 0 {
			t.Errorf("scope %q: %d in flight, %d firsts, %d in line, %d counters, %d watched, %d who need a token are left",
				name, s.inFlight, s.firsts, s.line.Len(), len(s.counters), len(s.watched), users)
		}
	}
}

func TestLimitConcurrency(t *testing.T) {
	const a, b, c, d = "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"
	const sec = time.Second
	def := policy.DefaultLimits
	def.Rate.Burst = 100
	def.Total, def.PerClient = 3, 2
	hasty, closed, wide := def, def, def
	hasty.Wait = 0
	closed.Total = 0
	wide.Total, wide.PerClient = 5, 4

	t.Run("turns", func(t *testing.T) {
		runLimitScript(t, def, []limitStep{
			{at: 0, client: a, hold: 4 * sec, text: "a's first"},
			{at: 1, client: a, hold: 3 * sec, text: "a's second"},
			{at: 2, client: a, hold: sec, after: 3*sec - 1, text: "a's third waits for a's second"},
			{at: 3, client: a, hold: sec, after: 4*sec - 3, text: "a's fourth for a's first"},
			{at: 4, client: b, hold: 2 * sec, text: "b does not stand behind a"},
			{at: 5, client: c, hold: sec, after: 2*sec - 1, text: "c waits for the total, before a, who could not use the slot"},
		})
	})
	t.Run("order of arrival", func(t *testing.T) {
		runLimitScript(t, def, []limitStep{
			{at: 0, client: a, hold: 3 * sec, text: "full"},
			{at: 1, client: a, hold: 5 * sec, text: "full"},
			{at: 2, client: b, hold: 5 * sec, text: "full"},
			{at: 3, client: c, hold: sec, after: 3*sec - 3, text: "first come"},
			{at: 4, client: d, hold: 9 * sec, after: 4*sec - 4, text: "first served"},
			{at: 5, client: c, hold: 9 * sec, after: 5*sec - 4, text: "in order"},
			{at: sec, client: b, hold: 9 * sec, after: 4*sec + 2, text: "whoever they are"},
		})
	})
	t.Run("patience", func(t *testing.T) {
		runLimitScript(t, def, []limitStep{
			{at: 0, client: a, hold: 9 * sec, text: "full"},
			{at: 1, client: a, hold: 9 * sec, text: "full"},
			{at: 2, client: a, want: policy.ReasonConcurrencyLimited, after: 5 * sec, text: "no turn in time"},
			{at: 3, client: a, limits: &hasty, want: policy.ReasonConcurrencyLimited, text: "no wait"},
			{at: 4, client: a, gone: sec, want: policy.ReasonConcurrencyLimited, after: sec, text: "leaves by itself"},
			{at: 5 * sec, client: a, hold: sec, after: 4 * sec, text: "those who left hold nothing up"},
			{at: 6 * sec, client: b, hold: sec, text: "nor take a slot"},
		})
	})
	t.Run("rules", func(t *testing.T) {
		runLimitScript(t, def, []limitStep{
			{at: 0, client: a, rule: "one", own: 1, hold: 3 * sec, text: "a rule's own count"},
			{at: 1, client: a, rule: "one", own: 1, hold: sec, after: 3*sec - 1, text: "stands in place of the block's"},
			{at: 2, client: a, rule: "other", hold: sec, text: "and does not count against it"},
			{at: 3, client: a, rule: "other", hold: sec, text: "up to per-client"},
			{at: 4 * sec, client: b, rule: "three", own: 3, hold: sec, text: "a rule may allow more"},
			{at: 4*sec + 1, client: b, rule: "three", own: 3, hold: sec, text: "than per-client"},
			{at: 4*sec + 2, client: b, rule: "three", own: 3, hold: sec, text: "up to the total"},
			{at: 4*sec + 3, client: b, rule: "three", own: 3, after: sec - 3, text: "and no further"},
		})
	})
	t.Run("scopes", func(t *testing.T) {
		runLimitScript(t, def, []limitStep{
			{at: 0, client: a, hold: sec, text: "full"},
			{at: 1, client: b, hold: sec, text: "full"},
			{at: 2, client: c, hold: sec, text: "full"},
			{at: 3, client: a, scope: "other", hold: sec, text: "another directive has its own slots"},
			{at: 4, client: a, limits: &closed, want: policy.ReasonConcurrencyLimited, text: "no total is no permission, and no wait"},
		})
	})
	t.Run("reload", func(t *testing.T) {
		runLimitScript(t, def, []limitStep{
			{at: 0, client: a, hold: 4 * sec, text: "full"},
			{at: 1, client: a, hold: 4 * sec, text: "full"},
			{at: 2, client: a, limits: &wide, hold: 2 * sec, text: "raised: at once"},
			{at: 3, client: b, limits: &wide, hold: 2 * sec, text: "raised: at once"},
			{at: 4, client: a, want: policy.ReasonConcurrencyLimited, gone: sec, after: sec, text: "lowered again: waits"},
			{at: sec, client: a, limits: &wide, hold: 4 * sec, text: "running transfers stay"},
			{at: 2 * sec, client: b, hold: sec, after: 2*sec + 0, text: "until the old total allows it"},
		})
	})
}

// A client's /64 is one client in the line, too.
func TestLimitConcurrencyIPv6(t *testing.T) {
	def := policy.DefaultLimits
	def.PerClient = 1
	runLimitScript(t, def, []limitStep{
		{at: 0, client: "2001:db8:0:1::1", hold: time.Second, text: "one"},
		{at: 1, client: "2001:db8:0:1::2", after: time.Second - 1, text: "its /64 waits"},
		{at: 2, client: "2001:db8:0:2::1", text: "another does not"},
	})
}

func TestLimitLineIsBounded(t *testing.T) {
	def := policy.DefaultLimits
	def.Rate = policy.Rate{Count: 1000, Period: time.Second, Burst: 10000}
	def.Total, def.PerClient = 4, 1
	one := def
	crowd := func(client string, at time.Duration, n int) []limitStep {
		steps := make([]limitStep, n)
		for i := range steps {
			steps[i] = limitStep{at: at, client: client, want: policy.ReasonConcurrencyLimited, after: def.Wait, text: "waits in vain"}
		}
		return steps
	}
	var steps []limitStep
	for i := range 4 {
		client := fmt.Sprintf("192.0.2.%d", i)
		at := time.Duration(10 * i)
		steps = append(steps, limitStep{at: at, client: client, hold: time.Minute, text: "runs"})
		steps = append(steps, crowd(client, at+1, maxLinePerClient-1)...)
		last := limitStep{at: at + 2, client: client, want: policy.ReasonConcurrencyLimited, after: def.Wait, text: "waits in vain"}
		if i == 3 {
			last.after, last.text = 99-32, "is the last to come of a crowd, and makes room for one who is alone"
		}
		steps = append(steps, last, limitStep{at: at + 3, client: client, want: policy.ReasonConcurrencyLimited, text: "no place left for this client"})
	}
	steps = append(steps,
		limitStep{at: 99, client: "192.0.2.9", want: policy.ReasonConcurrencyLimited, limits: &one, after: def.Wait, text: "alone"},
		limitStep{at: 6 * time.Second, client: "192.0.2.9", after: 5 * time.Second, want: policy.ReasonConcurrencyLimited, text: "the places are free again"})
	if got := 4 * maxLinePerClient; got != maxLine {
		t.Fatalf("the script fills %d places, want %d", got, maxLine)
	}
	runLimitScript(t, def, steps)
}

func TestLimitShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(time.Now)
		a := Admission{Client: netip.MustParseAddr("192.0.2.1"), Zone: "a.", Limits: policy.DefaultLimits}
		a.Limits.Total = 1
		slot, _ := l.Admit(t.Context(), a)
		got := make(chan policy.Reason)
		for range 3 {
			go func() {
				_, why := l.Admit(t.Context(), a)
				got <- why
			}()
		}
		synctest.Wait()
		before := time.Now()
		l.Shutdown()
		for range 3 {
			if why := <-got; why != policy.ReasonShutdown {
				t.Errorf("in line: got %q", why)
			}
		}
		if waited := time.Since(before); waited != 0 {
			t.Errorf("released after %v", waited)
		}
		if _, why := l.Admit(t.Context(), a); why != policy.ReasonShutdown {
			t.Errorf("afterwards: got %q", why)
		}
		if n := l.InFlight(""); n != 1 {
			t.Errorf("%d in flight, want the one that runs", n)
		}
		slot.Release()
		l.Shutdown()
		checkLimiterEmpty(t, l)
	})
}

func TestLimitReleaseOnce(t *testing.T) {
	l := New(time.Now)
	a := Admission{Scope: "s", Client: netip.MustParseAddr("192.0.2.1"), Zone: "a.", Limits: policy.DefaultLimits}
	first, _ := l.Admit(t.Context(), a)
	second, _ := l.Admit(t.Context(), a)
	for range 3 {
		first.Release()
	}
	if n := l.InFlight("s"); n != 1 {
		t.Errorf("%d in flight, want 1", n)
	}
	second.Release()
	(*Lease)(nil).Release()
	if n := l.InFlight("s") + l.InFlight("never heard of"); n != 0 {
		t.Errorf("%d in flight, want none", n)
	}
	checkLimiterEmpty(t, l)
}

// A secondary that starts with a thousand zones loads them all at the defaults.
func TestLimitThousandZones(t *testing.T) {
	const zones = 1000
	load := func(t *testing.T, parallel int) (refused int, took time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			l := New(time.Now)
			start := time.Now()
			todo := make(chan int)
			var n atomic.Int64
			var workers sync.WaitGroup
			for range parallel {
				workers.Go(func() {
					for z := range todo {
						a := Admission{
							Client: netip.MustParseAddr("192.0.2.1"), Zone: fmt.Sprintf("z%d.", z), Limits: policy.DefaultLimits,
						}
						for tries := 0; ; tries++ {
							slot, why := l.Admit(t.Context(), a)
							if why == "" {
								time.Sleep(3 * time.Millisecond)
								slot.Release()
								break
							}
							if n.Add(1); why != policy.ReasonConcurrencyLimited || tries == 10 {
								t.Errorf("zone %d: %q at try %d", z, why, tries)
								break
							}
							time.Sleep(5 * time.Second) // what a secondary waits before it asks again
						}
					}
				})
			}
			for z := range zones {
				todo <- z
			}
			close(todo)
			workers.Wait()
			refused, took = int(n.Load()), time.Since(start)
			checkLimiterEmpty(t, l)
		})
		return refused, took
	}
	ideal := zones / 4 * 3 * time.Millisecond // four at a time
	for _, parallel := range []int{4, 10, 64, 256} {
		if refused, took := load(t, parallel); refused != 0 || took != ideal {
			t.Errorf("%d at a time: %d refused, took %v; want none and %v", parallel, refused, took, ideal)
		}
	}
	if refused, took := load(t, zones); took > 20*time.Second {
		t.Errorf("all at once: took %v with %d refusals", took, refused)
	}
}

// Many goroutines at once, on the real clock: the limits hold at every moment,
// and nothing is left over.
func TestLimitRace(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	l := New(time.Now)
	lim := policy.Limits{Rate: policy.Rate{Count: 1e6, Period: time.Second, Burst: 1e6}, Total: 5, PerClient: 2, Wait: 2 * time.Millisecond}
	var perClient [4]atomic.Int64
	var total, served atomic.Int64
	var workers sync.WaitGroup
	for w := range 64 {
		workers.Go(func() {
			client := w % len(perClient)
			a := Admission{Client: netip.AddrFrom4([4]byte{192, 0, 2, byte(client)}), Zone: "a.", Limits: lim}
			for i := range 200 {
				ctx, cancel := context.WithCancel(context.Background())
				if i%7 == 0 {
					time.AfterFunc(time.Duration(i)*time.Microsecond, cancel)
				}
				slot, why := l.Admit(ctx, a)
				if why == "" {
					if n := total.Add(1); n > int64(lim.Total) {
						t.Errorf("%d at once", n)
					}
					if n := perClient[client].Add(1); n > int64(lim.PerClient) {
						t.Errorf("%d of one client at once", n)
					}
					served.Add(1)
					runtime.Gosched()
					total.Add(-1)
					perClient[client].Add(-1)
					go slot.Release()
					slot.Release()
				}
				cancel()
			}
		})
	}
	workers.Wait()
	if served.Load() == 0 {
		t.Error("nobody was served")
	}
	l.Shutdown()
	checkLimiterEmpty(t, l)
}
