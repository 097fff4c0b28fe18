// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/zone/journal"

	"github.com/miekg/dns"
)

// TestSerialsOutliveTheProcess: with a journal, what a serial has meant is known after a
// restart, whatever became of the chain that it was in.
func TestSerialsOutliveTheProcess(t *testing.T) {
	for name, lose := range map[string]func(t *testing.T, p *process, src settable){
		"the serial goes back":         func(t *testing.T, p *process, src settable) { edit(t, p.store, src, 5, many(t, 90)) },
		"the past is let go of":        func(t *testing.T, p *process, src settable) { p.store.shorten(p.store.slots[apex], 0) },
		"it had two contents":          func(t *testing.T, p *process, src settable) { edit(t, p.store, src, 8, many(t, 91)) },
		"nothing can be compared":      func(t *testing.T, p *process, src settable) { edit(t, p.store, src, 9, uncomparable(t)) },
		"the serial goes back at last": nil,
	} {
		for _, again := range []bool{false, true} { // one more restart, of which the journal alone knows
			src := newInMemory()
			dir, id := t.TempDir(), newIdentity()
			src.set(t, 7, many(t, 100))
			p := startProcess(t, src, dir, id, 0)
			a := copyOfZone{}
			a.refresh(t, p.store, "rule")
			edit(t, p.store, src, 8, many(t, 101))
			if lose != nil {
				lose(t, p, src)
			}
			if p.stop(t); again {
				p = startProcess(t, src, dir, id, 0)
				settledVersion(t, p.store)
				p.stop(t)
			}
			if lose == nil {
				src.set(t, 5, many(t, 90))
				p = startProcess(t, src, dir, id, 0)
				settledVersion(t, p.store)
				p.stop(t)
			}
			src.set(t, 7, many(t, 95))
			p = startProcess(t, src, dir, id, 0)
			b := copyOfZone{}
			b.refresh(t, p.store, "rule") // whoever it is, under the same rule
			late := a
			if got := a.refresh(t, p.store, "rule"); got != "axfr" || !equalSets(a.set, b.set) {
				t.Errorf("%s: who has the serial with another content got %s", name, got)
			}
			edit(t, p.store, src, 10, many(t, 96))
			if got := late.refresh(t, p.store, "rule"); got != "axfr" {
				t.Errorf("%s: who has the serial with another content got %s", name, got)
			}
			edit(t, p.store, src, 11, many(t, 97))
			if got := late.refresh(t, p.store, "rule"); got != "ixfr" || !equalSets(late.set, setOf(many(t, 97))) {
				t.Errorf("%s: it does not recover: %s", name, got)
			}
			p.stop(t)
		}
	}
}

// uncomparable is a zone of which no differences are made.
func uncomparable(t *testing.T) []dns.RR {
	broken := &dns.RFC3597{Hdr: dns.RR_Header{Name: "broken." + apex, Rrtype: dns.TypeAFSDB, Class: dns.ClassINET, Ttl: 1}, Rdata: "00"}
	return append(many(t, 92), broken)
}

// slowJournal keeps its writes waiting.
type slowJournal struct {
	Journal
	gate chan struct{}
}

func (s *slowJournal) Update(zone string, c journal.Change) error {
	<-s.gate
	return s.Journal.Update(zone, c)
}

// TestContentIsNotedFirst: of a content that a known serial has not had before, nobody has
// all before that is on disk. Else a kill would leave who has it and a journal that knows
// the other alone.
func TestContentIsNotedFirst(t *testing.T) {
	src := newInMemory()
	src.set(t, 7, many(t, 100))
	slow := &slowJournal{Journal: openJournal(t, t.TempDir(), 0), gate: make(chan struct{}, 100)}
	for range 50 {
		slow.gate <- struct{}{}
	}
	s := openStore(t, src, Options{Journal: func(string) Journal { return slow }})
	settledVersion(t, s)
	for len(slow.gate) > 0 {
		<-slow.gate
	}
	src.set(t, 7, many(t, 101))
	r := current(t, s)
	defer r.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := r.Next(ctx); !errors.Is(err, context.DeadlineExceeded) || r.Complete() {
		t.Error("all of the zone was handed out before it was noted", err)
	}
	close(slow.gate)
	if _, err := readAll(r); err != nil {
		t.Error(err)
	}
}

