// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// place is a zone at a target.
type place struct {
	to   *Target
	zone string
}

// Whatever is sent and answered in whatever order: every serial that took its place in
// the line ends once, the last one of each zone and target ends last and is what the
// target was told last, and nothing is left.
func TestSenderProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		synctest.Test(t, func(*testing.T) {
			script := rapid.SliceOfN(rapid.SampledFrom([]Outcome{Accepted, Timeout, ServerFailure, Refused}), 1, 50).Draw(rt, "answers")
			delays := rapid.SliceOfN(rapid.IntRange(0, 9000), 1, 20).Draw(rt, "answer delays")
			var mu sync.Mutex
			n := 0
			told := map[place]uint32{}
			l := newLab(Options{Pause: secondsApart, Tries: 3, InFlight: 3, PerTarget: 2, PerSecond: 10}, func(ctx context.Context, to *Target, r *request) reply {
				mu.Lock()
				o, d := script[n%len(script)], delays[n%len(delays)]
				n++
				told[place{to, r.zone}] = serialIn(r)
				mu.Unlock()
				select {
				case <-time.After(time.Duration(d) * time.Millisecond):
				case <-ctx.Done():
				}
				return says(o)
			})
			targets := []*Target{target(1), target(2), target(3)}
			last := map[place]uint32{}
			sends := rapid.IntRange(1, 60).Draw(rt, "sends")
			for i := range sends {
				p := place{rapid.SampledFrom(targets).Draw(rt, "target"), rapid.SampledFrom([]string{"a.", "b."}).Draw(rt, "zone")}
				last[p] = uint32(i + 1)
				send := l.Send
				if rapid.Bool().Draw(rt, "at a pace") {
					send = l.Begin
				}
				send(p.to, p.zone, testSOA(last[p]), time.Duration(rapid.IntRange(0, 2000).Draw(rt, "delay"))*time.Millisecond)
				time.Sleep(time.Duration(rapid.IntRange(0, 4000).Draw(rt, "then wait")) * time.Millisecond)
			}
			if rapid.Bool().Draw(rt, "until all is over") {
				time.Sleep(24 * time.Hour)
				synctest.Wait()
				for p, serial := range last {
					if told[p] != serial {
						rt.Errorf("%v was told of %d last, want %d", p, told[p], serial)
					}
				}
			}
			l.Close()
			checkEnds(rt, l, last)
		})
	})
}

// checkEnds: every notice ended once, and the last serial of each place ended last.
func checkEnds(rt *rapid.T, l *lab, last map[place]uint32) {
	ends := map[place][]uint32{}
	for _, r := range l.results {
		p := place{r.Target, r.Zone}
		if slices.Contains(ends[p], r.Serial) {
			rt.Errorf("%v: serial %d ended twice", p, r.Serial)
		}
		ends[p] = append(ends[p], r.Serial)
	}
	for p, serial := range last {
		if all := ends[p]; len(all) == 0 || all[len(all)-1] != serial {
			rt.Errorf("%v: ends %v, want %d last", p, all, serial)
		}
	}
	for _, lane := range l.lanes {
		if len(lane.notices) != 0 || lane.inFlight != 0 {
			rt.Errorf("left: %d notices, %d tries", len(lane.notices), lane.inFlight)
		}
	}
	if l.inFlight != 0 {
		rt.Errorf("%d in flight", l.inFlight)
	}
}

// With real sockets: a thousand zones to five targets, one of them dead.
func TestSenderSockets(t *testing.T) {
	var mu sync.Mutex
	count := map[Outcome]int{}
	s := NewSender(Options{PerSecond: 100000, Wait: 2 * time.Second, Done: func(r Result) {
		mu.Lock()
		defer mu.Unlock()
		count[r.Outcome]++
	}})
	var targets []*Target
	for range 4 {
		p := startPeer(t, nil, closed{}, func(_ Transport, b []byte, _ net.Addr) [][]byte {
			return [][]byte{packSigned(t, respond(t, b), b)}
		})
		targets = append(targets, &Target{Addr: p.addr, Key: testKey()})
	}
	hole := startPeer(t, nil, closed{}, func(Transport, []byte, net.Addr) [][]byte { return nil })
	targets = append(targets, &Target{Addr: hole.addr, Key: testKey()})
	const zones = 300
	began := time.Now()
	for i := range zones {
		for _, to := range targets {
			s.Send(to, fmt.Sprintf("z%d.example.", i), testSOA(1), 0)
		}
	}
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		mu.Lock()
		done := count[Accepted] == 4*zones
		mu.Unlock()
		if done {
			break
		}
	}
	t.Logf("%d NOTIFYs taken within %v", 4*zones, time.Since(began).Round(time.Millisecond))
	s.Close()
	mu.Lock()
	defer mu.Unlock()
	if count[Accepted] != 4*zones || count[Stopped] != zones {
		t.Errorf("got %v", count)
	}
}
