// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xfrguard/xfrguard/internal/policy"

	"pgregory.net/rapid"
)

// A token bucket in whole numbers: the level is counted in tokens times the
// period in nanoseconds.
type naiveBucket struct {
	level, last int64
}

func (b *naiveBucket) take(r policy.Rate, now int64) bool {
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
		// Halves of powers of two are exact in floating point, so that the two must agree to
		// the nanosecond.
		r := policy.Rate{
			Count:  rapid.SampledFrom([]int{1, 2, 4, 64}).Draw(t, "count"),
			Period: rapid.SampledFrom([]time.Duration{time.Second, 4 * time.Second, 64 * time.Second}).Draw(t, "period"),
			Burst:  rapid.IntRange(1, 5).Draw(t, "burst"),
		}
		now := time.Unix(1000, 0)
		l := New(func() time.Time { return now })
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
			a := Admission{Client: netip.MustParseAddr(client), Zone: zone, Limits: policy.DefaultLimits}
			a.Limits.Rate, a.Limits.Wait = r, 0
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
	proof         int // 0: none
	own           bool
	taken, broken bool // how its transfer ends, as far as that counts
	at, hold      time.Duration
	got           lineOutcome
}

func (r *lineRequest) id() [2]int { return [2]int{r.client, r.proof} }

type lineOutcome struct {
	ok   bool
	when time.Duration
}

// lineLimits are those of a scenario. The period of the rate is a power of two, so that
// the limiter's floating point is exact.
type lineLimits struct {
	total, perClient, burst int
	wait                    time.Duration
}

const linePeriod = 1 << 22

// naiveLine works a scenario out one moment after the other, with nothing but lists.
type naiveLine struct {
	reqs     []lineRequest
	limits   lineLimits
	state    []int
	next     []time.Duration // when something happens to it by itself
	standing map[[2]int]int
	buckets  map[[2]int]*naiveBucket // of clients, and of proofs under client -1
	now      time.Duration
}

const arrives, waits, runs, isOver = 0, 1, 2, 3

// bucketsOf returns what the request pays from, and what each gains in a nanosecond.
func (n *naiveLine) bucketsOf(i int) map[*naiveBucket]int64 {
	found := make(map[*naiveBucket]int64)
	add := func(id [2]int, share int64) {
		full := int64(n.limits.burst) * linePeriod * share
		b := n.buckets[id]
		if b == nil {
			b = &naiveBucket{level: full}
			n.buckets[id] = b
		}
		b.level = min(full, b.level+share*(int64(n.now)-b.last))
		b.last = int64(n.now)
		found[b] = share
	}
	add(n.reqs[i].id(), 1)
	if n.reqs[i].proof > 0 {
		add([2]int{-1, n.reqs[i].proof}, clientsOfProof)
	}
	return found
}

// token returns how long it takes until there are tokens for that many in each bucket.
func (n *naiveLine) token(i int, behind bool) (d time.Duration) {
	for b, share := range n.bucketsOf(i) {
		need := int64(linePeriod)
		for j := range n.reqs {
			if _, same := n.bucketsOf(j)[b]; behind && same && n.state[j] == waits {
				need += linePeriod
			}
		}
		if need > b.level {
			d = max(d, time.Duration((need-b.level+share-1)/share))
		}
	}
	return d
}

func (n *naiveLine) count(of func(r *lineRequest) bool) (c int) {
	for j := range n.reqs {
		if n.state[j] == runs && of(&n.reqs[j]) {
			c++
		}
	}
	return c
}

func (n *naiveLine) mayRun(i int) bool {
	r := &n.reqs[i]
	if n.token(i, false) > 0 {
		return false
	}
	sameOwn := func(o *lineRequest) bool { return o.own && o.id() == r.id() }
	if r.own && n.count(sameOwn) == 0 {
		return true
	}
	firsts := map[[2]int]bool{}
	for j := range n.reqs {
		if n.state[j] == runs && n.reqs[j].own {
			firsts[n.reqs[j].id()] = true
		}
	}
	return n.count(func(*lineRequest) bool { return true })-len(firsts) < n.limits.total &&
		n.count(func(o *lineRequest) bool { return o.id() == r.id() && o.limit == r.limit }) < cmp.Or(r.limit, n.limits.perClient)
}

// start lets all run that may, in order. Those that run are checked against the limits.
func (n *naiveLine) start(out []lineOutcome) {
	for {
		best, rank := -1, [2]int{}
		for i := range n.reqs {
			id := n.reqs[i].id()
			mine := [2]int{n.count(func(o *lineRequest) bool { return o.id() == id }), n.standing[id]}
			if n.state[i] == waits && n.mayRun(i) && (best < 0 || slices.Compare(mine[:], rank[:]) < 0) {
				best, rank = i, mine
			}
		}
		if best < 0 {
			return
		}
		for b := range n.bucketsOf(best) {
			b.level -= linePeriod
		}
		n.state[best], n.next[best], out[best] = runs, n.now+n.reqs[best].hold, lineOutcome{true, n.now}
	}
}

