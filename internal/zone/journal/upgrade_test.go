// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"
)

// A file of the first format, which had no serials, goes on with all that it has.
func TestFirstFormat(t *testing.T) {
	t.Parallel()
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
		if err := tx.DeleteBucket([]byte(bucketSerials)); err != nil {
			return err
		}
		return tx.Bucket([]byte(bucketTop)).Put(keyFormat, []byte(formatFirst))
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		j = mustOpen(t, dir, Options{})
		compare(t, m, j)
		c := Change{Serials: serialsOf(2, 2)}
		if err := m.update("a.", c); err != nil {
			t.Fatal(err)
		}
		mustUpdate(t, j, "a.", c)
		compare(t, m, j)
		mustClose(t, j)
	}
}

// A zone without its list of serials, or a list without its zone, is damage.
func TestSerialsMissing(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(*bbolt.Bucket) error{
		"lost":  func(b *bbolt.Bucket) error { return b.Delete(slotKey(0)) },
		"stray": func(b *bbolt.Bucket) error { return b.Put(slotKey(9), seal(bucketSerials, slotKey(9), nil)) },
		"cut": func(b *bbolt.Bucket) error {
			return b.Put(slotKey(0), seal(bucketSerials, slotKey(0), make([]byte, 5)))
		},
	} {
		dir := t.TempDir()
		m := sample(t, dir)
		err := bolt(filepath.Join(dir, FileName), func(tx *bbolt.Tx) error { return damage(tx.Bucket([]byte(bucketSerials))) })
		if err != nil {
			t.Fatal(err)
		}
		if !probe(t, dir, m) {
			t.Errorf("%s: accepted", name)
		}
	}
}
