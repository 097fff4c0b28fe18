// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"context"
	"errors"
	"slices"
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
			st, err := openAny(s.sources, apex, nil, forClient)
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

// TestChangesBeforeItIsRead: a zone for which there is no room changes twice between what a
// client is told and its first message, or while that is built. Where no reader has to be
// waited for, whoever has asked gets the zone.
func TestChangesBeforeItIsRead(t *testing.T) {
	src := newInMemory()
	records := many(t, 400)
	src.set(t, 1, records)
	s := openStore(t, src, Options{Limit: 1})
	sl := s.slots[apex]
	var readers []*Reader
	for serial := range uint32(4 + maxOld) {
		records[1].Header().Ttl = serial + 1
		src.set(t, serial+1, records)
		r, err := s.private(t.Context(), sl)
		if err != nil {
			t.Fatal(err)
		}
		readers = append(readers, r)
	}
	for i, r := range readers {
		messages, err := readAll(r)
		if err != nil {
			t.Errorf("version %d: %v", i+1, err)
			continue
		}
		wantVersion(t, messages, uint32(i+1), len(records))
		r.Close()
		<-r.Version.settled
	}
}
