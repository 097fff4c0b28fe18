// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
)

// Whatever decodes encodes to the same octets: no two encodings of one value, nothing
// ignored.
func FuzzDecodeRecords(f *testing.F) {
	l := linkOf(&Delta{From: 1, To: 2, OldSOA: []byte("x"), RemovedCount: 3})
	f.Add((&top{3, 2, 1}).encode())
	f.Add((&head{slot: 1, baseOctets: 8, messages: 4}).encode())
	f.Add(l.encode())
	f.Add(givenKey(1, Digest{2}, "rule"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, err := decodeTop(b); err == nil && !bytes.Equal(v.encode(), b) {
			t.Error("top")
		}
		if v, err := decodeHead(b); err == nil && !bytes.Equal(v.encode(), b) {
			t.Error("head")
		}
		if v, err := decodeLink(b); err == nil && !bytes.Equal(v.encode(), b) {
			t.Error("link")
		}
		if slot, digest, rule, err := decodeGiven(b); err == nil && !bytes.Equal(givenKey(slot, digest, rule), b) {
			t.Error("given")
		}
		if all, err := decodeSerials(b); err == nil && !bytes.Equal(encodeSerials(all), b) {
			t.Error("serials")
		}
		for _, bucket := range buckets {
			if v, err := unseal(nil, bucket, []byte("key"), b); err == nil && !bytes.Equal(seal(bucket, []byte("key"), v), b) {
				t.Error("seal")
			}
		}
	})
}

func FuzzDecodeMessages(f *testing.F) {
	f.Add([]byte{0, 2, 'a', 'b', 0, 0}, uint64(2))
	f.Add([]byte{0, 9, 'a'}, uint64(1))
	f.Fuzz(func(t *testing.T, stream []byte, count uint64) {
		all, err := splitMessages(stream, count)
		if err != nil {
			return
		}
		var again []byte
		for _, m := range all {
			again = append(binary.BigEndian.AppendUint16(again, uint16(len(m))), m...)
		}
		if !bytes.Equal(again, stream) || uint64(len(all)) != count {
			t.Error("messages differ")
		}
	})
}

// Patches on a good file, six octets each: offset and two octets. No panic, no fault,
// no hang; and what opens takes a change.
func FuzzDecodeFile(f *testing.F) {
	dir := f.TempDir()
	sample(f, dir)
	good, err := os.ReadFile(filepath.Join(dir, FileName))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{})
	f.Add([]byte{0, 0, 0x30, 8, 0x10, 0})
	f.Add([]byte{0, 0, 0x10, 0x10, 7, 7, 0, 0, 0x50, 0, 1, 1})
	f.Fuzz(func(t *testing.T, patches []byte) {
		bad := bytes.Clone(good)
		for ; len(patches) >= 6; patches = patches[6:] {
			off := int(binary.BigEndian.Uint32(patches)) % (len(bad) - 1)
			copy(bad[off:], patches[4:6])
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, FileName), bad, 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := Open(dir, Options{})
		if err != nil {
			return
		}
		j.db.NoSync = true
		zones, err := j.Zones()
		if err != nil {
			t.Fatal(err)
		}
		for _, z := range zones {
			_, _ = j.Load(z)
			if err := j.Forget(z); err != nil {
				t.Fatal(err)
			}
		}
		mustUpdate(t, j, "a.", Change{Base: baseOf(1, 0, 100)})
		mustLoad(t, j, "a.")
		mustClose(t, j)
	})
}
