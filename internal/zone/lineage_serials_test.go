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
