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

	"github.com/miekg/dns"
)

// total is what the store counts, all in all.
func (s *Store) total() int64 { return s.sizeNow() + s.loose.Load() }

// takeSome reads n messages.
func takeSome(t *testing.T, r *Reader, n int) (messages []wire.Message) {
	t.Helper()
	for range n {
		m, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, m)
	}
	return messages
}

// TestSlowReaderOnEachVersion: the zone changes a dozen times, and each version has a reader
// that takes next to nothing. Memory stays within twice the limit and a window for each
// reader, and every reader gets its version whole, or is told that it is too slow.
func TestSlowReaderOnEachVersion(t *testing.T) {
	const limit, versions = 4 << 20, 12
	for name, src := range map[string]settable{"memory": newInMemory(), "channel": &channelSource{}} {
		t.Run(name, func(t *testing.T) {
			records := many(t, 70_000)
			before := heap()
			src.set(t, 1, records)
			// What one content takes in the backend: nothing in a channel, where what other
			// tests have left may go meanwhile.
			backend := max(0, heap()-before)
			s := openStore(t, src, Options{Limit: limit})
			before = heap()
			var readers []*Reader
			var begun [][]wire.Message
			var most int64
			for serial := uint32(1); serial <= versions; serial++ {
				records[1].Header().Ttl = serial
				src.set(t, serial, records)
				r := current(t, s)
				if r.Version.Serial != serial {
					t.Fatalf("got version %d of %d", r.Version.Serial, serial)
				}
				readers, begun = append(readers, r), append(begun, takeSome(t, r, 1))
				select {
				case <-r.Version.settled:
				case <-r.Version.outgrew:
				}
				most = max(most, s.total())
			}
			if slack := int64(versions * (window + 64<<10)); most > 2*limit+slack {
				t.Errorf("%d octets are counted, the limit is %d", most, limit)
			} else if grown := heap() - before; grown > 2*limit*5/4+slack+maxOld*backend {
				t.Errorf("%d octets of heap, %d for one content in the backend", grown, backend)
			} else {
				t.Logf("%d octets of heap, %d counted; each of %d versions is %d, %d in the backend",
					grown, most, versions, readers[0].Version.memory(), backend)
			}
			slow := 0
			for i, r := range readers {
				rest, err := readAll(r)
				if errors.Is(err, ErrTooSlow) {
					slow++
				} else if err != nil {
					t.Errorf("version %d: %v", i+1, err)
				} else {
					wantVersion(t, append(begun[i], rest...), uint32(i+1), len(records))
				}
				r.Close()
			}
			if slow > versions-2-1-maxOld || name == "channel" && slow > 0 {
				t.Errorf("%d of %d are too slow", slow, versions)
			}
			for deadline := time.Now().Add(10 * time.Second); s.loose.Load() != 0; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("%d octets are still counted that nobody holds", s.loose.Load())
				}
			}
			if r := current(t, s); true { // and there is room again
				if _, err := readAll(r); err != nil {
					t.Error(err)
				}
				r.Close()
			}
			for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
				r := current(t, s)
				kept := !r.Version.isPassing()
				_, err := readAll(r)
				r.Close()
				if err != nil || kept {
					break
				}
				if time.Now().After(deadline) {
					t.Fatal("it is not kept any more")
				}
			}
		})
	}
}

// wantVersion reads the messages as a whole zone of this serial.
func wantVersion(t *testing.T, messages []wire.Message, serial uint32, records int) {
	t.Helper()
	rrs := answers(t, messages)
	if len(rrs) != records+2 || rrs[0].(*dns.SOA).Serial != serial || rrs[len(rrs)-1].(*dns.SOA).Serial != serial {
		t.Errorf("version %d: %d records, want %d", serial, len(rrs), records+2)
		return
	}
	if ttl := rrs[2].Header().Ttl; ttl != serial {
		t.Errorf("version %d has a record of %d", serial, ttl)
	}
}

