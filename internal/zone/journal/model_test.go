// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"fmt"
	"os"
	"testing"

	"pgregory.net/rapid"
)

// Any sequence of changes, valid or not, of a few zones, with reopening in between:
// always what the naive model says.
func TestModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "journal")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		o := Options{Limit: rapid.SampledFrom([]int64{0, 0, 5_000, 300_000}).Draw(t, "limit")}
		m := newModel(o.Limit)
		j, err := Open(dir, o)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = j.Close() }()
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			j.db.NoSync = true // what is on disk after a crash is another test's
			zone := rapid.SampledFrom([]string{"", "a.", "b.", "a.b."}).Draw(t, "zone")
			switch rapid.IntRange(0, 11).Draw(t, "what") {
			case 0:
				if err := j.Close(); err != nil {
					t.Fatal(err)
				}
				if j, err = Open(dir, o); err != nil {
					t.Fatal(err)
				}
			case 1:
				delete(m.zones, zone)
				if err := j.Forget(zone); err != nil {
					t.Fatal(err)
				}
			default:
				c := drawChange(t, m.zones[zone])
				want := m.update(zone, c)
				if got := j.Update(zone, c); !same(want, got) {
					t.Fatalf("update %q: %v, want %v", zone, got, want)
				}
			}
			compare(t, m, j)
		}
	})
}

// drawChange draws a change that mostly fits to the state.
func drawChange(t *rapid.T, s *State) Change {
	c := Change{Reset: rapid.IntRange(0, 9).Draw(t, "reset") == 0}
	if c.Reset || s == nil {
		s = &State{}
	}
	lineage := rapid.IntRange(0, 1).Draw(t, "lineage")
	at := uint32(rapid.IntRange(0, 3).Draw(t, "serial")) - 2 // around zero: serials wrap
	if s.Base.Digest != (Digest{}) && rapid.IntRange(0, 19).Draw(t, "misfit") > 0 {
		at, lineage = s.Base.Serial, 0
		if s.Base.Digest == digestOf(at, 1) {
			lineage = 1
		}
		if n := len(s.Deltas); n > 0 {
			at = s.Deltas[n-1].To
		}
	}
	if n := len(s.Deltas); n > 0 || rapid.IntRange(0, 19).Draw(t, "bad drop") == 0 {
		c.Drop = rapid.IntRange(0, n+1).Draw(t, "drop") / 2
	}
	sizes := rapid.SampledFrom([]int{0, 1, 300, 5000, chunkOctets - 121, chunkOctets - 120, chunkOctets - 119, 3 * chunkOctets})
	for range rapid.IntRange(0, 3).Draw(t, "deltas") {
		c.Append = append(c.Append, deltaOf(at, lineage, sizes.Draw(t, "delta")))
		at++
	}
	if s.Base.Digest == (Digest{}) || c.Drop > 0 || rapid.IntRange(0, 3).Draw(t, "base") == 0 {
		lengths := rapid.SliceOfN(rapid.SampledFrom([]int{0, 12, 500, 16383, 65535}), 0, 6).Draw(t, "messages")
		c.Base = baseOf(at-uint32(rapid.IntRange(0, 2).Draw(t, "back"))/2, lineage, lengths...)
	}
	if n := rapid.SampledFrom([]int{-1, -1, 0, 1, 3, MaxSerials, MaxSerials + 1}).Draw(t, "serials"); n >= 0 {
		c.Serials = serialsOf(at, n)
	}
	if n := rapid.SampledFrom([]int{-1, -1, 0, 1, 60, MaxNote, MaxNote + 1}).Draw(t, "note"); n >= 0 {
		c.Note = octets(uint64(at), n)
	}
	for range rapid.IntRange(0, 2).Draw(t, "given") {
		if c.Given == nil {
			c.Given = make(map[Digest][]string)
		}
		d := digestOf(at-uint32(rapid.IntRange(0, 4).Draw(t, "given back")), lineage)
		c.Given[d] = append(c.Given[d], fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "rule")))
	}
	return c
}
