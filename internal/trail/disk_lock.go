// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package trail

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// fileLock is a lock on a file beside the audit file that only its owner can open. A lock on the audit file itself does
// not do: flock(2) gives one to whoever may read it, such as a log shipper, and who has it could keep the writer out when
// the file is opened anew. The lock file stays, so that its absence tells of a version that knew none.
type fileLock struct {
	*os.File
	made bool
}

// lockPath is where the lock file of an audit file is: no pattern for the log's parts finds it.
func lockPath(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".lock")
}

func (osDisk) lock(path string) (pathLock, error) {
	if st, err := os.Lstat(path); err == nil && !st.Mode().IsRegular() {
		return nil, notPlain(path, st.Mode()) // nothing is made beside what is never written to
	}
	name := lockPath(path)
	for range 8 { // a lock file that comes and goes
		l, err := openLock(name)
		switch {
		case errors.Is(err, fs.ErrPermission), errors.Is(err, unix.EROFS):
			return nil, nil //nolint:nilnil // said at disk.lock
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrExist):
			continue
		case errors.Is(err, unix.ELOOP):
			return nil, notPlain(name, fs.ModeSymlink)
		case err != nil:
			return nil, fmt.Errorf("lock file of the audit file: %w", err)
		}
		if err := l.claim(name, path); err != nil {
			l.Close()
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			return nil, err
		}
		return l, nil
	}
	return nil, fmt.Errorf("lock file %s: %w", name, unix.EAGAIN)
}

func openLock(name string) (*fileLock, error) {
	const flags = os.O_RDWR | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NONBLOCK
	f, err := os.OpenFile(name, flags, 0)
	if err == nil {
		return &fileLock{f, false}, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err = os.OpenFile(name, flags|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return &fileLock{f, true}, nil
}

// claim takes the lock. It is fs.ErrNotExist when the file lost its name before that.
func (l *fileLock) claim(name, path string) error {
	st, err := l.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() || st.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%w; others can open this lock file: remove it", notPlain(name, st.Mode()))
	}
	if err := ours(name, st); err != nil {
		return err
	}
	if err := flock(l.File, path); err != nil {
		return err
	}
	if !l.named() {
		return &fs.PathError{Op: "lock", Path: name, Err: fs.ErrNotExist}
	}
	return nil
}

func (l *fileLock) fresh() bool { return l.made }

func (l *fileLock) named() bool {
	at, err := os.Lstat(l.Name())
	if err != nil {
		return false
	}
	here, err := l.Stat()
	return err == nil && os.SameFile(at, here)
}

// release unlocks first, see osFile.close.
func (l *fileLock) release(remove bool) error {
	var err error
	if remove {
		err = os.Remove(l.Name())
	}
	return errors.Join(err, unix.Flock(int(l.Fd()), unix.LOCK_UN), l.Close())
}
