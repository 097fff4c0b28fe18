// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// openFlags: O_NONBLOCK so that a pipe cannot hold up the open; it means nothing for the regular file that is wanted.
	openFlags = unix.O_RDWR | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY
	// newSuffix names a file that is being made. It gets its name when it is whole, so that a crash leaves no half of one.
	newSuffix = ".new"
	lockRetry = 20 * time.Millisecond
)

// openOrMake returns the file at the path, or an empty one at the path with newSuffix; locked in both cases.
func openOrMake(path string, timeout time.Duration) (f *os.File, made bool, err error) {
	deadline := time.Now().Add(timeout)
	for range 16 { // a file that comes and goes
		f, err := openLocked(path, openFlags, deadline)
		if !errors.Is(err, fs.ErrNotExist) {
			return f, false, err
		}
		f, err = openLocked(path+newSuffix, openFlags|unix.O_CREAT, deadline)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, false, err
		}
		// Whoever made one meanwhile held the lock on this name.
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			if err := f.Truncate(0); err != nil {
				return nil, false, errors.Join(err, closeFile(f))
			}
			return f, true, nil
		}
		_ = os.Remove(path + newSuffix) // a leftover
		if err := closeFile(f); err != nil {
			return nil, false, err
		}
	}
	return nil, false, fmt.Errorf("%s: %w", path, unix.EAGAIN)
}

// openLocked opens a regular file that only its owner can access, and locks it. The file is fs.ErrNotExist when it lost its
// name before the lock was had.
func openLocked(path string, flags int, deadline time.Time) (*os.File, error) {
	// Opening a device can already do something, so look first; what counts is the look at the open file below.
	if st, err := os.Lstat(path); err == nil && !st.Mode().IsRegular() {
		return nil, notPlain(path, st.Mode())
	}
	fd, err := openRetry(path, flags)
	if errors.Is(err, unix.ELOOP) {
		return nil, notPlain(path, fs.ModeSymlink)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	if err := claim(f, path, deadline); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func openRetry(path string, flags int) (int, error) {
	for {
		fd, err := unix.Open(path, flags, fileMode)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

func claim(f *os.File, path string, deadline time.Time) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fmt.Errorf("look at %s: %w", path, err)
	}
	mode := fs.FileMode(st.Mode & 0o777)
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return notPlain(path, fs.ModeIrregular|mode)
	}
	if mode&0o077 != 0 {
		return fmt.Errorf("%w; it holds whole zones: chmod 600", notPlain(path, mode))
	}
	if me := os.Geteuid(); int(st.Uid) != me && st.Uid != 0 {
		return fmt.Errorf("%w; user %d owns it, not %d", notPlain(path, mode), st.Uid, me)
	}
	if err := unix.SetNonblock(int(f.Fd()), false); err != nil {
		return fmt.Errorf("set %s to blocking: %w", path, err)
	}
	if err := lock(f, path, deadline); err != nil {
		return err
	}
	named, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if open, err := f.Stat(); err != nil || !os.SameFile(named, open) {
		return errors.Join(&fs.PathError{Op: "lock", Path: path, Err: fs.ErrNotExist}, err)
	}
	return nil
}

func lock(f *os.File, path string, deadline time.Time) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EINTR):
			continue
		case !errors.Is(err, unix.EWOULDBLOCK):
			return fmt.Errorf("lock %s: %w", path, err)
		case time.Until(deadline) < lockRetry:
			return fmt.Errorf("%s: %w: give each process a directory of its own", path, ErrLocked)
		}
		time.Sleep(lockRetry)
	}
}

// publish gives a new file its name, durably.
func publish(path string) error {
	if err := os.Rename(path+newSuffix, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	// Some network file systems cannot sync a directory and say EINVAL; the name is then as durable as it gets.
	if err := dir.Sync(); err != nil && !errors.Is(err, unix.EINVAL) {
		return err
	}
	return nil
}

// closeFile unlocks first: a program that this process is just starting holds a copy of the descriptor until its exec, and
// with that the lock.
func closeFile(f *os.File) error {
	if err := unix.Flock(int(f.Fd()), unix.LOCK_UN); err != nil && !errors.Is(err, unix.EBADF) {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
		return err
	}
	return nil
}

func notPlain(path string, mode fs.FileMode) error {
	return fmt.Errorf("%s is %s: %w", path, mode, ErrUnsafe)
}
