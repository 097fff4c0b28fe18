// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"testing"

	"github.com/miekg/dns"
)

// TestForksAreBounded: the oldest serials are forgotten, marks and all.
func TestForksAreBounded(t *testing.T) {
	var f forks
	for serial := range uint32(3 * maxForks) {
		for content := range byte(3) {
			if f.note(serial, Digest{content}) != (content > 0) || f.has(serial) != (content > 0) {
				t.Fatal(serial, content)
			}
		}
	}
	if len(f.content) != maxForks || len(f.forked) != maxForks || len(f.order) != maxForks || f.has(0) || !f.has(3*maxForks-1) {
		t.Error(len(f.content), len(f.forked), len(f.order))
	}
}

// TestForkedSerial: two contents were handed out under one serial. A secondary that has
// either of them must never be told what changed since the other.
func TestForkedSerial(t *testing.T) {
	secondary := func(t *testing.T, s *Store, serial uint32) *copyOfZone {
		t.Helper()
		c := &copyOfZone{}
		if got := c.refresh(t, s, "rule"); got != "axfr" || c.serial != serial {
			t.Fatalf("a new secondary got %s of %d", got, c.serial)
		}
		return c
	}
	follow := func(t *testing.T, s *Store, c *copyOfZone, records []dns.RR) string {
		t.Helper()
		got := c.refresh(t, s, "rule")
		if !equalSets(c.set, setOf(records)) {
			t.Errorf("%s has led to another zone", got)
		}
		return got
	}
	t.Run("current", func(t *testing.T) {
		src := newInMemory()
		s := openStore(t, src, Options{})
		edit(t, s, src, 2, many(t, 100))
		a := secondary(t, s, 2)
		edit(t, s, src, 2, many(t, 90))
		b := secondary(t, s, 2)
		edit(t, s, src, 3, many(t, 110))
		if got := follow(t, s, b, many(t, 110)); got != "axfr" {
			t.Errorf("got %s", got)
		}
		follow(t, s, a, many(t, 110))
		edit(t, s, src, 4, many(t, 111))
		if got := follow(t, s, a, many(t, 111)); got != "ixfr" {
			t.Errorf("it does not recover: %s", got)
		}
	})
	t.Run("there and back", func(t *testing.T) {
		src := newInMemory()
		s := openStore(t, src, Options{})
		edit(t, s, src, 2, many(t, 100))
		edit(t, s, src, 2, many(t, 90))
		b := secondary(t, s, 2)
		edit(t, s, src, 2, many(t, 100))
		a := secondary(t, s, 2)
		edit(t, s, src, 3, many(t, 110))
		follow(t, s, b, many(t, 110))
		follow(t, s, a, many(t, 110))
	})
	t.Run("the serial goes back", func(t *testing.T) {
		src := newInMemory()
		s := openStore(t, src, Options{})
		edit(t, s, src, 5, many(t, 100))
		a := secondary(t, s, 5)
		edit(t, s, src, 3, many(t, 90))
		edit(t, s, src, 4, many(t, 91))
		edit(t, s, src, 5, many(t, 92))
		secondary(t, s, 5)
		edit(t, s, src, 6, many(t, 93))
		follow(t, s, a, many(t, 93))
	})
	t.Run("the serial was long ago", func(t *testing.T) {
		src := newInMemory()
		s := openStore(t, src, Options{})
		edit(t, s, src, 5, many(t, 100))
		a := secondary(t, s, 5)
		edit(t, s, src, 6, many(t, 101))
		l := s.slots[apex].lineage
		l.mu.Lock()
		l.forks = forks{} // there have been many others
		l.mu.Unlock()
		edit(t, s, src, 5, many(t, 92))
		secondary(t, s, 5)
		edit(t, s, src, 7, many(t, 93))
		follow(t, s, a, many(t, 93))
	})
	t.Run("the serial goes round", func(t *testing.T) {
		src := newInMemory()
		s := openStore(t, src, Options{})
		edit(t, s, src, 0, many(t, 100))
		a := secondary(t, s, 0)
		for i, serial := range []uint32{1<<31 - 1, 1<<32 - 2, 0} {
			edit(t, s, src, serial, many(t, 90+i))
		}
		secondary(t, s, 0)
		edit(t, s, src, 1, many(t, 93))
		follow(t, s, a, many(t, 93))
	})
	t.Run("restart with a journal", func(t *testing.T) {
		for _, late := range []bool{false, true} { // the next serial comes before or after the restart
			src := newInMemory()
			dir, id := t.TempDir(), newIdentity()
			src.set(t, 2, many(t, 100))
			p := startProcess(t, src, dir, id, 0)
			a := secondary(t, p.store, 2)
			edit(t, p.store, src, 2, many(t, 90))
			b := secondary(t, p.store, 2)
			p.stop(t)
			if !late {
				src.set(t, 3, many(t, 110))
			}
			p = startProcess(t, src, dir, id, 0)
			if late {
				follow(t, p.store, b, many(t, 90))
				follow(t, p.store, a, many(t, 90))
				edit(t, p.store, src, 3, many(t, 110))
			}
			follow(t, p.store, b, many(t, 110))
			follow(t, p.store, a, many(t, 110))
			edit(t, p.store, src, 4, many(t, 111))
			if got := follow(t, p.store, a, many(t, 111)); got != "ixfr" {
				t.Errorf("it does not recover: %s", got)
			}
			p.stop(t)
			p = startProcess(t, src, dir, id, 0)
			edit(t, p.store, src, 5, many(t, 112))
			if got := follow(t, p.store, a, many(t, 112)); got != "ixfr" {
				t.Errorf("it does not recover after a restart: %s", got)
			}
			if len(p.errors) > 0 {
				t.Error(p.errors)
			}
			p.stop(t)
		}
	})
	t.Run("built after the end of the store", func(t *testing.T) {
		src := newInMemory()
		src.set(t, 2, many(t, 100))
		p := startProcess(t, src, t.TempDir(), newIdentity(), 0)
		settledVersion(t, p.store)
		p.stop(t)
		edit(t, p.store, src, 2, many(t, 90)) // a transfer that was still waiting
		if len(p.errors) > 0 {
			t.Error(p.errors)
		}
	})
	t.Run("replaced before it was compared", func(t *testing.T) {
		src := &channelSource{}
		s := openStore(t, src, Options{})
		edit(t, s, src, 2, many(t, 100))
		secondary(t, s, 2)
		gate := make(chan struct{})
		src.mu.Lock()
		src.gate = gate
		src.serial, src.records = 3, nil // so that it is asked for the whole zone again
		src.mu.Unlock()
		s.slots[apex].mu.Lock()
		s.slots[apex].current = nil // as an eviction would
		s.slots[apex].mu.Unlock()
		src.set(t, 2, many(t, 200_000))
		go func() {
			for range 120_000 / 3 {
				gate <- struct{}{}
			}
		}()
		r := current(t, s) // it is being built
		defer r.Close()
		src.mu.Lock()
		src.gate = nil
		src.mu.Unlock()
		edit(t, s, src, 3, many(t, 110))
		go func() {
			for range 80_001 / 3 {
				gate <- struct{}{}
			}
		}()
		b := &copyOfZone{}
		messages, err := readAll(r)
		if err != nil {
			t.Fatal(err)
		}
		b.apply(t, answers(t, messages))
		<-r.Version.settled
		follow(t, s, b, many(t, 110))
	})
}
