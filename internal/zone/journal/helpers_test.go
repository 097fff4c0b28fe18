// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// failer is what testing.TB and *rapid.T have in common.
type failer interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func mustOpen(tb testing.TB, dir string, o Options) *Journal {
	tb.Helper()
	j, err := Open(dir, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = j.Close() })
	return j
}

func mustUpdate(tb testing.TB, j *Journal, zone string, c Change) {
	tb.Helper()
	if err := j.Update(zone, c); err != nil {
		tb.Fatal(err)
	}
}

func mustLoad(tb failer, j *Journal, zone string) *State {
	tb.Helper()
	s, err := j.Load(zone)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func mustClose(tb testing.TB, j *Journal) {
	tb.Helper()
	if err := j.Close(); err != nil {
		tb.Fatal(err)
	}
}

// sameState compares by hand: cmp walks octets one by one.
func sameState(a, b *State) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Base.Serial == b.Base.Serial && a.Base.Digest == b.Base.Digest &&
		slices.EqualFunc(a.Base.Messages, b.Base.Messages, bytes.Equal) &&
		slices.EqualFunc(a.Deltas, b.Deltas, sameDelta) && slices.Equal(a.Serials, b.Serials) && bytes.Equal(a.Note, b.Note) && maps.EqualFunc(a.Given, b.Given, slices.Equal[[]string])
}

func sameDelta(a, b Delta) bool {
	return a.From == b.From && a.To == b.To && a.FromDigest == b.FromDigest && a.ToDigest == b.ToDigest &&
		bytes.Equal(a.OldSOA, b.OldSOA) && bytes.Equal(a.NewSOA, b.NewSOA) && bytes.Equal(a.Removed, b.Removed) &&
		bytes.Equal(a.Added, b.Added) && a.RemovedCount == b.RemovedCount && a.AddedCount == b.AddedCount
}

func equalStates(tb failer, want, got *State) {
	tb.Helper()
	if !sameState(want, got) {
		tb.Fatalf("state differs:\nwant %.300s\ngot  %.300s", fmt.Sprintf("%+v", want), fmt.Sprintf("%+v", got))
	}
}

// digestOf is any digest that differs when the serial or the lineage does.
func digestOf(serial uint32, lineage int) Digest {
	return sha512.Sum384(fmt.Appendf(nil, "%d/%d", serial, lineage))
}

// octets are n octets that depend on the seed.
func octets(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, 0))
	for i := 0; i+8 <= n; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], r.Uint64())
	}
	return b
}

func baseOf(serial uint32, lineage int, sizes ...int) *Base {
	b := &Base{Serial: serial, Digest: digestOf(serial, lineage)}
	for i, n := range sizes {
		b.Messages = append(b.Messages, octets(uint64(serial)<<16+uint64(i), n))
	}
	return b
}

// serialsOf are n serials up to one.
func serialsOf(last uint32, n int) []Serial {
	all := make([]Serial, n)
	for i := range all {
		d := digestOf(last-uint32(i), 0)
		all[i] = Serial{Serial: last - uint32(i), Content: Print(d[:16]), Forked: i%3 == 1}
	}
	return all
}

// deltaOf leads to the next serial, with n octets of records beside the SOAs.
func deltaOf(from uint32, lineage, n int) Delta {
	seed := uint64(from) << 20
	return Delta{
		From: from, To: from + 1, FromDigest: digestOf(from, lineage), ToDigest: digestOf(from+1, lineage),
		OldSOA: octets(seed, 60), NewSOA: octets(seed+1, 60),
		Removed: octets(seed+2, n/3), Added: octets(seed+3, n-n/3), RemovedCount: n / 100, AddedCount: n / 50,
	}
}

// model is the naive journal: everything in memory, nothing clever. It is written from
// the API's documentation.
type model struct {
	limit int64
	zones map[string]*State
}

func newModel(limit int64) *model { return &model{limit, make(map[string]*State)} }

