// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package trail

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// maxMoves is how often one group is written anew because the file was deleted or cut
// under it.
const maxMoves = 4

var errRestless = errors.New("the audit file was deleted or changed under every attempt to write it")

// commit writes the batch and everything else that waits, with one write. With sync it
// returns nil only when all that is on stable storage, in the file that the path leads
// to.
func (w *writer) commit(b *batch, sync bool) error {
	w.lookAtClock()
	for range maxMoves {
		if err := w.look(); err != nil {
			return err
		}
		sync = sync || w.due()
		w.compose(b, sync)
		if err := w.write(); err != nil {
			return err
		}
		if !sync {
			w.unsynced = append(w.unsynced, b.posts...)
			w.unsyncedBytes += len(w.buf)
			return nil
		}
		if w.now.size == w.safe.size {
			w.synced() // there was nothing to write, and the file can be looked at
			return nil
		}
		if err := w.f.sync(); err != nil {
			return fmt.Errorf("sync the audit file: %w", err)
		}
		moved, err := w.lookAgain(len(b.reqs) + len(b.posts))
		if err != nil {
			return err
		}
		if !moved {
			w.synced()
			return nil
		}
	}
	return errRestless
}

func (w *writer) write() error {
	if len(w.buf) == 0 {
		return nil
	}
	n, err := w.f.write(w.buf)
	w.now.size += int64(n)
	if err == nil && n < len(w.buf) {
		err = fmt.Errorf("%w: %d of %d bytes: is the disk full?", io.ErrShortWrite, n, len(w.buf))
	}
	if err != nil {
		return fmt.Errorf("write the audit file: %w", err)
	}
	return nil
}

// compose seals everything that waits into buf. What is lost is told only in a group that
// is synced: before that it is not taken off, and would be told twice.
func (w *writer) compose(b *batch, sync bool) {
	if cap(w.buf) > keepBuffer {
		w.buf = nil // one large group need not stay in memory
	}
	w.buf = w.buf[:0]
	if w.newline {
		w.buf = append(w.buf, '\n')
	}
	for _, n := range w.notices {
		w.seal(composeEvent(w.opts.Compose, n.kind, n.fields))
	}
	w.told = gap{}
	if sync {
		w.mu.Lock()
		w.told = w.gap.snapshot()
		w.mu.Unlock()
	}
	if w.told.failures > 0 {
		n := w.told.notice()
		w.seal(composeEvent(w.opts.Compose, n.kind, n.fields))
	}
	for _, event := range w.again {
		w.seal(event)
	}
	for _, event := range b.posts {
		w.seal(event)
	}
	for _, r := range b.reqs {
		r.seq = w.seal(r.event)
	}
	if w.last {
		w.seal(composeEvent(w.opts.Compose, KindClosed, nil))
	}
	if w.now.unsigned > 0 && (w.force || w.last || time.Since(w.now.unsignedSince) >= w.opts.CheckpointInterval) {
		w.checkpoint()
	}
}

// seal adds one line to buf, and a checkpoint when one is due. It returns the line's
// sequence.
func (w *writer) seal(event []byte) uint64 {
	w.buf = w.now.chain.appendSealed(w.buf, event)
	if w.now.unsigned == 0 {
		w.now.unsignedSince = time.Now()
	}
	w.now.unsigned++
	seq := w.now.chain.seq
	if w.now.unsigned >= uint64(w.opts.CheckpointEvery) {
		w.checkpoint()
	}
	return seq
}

// synced is called when everything written is on stable storage.
func (w *writer) synced() {
	w.safe = w.now
	w.unsynced, w.unsyncedBytes, w.again, w.notices = nil, 0, nil, nil
	w.newline, w.force, w.retryWait = false, false, 0
	w.mu.Lock()
	w.gap.tell(w.told)
	wasDown := w.down != nil
	w.down = nil
	w.stats.lines = w.safe.chain.seq - w.first
	w.stats.syncs++
	w.stats.sequence = w.safe.chain.seq
	w.mu.Unlock()
	w.told = gap{}
	w.printed = append(w.printed, w.notes...)
	w.notes = nil
	w.up = w.up || wasDown
}

// report makes the owner's calls about what is synced. The callers are released by
// then: they do not wait for a log.
func (w *writer) report() {
	o := &w.opts
	for _, note := range w.printed {
		if o.OnCheckpoint != nil {
			o.OnCheckpoint(note)
		}
	}
	w.printed = nil
	if w.up {
		w.tell(nil)
	}
	w.up = false
}

// failed is called when the file cannot be relied on: it is brought back to where it
// was known to be good, if that can be done, and opened anew before the next write.
func (w *writer) failed(err error) {
	w.mu.Lock()
	w.gap.note(err)
	w.mu.Unlock()
	w.rollback()
	w.bad = true
}

// rollback removes what was written since the last sync. The chain goes back as well,
// so that it has no hole.
func (w *writer) rollback() {
	w.notes = nil
	if w.f == nil {
		return // reopen will see
	}
	w.again = append(w.again, w.unsynced...)
	w.unsynced, w.unsyncedBytes = nil, 0
	if w.now.size != w.safe.size {
		if err := w.f.truncate(w.safe.size); err != nil {
			w.unsure = true
			return
		}
	}
	w.now, w.unsure = w.safe, false
}
