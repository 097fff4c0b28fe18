// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xfrguard/xfrguard/internal/policy"
)

// A client is what it proved together with its address, a configured identity may
// always run one, and one proof takes no more than eight clients' worth from all its
// addresses.
func TestLimitClients(t *testing.T) {
	const a, b, c = "192.0.2.1", "192.0.2.2", "192.0.2.3"
	const sec = time.Second
	def := policy.DefaultLimits
	def.Total, def.PerClient = 2, 1
	wide := def
	wide.Total = 100

	t.Run("keys behind one address", func(t *testing.T) {
		runLimitScript(t, def, []limitStep{
			{at: 0, client: a, proof: "k1", hold: sec, text: "one key"},
			{at: 1, client: a, proof: "k2", hold: sec, text: "another key is another client"},
			{at: 2, client: a, proof: "k1", hold: sec, after: sec - 2, text: "the same is at its limit"},
		})
	})
	t.Run("one key on two addresses", func(t *testing.T) {
		runLimitScript(t, def, []limitStep{
			{at: 0, client: a, proof: "k", hold: sec, text: "one"},
			{at: 1, client: b, proof: "k", hold: sec, text: "two"},
		})
	})
	t.Run("identities", func(t *testing.T) {
		runLimitScript(t, def, []limitStep{
			{at: 0, client: a, hold: 9 * sec, text: "full"},
			{at: 1, client: b, hold: 9 * sec, text: "full"},
			{at: 2, client: c, proof: "k1", owns: "k1", hold: 2 * sec, text: "the first of an identity needs no slot"},
			{at: 3, client: c, proof: "k2", owns: "k2", hold: 2 * sec, text: "nor that of another"},
			{at: 4, client: c, proof: "k1", owns: "k1", hold: sec, after: 2*sec - 2, text: "the second is its first once that is over"},
			{at: 5, client: c, want: policy.ReasonConcurrencyLimited, after: 5 * sec, text: "without an identity"},
		})
		runLimitScript(t, def, []limitStep{
			{at: 0, client: a, proof: "k1", owns: "k1", hold: 9 * sec, text: "its first"},
			{at: 1, client: b, hold: 9 * sec, text: "does not count"},
			{at: 2, client: c, hold: 9 * sec, text: "against the total"},
		})
	})
	t.Run("a proof from many addresses", func(t *testing.T) {
		var steps []limitStep
		for i := range clientsOfProof {
			steps = append(steps, limitStep{client: fmt.Sprintf("192.0.2.%d", i), proof: "k", hold: sec, text: "within"})
		}
		runLimitScript(t, wide, append(steps,
			limitStep{at: 1, client: "192.0.2.99", proof: "k", after: sec - 1, text: "the ninth waits"},
			limitStep{at: 1, client: "192.0.2.98", proof: "k", singles: 9, text: "unless its rule names nine addresses"},
			limitStep{at: 2, client: "192.0.2.99", proof: "k", owns: "k at 99", text: "or it is an identity"},
			limitStep{at: 2, client: "192.0.2.99", proof: "other", text: "another key does not"}))
	})
	t.Run("the rate of a proof", func(t *testing.T) {
		slow := wide
		slow.Rate, slow.Wait = policy.Rate{Count: 1, Period: time.Hour, Burst: 1}, 0
		var steps []limitStep
		for i := range clientsOfProof {
			steps = append(steps, limitStep{client: fmt.Sprintf("192.0.2.%d", i), proof: "k", text: "within"})
		}
		runLimitScript(t, slow, append(steps,
			limitStep{at: 1, client: "192.0.2.99", proof: "k", want: policy.ReasonRateLimited, text: "the ninth"},
			limitStep{at: 1, client: "192.0.2.99", proof: "k2", text: "another key"}))
	})
}

// Free slots go to who runs fewest, then to who took its last transfer, then in order.
func TestLimitOrder(t *testing.T) {
	const a, b, c, d, e = "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"
	const sec = time.Second
	def := policy.DefaultLimits
	def.Total, def.PerClient = 2, 2
	runLimitScript(t, def, []limitStep{
		{at: 0, client: b, broken: true, text: "breaks its transfer off"},
		{at: 1, client: d, taken: true, text: "takes it"},
		{at: sec, client: a, hold: 2 * sec, text: "full"},
		{at: sec, client: e, hold: 9 * sec, text: "full"},
		{at: sec + 1, client: e, hold: sec, after: 5*sec - 1, text: "runs one already: last of all"},
		{at: sec + 2, client: b, hold: sec, after: 4*sec - 2, text: "has broken one off: after the others"},
		{at: sec + 3, client: c, hold: sec, after: 3*sec - 3, text: "of whom nothing is known"},
		{at: sec + 4, client: d, hold: sec, after: 2*sec - 4, text: "took its last one: first, though it came last"},
	})
}

