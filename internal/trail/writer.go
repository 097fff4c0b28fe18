// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package trail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/xfrguard/xfrguard/internal/plainfile"
)

// Bounds of what waits and of what is written at once.
const (
	maxQueue     = 4096      // appends that wait
	maxGroup     = 256       // appends in one group
	maxPosts     = 4096      // posts that wait, lines
	maxPostBytes = 4 << 20   // and bytes: 1,024 of the longest lines
	maxPostGroup = 64 << 10  // bytes of posts in one group: they take some 0.1 ms
	maxUnsynced  = 256 << 10 // bytes of posts that were written but not synced
	keepBuffer   = 256 << 10 // bytes of the write buffer that are kept: some 200 lines
)

// Times.
const (
	lookEvery  = time.Second           // for a rename or a delete, and between two syncs of posts
	firstRetry = 50 * time.Millisecond // after the file went down; doubled
	lastRetry  = time.Second           // up to this
)

type requestState int

const (
	queued    requestState = iota
	taken                  // by the writer: its fate is open
	abandoned              // taken, and nobody waits for it any more
	finished
)

// request is one Append.
type request struct {
	event []byte
	done  chan error // has room for one
	since time.Time  // when it was queued
	state requestState
	seq   uint64 // of its line, set by the writer
	stays uint64 // sequence of a line that a failed write has left in the file; 0 is none
}

// writer is the one goroutine that touches a file, and the lines that wait for it.
//
// All other goroutines leave requests under mu and poke it, so that a file system that
// hangs holds up this goroutine alone.
type writer struct {
	path, dir string
	opts      Options
	disk      disk
	readClock func() Clock
	wake      chan struct{}
	ready     chan struct{} // closed when startErr is set
	done      chan struct{} // closed when closeErr is set and the goroutine ends
	startErr  error
	closeErr  error

	telling sync.Mutex // held while the owner is told of the state

	mu        sync.Mutex
	closing   bool
	queue     []*request
	posts     [][]byte
	postBytes int
	busy      bool // the writer has a group in its hands
	busySince time.Time
	down      error
	gap       gap
	stats     stats

	// What follows belongs to the goroutine alone.

	lock          pathLock // of the path; nil when there is none
	locked        bool     // the lock was asked for
	alone         bool     // no other process writes to the path, even if the file is locked
	f             file
	id            plainfile.ID // of f, or of the last f
	bad           bool         // f failed: open it again before the next write
	unsure        bool         // what f holds beyond safe could not be removed
	cause         string       // why the file before was left
	now           position     // after all that was written
	safe          position     // known to be on stable storage
	first         uint64       // sequence before our first line
	unsynced      [][]byte     // posted events between safe and now
	unsyncedBytes int
	again         [][]byte // posted events that have to be written once more
	notices       []notice // events of our own that wait
	newline       bool     // the file ends in a line that is not whole
	force         bool     // a checkpoint is due whatever the counts say
	last          bool     // the closed event is due, and a checkpoint after it
	inHand        *batch   // what is being written
	refused       []uint64 // sequences of appends that failed, but may be in the file
	told          gap      // what the gap event in the current group says
	notes         []string // checkpoints that are not synced yet
	printed       []string // that are, and the owner does not know yet
	clock         Clock    // when it was last looked at, or set
	up            bool     // which the owner does not know yet
	buf           []byte
	lookAt        time.Time // when the file is looked at, though nothing is written
	timer         *time.Timer
	retryAt       time.Time
	retryWait     time.Duration
}

// stats are counts since the file was opened.
type stats struct {
	lines    uint64 // written and synced, the trail's own included
	syncs    uint64 // groups: lines per sync is lines/syncs
	lost     uint64 // events that were not taken, or could not be written
	sequence uint64 // of the last line that is on stable storage
}

// position is a place in the file and in the chain.
type position struct {
	chain         Chain
	size          int64     // of the file
	unsigned      uint64    // lines since the last checkpoint
	unsignedSince time.Time // when the first of them was written
}

type notice struct {
	kind   Kind
	fields map[string]any
}

// maxNotices bounds what a file that comes and goes, and never takes a line, can pile
// up; the gap event tells the rest.
const maxNotices = 16

func (w *writer) announce(kind Kind, fields map[string]any) {
	if len(w.notices) < maxNotices {
		w.notices = append(w.notices, notice{kind, fields})
	}
}

