// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/xfrguard/xfrguard/internal/plainfile"

	"go.etcd.io/bbolt"
)

// FileName is the journal's name in its directory.
const FileName = "xfrguard.journal"

// Bounds of what callers name things.
const (
	MaxZone = 1024 // octets of a zone's identity
	MaxRule = 64   // octets of whom a version was given to
	// MaxSerials is how many serials are kept of one zone.
	MaxSerials = 1024
	MaxNote    = 1024 // octets of what is noted of a zone
)

// What an item counts beside its own octets, so that empty ones are not free.
const (
	chargeZone  = 256
	chargeDelta = 256
	chargeGiven = 64
)

var (
	// ErrCorrupt says that the file, or what it holds of one zone, is not as it was
	// written.
	ErrCorrupt = errors.New("journal is corrupt")
	// ErrFull says that a change would pass the limit; nothing was changed.
	ErrFull = errors.New("journal is full")
	// ErrInvalid says that a change does not fit to what is kept; nothing was changed.
	ErrInvalid = errors.New("change does not fit to the journal")
	// ErrClosed says that the journal was closed.
	ErrClosed = errors.New("journal is closed")
)

// Digest is a zone's content digest (SHA-384).
type Digest [48]byte

// Base is one whole version.
type Base struct {
	Serial uint32
	Digest Digest
	// Messages are the packed messages of an AXFR, each with its 12-octet header, without
	// length prefix, at most 65535 octets each; opaque here.
	Messages [][]byte
}

// Delta is what changed from one version to the next. Records are in uncompressed wire
// format, one after the other, opaque here; the SOAs are in OldSOA and NewSOA.
type Delta struct {
	From, To                 uint32
	FromDigest, ToDigest     Digest
	OldSOA, NewSOA           []byte
	Removed, Added           []byte
	RemovedCount, AddedCount int
}

// Size returns the octets of the delta's records.
func (d *Delta) Size() int {
	return len(d.OldSOA) + len(d.NewSOA) + len(d.Removed) + len(d.Added)
}

// State is what is kept of one zone.
type State struct {
	// Base is somewhere in the chain: at the begin or end of one of the deltas, or alone.
	Base Base
	// Deltas are oldest first; each begins where the one before ends, in serial and
	// digest.
	Deltas []Delta
	// Given tells to whom each version was given, in the order of their octets: opaque
	// strings of at most MaxRule octets.
	Given map[Digest][]string
	// Serials tells what serials have meant, those of the chain and others, in the order
	// in which the caller gave them.
	Serials []Serial
	// Note is what the caller has noted of the zone; opaque, nil for nothing.
	Note []byte
}

// Print stands for the content of a version.
type Print [16]byte

// Serial is what one serial of a zone has meant.
type Serial struct {
	Serial  uint32
	Content Print // the latest; zero when it is not known
	Forked  bool  // it has had another content before
}

// Change is one atomic change of a zone's state. Zero fields change nothing.
type Change struct {
	// Reset forgets everything that is kept of the zone first: a new lineage.
	Reset bool
	// Base replaces the base.
	Base *Base
	// Append goes to the end of the chain.
	Append []Delta
	// Drop is the number of deltas that go from the front, before Append.
	Drop int
	// Given is added. What is given of versions that the chain does not hold after the
	// change is not kept.
	Given map[Digest][]string
	// Serials replaces what serials have meant, unless it is nil. There are at most
	// MaxSerials.
	Serials []Serial
	// Note replaces what is noted of the zone, unless it is nil. It has at most MaxNote
	// octets. A zone without a base has no note.
	Note []byte
}

// Options are the settings of a journal.
type Options struct {
	// Limit bounds the counted octets of all zones: messages, records, names,
	// serials, and a charge for each zone, delta and given version. 0 is no limit. A change that makes the
	// journal smaller is always accepted.
	Limit int64
	// Timeout is how long to wait for the file's lock. 0 does not wait.
	Timeout time.Duration
}

// Journal is an open journal. It is safe for concurrent use; calls are done one after
// the other.
type Journal struct {
	path  string
	limit int64
	size  atomic.Int64

	// mu is held for each whole operation, not only for writes: when the memory map
	// faults, bbolt's own locks can stay locked, and then no other call may be on the way
	// into them.
	mu     sync.Mutex
	db     *bbolt.DB
	file   *plainfile.File
	broken error // every later call's answer
	stuck  bool  // bbolt's locks are not to be relied on any more
	closed bool
}

// Size returns the counted octets of all zones, see [Options.Limit].
func (j *Journal) Size() int64 { return j.size.Load() }

// Path returns the path of the journal's file.
func (j *Journal) Path() string { return j.path }

// Close releases the file. It waits for calls that are under way; later ones fail with
// ErrClosed.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return nil
	}
	j.closed = true
	return j.release()
}

// release closes bbolt, or only the file when bbolt would hang. The memory map is lost
// then, which is better than a hang.
func (j *Journal) release() error {
	if j.db == nil || j.stuck {
		return j.file.Close()
	}
	if err := j.db.Close(); err != nil {
		return j.explain(err)
	}
	return nil
}

// explain puts the path in front, and behind what the operator can do.
func (j *Journal) explain(err error) error {
	switch {
	case errors.Is(err, ErrCorrupt):
		return fmt.Errorf("%s: %w; move the file away and restart, a new one is begun and zones are transferred whole once", j.path, err)
	case errors.Is(err, ErrFull):
		return fmt.Errorf("%s: %w: the limit is %d octets", j.path, err, j.limit)
	}
	return fmt.Errorf("%s: %w", j.path, err)
}

// errUnchanged ends a writing transaction that has nothing to write.
var errUnchanged = errors.New("nothing to write")

func (j *Journal) view(fn func(*bbolt.Tx) error) error   { return j.run(false, fn) }
func (j *Journal) update(fn func(*bbolt.Tx) error) error { return j.run(true, fn) }

func (j *Journal) run(write bool, fn func(*bbolt.Tx) error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	err := j.broken
	switch {
	case j.closed:
		err = ErrClosed
	case err == nil:
		err = j.transact(write, fn)
	}
	if err != nil {
		return j.explain(err)
	}
	return nil
}

// transact does fn in a transaction. Neither a panic of bbolt nor a page that cannot be
// read ends the process: both break the journal. An error of fn rolls back;
// errUnchanged too, and is no error.
func (j *Journal) transact(write bool, fn func(*bbolt.Tx) error) error {
	var tx *bbolt.Tx
	if err := j.guard(func() (err error) { tx, err = j.db.Begin(write); return err }); err != nil {
		j.stuck = j.broken != nil
		return err
	}
	err := j.guard(func() error { return fn(tx) })
	if err == nil && write {
		if err = j.guard(tx.Commit); err != nil {
			// What is on disk now is unknown, and what the kernel still holds in memory may
			// never get there.
			j.broken = err
		}
	}
	// After a commit this does nothing.
	if rollback := j.guard(tx.Rollback); errors.Is(rollback, ErrCorrupt) {
		j.stuck = true
	}
	if errors.Is(err, errUnchanged) {
		return nil
	}
	return err
}

// guard turns a panic or a memory fault of fn into an error that breaks the journal.
func (j *Journal) guard(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: its content fails while it is open: %v", ErrCorrupt, p)
			j.broken = err
		}
	}()
	return fn()
}
