// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package trail

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/xfrguard/xfrguard/internal/plainfile"
)

// run is the writer's goroutine.
func (w *writer) run() {
	defer w.retire()
	w.timer = time.NewTimer(lookEvery)
	defer w.timer.Stop()
	w.startErr = w.start()
	close(w.ready)
	if w.startErr != nil {
		return
	}
	w.report()
	for {
		for w.step() {
		}
		if w.isClosing() {
			w.finish()
			return
		}
		w.timer.Reset(w.pause())
		select {
		case <-w.wake:
		case <-w.timer.C:
			w.tick = true
		}
	}
}

// retire takes the writer out of the registry: from here on an Open begins with a new
// one.
func (w *writer) retire() {
	w.mu.Lock()
	w.closing = true // also when the start failed
	w.mu.Unlock()
	if w.f != nil {
		if err := w.f.close(); err != nil && w.closeErr == nil {
			w.closeErr = fmt.Errorf("close audit file: %w", err)
		}
	}
	if w.lock != nil {
		// A lock file that was made for a start that failed is removed: its absence tells of
		// a version that knows none.
		_ = w.lock.release(w.lock.fresh() && w.startErr != nil && w.id == plainfile.ID{})
	}
	registry.Lock() // after the close, which ends the lock
	delete(registry.writers, w.path)
	registry.Unlock()
	close(w.done)
}

// start opens the file and writes its first lines.
func (w *writer) start() error {
	err := w.attach(0)
	if err == nil {
		err = w.commit(&batch{}, true)
	}
	if err != nil && w.f != nil {
		w.rollback()
	}
	return err
}