func newWriter(path string, opts Options) *writer {
	return &writer{
		path: path, dir: filepath.Dir(path), opts: opts, disk: opts.disk, readClock: opts.clock, clock: opts.clock(),
		wake: make(chan struct{}, 1), ready: make(chan struct{}), done: make(chan struct{}),
	}
}

func (w *writer) poke() {
	select {
	case w.wake <- struct{}{}:
	default: // it is poked already
	}
}

// close has the goroutine write what is left and end; false when it was called before.
func (w *writer) close() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closing {
		return false
	}
	w.closing = true
	w.poke()
	return true
}

// awaitEnd waits until the file is closed and the path can be opened again, and reports
// whether it is.
func (w *writer) awaitEnd(patience *time.Timer) bool {
	select {
	case <-w.done:
		return true
	case <-patience.C:
		w.leave()
		return false
	}
}

// leave notes that nobody waits for the end any more, though it is still to come.
func (w *writer) leave() {
	unfinished.Store(w.path, w.done)
	select {
	case <-w.done:
		unfinished.CompareAndDelete(w.path, w.done)
	default: // retire will do that
	}
}

func (w *writer) isClosing() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closing
}

func (w *writer) append(ctx context.Context, event []byte) error {
	// The writer may still read the event when nobody waits any more, so it gets its own.
	r := &request{event: bytes.Clone(event), done: make(chan error, 1)}
	w.mu.Lock()
	err := w.enqueueLocked(ctx, r)
	w.mu.Unlock()
	w.poke() // also to tell of a loss
	if err != nil {
		return err
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		return w.abandon(r, ctx.Err())
	}
}

func (w *writer) enqueueLocked(ctx context.Context, r *request) error {
	switch {
	case w.closing:
		w.loseLocked(r.event, ErrClosed)
		return ErrClosed
	case ctx.Err() != nil: // the caller is late: the machine was suspended, or is overloaded
		err := fmt.Errorf("audit file %s was not tried: %w", w.path, ctx.Err())
		w.loseLocked(r.event, err)
		return err
	case w.down != nil:
		w.loseLocked(r.event, w.down)
		return w.downError(w.down)
	case len(w.queue) >= maxQueue:
		return w.refuseLocked(r.event, fmt.Errorf("%w: %d lines wait for %s", ErrBusy, maxQueue, w.path))
	}
	r.since = time.Now()
	w.queue = append(w.queue, r)
	return nil
}

func (w *writer) downError(cause error) error {
	return fmt.Errorf("%w: %w", ErrDown, cause)
}

// abandon is called when the caller of an Append cannot wait any longer.
func (w *writer) abandon(r *request, cause error) error {
	err := fmt.Errorf("audit file %s gave no answer in time: %w", w.path, cause)
	w.mu.Lock()
	switch r.state {
	case finished:
		w.mu.Unlock()
		return <-r.done
	case queued:
		w.queue = slices.DeleteFunc(w.queue, func(q *request) bool { return q == r })
		w.loseLocked(r.event, err)
	default:
		r.state = abandoned // the writer will know what came of it
	}
	// The writer spent most of that time on one group: it hangs. Otherwise there is just
	// too much to write.
	hangs := w.busy && time.Since(w.busySince) > time.Since(r.since)/2
	wentDown := errors.Is(cause, context.DeadlineExceeded) && hangs && w.down == nil
	if wentDown {
		w.down = err
	}
	w.mu.Unlock()
	w.poke()
	if wentDown {
		w.tell(err)
	}
	return err
}

// tell calls OnState, unless the state has changed again since: whoever changed it
// tells of that, and the owner hears the last one last.
func (w *writer) tell(err error) {
	if w.opts.OnState == nil {
		return
	}
	w.telling.Lock()
	defer w.telling.Unlock()
	w.mu.Lock()
	stale := (w.down == nil) != (err == nil)
	w.mu.Unlock()
	if !stale {
		w.opts.OnState(err)
	}
}

func (w *writer) post(event []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closing {
		w.loseLocked(event, ErrClosed)
		return ErrClosed
	}
	if !w.roomLocked(len(event)) {
		return w.refuseLocked(event, fmt.Errorf("%w: %d posted lines wait for %s", ErrBusy, len(w.posts), w.path))
	}
	w.posts = append(w.posts, bytes.Clone(event))
	w.postBytes += len(event)
	w.poke()
	return nil
}

func (w *writer) roomLocked(bytes int) bool {
	return len(w.posts) < maxPosts && w.postBytes+bytes <= maxPostBytes
}