// TestLostReaderIsNotedFirst: the same for one that lost its place among the readers of a
// zone which is too large to be kept, and gets the rest from a build of its own. The build
// that it began with has no reader any more, and ends without having been noted.
func TestLostReaderIsNotedFirst(t *testing.T) {
	src := newInMemory()
	src.set(t, 7, many(t, 100))
	slow := &slowJournal{Journal: openJournal(t, t.TempDir(), 0), gate: make(chan struct{}, 100)}
	for range 50 {
		slow.gate <- struct{}{}
	}
	s := openStore(t, src, Options{Limit: 1 << 20, Journal: func(string) Journal { return slow }})
	settledVersion(t, s)
	for len(slow.gate) > 0 {
		<-slow.gate
	}
	records := many(t, 200_000)
	src.set(t, 7, records)
	r, err := s.private(t.Context(), s.slots[apex])
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	messages := takeSome(t, r, 3)
	v := r.Version
	v.mu.Lock()
	r.lost = true
	delete(v.listeners, r)
	v.changeLocked()
	v.mu.Unlock()
	messages = append(messages, takeSome(t, r, 1)...)
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		m, err := r.Next(ctx)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			break
		}
		if err != nil {
			t.Fatal("all of the zone was handed out before it was noted:", err)
		}
		messages = append(messages, m)
	}
	close(slow.gate)
	rest, err := readAll(r)
	if err != nil || len(answers(t, append(messages, rest...))) != len(records)+2 {
		t.Error("not the whole zone", err)
	}
	l := s.slots[apex].lineage
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.forks.has(7) {
		t.Error("nobody knows that the serial had two contents")
	}
}

// TestDamagedDelta: what changed cannot be sent, because it is damaged where it is kept. The
// client gets the whole zone, that is said once, and what changes from then on is sent.
func TestDamagedDelta(t *testing.T) {
	for name, damage := range map[string]func(*Delta){
		"cut short":   func(d *Delta) { d.Added = d.Added[:len(d.Added)-1] },
		"no record":   func(d *Delta) { d.Removed = []byte{1, 2, 3} },
		"no SOA":      func(d *Delta) { d.OldSOA = d.OldSOA[:9] },
		"of no type":  func(d *Delta) { d.NewSOA = nil; d.Added = append(d.Added, 0xC0) },
		"a wild name": func(d *Delta) { d.Added = append([]byte{0xFF}, d.Added...) },
	} {
		for _, chain := range []int{1, 3} {
			for _, kept := range []bool{false, true} { // in a journal, which is read at a restart
				src := newInMemory()
				dir, id := t.TempDir(), newIdentity()
				src.set(t, 1, many(t, 100))
				p := startProcess(t, src, dir, id, 0)
				c := copyOfZone{}
				c.refresh(t, p.store, "rule")
				for i := range chain {
					edit(t, p.store, src, uint32(2+i), many(t, 101+i))
				}
				l := p.store.slots[apex].lineage
				if kept {
					state, err := p.journal.Load(id)
					if err != nil {
						t.Fatal(err)
					}
					damage(&state.Deltas[0])
					err = p.journal.Update(id, journal.Change{
						Reset: true, Base: baseNow(t, p.store), Append: state.Deltas, Given: map[Digest][]string{state.Deltas[0].FromDigest: {"rule"}},
					})
					if err != nil {
						t.Fatal(err)
					}
					lineages.Lock() // as a kill does
					delete(lineages.byID, id)
					lineages.Unlock()
					l.mu.Lock()
					l.journal = nil
					l.mu.Unlock()
					p.stop(t)
					p = startProcess(t, src, dir, id, 0)
				} else {
					l.mu.Lock()
					damage(&l.deltas[0])
					l.mu.Unlock()
				}
				for range 2 {
					late := c
					if got := late.refresh(t, p.store, "rule"); got != "axfr" || !equalSets(late.set, setOf(many(t, 100+chain))) {
						t.Fatalf("%s: got %s", name, got)
					}
				}
				c.refresh(t, p.store, "rule")
				if len(p.errors) != 1 {
					t.Errorf("%s: said %v", name, p.errors)
				}
				edit(t, p.store, src, 9, many(t, 120))
				if got := c.refresh(t, p.store, "rule"); got != "ixfr" || !equalSets(c.set, setOf(many(t, 120))) {
					t.Errorf("%s: it does not recover: %s", name, got)
				}
				p.stop(t)
			}
		}
	}
}

// baseNow is the store's current version as a journal keeps it.
func baseNow(t *testing.T, s *Store) *journal.Base {
	t.Helper()
	c, ok := settledVersion(t, s).contents()
	if !ok {
		t.Fatal("nothing to keep")
	}
	return baseOf(c)
}
