// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"
)

// A file of an earlier format, which had no serials or no notes, goes on with all that it
// has.
func TestEarlierFormats(t *testing.T) {
	t.Parallel()
	for _, earlier := range []string{formatFirst, formatSecond} {
		dir := t.TempDir()
		m := newModel(0)
		j := mustOpen(t, dir, Options{})
		for _, zone := range []string{"a.", "b."} {
			c := Change{Base: baseOf(1, 0, 500), Append: []Delta{deltaOf(1, 0, 100)}, Given: map[Digest][]string{digestOf(1, 0): {"r"}}}
			if err := m.update(zone, c); err != nil {
				t.Fatal(err)
			}
			mustUpdate(t, j, zone, c)
		}
		mustClose(t, j)
		err := bolt(filepath.Join(dir, FileName), func(tx *bbolt.Tx) error {
			for _, bucket := range buckets[len(bucketsOf(earlier)):] {
				if err := tx.DeleteBucket([]byte(bucket)); err != nil {
					return err
				}
			}
			return tx.Bucket([]byte(bucketTop)).Put(keyFormat, []byte(earlier))
		})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			j = mustOpen(t, dir, Options{})
			compare(t, m, j)
			c := Change{Serials: serialsOf(2, 2), Note: []byte("note")}
			if err := m.update("a.", c); err != nil {
				t.Fatal(err)
			}
			mustUpdate(t, j, "a.", c)
			compare(t, m, j)
			mustClose(t, j)
		}
	}
}

// A zone without its list of serials or its note, or one of them without its zone, is damage.
func TestListsMissing(t *testing.T) {
	t.Parallel()
	for _, bucket := range lists {
		for name, damage := range map[string]func(*bbolt.Bucket) error{
			"lost":  func(b *bbolt.Bucket) error { return b.Delete(slotKey(0)) },
			"stray": func(b *bbolt.Bucket) error { return b.Put(slotKey(9), seal(bucket, slotKey(9), nil)) },
			"size": func(b *bbolt.Bucket) error {
				return b.Put(slotKey(0), seal(bucket, slotKey(0), make([]byte, MaxNote+MaxSerials*serialOctets+1)))
			},
		} {
			dir := t.TempDir()
			m := sample(t, dir)
			err := bolt(filepath.Join(dir, FileName), func(tx *bbolt.Tx) error { return damage(tx.Bucket([]byte(bucket))) })
			if err != nil {
				t.Fatal(err)
			}
			if !probe(t, dir, m) {
				t.Errorf("%s %s: accepted", bucket, name)
			}
		}
	}
}
