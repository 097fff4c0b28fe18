// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/wire"

	"github.com/miekg/dns"
)

// edit makes the next version and waits until it is settled.
func edit(t *testing.T, s *Store, src settable, serial uint32, records []dns.RR) *Version {
	t.Helper()
	src.set(t, serial, records)
	return settledVersion(t, s)
}

// TestOnlyWhatWasGiven: a rule reads what was deleted only from the first version on that
// it was given, or said to have while that was the current one.
func TestOnlyWhatWasGiven(t *testing.T) {
	src := newInMemory()
	s := openStore(t, src, Options{})
	secret := rr(t, "secret.%s 1 IN TXT x", apex)
	one := edit(t, s, src, 1, append(many(t, 100), secret))
	s.Give(t.Context(), one, "old rule")
	two := edit(t, s, src, 2, many(t, 100))
	since := func(v *Version, serial uint32, rules ...string) bool {
		t.Helper()
		messages, err := s.Since(t.Context(), v, serial, rules)
		if err != nil {
			t.Fatal(err)
		}
		return messages != nil
	}
	for _, tt := range []struct {
		what   string
		serial uint32
		rules  []string
		want   bool
	}{
		{"the rule that had it", 1, []string{"old rule"}, true},
		{"one of its rules had it", 1, []string{"new rule", "old rule"}, true},
		{"a new rule claims an old serial", 1, []string{"new rule"}, false},
		{"no rule", 1, nil, false},
		{"a serial that never was", 0, []string{"old rule"}, false},
		{"a serial far back", 1 << 31, []string{"old rule"}, false},
		{"the current one", 2, []string{"old rule"}, false},
	} {
		if got := since(two, tt.serial, tt.rules...); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.what, got, tt.want)
		}
	}
	s.Give(t.Context(), two, "new rule")
	three := edit(t, s, src, 3, many(t, 99))
	if since(three, 1, "new rule") || !since(three, 2, "new rule") || !since(three, 1, "old rule") {
		t.Error("the new rule must be given what changed since version 2, and no more")
	}
}

// TestOtherContent: the content changes and the serial does not. That is told, no way
// leads across it, and who has the serial is told to take all.
func TestOtherContent(t *testing.T) {
	for _, kind := range []string{"current serial", "earlier serial"} {
		t.Run(kind, func(t *testing.T) {
			var mu sync.Mutex
			var told []string
			src := newInMemory()
			s := openStore(t, src, Options{OnLineage: func(apex string, serial uint32, d Digest) {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, fmt.Sprint(apex, serial, d))
			}})
			s.Give(t.Context(), edit(t, s, src, 1, many(t, 100)), "rule")
			s.Give(t.Context(), edit(t, s, src, 2, many(t, 101)), "rule")
			serial := uint32(2)
			if kind == "earlier serial" {
				serial = 1
			}
			v := edit(t, s, src, serial, many(t, 50))
			mu.Lock()
			if want := fmt.Sprint(apex, serial, v.index.digest); len(told) != 1 || told[0] != want {
				t.Errorf("told %q, want %q", told, want)
			}
			mu.Unlock()
			if !s.Ambiguous(t.Context(), v) {
				t.Error("not ambiguous")
			}
			for _, from := range []uint32{1, 2} {
				if m, _ := s.Since(t.Context(), v, from, []string{"rule"}); m != nil {
					t.Errorf("a way leads from %d across", from)
				}
			}
			s.Give(t.Context(), v, "rule")
			v = edit(t, s, src, serial+5, many(t, 51))
			if s.Ambiguous(t.Context(), v) {
				t.Error("still ambiguous")
			}
			if m, _ := s.Since(t.Context(), v, serial, []string{"rule"}); m != nil {
				t.Error("a way leads from what may be either content")
			}
			s.Give(t.Context(), v, "rule")
			v = edit(t, s, src, serial+6, many(t, 52))
			if m, _ := s.Since(t.Context(), v, serial+5, []string{"rule"}); m == nil {
				t.Error("the new lineage does not go on")
			}
		})
	}
}

// TestSplitHorizon: two views of one zone with equal serials never mix.
func TestSplitHorizon(t *testing.T) {
	inside, outside := newInMemory(), newInMemory()
	a := openStore(t, inside, Options{})
	b := openStore(t, outside, Options{})
	s1, s2 := rr(t, "inside.%s 1 IN A 10.0.0.1", apex), rr(t, "outside.%s 1 IN A 192.0.2.1", apex)
	for serial := uint32(1); serial < 5; serial++ {
		va := edit(t, a, inside, serial, append(many(t, 50+int(serial)), s1))
		vb := edit(t, b, outside, serial, append(many(t, 50+int(serial)), s2))
		a.Give(t.Context(), va, "rule")
		b.Give(t.Context(), vb, "rule")
		for _, x := range []struct {
			s       *Store
			v       *Version
			foreign dns.RR
		}{{a, va, s2}, {b, vb, s1}} {
			messages := x.v.messages
			if m, _ := x.s.Since(t.Context(), x.v, serial-1, []string{"rule"}); m != nil {
				messages = append(messages[:len(messages):len(messages)], m...)
			} else if serial > 1 {
				t.Error("no way from the version before")
			}
			if setOf(answers(t, messages))[keyOf(x.foreign)] {
				t.Errorf("%v is in the other view", x.foreign)
			}
		}
	}
}

