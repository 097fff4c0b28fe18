// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/wire"
)

// TestIncrementsAtOnce: many ask at once from old serials of a large zone, and others from
// the latest one, who wait for none of them; memory stays within the bounds.
func TestIncrementsAtOnce(t *testing.T) {
	const versions, limit = 34, 8 << 20
	src := newInMemory()
	records := many(t, 50_000)
	src.set(t, 1, records)
	s := openStore(t, src, Options{Limit: limit})
	latest := settledVersion(t, s)
	s.Give(t.Context(), latest, "rule")
	for serial := uint32(2); serial <= versions+2; serial++ {
		size := 800
		if serial == versions+2 {
			size = 10
		}
		for i := range size {
			records[1+(int(serial)*800+i)%len(records[1:])].Header().Ttl = serial
		}
		latest = edit(t, s, src, serial, records)
		s.Give(t.Context(), latest, "rule")
	}
	ask := func(serial uint32) (messages []wire.Message, took time.Duration) {
		began := time.Now()
		messages, err := s.Since(t.Context(), latest, serial, []string{"rule"})
		if err != nil {
			t.Error(err)
		}
		return messages, time.Since(began)
	}
	_, alone := ask(versions - 10) // the work of a large one
	before := heap()
	done, others := make(chan struct{}), make(chan []time.Duration)
	go func() {
		var times []time.Duration
		for {
			select {
			case <-done:
				slices.Sort(times)
				others <- times
				return
			default:
				m, took := ask(versions + 1)
				if m == nil {
					t.Error("no difference from the version before")
				}
				times = append(times, took)
				runtime.Gosched()
			}
		}
	}()
	var mu sync.Mutex
	var group sync.WaitGroup
	var most int64
	var held [][]wire.Message
	for serial := range uint32(versions) {
		group.Go(func() {
			m, _ := ask(1 + serial)
			release := s.Hold(apex, m)
			mu.Lock()
			defer mu.Unlock()
			held = append(held, m)
			most = max(most, s.total())
			t.Cleanup(release)
		})
	}
	group.Wait()
	close(done)
	times := <-others
	grown := heap() - before
	if grown > 2*limit || most > 2*limit+condensed*minPast {
		t.Errorf("%d octets of heap, %d counted", grown, most)
	}
	median := times[len(times)/2]
	if median > alone/4 {
		t.Errorf("others wait %v for an answer, making a large one takes %v", median, alone)
	}
	increments := 0
	for _, m := range held {
		if m != nil {
			increments++
		}
	}
	t.Logf("%d of %d got a difference; others waited %v, at most %v, a large one alone takes %v; %d octets of heap",
		increments, len(held), median, times[len(times)-1], alone, grown)
	runtime.KeepAlive(held)
}

// TestHold: an answer counts once, however many send it, until the last has ended.
func TestHold(t *testing.T) {
	src := newInMemory()
	records := many(t, 1000)
	src.set(t, 1, records)
	s := openStore(t, src, Options{})
	s.Give(t.Context(), settledVersion(t, s), "rule")
	records[1].Header().Ttl = 2
	latest := edit(t, s, src, 2, records)
	m, err := s.Since(t.Context(), latest, 1, []string{"rule"})
	if err != nil || m == nil {
		t.Fatal(m, err)
	}
	first, second := s.Hold(apex, m), s.Hold(apex, m)
	first()
	first()
	if got := s.loose.Load(); got != sizeOfMessages(m) {
		t.Errorf("%d octets are counted, the answer has %d", got, sizeOfMessages(m))
	}
	second()
	if got := s.loose.Load(); got != 0 {
		t.Errorf("%d octets are counted of nothing", got)
	}
	s.Hold(apex, nil)()
	s.Hold("another.", m)()
}

// TestIncrementRefusedBySize: where the changes are more than the zone, it goes whole,
// without any work.
func TestIncrementRefusedBySize(t *testing.T) {
	src := newInMemory()
	records := many(t, 20_000)
	src.set(t, 1, records)
	s := openStore(t, src, Options{})
	latest := settledVersion(t, s)
	for serial := uint32(2); serial <= 4; serial++ {
		s.Give(t.Context(), latest, "rule")
		for _, r := range records[1:8000] {
			r.Header().Ttl = serial
		}
		latest = edit(t, s, src, serial, records)
	}
	condensing <- struct{}{} // work would wait for this
	defer func() { <-condensing }()
	began := time.Now()
	if m, err := s.Since(t.Context(), latest, 1, []string{"rule"}); m != nil || err != nil {
		t.Errorf("%d messages, %v", len(m), err)
	}
	if took := time.Since(began); took > turn/2 {
		t.Errorf("after %v", took)
	}
}

// TestIncrementCancelled: who makes an answer for several goes away; another one goes on
// with it.
func TestIncrementCancelled(t *testing.T) {
	src := newInMemory()
	records := many(t, 50_000)
	src.set(t, 1, records)
	s := openStore(t, src, Options{})
	latest := settledVersion(t, s)
	for serial := uint32(2); serial <= 4; serial++ {
		s.Give(t.Context(), latest, "rule")
		for _, r := range records[1:3000] {
			r.Header().Ttl = serial
		}
		latest = edit(t, s, src, serial, records)
	}
	condensing <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error)
	go func() {
		_, err := s.Since(ctx, latest, 1, []string{"rule"})
		first <- err
	}()
	l := s.slots[apex].lineage
	for making := 0; making == 0; time.Sleep(time.Millisecond) {
		l.mu.Lock()
		making = len(l.making)
		l.mu.Unlock()
	}
	second := make(chan []wire.Message)
	go func() {
		m, err := s.Since(t.Context(), latest, 1, []string{"rule"})
		if err != nil {
			t.Error(err)
		}
		second <- m
	}()
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	<-condensing
	if m := <-second; m == nil {
		t.Error("no difference")
	}
}