// finish writes what is left, and says so when it cannot.
func (w *writer) finish() {
	w.retryAt = time.Time{} // no time to wait
	for w.step() {
	}
	if !w.bad {
		w.notices = append(w.notices, notice{kind: KindClosed})
		w.force = true
		if err := w.commit(&batch{}, true); err != nil {
			w.failed(err)
		}
		w.report()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if left := len(w.posts) + len(w.again); w.bad || left > 0 {
		w.closeErr = fmt.Errorf("close audit file %s: %d posted lines could not be written: %s", w.path, left, w.gap.err)
	}
}

// pause is how long the goroutine may sleep unless it is poked.
func (w *writer) pause() time.Duration {
	if w.bad {
		return max(time.Until(w.retryAt), time.Millisecond)
	}
	d := lookEvery
	if o := w.options(); o.Key != nil && w.now.uncovered > 0 {
		d = min(d, time.Until(w.now.uncoveredAt.Add(o.CheckpointInterval)))
	}
	return max(d, time.Millisecond)
}

// batch is what the writer takes out of the queues at once.
type batch struct {
	reqs  []*request
	posts [][]byte
}

func (b *batch) empty() bool { return len(b.reqs)+len(b.posts) == 0 }

func (w *writer) take() *batch {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := &batch{}
	n := min(len(w.queue), maxGroup)
	b.reqs = append(b.reqs, w.queue[:n]...)
	clear(w.queue[:n])
	w.queue = w.queue[n:]
	for _, r := range b.reqs {
		r.state = taken
	}
	// With posts that have to be written again there is a group of them already.
	if len(w.again) == 0 {
		n, bytes := 0, 0
		for n < len(w.posts) && bytes+len(w.posts[n]) <= maxPostGroup {
			bytes += len(w.posts[n])
			n++
		}
		b.posts = append(b.posts, w.posts[:n]...)
		clear(w.posts[:n])
		w.posts = w.posts[n:]
		w.postBytes -= bytes
	}
	w.busy = true
	w.busySince = time.Now()
	return b
}

// step does one round of work, and reports whether there may be more.
func (w *writer) step() bool {
	if w.bad && time.Now().Before(w.retryAt) {
		return false
	}
	// Callers that were just released, and have more to write, come first: they share the
	// group then.
	runtime.Gosched()
	b := w.take()
	sync := len(b.reqs) > 0 || w.tick || w.bad || w.due() || w.unsyncedBytes >= maxUnsynced
	if b.empty() && !sync {
		w.release(b, nil)
		return false
	}
	w.tick, w.inHand = false, b
	wasBad := w.bad
	err := w.commit(b, sync)
	if err != nil && !wasBad {
		// Once more with the file opened anew: a sync that failed must not be trusted when it
		// succeeds on the same descriptor, because the kernel reports a lost page only once.
		w.failed(err)
		err = w.commit(b, true)
	}
	if err != nil {
		w.failed(err)
		w.again = append(w.again, b.posts...)
		w.retryWait = min(max(2*w.retryWait, firstRetry), lastRetry)
		w.retryAt = time.Now().Add(w.retryWait)
	}
	w.inHand = nil
	w.release(b, err)
	w.report()
	return err == nil
}

// due reports whether there is something of our own to write.
func (w *writer) due() bool {
	if len(w.notices) > 0 || len(w.again) > 0 {
		return true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.gap.failures > 0 || (w.force && w.opts.Key != nil)
}

// release tells the callers what became of their lines.
func (w *writer) release(b *batch, err error) {
	w.mu.Lock()
	w.busy = false
	for _, r := range b.reqs {
		switch {
		case err != nil:
			w.loseTakenLocked(r, err)
		case r.state == abandoned:
			w.gap.note(errors.New("the file was slow"))
			w.gap.lost++ // so its caller was told
			w.gap.addLate(r.seq, r.seq)
		}
		w.answerLocked(r, err)
	}
	var tell func(error)
	if err != nil {
		for _, r := range w.queue {
			w.loseLocked(err)
			w.answerLocked(r, err)
		}
		w.queue = nil
		if w.down == nil {
			tell = w.opts.OnState
		}
		w.down = err
	}
	w.mu.Unlock()
	if tell != nil {
		tell(err)
	}
}

func (w *writer) answerLocked(r *request, err error) {
	if err != nil {
		err = w.downError(err)
	}
	if r.state != abandoned {
		r.state = finished
		r.done <- err
	}
}

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
		w.compose(b)
		if err := w.write(); err != nil {
			return err
		}
		if !sync {
			w.unsynced = append(w.unsynced, b.posts...)
			w.unsyncedBytes += len(w.buf)
			return nil
		}
		if w.now.size == w.safe.size {
			w.settle() // there was nothing to write, and the file can be looked at
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
			w.settle()
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

// compose seals everything that waits into buf.
func (w *writer) compose(b *batch) {
	o := w.options()
	if cap(w.buf) > keepBuffer {
		w.buf = nil // one large group need not stay in memory
	}
	w.buf = w.buf[:0]
	if w.newline {
		w.buf = append(w.buf, '\n')
	}
	for _, n := range w.notices {
		w.seal(composeEvent(o.Compose, n.kind, n.fields), &o)
	}
	w.mu.Lock()
	w.told = w.gap
	w.mu.Unlock()
	if w.told.failures > 0 {
		n := w.told.notice()
		w.seal(composeEvent(o.Compose, n.kind, n.fields), &o)
	}
	for _, event := range w.again {
		w.seal(event, &o)
	}
	for _, event := range b.posts {
		w.seal(event, &o)
	}
	for _, r := range b.reqs {
		r.seq = w.seal(r.event, &o)
	}
	if w.now.uncovered > 0 && (w.force || time.Since(w.now.uncoveredAt) >= o.CheckpointInterval) {
		w.checkpoint(&o)
	}
}

// seal adds one line to buf, and a checkpoint when one is due. It returns the line's
// sequence.
func (w *writer) seal(event []byte, o *Options) uint64 {
	w.buf = w.now.chain.appendSealed(w.buf, event)
	if w.now.uncovered == 0 {
		w.now.uncoveredAt = time.Now()
	}
	w.now.uncovered++
	seq := w.now.chain.seq
	if w.now.uncovered >= uint64(o.CheckpointEvery) {
		w.checkpoint(o)
	}
	return seq
}

// settle is called when everything written is on stable storage.
func (w *writer) settle() {
	w.safe = w.now
	w.unsynced, w.unsyncedBytes, w.again, w.notices = nil, 0, nil, nil
	w.newline, w.force, w.retryWait = false, false, 0
	w.mu.Lock()
	w.gap.tell(w.told)
	wasDown := w.down != nil
	w.down = nil
	w.stats.Lines = w.safe.chain.seq - w.first
	w.stats.Syncs++
	w.stats.Sequence = w.safe.chain.seq
	w.mu.Unlock()
	w.told = gap{}
	w.printed = append(w.printed, w.notes...)
	w.notes = nil
	w.up = w.up || wasDown
}

// report makes the owner's calls about what is settled. The callers are released by
// then: they do not wait for a log.
func (w *writer) report() {
	o := w.options()
	for _, note := range w.printed {
		if o.OnCheckpoint != nil {
			o.OnCheckpoint(note)
		}
	}
	w.printed = nil
	if w.up && o.OnState != nil {
		o.OnState(nil)
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
