// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"cmp"
	"context"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// A token bucket in whole numbers: the level is counted in tokens times the
// period in nanoseconds.
type naiveBucket struct {
	level, last int64
}

func (b *naiveBucket) take(r Rate, now int64) bool {
	full := int64(r.Burst) * int64(r.Period)
	b.level = min(full, b.level+(now-b.last)*int64(r.Count))
	b.last = now
	if b.level < int64(r.Period) {
		return false
	}
	b.level -= int64(r.Period)
	return true
}

func TestLimitRateOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Halves of powers of two are exact in floating point, so that the two must agree to the nanosecond.
		r := Rate{
			Count:  rapid.SampledFrom([]int{1, 2, 4, 64}).Draw(t, "count"),
			Period: rapid.SampledFrom([]time.Duration{time.Second, 4 * time.Second, 64 * time.Second}).Draw(t, "period"),
			Burst:  rapid.IntRange(1, 5).Draw(t, "burst"),
		}
		now := time.Unix(1000, 0)
		l := newLimiter(func() time.Time { return now })
		l.maxBuckets = 1 << 10
		naive := make(map[string]*naiveBucket)
		for range rapid.IntRange(1, 60).Draw(t, "requests") {
			now = now.Add(time.Duration(rapid.IntRange(0, 12).Draw(t, "eighths")) * time.Second / 8)
			client := rapid.SampledFrom([]string{"192.0.2.1", "192.0.2.2"}).Draw(t, "client")
			zone := rapid.SampledFrom([]string{"a.", "b."}).Draw(t, "zone")
			b := naive[client+zone]
			if b == nil {
				b = &naiveBucket{level: int64(r.Burst) * int64(r.Period), last: now.UnixNano()}
				naive[client+zone] = b
			}
			a := admission{Client: netip.MustParseAddr(client), Zone: zone, Limits: defaultLimits}
			a.Limits.Rate = r
			slot, why := l.Admit(context.Background(), a)
			slot.Release()
			if want := b.take(r, now.UnixNano()); (why == "") != want {
				t.Fatalf("%s %s at %v: got %q, want allowed %t", client, zone, now, why, want)
			}
		}
	})
}

// lineRequest is one request of a random scenario, and what became of it.
type lineRequest struct {
	client, limit int // limit > 0: under a rule with a count of its own
	at, hold      time.Duration
	got           lineOutcome
}

type lineOutcome struct {
	ok   bool
	when time.Duration
}

// naiveLine works a scenario out one moment after the other, with nothing but a
// list. It returns false when two things happen at the same moment, for then
// their order is anybody's guess.
func naiveLine(reqs []lineRequest, total, perClient int, wait time.Duration) ([]lineOutcome, bool) {
	const arrives, waits, runs, over = 0, 1, 2, 3
	out := make([]lineOutcome, len(reqs))
	state := make([]int, len(reqs))
	next := make([]time.Duration, len(reqs)) // when something happens to it by itself
	for i, r := range reqs {
		next[i] = r.at
	}
	mayRun := func(i int) bool {
		all, own := 0, 0
		for j := range reqs {
			if state[j] == runs {
				all++
				if reqs[j].client == reqs[i].client && reqs[j].limit == reqs[i].limit {
					own++
				}
			}
		}
		return all < total && own < cmp.Or(reqs[i].limit, perClient)
	}
	for {
		now := time.Duration(-1)
		who := -1
		for i := range reqs {
			switch {
			case state[i] == over:
			case next[i] == now:
				return nil, false
			case now < 0 || next[i] < now:
				now, who = next[i], i
			}
		}
		if who < 0 {
			return out, true
		}
		switch state[who] {
		case arrives:
			state[who], next[who] = waits, now+wait
		case waits:
			state[who], out[who] = over, lineOutcome{false, now}
		case runs:
			state[who] = over
		}
		for i := range reqs { // in the order of arrival
			if state[i] == waits && mayRun(i) {
				state[i], next[i], out[i] = runs, now+reqs[i].hold, lineOutcome{true, now}
			}
		}
	}
}