// TestUncomparable: a set with several TTLs (RFC 2181 §5.2 forbids it) in a zone whose TTLs
// must stay, for its ZONEMD covers them. A secondary that levels the set cannot follow a
// difference, so there is none to send.
func TestUncomparable(t *testing.T) {
	src := &channelSource{}
	var said []error
	s := openStore(t, src, Options{OnError: func(_ string, err error) { said = append(said, err) }})
	one, two := rr(t, "a.%s 1 IN A 192.0.2.1", apex), rr(t, "a.%s 2 IN A 192.0.2.2", apex)
	zonemd := rr(t, "%s 300 IN ZONEMD 1 1 1 %s", apex, strings.Repeat("00", 48))
	s.Give(t.Context(), edit(t, s, src, 1, append(many(t, 50), one, two, zonemd)), "rule")
	v := edit(t, s, src, 2, append(many(t, 50), one, zonemd))
	if m, _ := s.Since(t.Context(), v, 1, []string{"rule"}); m != nil {
		t.Error("a difference of what cannot be compared")
	}
	s.Give(t.Context(), v, "rule")
	if m, _ := s.Since(t.Context(), edit(t, s, src, 3, many(t, 50)), 2, []string{"rule"}); m == nil {
		t.Error("it does not recover")
	}
	if len(said) != 1 || !errors.Is(said[0], errUnusable) {
		t.Errorf("said: %v", said)
	}
}

// TestTwice: a backend that sends a record twice, or in two letter cases, has it once.
func TestTwice(t *testing.T) {
	src := &channelSource{}
	s := openStore(t, src, Options{})
	a, upper, b := rr(t, "a.%s 1 IN A 192.0.2.1", apex), rr(t, "A.%s 1 IN A 192.0.2.1", apex), rr(t, "b.%s 1 IN A 192.0.2.1", apex)
	c := copyOfZone{}
	for serial, records := range [][]dns.RR{1: {a, a, upper, b, a}, 2: {a, b}, 3: {upper, b, b}, 4: {b}} {
		if serial == 0 {
			continue
		}
		records = append(many(t, 50), records...)
		edit(t, s, src, uint32(serial), records)
		got := c.refresh(t, s, "rule")
		if want := map[bool]string{true: "axfr", false: "ixfr"}[serial == 1]; got != want || !equalSets(c.set, setOf(records)) {
			t.Fatalf("version %d: %s, %v, want %v", serial, got, c.set, setOf(records))
		}
	}
}

// TestLongerThanTheZone: what changed is more than what is there.
func TestLongerThanTheZone(t *testing.T) {
	src := newInMemory()
	s := openStore(t, src, Options{})
	s.Give(t.Context(), edit(t, s, src, 1, many(t, 2000)), "rule")
	v := edit(t, s, src, 2, many(t, 10))
	if m, err := s.Since(t.Context(), v, 1, []string{"rule"}); m != nil || err != nil {
		t.Errorf("%d messages, %v", len(m), err)
	}
}

// TestPastIsBounded: however often a zone changes, what is kept of its past is not more
// than twice its size, or 256 KiB.
func TestPastIsBounded(t *testing.T) {
	src := newInMemory()
	s := openStore(t, src, Options{})
	records := many(t, 3000)
	for serial := uint32(1); serial < 60; serial++ {
		for i := range records[1:] {
			records[i+1].Header().Ttl = serial
		}
		v := edit(t, s, src, serial, records)
		s.Give(t.Context(), v, "rule")
		l := s.slots[apex].lineage
		l.mu.Lock()
		if size := sizeOf(l.deltas); size > max(2*v.Size(), minPast) || len(l.given) > len(l.deltas)+1 {
			t.Errorf("%d octets of deltas, %d versions were given", size, len(l.given))
		}
		l.mu.Unlock()
	}
}

// TestReloadOverlap: of two instances that overlap, either may be the first to see an
// edit, and either answers with differences to what it has; only the newer one may begin
// anew. When that is gone again, because it could not start, the older one may.
func TestReloadOverlap(t *testing.T) {
	id := newIdentity()
	o := Options{Identity: func(string) string { return id }}
	src, late := newInMemory(), newInMemory()
	old := newStoreOf(src, o)
	defer old.Close()
	old.Give(t.Context(), edit(t, old, src, 1, many(t, 100)), "rule")
	edit(t, old, src, 2, many(t, 101))
	next := newStoreOf(late, o)
	leads := func(s *Store, v *Version, what string) {
		t.Helper()
		if m, err := s.Since(t.Context(), v, 1, []string{"rule"}); err != nil || m == nil {
			t.Errorf("%s: no way from the first version (%v)", what, err)
		} else if last := answers(t, m); last[0].(*dns.SOA).Serial != v.Serial {
			t.Errorf("%s: a way to %v, want %d", what, last[0], v.Serial)
		}
	}
	three := edit(t, old, src, 3, many(t, 102))
	leads(old, three, "the older is first")
	leads(next, edit(t, next, late, 2, many(t, 101)), "the newer is behind")
	leads(old, three, "the older is still ahead")
	leads(next, edit(t, next, late, 3, many(t, 102)), "the newer comes to the same")
	leads(next, edit(t, next, late, 4, many(t, 103)), "the newer goes on")
	leads(old, three, "the older is behind")

	edit(t, old, src, 4, many(t, 1))
	if l := old.slots[apex].lineage; len(l.deltas) != 3 {
		t.Error("the older has begun anew")
	}
	next.Close()
	old.Give(t.Context(), edit(t, old, src, 4, many(t, 2)), "rule")
	if l := old.slots[apex].lineage; len(l.deltas) != 0 {
		t.Error("after the newer has gone, the older does not begin anew")
	}
	old.Close()
	lineages.Lock()
	defer lineages.Unlock()
	if lineages.byID[id] != nil {
		t.Error("what nobody uses is kept")
	}
}

