// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package trail

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/xfrguard/xfrguard/internal/plainfile"
)

// look makes sure, before a write, that the open file is the one that the path leads to
// and ends where we left it.
func (w *writer) look() error {
	if w.f == nil || w.bad {
		return w.reopen()
	}
	st, err := w.f.stat()
	if err != nil {
		return err
	}
	if st.Size != w.now.size {
		if err := w.disturbed(w.f, st.Size, 0); err != nil {
			return err
		}
	}
	here, err := w.leadsHere()
	if here || err != nil {
		return err
	}
	return w.move(causeOf(st), 0)
}

// lookAgain makes sure, after a sync, that the lines just written can be found. It
// reports true when they have to be written once more, because the file was deleted,
// cut or written to by another program in the meantime.
//
// A file that was renamed keeps them: the sync went to it under its new name, so they
// are not written twice, and the next look leaves it. What remains is a compressor that
// read the file to its end, before this write, and has not deleted it yet; look was
// there microseconds before the write, so it must have begun and ended within one.
func (w *writer) lookAgain(events int) (bool, error) {
	st, err := w.f.stat()
	if err != nil {
		return false, err
	}
	if st.Size != w.now.size {
		return true, w.disturbed(w.f, st.Size, events)
	}
	here, err := w.leadsHere()
	if here || err != nil {
		return false, err
	}
	if st.Links == 0 {
		w.safe = w.now
		return true, w.move(causeDeleted, events)
	}
	w.lookAt = time.Time{} // leave it at once
	return false, nil
}