// size counts as Options.Limit says.
func (m *model) size() int64 {
	total := 0
	for zone, s := range m.zones {
		total += chargeZone + len(zone)
		for _, msg := range s.Base.Messages {
			total += 2 + len(msg)
		}
		for i := range s.Deltas {
			total += chargeDelta + s.Deltas[i].Size()
		}
		total += len(s.Serials)*serialOctets + len(s.Note)
		for _, rules := range s.Given {
			for _, r := range rules {
				total += chargeGiven + len(Digest{}) + len(r)
			}
		}
	}
	return int64(total)
}

func (m *model) update(zone string, c Change) error {
	before := m.size()
	kept := m.zones[zone]
	var s State
	switch {
	case kept != nil && !c.Reset:
		s = State{Base: kept.Base, Deltas: slices.Clone(kept.Deltas), Given: maps.Clone(kept.Given), Serials: kept.Serials, Note: kept.Note}
	case c.Base != nil:
		s = State{Given: make(map[Digest][]string)}
	case len(c.Append) > 0 || c.Drop > 0:
		return ErrInvalid
	default:
		delete(m.zones, zone)
		return nil
	}
	if c.Base != nil {
		s.Base = *c.Base
	}
	if c.Serials != nil {
		s.Serials = c.Serials
	}
	if c.Note != nil {
		s.Note = c.Note
	}
	if len(c.Serials) > MaxSerials || len(c.Note) > MaxNote || c.Drop < 0 || c.Drop > len(s.Deltas) {
		return ErrInvalid
	}
	s.Deltas = append(s.Deltas[c.Drop:], c.Append...)
	known, ok := s.versions()
	if !ok {
		return ErrInvalid
	}
	for digest, rules := range c.Given {
		all := append(slices.Clone(s.Given[digest]), rules...)
		slices.Sort(all)
		s.Given[digest] = slices.Compact(all)
	}
	maps.DeleteFunc(s.Given, func(d Digest, rules []string) bool { return !known[d] || len(rules) == 0 })
	m.zones[zone] = &s
	if after := m.size(); m.limit > 0 && after > m.limit && after > before {
		m.zones[zone] = kept
		if kept == nil {
			delete(m.zones, zone)
		}
		return ErrFull
	}
	return nil
}

// versions returns the versions of a chain, and whether it is one that the base belongs
// to.
func (s *State) versions() (map[Digest]bool, bool) {
	type version struct {
		serial uint32
		digest Digest
	}
	met := make(map[version]bool)
	for i, d := range s.Deltas {
		if i > 0 && (s.Deltas[i-1].To != d.From || s.Deltas[i-1].ToDigest != d.FromDigest) {
			return nil, false
		}
		met[version{d.From, d.FromDigest}] = true
		met[version{d.To, d.ToDigest}] = true
	}
	base := version{s.Base.Serial, s.Base.Digest}
	if len(s.Deltas) > 0 && !met[base] {
		return nil, false
	}
	met[base] = true
	digests := make(map[Digest]bool)
	for v := range met {
		digests[v.digest] = true
	}
	return digests, true
}

// same reports whether an error is of the class that the model says.
func same(want, got error) bool {
	if want == nil || got == nil {
		return want == got //nolint:errorlint // both nil
	}
	return errors.Is(got, want)
}

func compare(tb failer, m *model, j *Journal) {
	tb.Helper()
	names, err := j.Zones()
	if err != nil {
		tb.Fatal(err)
	}
	if want := slices.Sorted(maps.Keys(m.zones)); !slices.Equal(want, names) {
		tb.Fatalf("zones %q, want %q", names, want)
	}
	for zone, s := range m.zones {
		equalStates(tb, s, mustLoad(tb, j, zone))
	}
	if got, want := j.Size(), m.size(); got != want {
		tb.Fatalf("size %d, want %d", got, want)
	}
}