func TestLimitLineOracle(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		total := rapid.IntRange(1, 4).Draw(rt, "total")
		perClient := rapid.IntRange(1, 3).Draw(rt, "per client")
		wait := time.Duration(rapid.IntRange(1, 40).Draw(rt, "wait"))*time.Millisecond + 777*time.Nanosecond
		span := rapid.IntRange(1, 60).Draw(rt, "span")
		reqs := make([]lineRequest, rapid.IntRange(1, 30).Draw(rt, "requests"))
		odd := rapid.IntRange(1, 999_999)
		for i := range reqs {
			reqs[i] = lineRequest{
				client: rapid.IntRange(0, 3).Draw(rt, "client"),
				limit:  rapid.SampledFrom([]int{0, 0, 0, 1, 3}).Draw(rt, "limit"),
				at:     time.Duration(rapid.IntRange(0, span).Draw(rt, "at"))*time.Millisecond + time.Duration(odd.Draw(rt, "ns")),
				hold:   time.Duration(rapid.IntRange(0, 20).Draw(rt, "hold"))*time.Millisecond + time.Duration(odd.Draw(rt, "ns")),
			}
		}
		slices.SortFunc(reqs, func(a, b lineRequest) int { return cmp.Compare(a.at, b.at) })
		want, ok := naiveLine(reqs, total, perClient, wait)
		if !ok {
			rt.Skip("two things at once")
		}
		playLine(t, reqs, total, perClient, wait)
		for i := range reqs {
			if reqs[i].got != want[i] {
				rt.Fatalf("total %d, per client %d, wait %v: request %d %+v: want %+v\n%+v",
					total, perClient, wait, i, reqs[i], want[i], reqs)
			}
		}
	})
}

// playLine plays the scenario with the real limiter on a virtual clock.
func playLine(t *testing.T, reqs []lineRequest, total, perClient int, wait time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(time.Now)
		start := time.Now()
		var running sync.WaitGroup
		for i := range reqs {
			r := &reqs[i]
			running.Go(func() {
				time.Sleep(r.at)
				a := admission{
					Client: netip.AddrFrom4([4]byte{192, 0, 2, byte(r.client)}), Zone: "a.",
					Rule: string(rune('0' + r.limit)), RuleConcurrent: r.limit, Limits: defaultLimits,
				}
				a.Limits.Rate.Burst = 1000
				a.Limits.Total, a.Limits.PerClient, a.Limits.Wait = total, perClient, wait
				slot, why := l.Admit(t.Context(), a)
				r.got = lineOutcome{why == "", time.Since(start)}
				if why == "" {
					time.Sleep(r.hold)
					slot.Release()
				}
			})
		}
		running.Wait()
		checkLimiterEmpty(t, l)
	})
}

func BenchmarkLimitAdmit(b *testing.B) {
	a := admission{
		Scope: "dns://:53", Client: netip.MustParseAddr("2001:db8::1"), Zone: "example.org.", Rule: "secondaries",
		Limits: defaultLimits,
	}
	a.Limits.Rate = Rate{Count: 1e9, Period: time.Second, Burst: 1e9}
	b.Run("alone", func(b *testing.B) {
		l := newLimiter(time.Now)
		b.ReportAllocs()
		for b.Loop() {
			slot, _ := l.Admit(context.Background(), a)
			slot.Release()
		}
	})
	b.Run("64 clients", func(b *testing.B) { // none of which waits
		l := newLimiter(time.Now)
		var clients atomic.Uint32
		b.ReportAllocs()
		b.SetParallelism(max(1, 64/runtime.GOMAXPROCS(0)))
		b.RunParallel(func(pb *testing.PB) {
			own := a
			own.Client = netip.AddrFrom4([4]byte{192, 0, 2, byte(clients.Add(1))})
			own.Limits.Total = 64
			for pb.Next() {
				slot, _ := l.Admit(context.Background(), own)
				slot.Release()
			}
		})
	})
	b.Run("64 in line", func(b *testing.B) { // of one client with four slots
		l := newLimiter(time.Now)
		b.ReportAllocs()
		b.SetParallelism(max(1, 64/runtime.GOMAXPROCS(0)))
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				slot, _ := l.Admit(context.Background(), a)
				runtime.Gosched()
				slot.Release()
			}
		})
	})
	b.Run("a full line", func(b *testing.B) { // what a release costs that passes over all who wait
		l := newLimiter(time.Now)
		full := a
		full.Limits.PerClient, full.Limits.Wait = 1, time.Hour
		ctx, cancel := context.WithCancel(context.Background())
		var waiting sync.WaitGroup
		for c := range 4 {
			full.Client = netip.AddrFrom4([4]byte{192, 0, 2, byte(c)})
			slot, _ := l.Admit(ctx, full)
			defer slot.Release()
			for range maxLinePerClient {
				waiter := full
				waiting.Go(func() { l.Admit(ctx, waiter) })
			}
		}
		for {
			l.mu.Lock()
			n := l.scopes[full.Scope].line.Len()
			l.mu.Unlock()
			if n == maxLine {
				break
			}
			time.Sleep(time.Millisecond)
		}
		b.ReportAllocs()
		for b.Loop() {
			slot, _ := l.Admit(context.Background(), a)
			slot.Release()
		}
		cancel()
		waiting.Wait()
	})
}
