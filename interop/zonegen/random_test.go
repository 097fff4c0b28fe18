// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zonegen

import (
	"maps"
	"testing"
)

// TestRandom: equal seeds give equal zone files, and within some hundred there is every
// kind of thing, type and quirk.
func TestRandom(t *testing.T) {
	kinds, quirks := make(map[string]int), make(map[Quirk]int)
	plain, included := 0, 0
	for seed := range uint64(600) {
		z := NewRandom("random.test.", "/dir", seed)
		again := NewRandom("random.test.", "/dir", seed)
		if z.Text != again.Text || !maps.Equal(z.Included, again.Included) {
			t.Fatalf("seed %d gave two zones", seed)
		}
		for kind, n := range z.Kinds {
			kinds[kind] += n
		}
		for _, odd := range z.Odd {
			quirks[odd.Quirk]++
		}
		if included += len(z.Included); z.Plain {
			plain++
		}
	}
	for _, thing := range things {
		if kinds[thing.name] == 0 {
			t.Errorf("there is no %s", thing.name)
		}
	}
	for _, all := range [][]kind{common, others} {
		for _, k := range all {
			if kinds[k.name] == 0 {
				t.Errorf("there is no %s", k.name)
			}
		}
	}
	for _, q := range Quirks {
		if quirks[q] == 0 {
			t.Errorf("there is no %s", q)
		}
	}
	if plain < 200 || plain > 400 || included == 0 {
		t.Errorf("%d of 600 zones are plain, %d files are included", plain, included)
	}
}
