// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package trail

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// Errors of a [File], besides those about the event itself.
var (
	// ErrDown says that the file cannot be written at this time; the error that made it so
	// is wrapped too.
	ErrDown = errors.New("audit file is down")
	// ErrBusy says that a budget is used up: too many lines wait. The event was not taken.
	ErrBusy = errors.New("audit file is busy")
	// ErrClosed says that this File was closed.
	ErrClosed = errors.New("audit file is closed")
)

// Options are set when a file is opened. The zero value is useful: no checkpoints, plain
// events.
type Options struct {
	// Compose makes an event of the trail's own in the owner's schema: one JSON object
	// that has all of the fields under their keys, [FieldKind] among them. It is called by
	// the writer and must not call the File. Nil, or an event that cannot be sealed: a
	// plain event with "@timestamp", "event.action" and the fields.
	Compose func(kind Kind, fields map[string]any) []byte

	// Key signs checkpoints; nil for none. See [ReadKey].
	Key note.Signer
	// CheckpointEvery is the most lines between two checkpoints, default 1000.
	CheckpointEvery int
	// CheckpointInterval is the longest time that a line waits for a checkpoint, default
	// one minute.
	CheckpointInterval time.Duration
	// OnCheckpoint gets every checkpoint once it is on stable storage: keep it elsewhere
	// (a log that is shipped), and a cut tail can be proven. Printed with %q it is one
	// line that [Verify] finds again. It is called by the writer, must return at once and
	// must not call the File.
	OnCheckpoint func(note string)

	// OnState is told when the file goes down (with the error) and when it is up again
	// (nil). It is called by the writer, an Append or Open, must return at once and must
	// not call the File.
	OnState func(err error)

	// Stands says what an event stands for, as counts by the names of members: a gap event
	// has the sums of those that were lost. It is called for lost events alone, must return
	// at once and must not call the File.
	Stands func(event []byte) map[string]uint64

	// StartDown has Open return a file that is down, in place of an error, when what it
	// met may pass: a disk that is full, read-only, failing or hangs. The file comes up by
	// itself. See [Misconfigured] for what stays an error.
	StartDown bool

	// Patience is how long Open and Close wait for a file system that hangs, default 5 s.
	Patience time.Duration

	disk  disk         // for tests
	clock func() Clock // for tests
}

const (
	defaultEvery    = 1000
	defaultInterval = time.Minute
	defaultPatience = 5 * time.Second
)

func (o Options) withDefaults() Options {
	if o.CheckpointEvery <= 0 {
		o.CheckpointEvery = defaultEvery
	}
	if o.CheckpointInterval <= 0 {
		o.CheckpointInterval = defaultInterval
	}
	if o.Patience <= 0 {
		o.Patience = defaultPatience
	}
	if o.clock == nil {
		o.clock = ReadClock
	}
	if o.disk == nil {
		o.disk = osDisk{}
	}
	return o
}

// File is an open audit file. Its methods may be called from any goroutine.
type File struct {
	w *writer
}

// unfinished are, by path, the ends of writers whose user gave up waiting for a file system
// that hangs. A path is opened again only after that end, so that there is one of them.
var unfinished sync.Map

// Resolve returns the absolute path of an audit file, the links of its directory resolved.
// It is the same for all spellings of a path.
func Resolve(path string) (string, error) {
	dir, err := filepath.Abs(filepath.Dir(path))
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, filepath.Base(path)), nil
}

// Open opens the audit file at path, or creates it with mode 0640 in a directory that
// must exist.
//
// The last element of path is never followed when it is a link, and anything but a
// regular file of the process's own user or root, with one name, is refused
// (plainfile.ErrUnsafe), as are a file that is open already, in another process or in this
// one (plainfile.ErrLocked), and one that holds something else ([ErrNotTrail]). A chain
// that is in the file is continued, and a torn last line repaired. Open has written and
// synced a first line when it returns, but for a file that is down (see StartDown).
func Open(path string, opts Options) (*File, error) {
	opts = opts.withDefaults()
	path, err := Resolve(path)
	if err != nil {
		return nil, fmt.Errorf("open audit file: %w", err)
	}
	patience := time.NewTimer(opts.Patience)
	defer patience.Stop()
	if previous, ok := unfinished.Load(path); ok {
		select {
		case <-previous.(chan struct{}): //nolint:forcetypeassert // nothing else is stored
		case <-patience.C:
			return nil, fmt.Errorf("open audit file %s: its last user still waits for the file system to close it", path)
		}
	}
	w := newWriter(path, opts)
	go w.run()
	select {
	case <-w.ready:
		if w.startErr != nil {
			w.awaitEnd(patience)
			return nil, fmt.Errorf("open audit file: %w", w.startErr)
		}
		return &File{w}, nil
	case <-patience.C:
		err := fmt.Errorf("open audit file %s: the file system gave no answer in %s: %w", path, opts.Patience, os.ErrDeadlineExceeded)
		if opts.StartDown && w.startsDown(err) {
			return &File{w}, nil
		}
		w.close()
		w.leave()
		return nil, err
	}
}

// Append writes the event, one JSON object of at most [MaxEvent] bytes, as the next
// line, and returns nil once that is on stable storage. Give ctx a deadline of its own,
// not that of a client: when it ends first, the event counts as lost, its error is
// wrapped, and a file that did not answer in that time is down. A line that was under
// way then may still reach the file; the next [KindGap] event says so.
//
// Other errors: [ErrTooLong], [ErrNotEvent], [ErrBusy], [ErrClosed], and [ErrDown] with
// the cause.
func (f *File) Append(ctx context.Context, event []byte) error {
	if err := checkEvent(event); err != nil {
		return f.w.refuse(event, err)
	}
	return f.w.append(ctx, event)
}

// Post hands over an event without waiting. Posted lines keep their order, are written
// at once, and are on stable storage with the next Append, at the latest after a
// second. They wait while the file is down.
//
// Errors: [ErrTooLong], [ErrNotEvent], [ErrClosed], and [ErrBusy] when the budget (4
// MiB, 4096 lines) is used up. The event counts as lost then.
func (f *File) Post(event []byte) error {
	if err := checkEvent(event); err != nil {
		return f.w.refuse(event, err)
	}
	return f.w.post(event)
}

// Room reports whether the longest event would fit into the budget of Post now.
func (f *File) Room() bool {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	return f.w.roomLocked(MaxEvent)
}

// Close writes what was posted, a [KindClosed] event and a checkpoint, and waits for all
// that at most for the Patience; the error says when lines could not be written. Close
// again does nothing.
func (f *File) Close() error {
	if !f.w.close() {
		return nil
	}
	patience := time.NewTimer(f.w.opts.Patience)
	defer patience.Stop()
	if !f.w.awaitEnd(patience) {
		return fmt.Errorf("close audit file %s: the file system gave no answer in %s", f.w.path, f.w.opts.Patience)
	}
	return f.w.closeErr
}
