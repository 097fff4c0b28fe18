// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
)

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m, j := newModel(0), mustOpen(t, dir, Options{})
	if s := mustLoad(t, j, "nothing."); s != nil {
		t.Fatalf("got %v of a zone that nothing is kept of", s)
	}
	changes := []struct {
		zone string
		c    Change
	}{
		{"a.", Change{Base: baseOf(1, 0, 12, 65535, 0, 16383), Given: map[Digest][]string{digestOf(1, 0): {"r1", ""}}}},
		{"", Change{Base: baseOf(7, 0)}}, // no messages, no name
		{strings.Repeat("z", MaxZone), Change{Base: baseOf(9, 0, 100)}},
		{"a.", Change{Append: []Delta{deltaOf(1, 0, 0), deltaOf(2, 0, 3<<20)}}},
		{"a.", Change{Given: map[Digest][]string{digestOf(3, 0): {strings.Repeat("r", MaxRule)}, digestOf(99, 0): {"unknown version"}}}},
		{"a.", Change{Base: baseOf(3, 0, 30000, 40000, 50000), Drop: 1, Append: []Delta{deltaOf(3, 0, 10)}}},
		{"a.", Change{}},
		{"b.", Change{Given: map[Digest][]string{digestOf(3, 0): {"of nothing"}}}},
		{"a.", Change{Reset: true, Base: baseOf(3, 1, 1000)}},
		{"", Change{Reset: true}},
		{"c.", Change{Base: baseOf(1<<32-1, 0, 20), Append: []Delta{deltaOf(1<<32-1, 0, 5)}}}, // wraps around
	}
	for i, x := range changes {
		if err := m.update(x.zone, x.c); err != nil {
			t.Fatal(i, err)
		}
		mustUpdate(t, j, x.zone, x.c)
		compare(t, m, j)
		mustClose(t, j)
		j = mustOpen(t, dir, Options{})
		compare(t, m, j)
	}
	if err := j.Forget("a."); err != nil {
		t.Fatal(err)
	}
	delete(m.zones, "a.")
	compare(t, m, j)
}

func TestInvalid(t *testing.T) {
	t.Parallel()
	m, j := newModel(0), mustOpen(t, t.TempDir(), Options{})
	start := Change{Base: baseOf(2, 0, 50), Given: map[Digest][]string{digestOf(2, 0): {"r"}}, Append: []Delta{deltaOf(1, 0, 5), deltaOf(2, 0, 5)}}
	if err := m.update("a.", start); err != nil {
		t.Fatal(err)
	}
	mustUpdate(t, j, "a.", start)
	negative := deltaOf(3, 0, 5)
	negative.AddedCount = -1
	otherSerial := deltaOf(3, 0, 5)
	otherSerial.From = 4
	for name, x := range map[string]struct {
		zone string
		c    Change
	}{
		"delta of nothing":     {"b.", Change{Append: []Delta{deltaOf(1, 0, 5)}}},
		"drop of nothing":      {"b.", Change{Drop: 1}},
		"delta after reset":    {"a.", Change{Reset: true, Append: []Delta{deltaOf(3, 0, 5)}}},
		"gap":                  {"a.", Change{Append: []Delta{deltaOf(4, 0, 5)}}},
		"gap within":           {"a.", Change{Append: []Delta{deltaOf(3, 0, 5), deltaOf(5, 0, 5)}}},
		"other digest":         {"a.", Change{Append: []Delta{deltaOf(3, 1, 5)}}},
		"other serial":         {"a.", Change{Append: []Delta{otherSerial}}},
		"drop too many":        {"a.", Change{Drop: 3}},
		"drop negative":        {"a.", Change{Drop: -1}},
		"base out of chain":    {"a.", Change{Base: baseOf(8, 0, 5)}},
		"base loses its delta": {"a.", Change{Drop: 2, Append: []Delta{deltaOf(3, 0, 5)}}},
		"base of other digest": {"a.", Change{Base: baseOf(2, 1, 5)}},
		"negative count":       {"a.", Change{Append: []Delta{negative}}},
		"message too long":     {"a.", Change{Base: baseOf(2, 0, 65536)}},
		"rule too long":        {"a.", Change{Given: map[Digest][]string{digestOf(2, 0): {strings.Repeat("r", MaxRule+1)}}}},
		"zone too long":        {strings.Repeat("z", MaxZone+1), Change{Base: baseOf(2, 0, 5)}},
	} {
		if err := j.Update(x.zone, x.c); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
		compare(t, m, j)
	}
	if _, err := j.Load(strings.Repeat("z", MaxZone+1)); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}