// Who has closed its connection leaves the line, and takes neither a slot nor a token.
func TestLimitGone(t *testing.T) {
	const a, b, c = "192.0.2.1", "192.0.2.2", "192.0.2.3"
	const sec = time.Second
	def := policy.DefaultLimits
	def.Total, def.PerClient = 1, 1
	def.Rate = policy.Rate{Count: 1, Period: time.Hour, Burst: 1}
	runLimitScript(t, def, []limitStep{
		{at: 0, client: a, hold: 2 * sec, text: "full"},
		{at: 1, client: b, closes: sec + sec/100, want: policy.ReasonConcurrencyLimited, after: sec + tickWaiting, text: "found at the next look"},
		{at: 2, client: c, closes: 2*sec - 12, want: policy.ReasonConcurrencyLimited, after: 2*sec - 2, text: "found as it would get the slot"},
		{at: 3 * sec, client: b, text: "its token is still there"},
	})
}

// reader is a client of a test: how far it has come after some time.
type reader func(age time.Duration) int64

func steady(perSecond, atOnce float64) reader {
	return func(age time.Duration) int64 {
		if age == 0 {
			return 0
		}
		return int64(atOnce + perSecond*age.Seconds())
	}
}

// paced runs a transfer of the client that lasts until the limiter ends it, or for the
// time given, and returns how long it took and whether it was ended.
func paced(t *testing.T, l *Limiter, a Admission, r reader, hold time.Duration) (time.Duration, bool) {
	slot, why := l.Admit(t.Context(), a)
	if why != "" {
		return 0, false
	}
	start := time.Now()
	end := make(chan error, 1)
	slot.Watch(func() int64 { return r(time.Since(start)) }, func(cause error) { end <- cause })
	defer slot.Release()
	select {
	case err := <-end:
		slot.Remember(false)
		return time.Since(start), err == ErrTooSlow
	case <-time.After(hold):
		slot.Remember(true)
		return time.Since(start), false
	}
}

func clientOf(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}) }

// The pace ends who is below it, and only while somebody waits who could use the place.
func TestLimitPace(t *testing.T) {
	lim := policy.DefaultLimits
	lim.Total, lim.PerClient = 1, 1
	off := lim
	off.Pace = 0
	for _, tt := range []struct {
		name   string
		reader reader
		limits policy.Limits
		good   bool // the one who waits has taken its last transfer
		alone  bool
		ended  time.Duration // 0: never
	}{
		{"an honest line of 8 kB/s", steady(8000, 0), lim, true, false, 0},
		{"one of 4.2 kB/s", steady(4200, 0), lim, true, false, 0},
		{"a trickle", steady(200, 0), lim, false, false, 2250 * time.Millisecond},
		{"a trickle while nobody waits", steady(200, 0), lim, false, true, 0},
		{"a trickle without a pace", steady(200, 0), off, false, false, 0},
		{"one that took 64 KiB at once", steady(0, 64<<10), lim, false, false, 16*time.Second + 250*time.Millisecond},
		{"the same, before one of good standing", steady(0, 64<<10), lim, true, false, 4250 * time.Millisecond},
		{"one that took 1 MiB at once", steady(0, 1<<20), lim, true, false, 4250 * time.Millisecond},
		{"one that stops after a minute", func(age time.Duration) int64 { return int64(min(age, time.Minute).Seconds() * 1e6) }, lim, false, false, 2*time.Minute + 250*time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := New(time.Now)
				a := Admission{Client: clientOf(1), Zone: "a.", Limits: tt.limits}
				b := Admission{Client: clientOf(2), Zone: "a.", Limits: tt.limits}
				b.Limits.Rate = policy.Rate{Count: 1000, Period: time.Second, Burst: 1000}
				if tt.good {
					slot, _ := l.Admit(t.Context(), b)
					slot.Release()
					slot.Remember(true)
				}
				stop := make(chan struct{})
				var waiting sync.WaitGroup
				waiting.Go(func() {
					time.Sleep(time.Millisecond)
					for !tt.alone {
						select {
						case <-stop:
							return
						default:
						}
						slot, _ := l.Admit(t.Context(), b)
						slot.Release()
					}
				})
				took, ended := paced(t, l, a, tt.reader, 10*time.Minute)
				close(stop)
				waiting.Wait()
				if ended != (tt.ended > 0) || ended && (took < tt.ended-500*time.Millisecond || took > tt.ended+10*time.Millisecond) {
					t.Errorf("ended %t after %v, want %v", ended, took, tt.ended)
				}
				checkLimiterEmpty(t, l)
			})
		})
	}
}