// TestTrimmedBehindReaders: a version that another has taken the place of goes as its
// slowest reader does, its index at once, and its last reader gets all of it.
func TestTrimmedBehindReaders(t *testing.T) {
	src := newInMemory()
	records := many(t, 50_000)
	src.set(t, 1, records)
	s := openStore(t, src, Options{})
	slow, fast := current(t, s), current(t, s)
	v := slow.Version
	<-v.settled
	if s.loose.Load() != 0 {
		t.Errorf("%d octets are counted twice", s.loose.Load())
	}
	src.set(t, 2, records)
	settledVersion(t, s)
	whole := v.Size()
	if got := s.loose.Load(); got != whole {
		t.Errorf("%d octets are counted of %d", got, whole)
	}
	if v.attach(false) != nil {
		t.Error("it takes new readers")
	}
	if _, err := readAll(fast); err != nil {
		t.Fatal(err)
	}
	fast.Close()
	var messages []wire.Message
	for left := whole; left > 0; {
		m := takeSome(t, slow, 1)
		messages = append(messages, m...)
		if left -= int64(len(m[0].Bytes)); s.loose.Load() != left {
			t.Fatalf("%d octets are held, %d not yet read", s.loose.Load(), left)
		}
	}
	if got := answers(t, messages); len(got) != len(records)+2 {
		t.Errorf("%d records, want %d", len(got), len(records)+2)
	}
	slow.Close()
}

// TestSlowReaderSlowsNobody: two begin to read a zone that is too large to be kept, and one
// of them stops. The other gets the zone, and so does the first, later, all of it the same.
func TestSlowReaderSlowsNobody(t *testing.T) {
	for name, src := range map[string]settable{"memory": newInMemory(), "channel": &channelSource{}} {
		t.Run(name, func(t *testing.T) {
			gate := make(chan struct{})
			if c, ok := src.(*channelSource); ok {
				c.gate = gate
			}
			src.set(t, 1, many(t, 200_000))
			stop := make(chan struct{})
			defer close(stop)
			go letAll(gate, stop)
			s := openStore(t, src, Options{Limit: 1 << 20})
			sl := s.slots[apex]
			sl.mu.Lock() // both are there before anything is gone
			st, err := openAny(s.sources, apex, nil)
			if err != nil {
				t.Fatal(err)
			}
			v := s.newVersion(sl, st)
			slow, fast := v.attach(false), v.attach(false)
			sl.current = v
			sl.mu.Unlock()
			go s.build(sl, v, st)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			begun := takeSome(t, slow, 3)
			var all []wire.Message
			for {
				m, err := fast.Next(ctx)
				if err != nil {
					break
				}
				all = append(all, m)
			}
			fast.Close()
			if len(answers(t, all)) != 200_001+2 {
				t.Fatalf("the fast one got %d records", len(answers(t, all)))
			}
			rest, err := readAll(slow)
			slow.Close()
			same := func(a, b wire.Message) bool { return slices.Equal(a.Bytes, b.Bytes) }
			if err != nil || !slices.EqualFunc(append(begun, rest...), all, same) {
				t.Errorf("the slow one got %d messages of %d, %v", len(begun)+len(rest), len(all), err)
			}
		})
	}
}

// TestSlowReaderOfWhatChanged: who lost its place and comes back when the backend has
// something else is cut off, never given parts of two contents.
func TestSlowReaderOfWhatChanged(t *testing.T) {
	src := &channelSource{}
	records := many(t, 200_000)
	src.set(t, 1, records)
	s := openStore(t, src, Options{Limit: 1 << 20})
	for name, change := range map[string]func(){
		"another serial": func() { src.set(t, 2, records) },
		"another content": func() {
			other := slices.Clone(records)
			other[1] = rr(t, "h0000000.%s 77 IN A 192.0.2.1", apex)
			src.set(t, 1, other)
		},
	} {
		src.set(t, 1, records)
		r, err := s.private(t.Context(), s.slots[apex])
		if err != nil {
			t.Fatal(err)
		}
		takeSome(t, r, 3)
		v := r.Version
		change()
		v.mu.Lock()
		r.lost = true
		delete(v.listeners, r)
		v.changeLocked()
		v.mu.Unlock()
		if m, err := readAll(r); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %d messages, %v", name, len(m), err)
		}
		r.Close()
		<-v.settled
	}
}

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