// TestRetire: a store that another has taken the place of keeps nothing and looks no more;
// who asks it still gets the zone.
func TestRetire(t *testing.T) {
	src := newInMemory()
	src.set(t, 1, many(t, 100))
	var told atomic.Int64
	s := openStore(t, src, Options{})
	settledVersion(t, s)
	s.Watch(time.Millisecond, []string{apex}, func(string, *dns.SOA) { told.Add(1) })
	for told.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	s.Retire()
	before := told.Load()
	if sl := s.slots[apex]; sl.kept != nil || sl.current != nil || s.size != 0 {
		t.Error("something is kept")
	}
	src.set(t, 2, many(t, 101))
	time.Sleep(20 * time.Millisecond)
	if told.Load() != before {
		t.Error("it looks on")
	}
	if v := settledVersion(t, s); v.Serial != 2 {
		t.Errorf("got %d", v.Serial)
	}
}

// TestRetireWhileBuilding: what is being built for somebody when the store is retired is not
// kept behind that, but who has asked for it gets it.
func TestRetireWhileBuilding(t *testing.T) {
	gate, stop := make(chan struct{}), make(chan struct{})
	defer close(stop)
	src := &channelSource{gate: gate}
	src.set(t, 1, many(t, 1000))
	s := openStore(t, src, Options{})
	var messages []wire.Message
	var group sync.WaitGroup
	group.Go(func() {
		r, err := s.Current(t.Context(), apex)
		if err != nil {
			t.Error(err)
			return
		}
		defer r.Close()
		if messages, err = readAll(r); err != nil {
			t.Error(err)
		}
		<-r.Version.settled
	})
	sl := s.slots[apex]
	gate <- struct{}{} // the look at the serial
	for building := false; !building; time.Sleep(time.Millisecond) {
		sl.mu.Lock()
		building = sl.current != nil
		sl.mu.Unlock()
	}
	s.Retire()
	go letAll(gate, stop)
	group.Wait()
	if got := len(answers(t, messages)); got != len(src.records)+2 {
		t.Errorf("%d records", got)
	}
	if sl.kept != nil || sl.current != nil || s.size != 0 {
		t.Error("something is kept")
	}
}

// TestWatch: a new version is built and told before anybody asks; of a zone that nobody
// has asked for only the serial is told.
func TestWatch(t *testing.T) {
	for _, kind := range []string{"memory", "channel"} {
		t.Run(kind, func(t *testing.T) {
			var src settable = newInMemory()
			if kind == "channel" {
				src = &channelSource{}
			}
			src.set(t, 1, many(t, 1000))
			told := make(chan uint32, 10)
			var mu sync.Mutex
			var last uint32
			s := openStore(t, src, Options{})
			s.Watch(5*time.Millisecond, []string{apex}, func(_ string, soa *dns.SOA) {
				mu.Lock()
				defer mu.Unlock()
				if soa.Serial != last {
					told <- soa.Serial
				}
				last = soa.Serial
			})
			expect := func(want uint32) {
				t.Helper()
				select {
				case got := <-told:
					if got != want {
						t.Fatalf("told of %d, want %d", got, want)
					}
				case <-time.After(10 * time.Second):
					t.Fatalf("not told of %d", want)
				}
			}
			expect(1)
			src.set(t, 2, many(t, 1001))
			expect(2)
			sl := s.slots[apex]
			if sl.mu.Lock(); sl.current != nil {
				t.Error("built for nobody")
			}
			sl.mu.Unlock()
			s.Give(t.Context(), settledVersion(t, s), "rule")
			src.set(t, 3, many(t, 1002))
			expect(3)
			sl.mu.Lock()
			v := sl.current
			sl.mu.Unlock()
			if v == nil || v.Serial != 3 {
				t.Fatal("told before it is built")
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel() // it must be there already
			<-v.settled
			if m, _ := s.Since(ctx, v, 2, []string{"rule"}); m == nil {
				t.Error("told before it is settled")
			}
			time.Sleep(30 * time.Millisecond)
			if len(told) > 0 {
				t.Errorf("told again: %d", <-told)
			}
		})
	}
}