// Of several the slowest is ended, one for each that waits, and none that holds a place
// that nobody could use.
func TestLimitPaceEndsTheSlowest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(time.Now)
		lim := policy.DefaultLimits
		lim.Total, lim.PerClient = 4, 1
		var running sync.WaitGroup
		var ended [6]atomic.Bool
		for i, speed := range []float64{300, 100, 200, 9000, 1, 1} {
			running.Go(func() {
				a := Admission{Client: clientOf(i), Zone: "a.", Limits: lim}
				if i >= 4 { // not in the way of anybody else: an identity's first
					a.Own = fmt.Sprint(i)
				}
				_, was := paced(t, l, a, steady(speed, 0), 20*time.Second)
				ended[i].Store(was)
			})
		}
		time.Sleep(10 * time.Second)
		for i := range 2 {
			running.Go(func() {
				slot, why := l.Admit(t.Context(), Admission{Client: clientOf(100 + i), Zone: "a.", Limits: lim})
				if why != "" {
					t.Errorf("who waited got %q", why)
				}
				time.Sleep(20 * time.Second)
				slot.Release()
			})
		}
		running.Wait()
		for i, want := range []bool{false, true, true, false, false, false} {
			if ended[i].Load() != want {
				t.Errorf("transfer %d ended %t, want %t", i, !want, want)
			}
		}
		checkLimiterEmpty(t, l)
	})
}

// Stalled and trickling readers, few and many, from one and from many addresses, with
// one key and with many: who has an identity of its own is served at once, and who
// shares their rule and key, and took its last transfer, within `wait`.
func TestLimitFairness(t *testing.T) {
	for _, n := range []int{10, 200, 2000} {
		for name, who := range map[string]func(i int) (netip.Addr, string){
			"one address, one key":     func(int) (netip.Addr, string) { return clientOf(1), "k" },
			"one address, many keys":   func(i int) (netip.Addr, string) { return clientOf(1), fmt.Sprint("k", i) },
			"four addresses, one key":  func(i int) (netip.Addr, string) { return clientOf(i % 4), "k" },
			"many addresses, one key":  func(i int) (netip.Addr, string) { return clientOf(i), "k" },
			"many addresses, no proof": func(i int) (netip.Addr, string) { return clientOf(i), "" },
		} {
			t.Run(fmt.Sprint(n, " readers, ", name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { fairness(t, n, who) })
			})
		}
	}
}

func fairness(t *testing.T, n int, who func(i int) (netip.Addr, string)) {
	l := New(time.Now)
	lim := policy.DefaultLimits
	lim.Rate = policy.Rate{Count: 1000, Period: time.Second, Burst: 1000} // the rate is another matter
	own := Admission{Client: clientOf(60001), Proof: "own", Own: "own", Zone: "a.", Limits: lim}
	_, key := who(0)
	shared := Admission{Client: clientOf(60002), Proof: key, Own: "rule", Zone: "a.", Limits: lim}
	serve := func(name string, a Admission, most time.Duration) {
		before := time.Now()
		slot, why := l.Admit(t.Context(), a)
		if waited := time.Since(before); why != "" || waited > most {
			t.Errorf("%s: %q after %v", name, why, waited)
		}
		time.Sleep(10 * time.Millisecond)
		slot.Release()
		if slot != nil {
			slot.Remember(true)
		}
	}
	serve("idle", own, 0)
	serve("idle", shared, 0)

	var running sync.WaitGroup
	stop := time.Now().Add(time.Minute)
	var most atomic.Int64
	for i := range n {
		running.Go(func() {
			time.Sleep(time.Duration(i%100) * time.Millisecond)
			addr, proof := who(i)
			a := Admission{Client: addr, Proof: proof, Own: "rule", Zone: "a.", Limits: lim}
			r := steady(0, 1<<20)
			if i%2 == 0 {
				r = steady(200, 1<<10)
			}
			for time.Now().Before(stop) {
				paced(t, l, a, r, time.Hour)
				time.Sleep(time.Second)
				l.mu.Lock()
				s := l.scopes[""]
				most.Store(max(most.Load(), int64(s.inFlight-s.firsts), int64(s.line.Len()-maxLine+lim.Total)))
				l.mu.Unlock()
			}
		})
	}
	time.Sleep(time.Second)
	for time.Now().Before(stop.Add(-20 * time.Second)) {
		serve("own", own, 0)
		serve("shared", shared, lim.Wait-time.Nanosecond)
		time.Sleep(700 * time.Millisecond)
	}
	l.Shutdown()
	l.mu.Lock()
	for r := range l.scopes[""].watched {
		go r.watch.end(ErrTooSlow)
	}
	l.mu.Unlock()
	running.Wait()
	if most.Load() > int64(lim.Total) {
		t.Errorf("%d at once beyond the first of each, or as many too many in line", most.Load())
	}
	checkLimiterEmpty(t, l)
}
