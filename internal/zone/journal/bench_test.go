// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"testing"
)

// bigBase is a base of 28 MB: a million records in messages just below 16 KiB.
func bigBase() *Base {
	sizes := make([]int, 1750)
	for i := range sizes {
		sizes[i] = 16_000
	}
	return baseOf(0, 0, sizes...)
}

// One delta of ten changes to a chain of 100, the oldest goes: mostly the cost of the
// sync.
func BenchmarkUpdateSmall(b *testing.B) {
	for name, noSync := range map[string]bool{"sync": false, "nosync": true} {
		b.Run(name, func(b *testing.B) {
			j := mustOpen(b, b.TempDir(), Options{})
			j.db.NoSync = true
			for n := range uint32(100) {
				c := Change{Append: []Delta{deltaOf(n, 0, 800)}}
				if n == 0 {
					c.Base = baseOf(0, 0, 16_000)
				}
				mustUpdate(b, j, "a.", c)
			}
			j.db.NoSync = noSync
			n := uint32(100)
			for b.Loop() {
				c := Change{Append: []Delta{deltaOf(n, 0, 800)}, Drop: 1, Base: baseOf(n, 0, 500)}
				mustUpdate(b, j, "a.", c)
				n++
			}
		})
	}
}

func BenchmarkUpdateBase28MB(b *testing.B) {
	j := mustOpen(b, b.TempDir(), Options{})
	base := bigBase()
	b.SetBytes(28_000_000)
	for b.Loop() {
		mustUpdate(b, j, "a.", Change{Base: base})
	}
}

func BenchmarkLoad28MB(b *testing.B) {
	j := mustOpen(b, b.TempDir(), Options{})
	mustUpdate(b, j, "a.", Change{Base: bigBase()})
	b.SetBytes(28_000_000)
	for b.Loop() {
		mustLoad(b, j, "a.")
	}
}

func BenchmarkOpen28MB(b *testing.B) {
	dir := b.TempDir()
	j := mustOpen(b, dir, Options{})
	mustUpdate(b, j, "a.", Change{Base: bigBase()})
	mustClose(b, j)
	for b.Loop() {
		mustClose(b, mustOpen(b, dir, Options{}))
	}
}
