// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"os"
	"testing"
)

// Pages are used again: after 1,000 changes of a chain with a bounded length, with a
// new base now and then, the file is at most four times the largest payload and 2 MiB.
func TestFileStaysSmall(t *testing.T) {
	t.Parallel()
	j := mustOpen(t, t.TempDir(), Options{})
	j.db.NoSync = true
	mustUpdate(t, j, "a.", Change{Base: baseOf(0, 0, 60_000, 60_000, 60_000, 60_000)})
	var most int64
	for n := range uint32(1000) {
		c := Change{Append: []Delta{deltaOf(n, 0, int(n*7919%40_000))}}
		if n%17 == 0 {
			c.Base = baseOf(n+1, 0, 60_000, int(n%50)*1000, 60_000, 60_000)
		}
		if n >= 60 && n%17 < 12 {
			c.Drop = 1
			if n%17 == 0 {
				c.Drop = 6
			}
		}
		mustUpdate(t, j, "a.", c)
		most = max(most, j.Size())
	}
	st, err := os.Stat(j.Path())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("file %d octets, payload at most %d: %.2f times", st.Size(), most, float64(st.Size())/float64(most))
	if st.Size() > 4*most+2<<20 {
		t.Errorf("file of %d octets for a payload of at most %d", st.Size(), most)
	}
}
