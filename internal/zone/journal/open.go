// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"go.etcd.io/bbolt"
)

const (
	fileMode = 0o600
	dirMode  = 0o700
	// growOctets is how much the file grows at a time once it is larger than that.
	growOctets = 1 << 20
)

// Open opens the journal in dir, and makes both when they are missing. It fails with
// ErrCorrupt, plainfile.ErrLocked, plainfile.ErrUnsafe or an error of the file system;
// none of them changes the file. dir's parent must be there.
func Open(dir string, o Options) (*Journal, error) {
	if err := os.Mkdir(dir, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("journal: %w", err)
	}
	j := &Journal{path: filepath.Join(dir, FileName), limit: o.Limit}
	file, made, err := openOrMake(j.path, o.Timeout)
	if err != nil {
		return nil, err
	}
	j.file = file
	if err := j.begin(made); err != nil {
		return nil, errors.Join(j.explain(err), j.release())
	}
	return j, nil
}

// begin checks the file, or fills one that was just made and gives it its name, and
// hands it to bbolt.
func (j *Journal) begin(made bool) error {
	if !made {
		st, err := j.file.Stat()
		if err != nil {
			return err
		}
		if err := checkFile(j.file, st.Size()); err != nil {
			return err
		}
	}
	if err := j.guard(j.openBolt); err != nil {
		j.stuck = j.broken != nil
		return err
	}
	if made {
		if err := j.transact(true, fill); err != nil {
			return err
		}
		if err := publish(j.path); err != nil {
			return err
		}
	}
	if err := j.transact(true, upgrade); err != nil {
		return err
	}
	return j.transact(false, func(tx *bbolt.Tx) error {
		size, err := verify(tx, format)
		j.size.Store(size)
		return err
	})
}

// upgrade brings a file of an earlier format to this one: nothing is known of what its
// zones' serials have meant, or is noted of them.
func upgrade(tx *bbolt.Tx) error {
	b := tx.Bucket([]byte(bucketTop))
	if b == nil {
		return errUnchanged
	}
	earlier := string(b.Get(keyFormat))
	if earlier != formatFirst && earlier != formatSecond {
		return errUnchanged
	}
	if _, err := verify(tx, earlier); err != nil {
		return err
	}
	for _, bucket := range buckets[len(bucketsOf(earlier)):] {
		if _, err := tx.CreateBucket([]byte(bucket)); err != nil {
			return err
		}
		err := scan(tx, bucketZones, nil, func(_, payload []byte) error {
			h, err := decodeHead(payload)
			if err != nil {
				return err
			}
			return put(tx, bucket, slotKey(h.slot), nil)
		})
		if err != nil {
			return err
		}
	}
	return b.Put(keyFormat, []byte(format))
}

func (j *Journal) openBolt() (err error) {
	j.db, err = bbolt.Open(j.path, fileMode, &bbolt.Options{
		PageSize: pageOctets,
		// The lock is held already; a second one on the same open file is the same lock.
		OpenFile: func(string, int, os.FileMode) (*os.File, error) { return j.file.File, nil },
		// The lowest free pages first: the file stays small.
		FreelistType: bbolt.FreelistArrayType,
	})
	if err != nil {
		j.db = nil
		return fmt.Errorf("open as bbolt: %w", err)
	}
	j.db.AllocSize = growOctets
	return nil
}

// fill writes an empty journal.
func fill(tx *bbolt.Tx) error {
	for _, name := range buckets {
		if _, err := tx.CreateBucket([]byte(name)); err != nil {
			return err
		}
	}
	if err := tx.Bucket([]byte(bucketTop)).Put(keyFormat, []byte(format)); err != nil {
		return err
	}
	return put(tx, bucketTop, keyState, (&top{}).encode())
}

// put stores a sealed value.
func put(tx *bbolt.Tx, bucket string, key, payload []byte) error {
	return tx.Bucket([]byte(bucket)).Put(key, seal(bucket, key, payload))
}

// get returns a value's payload; nil when it is not there.
func get(tx *bbolt.Tx, bucket string, key []byte) ([]byte, error) {
	value := tx.Bucket([]byte(bucket)).Get(key)
	if value == nil {
		return nil, nil
	}
	return unseal(make([]byte, 0, len(value)), bucket, key, value)
}

// scan visits what is in a bucket under a prefix, in the order of keys. It fails on a
// bucket within. The payload is good only during the visit, the key only in the
// transaction.
func scan(tx *bbolt.Tx, bucket string, prefix []byte, visit func(key, payload []byte) error) error {
	c := tx.Bucket([]byte(bucket)).Cursor()
	var buf []byte
	for k, v := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, v = c.Next() {
		if v == nil {
			return corrupt("a bucket within %s", bucket)
		}
		payload, err := unseal(buf[:0], bucket, k, v)
		if err != nil {
			return err
		}
		buf = payload
		if err := visit(k, payload); err != nil {
			return err
		}
	}
	return nil
}