// play returns false when two things happen at the same moment, for then their order is
// anybody's guess.
func (n *naiveLine) play() ([]lineOutcome, bool) {
	out := make([]lineOutcome, len(n.reqs))
	for _, r := range n.reqs {
		n.next = append(n.next, r.at)
		n.state = append(n.state, arrives)
	}
	for {
		who, when, tied := -1, time.Duration(-1), false
		consider := func(i int, t time.Duration) {
			switch {
			case t == when:
				tied = true
			case when < 0 || t < when:
				who, when, tied = i, t, false
			}
		}
		tokens := map[time.Duration]bool{}
		for i := range n.reqs {
			if n.state[i] != isOver {
				consider(i, n.next[i])
			}
			if d := n.token(i, false); n.state[i] == waits && d > 0 {
				tokens[n.now+d] = true
			}
		}
		for t := range tokens {
			consider(-2, t)
		}
		if tied {
			return nil, false
		}
		if when < 0 {
			return out, true
		}
		n.now = when
		r := &lineRequest{}
		if who >= 0 {
			r = &n.reqs[who]
			switch n.state[who] {
			case arrives:
				if n.token(who, true) > n.limits.wait {
					n.state[who], out[who] = isOver, lineOutcome{false, when}
				} else {
					n.state[who], n.next[who] = waits, when+n.limits.wait
				}
				r = &lineRequest{}
			case waits:
				n.state[who], out[who] = isOver, lineOutcome{false, when}
				r = &lineRequest{}
			case runs:
				n.state[who] = isOver
			}
		}
		n.start(out)
		switch { // as the limiter hears of it after the slot is back
		case r.taken:
			n.standing[r.id()] = -1
		case r.broken:
			n.standing[r.id()] = 1
		}
	}
}

func TestLimitLineOracle(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := lineLimits{
			total:     rapid.IntRange(1, 4).Draw(rt, "total"),
			perClient: rapid.IntRange(1, 3).Draw(rt, "per client"),
			burst:     rapid.IntRange(1, 9).Draw(rt, "burst"),
			wait:      time.Duration(rapid.IntRange(1, 40).Draw(rt, "wait"))*time.Millisecond + 777*time.Nanosecond,
		}
		span := rapid.IntRange(1, 60).Draw(rt, "span")
		reqs := make([]lineRequest, rapid.IntRange(1, 24).Draw(rt, "requests"))
		odd := rapid.IntRange(1, 999_999)
		for i := range reqs {
			end := rapid.IntRange(0, 3).Draw(rt, "end")
			reqs[i] = lineRequest{
				client: rapid.IntRange(0, 3).Draw(rt, "client"),
				limit:  rapid.SampledFrom([]int{0, 0, 0, 1, 3}).Draw(rt, "limit"),
				proof:  rapid.IntRange(0, 2).Draw(rt, "proof"),
				own:    rapid.Bool().Draw(rt, "own"),
				taken:  end == 1, broken: end == 2,
				at:   time.Duration(rapid.IntRange(0, span).Draw(rt, "at"))*time.Millisecond + time.Duration(odd.Draw(rt, "ns")),
				hold: time.Duration(rapid.IntRange(0, 20).Draw(rt, "hold"))*time.Millisecond + time.Duration(odd.Draw(rt, "ns")),
			}
		}
		slices.SortFunc(reqs, func(a, b lineRequest) int { return cmp.Compare(a.at, b.at) })
		n := &naiveLine{reqs: reqs, limits: l, standing: map[[2]int]int{}, buckets: map[[2]int]*naiveBucket{}}
		want, ok := n.play()
		if !ok {
			rt.Skip("two things at once")
		}
		playLine(t, reqs, l)
		for i := range reqs {
			if reqs[i].got != want[i] {
				rt.Fatalf("%+v: request %d %+v: want %+v\n%+v", l, i, reqs[i], want[i], reqs)
			}
		}
	})
}

// playLine plays the scenario with the real limiter on a virtual clock.
func playLine(t *testing.T, reqs []lineRequest, n lineLimits) {
	synctest.Test(t, func(t *testing.T) {
		l := New(time.Now)
		start := time.Now()
		var running sync.WaitGroup
		for i := range reqs {
			r := &reqs[i]
			running.Go(func() {
				time.Sleep(r.at)
				a := Admission{
					Client: netip.AddrFrom4([4]byte{192, 0, 2, byte(r.client)}), Zone: "a.",
					Rule: string(rune('0' + r.limit)), RuleConcurrent: r.limit, Limits: policy.DefaultLimits,
				}
				if r.proof > 0 {
					a.Proof = string(rune('0' + r.proof))
				}
				if r.own {
					a.Own = a.Proof + a.Client.String()
				}
				a.Limits.Rate = policy.Rate{Count: 1, Period: linePeriod, Burst: n.burst}
				a.Limits.Total, a.Limits.PerClient, a.Limits.Wait = n.total, n.perClient, n.wait
				slot, why := l.Admit(t.Context(), a)
				r.got = lineOutcome{why == "", time.Since(start)}
				if why == "" {
					time.Sleep(r.hold)
					slot.Release()
					if r.taken || r.broken {
						slot.Remember(r.taken)
					}
				}
			})
		}
		running.Wait()
		checkLimiterEmpty(t, l)
	})
}
