// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"fmt"
	"sync"
	"testing"

	"github.com/coredns/coredns/plugin/file"
	"github.com/miekg/dns"
)

// TestPastWithinLimit: what is known of the past of many zones that change all the time
// takes part in the limit, and is what leaves when no other version is left to leave.
func TestPastWithinLimit(t *testing.T) {
	const zones, hosts, limit = 8, 200, 200 << 10
	z := make(map[string]*file.Zone)
	var names []string
	for i := range zones {
		names = append(names, fmt.Sprintf("z%d.%s", i, apex))
	}
	change := func(serial uint32) {
		for _, name := range names {
			next := file.NewZone(name, "stdin")
			soa := soaRecord(serial)
			soa.Hdr.Name = name
			records := []dns.RR{soa, rr(t, "%s 1 IN NS ns1.%s", name, name)}
			for k := range hosts {
				ttl := uint32(1)
				if k < hosts/5 {
					ttl = serial
				}
				records = append(records, rr(t, "h%d.%s %d IN A 192.0.2.1", k, name, ttl))
			}
			for _, r := range records {
				if err := next.Insert(r); err != nil {
					t.Fatal(err)
				}
			}
			z[name] = next
		}
	}
	change(1)
	id := newIdentity()
	s := NewStore([]Source{file.File{Zones: file.Zones{Z: z}}}, names,
		Options{Limit: limit, Identity: func(a string) string { return id + a }})
	defer s.Close()
	pasts := func() (n int) {
		t.Helper()
		s.mu.Lock()
		defer s.mu.Unlock()
		var sum int64
		for _, sl := range s.slots {
			past := sl.lineage.past()
			if past > 0 {
				n++
			}
			sum += sl.kept.memory() + past
		}
		if sum != s.size || sum > limit {
			t.Fatalf("%d octets kept, %d counted, limit %d", sum, s.size, limit)
		}
		return n
	}
	full := false
	for serial := uint32(1); serial < 30; serial++ {
		change(serial)
		for _, name := range names {
			r, err := s.Current(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			<-r.Version.settled
			r.Close()
			s.Give(t.Context(), r.Version, "rule")
			n := pasts()
			full = full || serial > 1 && n > 0 && n < zones && name == names[zones-1]
			if serial > 1 {
				if m, err := s.Since(t.Context(), r.Version, serial-1, []string{"rule"}); err != nil || (m == nil) != (n == 0 || s.slots[name].lineage.past() == 0) {
					t.Fatalf("%s, serial %d: %d messages, %v", name, serial, len(m), err)
				}
			}
			pasts()
		}
	}
	if !full {
		t.Error("there was room for all, or for none: this shows nothing")
	}
}

// TestPastShortened: a zone that fills the limit itself has a shorter past, and who is too
// far behind gets it whole.
func TestPastShortened(t *testing.T) {
	src := newInMemory()
	records := many(t, 1000)
	src.set(t, 1, records)
	version := settledVersion(t, openStore(t, src, Options{})).memory()
	limit := version*5/4 + 2*minReady
	s := openStore(t, src, Options{Limit: limit})
	latest := settledVersion(t, s)
	const last = 40
	for serial := uint32(2); serial <= last; serial++ {
		s.Give(t.Context(), latest, "rule")
		for i := range records[1:60] {
			records[i+1].Header().Ttl = serial
		}
		latest = edit(t, s, src, serial, records)
		if got := latest.memory() + s.slots[apex].lineage.past(); got > limit || got != s.size {
			t.Fatalf("serial %d: %d octets, %d counted, limit %d", serial, got, s.size, limit)
		}
	}
	for serial, want := range map[uint32]bool{last - 1: true, 1: false} {
		if m, err := s.Since(t.Context(), latest, serial, []string{"rule"}); err != nil || (m != nil) != want {
			t.Errorf("from %d: %d messages, %v", serial, len(m), err)
		}
	}
}

// TestInheritedWithinLimit: what the store before a reload has left of zones that nobody
// asks for any more takes part in the limit of the one that follows, and leaves first.
func TestInheritedWithinLimit(t *testing.T) {
	const zones, limit = 20, 1 << 20
	src := file.File{Zones: file.Zones{Z: make(map[string]*file.Zone)}}
	var names []string
	for i := range zones {
		name := fmt.Sprintf("z%d.%s", i, apex)
		names, src.Z[name] = append(names, name), file.NewZone(name, "stdin")
	}
	id := newIdentity()
	open := func() *Store {
		return NewStore([]Source{src}, names, Options{Limit: limit, Identity: func(a string) string { return id + a }})
	}
	ask := func(s *Store, serial uint32, names []string) {
		t.Helper()
		for _, name := range names {
			z := file.NewZone(name, "stdin")
			soa := soaRecord(serial)
			soa.Hdr.Name = name
			records := []dns.RR{soa, rr(t, "%s 1 IN NS ns1.%s", name, name)}
			for k := range 200 {
				ttl := serial
				if k > 40 {
					ttl = 1
				}
				records = append(records, rr(t, "h%d.%s %d IN A 192.0.2.1", k, name, ttl))
			}
			for _, r := range records {
				if err := z.Insert(r); err != nil {
					t.Fatal(err)
				}
			}
			live := src.Z[name]
			live.Lock()
			live.Apex, live.Tree = z.Apex, z.Tree
			live.Unlock()
			r, err := s.Current(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			<-r.Version.settled
			r.Close()
		}
	}
	check := func(s *Store, when string) {
		t.Helper()
		var taken int64
		for _, sl := range s.slots {
			newest, past := sl.lineage.newest, sl.lineage.past()
			taken += newest.memory() + past
		}
		if taken != s.size || taken > limit || taken < limit/2 {
			t.Errorf("%s: %d octets taken, %d counted, limit %d", when, taken, s.size, limit)
		}
	}
	before := open()
	for serial := range uint32(12) {
		ask(before, 1+serial, names)
	}
	check(before, "before")
	after := open()
	defer after.Close()
	before.Retire()
	before.Close()
	check(after, "after the reload")
	for serial := range uint32(12) {
		ask(after, 20+serial, names[:zones/2])
		check(after, "later")
	}
}

// TestPastCountedInOrder: a past that leaves while a new version is entered is counted as
// what it is afterwards. It takes luck to find the fault, and none to pass without it.
func TestPastCountedInOrder(t *testing.T) {
	s := openStore(t, newInMemory(), Options{})
	sl := s.slots[apex]
	end := make(chan struct{})
	var crowd sync.WaitGroup
	for range 2 { // at the lock, so that who comes first does not always get it first
		crowd.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
					_ = s.sizeNow()
				}
			}
		})
	}
	wrong := 0
	for range 30_000 {
		var both sync.WaitGroup
		both.Go(func() { s.shorten(sl, 0) })
		both.Go(func() {
			sl.lineage.mu.Lock()
			sl.lineage.deltas = append(sl.lineage.deltas, Delta{Added: make([]byte, 100)})
			sl.lineage.mu.Unlock()
			s.keepPast(sl)
		})
		both.Wait()
		if sl.lineage.past() != s.sizeNow() {
			wrong++
		}
	}
	close(end)
	crowd.Wait()
	if wrong > 0 {
		t.Errorf("%d times the count was wrong", wrong)
	}
}

func (s *Store) sizeNow() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size
}