// verifier compares the counts of heads with what is there, so that no zone, delta or
// grant is missing without a trace.
type verifier struct {
	bySlot map[uint64]*head
	links  map[uint64]uint64
	given  map[uint64]uint64
}

// verify checks all but the bases and the records of deltas, which Load checks. It
// returns the counted octets.
func verify(tx *bbolt.Tx, format string) (int64, error) {
	if err := verifyFormat(tx, format); err != nil {
		return 0, err
	}
	t, err := readTop(tx)
	if err != nil {
		return 0, err
	}
	v := verifier{make(map[uint64]*head), make(map[uint64]uint64), make(map[uint64]uint64)}
	var octets uint64
	err = scan(tx, bucketZones, nil, func(key, payload []byte) error {
		h, err := decodeHead(payload)
		if err != nil {
			return err
		}
		if len(key) == 0 || len(key) > 1+MaxZone || key[0] != 'z' || h.slot >= t.next || v.bySlot[h.slot] != nil {
			return corrupt("the head of zone %q is out of bounds", key)
		}
		v.bySlot[h.slot] = &h
		octets += h.octets
		return nil
	})
	if err != nil {
		return 0, err
	}
	if uint64(len(v.bySlot)) != t.zones || octets != t.octets {
		return 0, corrupt("it has %d zones with %d octets, not %d with %d", len(v.bySlot), octets, t.zones, t.octets)
	}
	if err := v.counts(tx); err != nil {
		return 0, err
	}
	for _, bucket := range bucketsOf(format) {
		if !slices.Contains(lists, bucket) {
			continue
		}
		if err := v.list(tx, bucket); err != nil {
			return 0, err
		}
	}
	return int64(octets), nil
}

// list checks that each zone has its value in a bucket.
func (v *verifier) list(tx *bbolt.Tx, bucket string) error {
	found := 0
	err := scan(tx, bucket, nil, func(key, payload []byte) (err error) {
		if len(key) != 8 || v.bySlot[big64(key)] == nil {
			return corrupt("%s that belong to no zone", bucket)
		}
		found++
		if bucket == bucketSerials {
			_, err = decodeSerials(payload)
		} else if len(payload) > MaxNote {
			err = corrupt("a note of %d octets", len(payload))
		}
		return err
	})
	if err == nil && found != len(v.bySlot) {
		err = corrupt("a zone has lost its %s", bucket)
	}
	return err
}

func (v *verifier) counts(tx *bbolt.Tx) error {
	err := scan(tx, bucketLinks, nil, func(key, payload []byte) error {
		if len(key) != 16 {
			return corrupt("a delta's name has %d octets", len(key))
		}
		slot, number := big64(key), big64(key[8:])
		if h := v.bySlot[slot]; h == nil || number < h.first || number-h.first >= h.links {
			return corrupt("a delta that belongs to no zone")
		}
		v.links[slot]++
		_, err := decodeLink(payload)
		return err
	})
	if err != nil {
		return err
	}
	err = scan(tx, bucketGiven, nil, func(key, payload []byte) error {
		slot, _, _, err := decodeGiven(key)
		if err == nil && (v.bySlot[slot] == nil || len(payload) != 0) {
			err = corrupt("a given version that belongs to no zone")
		}
		v.given[slot]++
		return err
	})
	if err != nil {
		return err
	}
	for slot, h := range v.bySlot {
		if v.links[slot] != h.links || v.given[slot] != h.given {
			return corrupt("a zone has %d deltas and %d given versions, not %d and %d", v.links[slot], v.given[slot], h.links, h.given)
		}
	}
	return nil
}

// verifyFormat tells another program's file and a newer version's from a journal.
func verifyFormat(tx *bbolt.Tx, format string) error {
	buckets := bucketsOf(format)
	b := tx.Bucket([]byte(bucketTop))
	if b == nil {
		return corrupt("it is a bbolt file of another program")
	}
	value := b.Get(keyFormat)
	if !bytes.HasPrefix(value, []byte(formatPrefix)) {
		return corrupt("it is a bbolt file of another program")
	}
	if string(value) != format {
		return corrupt("it has the format %q, which this version does not know: it knows %q", value, format)
	}
	n := 0
	err := tx.ForEach(func(_ []byte, b *bbolt.Bucket) error {
		n++
		if b == nil {
			return corrupt("a value beside the buckets")
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, name := range buckets {
		if tx.Bucket([]byte(name)) == nil {
			return corrupt("it has no bucket %q", name)
		}
	}
	if n != len(buckets) {
		return corrupt("it has %d buckets, not %d", n, len(buckets))
	}
	return nil
}

func readTop(tx *bbolt.Tx) (top, error) {
	b, err := get(tx, bucketTop, keyState)
	if err != nil {
		return top{}, err
	}
	return decodeTop(b)
}