func TestLimit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const limit = 20_000
	m, j := newModel(limit), mustOpen(t, dir, Options{Limit: limit})
	full := 0
	for i := range uint32(40) {
		zone := fmt.Sprint(i % 3)
		c := Change{Append: []Delta{deltaOf(i/3, 0, int(i)*40)}, Given: map[Digest][]string{digestOf(i/3, 0): {"rule"}}}
		if m.zones[zone] == nil {
			c.Base = baseOf(i/3, 0, 1000)
		}
		want := m.update(zone, c)
		if got := j.Update(zone, c); !same(want, got) {
			t.Fatalf("change %d: %v, want %v", i, got, want)
		} else if got != nil {
			full++
		}
		compare(t, m, j)
		if j.Size() > limit {
			t.Fatalf("%d octets pass the limit", j.Size())
		}
	}
	if full == 0 {
		t.Fatal("the limit was never met")
	}
	mustClose(t, j)
	// With a lower limit than what is there, smaller is accepted and larger is not.
	j = mustOpen(t, dir, Options{Limit: 10})
	smaller := Change{Base: baseOf(1, 0, 1000), Drop: 1}
	if err := m.update("0", smaller); err != nil {
		t.Fatal(err)
	}
	mustUpdate(t, j, "0", smaller)
	err := j.Update("9", Change{Base: baseOf(1, 0, 1)})
	if !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "limit is 10 octets") {
		t.Fatal(err)
	}
	compare(t, m, j)
}

// Grants of versions that leave the chain go with them; others stay.
func TestGivenPruned(t *testing.T) {
	t.Parallel()
	j := mustOpen(t, t.TempDir(), Options{})
	given := map[Digest][]string{digestOf(1, 0): {"old"}, digestOf(2, 0): {"kept"}, digestOf(3, 0): {"new"}}
	mustUpdate(t, j, "a.", Change{Base: baseOf(3, 0, 50), Append: []Delta{deltaOf(1, 0, 5), deltaOf(2, 0, 5)}, Given: given})
	mustUpdate(t, j, "a.", Change{Drop: 1})
	delete(given, digestOf(1, 0))
	equalStates(t, &State{Base: *baseOf(3, 0, 50), Deltas: []Delta{deltaOf(2, 0, 5)}, Given: given}, mustLoad(t, j, "a."))
}

func TestConcurrent(t *testing.T) {
	t.Parallel()
	j := mustOpen(t, t.TempDir(), Options{})
	j.db.NoSync = true
	var wg sync.WaitGroup
	for w := range 8 {
		zone := fmt.Sprint(w)
		wg.Go(func() {
			if err := j.Update(zone, Change{Base: baseOf(0, w, 1000)}); err != nil {
				t.Error(err)
			}
			for i := range uint32(20) {
				if err := j.Update(zone, Change{Append: []Delta{deltaOf(i, w, 1000)}}); err != nil {
					t.Error(err)
				}
				s, err := j.Load(zone)
				if err != nil || len(s.Deltas) != int(i)+1 {
					t.Errorf("%v: %v", s, err)
				}
				_ = j.Size()
			}
		})
	}
	wg.Wait()
	var closing sync.WaitGroup
	for range 4 { // Close under way of other calls
		closing.Go(func() {
			if _, err := j.Load("1"); err != nil && !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
			if err := j.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	closing.Wait()
	if err := j.Update("1", Change{Drop: 1}); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

// A change that changes nothing writes nothing: bbolt counts no write.
func TestUnchangedIsFree(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := mustOpen(t, dir, Options{})
	given := map[Digest][]string{digestOf(1, 0): {"r"}}
	mustUpdate(t, j, "a.", Change{Base: baseOf(1, 0, 50), Given: given})
	writes := func() int64 { s := j.db.Stats(); return s.TxStats.GetWrite() }
	before := writes()
	mustUpdate(t, j, "a.", Change{Given: given})
	mustUpdate(t, j, "a.", Change{})
	mustUpdate(t, j, "b.", Change{})
	if err := j.Forget("b."); err != nil {
		t.Fatal(err)
	}
	if n := writes() - before; n != 0 {
		t.Fatalf("%d writes for nothing", n)
	}
}
