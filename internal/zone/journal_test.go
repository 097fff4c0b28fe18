// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/xfrguard/xfrguard/internal/zone/journal"
)

func openJournal(t cleaner, dir string, limit int64) *journal.Journal {
	t.Helper()
	j, err := journal.Open(dir, journal.Options{Limit: limit})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

// process is one run of a server with a journal: a store, and nothing left of the one before.
type process struct {
	store   *Store
	journal *journal.Journal
	errors  []error
}

func startProcess(t *testing.T, src Source, dir, id string, limit int64) *process {
	t.Helper()
	p := &process{journal: openJournal(t, dir, limit)}
	p.store = newStoreOf(src, Options{
		Identity: func(string) string { return id },
		Journal:  func(string) Journal { return p.journal },
		OnError:  func(_ string, err error) { p.errors = append(p.errors, err) },
	})
	t.Cleanup(p.store.Close)
	return p
}

func (p *process) stop(t *testing.T) {
	t.Helper()
	p.store.Close()
	if err := p.journal.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestRestart: with a journal a secondary that stays behind, through restarts and through
// changes while the server is down, is told what changed, and has the zone then.
func TestRestart(t *testing.T) {
	for _, kind := range []string{"memory", "channel"} {
		t.Run(kind, func(t *testing.T) {
			var src settable = newInMemory()
			if kind == "channel" {
				src = &channelSource{}
			}
			dir, id := t.TempDir(), newIdentity()
			records := many(t, 400)
			src.set(t, 1, records)
			p := startProcess(t, src, dir, id, 1<<20)
			prompt, late := copyOfZone{}, copyOfZone{}
			prompt.refresh(t, p.store, "prompt")
			late.refresh(t, p.store, "late")
			serial := uint32(1)
			for round := range 40 {
				down := round%3 == 1
				if round%2 == 1 {
					p.stop(t)
					if !down {
						p = startProcess(t, src, dir, id, 1<<20)
					}
				}
				serial++
				records = append(records[:0:0], records...)
				for range 3 {
					records[1+rand.IntN(400)] = rr(t, "n%d.%s %d IN TXT \"%d\"", rand.IntN(1000), apex, round+1, rand.Int())
				}
				src.set(t, serial, legal(records))
				if round%2 == 1 && down {
					p = startProcess(t, src, dir, id, 1<<20)
				}
				if got := prompt.refresh(t, p.store, "prompt"); got != "ixfr" {
					t.Fatalf("round %d: the prompt secondary got %s", round, got)
				}
				if !equalSets(prompt.set, setOf(legal(records))) {
					t.Fatalf("round %d: not the zone", round)
				}
				if round%10 == 9 {
					if got := late.refresh(t, p.store, "late"); got != "ixfr" || !equalSets(late.set, prompt.set) {
						t.Fatalf("round %d: the late secondary got %s", round, got)
					}
					p.store.shorten(p.store.slots[apex], 0) // nobody is behind: nobody misses it
				}
			}
			if len(p.errors) > 0 {
				t.Error(p.errors)
			}
			stranger := late
			stranger.serial--
			if got := stranger.refresh(t, p.store, "new"); got != "axfr" {
				t.Errorf("a rule that was given nothing got %s", got)
			}
		})
	}
}

// TestRestartOtherContent: the same serial with other content after a restart.
func TestRestartOtherContent(t *testing.T) {
	src := newInMemory()
	dir, id := t.TempDir(), newIdentity()
	src.set(t, 7, many(t, 100))
	p := startProcess(t, src, dir, id, 0)
	c := copyOfZone{}
	c.refresh(t, p.store, "rule")
	p.stop(t)
	src.set(t, 7, many(t, 101))
	p = startProcess(t, src, dir, id, 0)
	if got := c.refresh(t, p.store, "rule"); got != "axfr" || len(c.set) != 102 {
		t.Errorf("got %s, %d records", got, len(c.set))
	}
}

// TestJournalFull: what does not fit is said once, and nothing else changes.
func TestJournalFull(t *testing.T) {
	src := newInMemory()
	src.set(t, 1, many(t, 1000))
	p := startProcess(t, src, t.TempDir(), newIdentity(), 1000)
	c := copyOfZone{}
	c.refresh(t, p.store, "rule")
	for serial := uint32(2); serial < 6; serial++ {
		src.set(t, serial, many(t, 1000+int(serial)))
		if got := c.refresh(t, p.store, "rule"); got != "ixfr" {
			t.Errorf("got %s", got)
		}
	}
	if len(p.errors) != 1 || !errors.Is(p.errors[0], journal.ErrFull) {
		t.Errorf("%d errors: %v", len(p.errors), p.errors)
	}
}

// brokenJournal fails as a disk does.
type brokenJournal struct{ err error }

func (b brokenJournal) Load(string) (*journal.State, error) { return nil, b.err }
func (b brokenJournal) Update(string, journal.Change) error { return b.err }
func (b brokenJournal) Forget(string) error                 { return b.err }

func TestJournalBroken(t *testing.T) {
	src := newInMemory()
	src.set(t, 1, many(t, 100))
	reported := 0
	s := openStore(t, src, Options{
		Journal: func(string) Journal { return brokenJournal{errors.New("input/output error")} },
		OnError: func(string, error) { reported++ },
	})
	c := copyOfZone{}
	c.refresh(t, s, "rule")
	for serial := uint32(2); serial < 6; serial++ {
		src.set(t, serial, many(t, 100+int(serial)))
		if got := c.refresh(t, s, "rule"); got != "ixfr" {
			t.Errorf("got %s", got)
		}
	}
	if reported == 0 || reported > 2 {
		t.Errorf("reported %d times", reported)
	}
}

// TestJournalLies: what is on disk and is not what was written is never compared with.
func TestJournalLies(t *testing.T) {
	good := func() *journal.State {
		src := newInMemory()
		src.set(t, 1, many(t, 100))
		s := openStore(t, src, Options{})
		a, _ := settledVersion(t, s).contents()
		a.messages, a.entries = slices.Clone(a.messages), slices.Clone(a.entries) // which the next version lets go of
		src.set(t, 2, many(t, 101))
		two := settledVersion(t, s)
		b, _ := two.contents()
		d, err := compare(a, b)
		if err != nil {
			t.Fatal(err)
		}
		return &journal.State{Base: *baseOf(a), Deltas: []Delta{*d}, Given: map[Digest][]string{}}
	}
	if c, err := recall(apex, good()); err != nil || c.serial != 2 || len(c.entries) != 102 {
		t.Fatal(err, c.serial, len(c.entries))
	}
	for name, spoil := range map[string]func(*journal.State){
		"another digest":   func(s *journal.State) { s.Base.Digest[0]++ },
		"a message less":   func(s *journal.State) { s.Base.Messages = nil },
		"cut message":      func(s *journal.State) { s.Base.Messages[0] = s.Base.Messages[0][:20] },
		"removes too much": func(s *journal.State) { s.Deltas[0].Removed = s.Deltas[0].Added },
		"cut delta":        func(s *journal.State) { s.Deltas[0].Added = s.Deltas[0].Added[:5] },
		"added twice": func(s *journal.State) {
			d := &s.Deltas[0]
			d.Added = append(d.Added[:len(d.Added):len(d.Added)], d.Added...)
		},
	} {
		s := good()
		spoil(s)
		if name == "another digest" { // the chain still holds
			s.Deltas[0].FromDigest = s.Base.Digest
		}
		if _, err := recall(apex, s); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
