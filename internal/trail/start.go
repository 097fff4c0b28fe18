// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package trail

import (
	"errors"
	"io/fs"
	"syscall"
	"time"

	"github.com/xfrguard/xfrguard/internal/plainfile"
)

// misconfigured are the errors of an Open that do not pass by waiting: somebody has to
// change the configuration, the permissions or the file.
var misconfigured = []error{
	ErrNotTrail, plainfile.ErrUnsafe, plainfile.ErrLocked, plainfile.ErrUnsupported,
	fs.ErrPermission, fs.ErrNotExist,
	syscall.ENOTDIR, syscall.EISDIR, syscall.ELOOP, syscall.ENAMETOOLONG, syscall.EINVAL,
}

// Misconfigured reports whether an error of [Open] stays until somebody changes
// something: a path to the wrong thing, permissions, a lock that another process holds.
// All others may pass.
func Misconfigured(err error) bool {
	for _, m := range misconfigured {
		if errors.Is(err, m) {
			return true
		}
	}
	return false
}

// start opens the file and writes its first lines.
func (w *writer) start() error {
	err := w.attach(0)
	if err == nil {
		err = w.commit(&batch{}, true)
	}
	return err
}

// started tells Open how the start went, and reports whether the writer goes on: also
// with a file that is down.
func (w *writer) started(err error) bool {
	w.mu.Lock()
	left := w.down != nil // Open has not waited for it
	up := err == nil
	if !up && !left && (!w.opts.StartDown || Misconfigured(err)) {
		w.startErr = err
	}
	failed := w.startErr != nil
	if up && left { // only since the last line was written
		w.down, w.up = nil, true
	}
	if failed || up {
		close(w.ready)
	}
	w.mu.Unlock()
	switch {
	case up:
		return true
	case failed:
		if w.f != nil {
			w.rollback()
		}
		return false
	}
	w.failed(err)
	w.retryWait = firstRetry
	w.retryAt = time.Now().Add(w.retryWait)
	w.release(&batch{}, err)
	close(w.ready)
	return true
}

// startsDown is called when Open does not wait any longer. It is false when the writer
// was quicker in the end.
func (w *writer) startsDown(err error) bool {
	w.mu.Lock()
	select {
	case <-w.ready:
		w.mu.Unlock()
		return w.startErr == nil
	default:
	}
	down := w.down == nil
	if down {
		w.gap.note(err)
		w.down = err
	}
	w.mu.Unlock()
	if down {
		w.tell(err)
	}
	return true
}
