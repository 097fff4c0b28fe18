// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
)

// sample is a journal with a history, so that there are free pages and stale ones, and
// what it holds.
func sample(tb testing.TB, dir string) *model {
	tb.Helper()
	m, j := newModel(0), mustOpen(tb, dir, Options{})
	for i := range uint32(12) {
		for _, zone := range []string{"a.", "b."} {
			c := Change{Append: []Delta{deltaOf(i, 0, 200)}, Given: map[Digest][]string{digestOf(i, 0): {"r1", "r2"}}}
			if i == 0 {
				c.Base = baseOf(0, 0, 3000, 70)
			}
			if i > 4 {
				c.Serials = serialsOf(i, int(i))
			}
			if i > 8 {
				c.Base, c.Drop = baseOf(i, 0, 2000, 9000), 2
			}
			if err := m.update(zone, c); err != nil {
				tb.Fatal(err)
			}
			mustUpdate(tb, j, zone, c)
		}
	}
	compare(tb, m, j)
	mustClose(tb, j)
	return m
}

// probe opens a file that may be damaged: either all is as it was, or ErrCorrupt.
func probe(tb testing.TB, dir string, m *model) (refused bool) {
	tb.Helper()
	j, err := Open(dir, Options{})
	if err != nil {
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "move the file away") {
			tb.Fatal(err)
		}
		return true
	}
	defer j.Close()
	names, err := j.Zones()
	if err != nil || len(names) != len(m.zones) || j.Size() != m.size() {
		tb.Fatal(names, err, j.Size())
	}
	for zone, want := range m.zones {
		s, err := j.Load(zone)
		if errors.Is(err, ErrCorrupt) {
			refused = true
			continue
		}
		if err != nil {
			tb.Fatal(err)
		}
		equalStates(tb, want, s)
	}
	return refused
}

// One damaged bit, anywhere: refused or harmless, never another state.
func TestBitFlips(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := sample(t, dir)
	path := filepath.Join(dir, FileName)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	refused, tried := 0, 0
	for off := 0; off < len(good); off++ {
		if off%pageOctets >= 160 && off%61 != 0 { // all of the headers and entry tables, a sample of the rest
			continue
		}
		if _, err := f.WriteAt([]byte{good[off] ^ 1<<(off%8)}, int64(off)); err != nil {
			t.Fatal(err)
		}
		tried++
		if probe(t, dir, m) {
			refused++
		}
		if _, err := f.WriteAt(good[off:off+1], int64(off)); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d of %d flips in %d octets refused, the others harmless", refused, tried, len(good))
	if refused < tried/20 || probe(t, dir, m) {
		t.Error("the sweep sees nothing, or does not restore the file")
	}
}

func TestTruncated(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := sample(t, dir)
	path := filepath.Join(dir, FileName)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	used := int(binary.NativeEndian.Uint64(good[headerOctets+40:])) * pageOctets
	for size := 0; size < len(good); size += pageOctets / 2 {
		if err := os.WriteFile(path, good[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		if refused := probe(t, dir, m); !refused && size < used-8*pageOctets {
			t.Errorf("cut off at %d of %d: accepted", size, used)
		}
	}
}

func TestForeign(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		make func(path string) error
		says string
	}{
		"empty":   {func(p string) error { return os.WriteFile(p, nil, 0o600) }, "it is empty"},
		"garbage": {func(p string) error { return os.WriteFile(p, octets(1, 100_000), 0o600) }, "not one of a journal"},
		"zeros":   {func(p string) error { return os.WriteFile(p, make([]byte, 100_000), 0o600) }, "not one of a journal"},
		"another program's": {func(p string) error {
			return bolt(p, func(tx *bbolt.Tx) error {
				b, err := tx.CreateBucket([]byte("x"))
				if err != nil {
					return err
				}
				_, err = b.CreateBucket([]byte("y"))
				return err
			})
		}, "of another program"},
		"newer": {nil, "which this version does not know"},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, FileName)
		if name == "newer" {
			mustClose(t, mustOpen(t, dir, Options{}))
			x.make = func(p string) error {
				return bolt(p, func(tx *bbolt.Tx) error {
					return tx.Bucket([]byte(bucketTop)).Put(keyFormat, []byte(formatPrefix+"4"))
				})
			}
		}
		if err := x.make(path); err != nil {
			t.Fatal(err)
		}
		_, err := Open(dir, Options{})
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), x.says) || !strings.HasPrefix(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func bolt(path string, fn func(*bbolt.Tx) error) error {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{PageSize: pageOctets})
	if err != nil {
		return err
	}
	return errors.Join(db.Update(fn), db.Close())
}

// The file is cut off while it is open: the memory map faults, which is an error and
// not the end of the process, and Close does not hang.
func TestTruncatedWhileOpen(t *testing.T) {
	t.Parallel()
	for _, size := range []int64{0, 2 * pageOctets, 5 * pageOctets} {
		dir := t.TempDir()
		sample(t, dir)
		j := mustOpen(t, dir, Options{})
		if err := os.Truncate(filepath.Join(dir, FileName), size); err != nil {
			t.Fatal(err)
		}
		if _, err := j.Load("a."); !errors.Is(err, ErrCorrupt) {
			t.Errorf("load: %v", err)
		}
		if err := j.Update("a.", Change{Append: []Delta{deltaOf(12, 0, 10)}}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("update: %v", err)
		}
		mustClose(t, j)
		if _, err := Open(dir, Options{}); !errors.Is(err, ErrCorrupt) { // not plainfile.ErrLocked
			t.Errorf("open: %v", err)
		}
	}
}

// A child whose first key is not its parent's: in order, but bbolt would lose its way
// when it changes the page.
func TestChildKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	sample(t, dir)
	path := filepath.Join(dir, FileName)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	order := binary.NativeEndian
	refused := 0
	for page := 2; page < len(good)/pageOctets; page++ {
		b := good[page*pageOctets:]
		if order.Uint16(b[8:]) != flagBranch {
			continue
		}
		child := int(order.Uint64(b[headerOctets+8:])) * pageOctets
		key := child + headerOctets + elemOctets*int(order.Uint16(good[child+10:]))
		bad := append([]byte(nil), good...)
		bad[key+int(order.Uint32(good[child+headerOctets+8:]))-1]++
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := Open(dir, Options{})
		if errors.Is(err, ErrCorrupt) && strings.Contains(err.Error(), "out of order") {
			refused++
		}
		if err == nil { // a stale page
			for _, zone := range []string{"a.", "b."} {
				if err := j.Forget(zone); err != nil {
					t.Errorf("page %d: %v", page, err)
				}
			}
			mustClose(t, j)
		}
	}
	if refused == 0 {
		t.Error("none was refused")
	}
}