// leadsHere reports whether the path leads to the open file.
func (w *writer) leadsHere() (bool, error) {
	st, err := w.disk.lstat(w.path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && st.ID == w.id, err
}

func causeOf(st plainfile.Status) string {
	if st.Links == 0 {
		return causeDeleted
	}
	return causeRenamed
}

// move leaves the file, which the path does not lead to any more, for the one that it
// does.
func (w *writer) move(cause string, rewritten int) error {
	if w.now.size != w.safe.size { // posted lines that are still to be synced
		if err := w.f.sync(); err != nil {
			return fmt.Errorf("sync the audit file that was %s: %w", cause, err)
		}
		w.safe = w.now
		w.unsynced, w.unsyncedBytes = nil, 0
	}
	w.cause = cause
	old := w.f // open until the new one is, so that its inode number is not given to that
	if err := w.attach(rewritten); err != nil {
		w.bad = true
		return err
	}
	if err := old.close(); err != nil {
		return fmt.Errorf("close the audit file that was %s: %w", cause, err)
	}
	return nil
}

// reopen opens the file after it failed.
func (w *writer) reopen() error {
	w.cause = causeUnknown
	if w.f == nil {
		return w.attach(0)
	}
	st, err := w.f.stat()
	if err != nil {
		return err
	}
	if w.unsure {
		if err := w.adoptTail(w.f, st.Size); err != nil {
			return err
		}
	}
	here, err := w.leadsHere()
	if err != nil {
		return err
	}
	if !here {
		return w.move(causeOf(st), 0)
	}
	// The lock belongs to the old descriptor, so that one has to go first.
	old := w.f
	w.f = nil
	_ = old.close() // an error of it was the reason to be here, or is about the same pages
	return w.attach(0)
}

// attach opens what is at the path and makes it the file to write to.
func (w *writer) attach(rewritten int) error {
	if err := w.keepLock(); err != nil {
		return err
	}
	f, err := w.disk.open(w.path, w.alone)
	if err != nil {
		return err
	}
	if err := w.adopt(f, rewritten); err != nil {
		_ = f.close() // nothing was written to it
		return err
	}
	w.f, w.bad, w.force = f, false, true
	w.alone = w.lock != nil
	return nil
}

// keepLock takes the lock of the path. One whose file was removed keeps no other
// process out any more, and is taken anew.
func (w *writer) keepLock() error {
	if w.locked && (w.lock == nil || w.lock.named()) {
		return nil
	}
	l, err := w.disk.lock(w.path)
	if err != nil {
		return err
	}
	if w.lock != nil {
		_ = w.lock.release(false) // nobody can find it
	}
	w.lock, w.locked, w.alone = l, true, l != nil && !l.fresh()
	return nil
}

func (w *writer) adopt(f file, rewritten int) error {
	st, err := f.stat()
	if err != nil {
		return err
	}
	if err := w.disk.syncDir(w.dir); err != nil {
		return fmt.Errorf("sync the directory of the audit file: %w", err)
	}
	switch first := w.now.chain.uid == ""; {
	case !first && st.ID == w.id:
		if st.Size != w.now.size {
			err = w.disturbed(f, st.Size, 0)
		}
	case first:
		err = w.begin(f, st.Size)
	case st.Size == 0:
		w.now.size = 0
		w.announce(KindRotated, map[string]any{FieldCause: w.cause, FieldRewritten: rewritten})
	default:
		err = w.adoptOther(f, st.Size)
	}
	if err != nil {
		return err
	}
	w.safe = w.now
	w.id = st.ID
	return nil
}

// begin takes up the chain that is in the file, or starts one.
func (w *writer) begin(f file, size int64) error {
	var t tail
	if size > 0 {
		var err error
		if t, err = readTail(f, size); err != nil {
			return fmt.Errorf("%s: %w", w.path, err)
		}
	}
	kind := KindResumed
	switch {
	case t.found:
		w.now.chain = t.chain
	case size > 0 && !t.ours():
		return fmt.Errorf("%s: %w: move it away", w.path, ErrNotTrail)
	default:
		c, err := NewChain()
		if err != nil {
			return err
		}
		w.now.chain, kind = *c, KindOpened
	}
	w.now.size, w.first = size, w.now.chain.seq
	w.repair(f, &t)
	w.announce(kind, nil)
	return nil
}

// adoptOther takes a file with content that came to the path while the chain is under
// way: only one that ends where the chain stands, which is our own, moved back.
func (w *writer) adoptOther(f file, size int64) error {
	t, err := readTail(f, size)
	if err != nil {
		return fmt.Errorf("%s: %w", w.path, err)
	}
	if !t.found || t.chain != w.now.chain || t.unended || len(t.torn) > 0 {
		return fmt.Errorf("%s: %w of this chain: move it away", w.path, ErrNotTrail)
	}
	w.now.size = size
	w.announce(KindResumed, nil)
	return nil
}

// adoptTail finds out what of the last writes is in the file, after they failed and
// could not be removed (a file with the append-only attribute): the whole lines among
// them stay, whatever their callers were told.
func (w *writer) adoptTail(f file, size int64) error {
	t, err := readTail(f, size)
	if err != nil {
		return err
	}
	if !t.found && w.safe.size == 0 { // not even the first line of a new file got through
		t.found, t.chain = true, w.safe.chain
	}
	if !t.found || t.chain.uid != w.safe.chain.uid || t.chain.seq < w.safe.chain.seq {
		return fmt.Errorf("%s: %w of this chain any more", w.path, ErrNotTrail)
	}
	w.stayed(t.chain.seq)
	w.now = w.safe
	w.now.unsigned += t.chain.seq - w.safe.chain.seq
	w.now.chain, w.now.size = t.chain, size
	w.unsure = false
	w.repair(f, &t)
	w.safe = w.now
	return nil
}

// repair removes the torn tail; where that is not allowed it ends it with a newline.
// The event that tells of it stands right behind it.
func (w *writer) repair(f file, t *tail) {
	w.newline = t.unended
	if len(t.torn) == 0 {
		return
	}
	action := actionRemoved
	if !t.found && !t.zeros() || f.truncate(t.whole) != nil {
		action = actionTerminated
		w.newline = true
	} else {
		w.now.size = t.whole
	}
	w.notices = append([]notice{t.notice(action)}, w.notices...)
}

// disturbed is called when the file's size is not what we made it: it was cut
// (copytruncate), or another program wrote to it. The chain goes on from where it was,
// since a copy may have its last lines.
func (w *writer) disturbed(f file, size int64, rewritten int) error {
	kind := KindForeign
	if size < w.now.size {
		kind = KindTruncated
	}
	torn, err := tornEnd(f, size)
	if err != nil {
		return fmt.Errorf("%s: %w", w.path, err)
	}
	if len(torn) > 0 {
		// Not to be removed: it is not ours, or it is what the cut left of a line.
		w.newline = true
		t := tail{torn: torn}
		w.notices = append([]notice{t.notice(actionTerminated)}, w.notices...)
	}
	w.announce(kind, map[string]any{FieldSizeBefore: w.now.size, FieldSizeNow: size, FieldRewritten: rewritten})
	w.now.size = size
	w.safe = w.now
	return nil
}
