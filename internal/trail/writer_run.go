// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package trail

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/xfrguard/xfrguard/internal/plainfile"
)

// run is the writer's goroutine.
func (w *writer) run() {
	defer w.retire()
	w.timer = time.NewTimer(lookEvery)
	defer w.timer.Stop()
	if !w.started(w.start()) {
		return
	}
	w.report()
	w.lookAt = time.Now().Add(lookEvery)
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
		}
	}
}

// retire closes the file and ends the lock: from here on the path can be opened again.
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
		// A lock file that was made for a file that was never opened is removed: its absence
		// tells of a version that knows none.
		_ = w.lock.release(w.lock.fresh() && w.id == plainfile.ID{})
	}
	unfinished.CompareAndDelete(w.path, w.done)
	close(w.done)
}

// finish writes what is left, and says so when it cannot.
func (w *writer) finish() {
	w.retryAt = time.Time{} // no time to wait
	for w.step() {
	}
	if !w.bad {
		w.last = true
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
	return max(time.Until(w.nextSync()), time.Millisecond)
}

// nextSync is when the file is synced and looked at though nobody waits for that.
func (w *writer) nextSync() time.Time {
	at := w.lookAt
	if o := &w.opts; o.Key != nil && w.now.unsigned > 0 {
		if due := w.now.unsignedSince.Add(o.CheckpointInterval); due.Before(at) {
			at = due
		}
	}
	return at
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
	now := time.Now()
	sync := len(b.reqs) > 0 || !now.Before(w.nextSync()) || w.bad || w.due() || w.unsyncedBytes >= maxUnsynced
	if b.empty() && !sync {
		w.release(b, nil)
		return false
	}
	if sync {
		w.lookAt = now.Add(lookEvery)
	}
	w.inHand = b
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
	// Events that found no room wait for the next sync: there is enough to do. What is
	// refused at the end waits for the last one.
	return w.gap.failures > w.gap.refused && !w.closing || w.force && w.opts.Key != nil
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
			w.loseLocked(r.event, errors.New("the file was slow")) // so its caller was told
			w.gap.addLate(r.seq, r.seq)
		}
		w.answerLocked(r, err)
	}
	wentDown := err != nil && w.down == nil
	if err != nil {
		for _, r := range w.queue {
			w.loseLocked(r.event, err)
			w.answerLocked(r, err)
		}
		w.queue = nil
		w.down = err
	}
	w.mu.Unlock()
	if wentDown {
		w.tell(err)
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
