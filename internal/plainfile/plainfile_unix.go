// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package plainfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// openFlags have O_NONBLOCK so that a pipe cannot hold up the open. It means nothing
	// for the regular file that is wanted.
	openFlags = unix.O_RDWR | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY
	// readFlags follow a link: a mounted secret is one.
	readFlags = unix.O_NONBLOCK | unix.O_NOCTTY

	// attempts bound how often a file that comes and goes is tried.
	attempts  = 8
	lockRetry = 20 * time.Millisecond
)

// Open opens the file at path for reading and writing. The error is fs.ErrNotExist when
// there is none, and ErrUnsafe when it is refused.
func Open(path string, rules Rules) (*File, error) {
	return open(path, rules, 0)
}

// OpenOrMake opens the file at path, or makes an empty one, and reports which.
func OpenOrMake(path string, rules Rules) (f *File, made bool, err error) {
	for range attempts {
		f, err = open(path, rules, 0)
		if !errors.Is(err, fs.ErrNotExist) {
			return f, false, err
		}
		f, err = open(path, rules, unix.O_CREAT|unix.O_EXCL)
		if !errors.Is(err, fs.ErrExist) {
			return f, err == nil, err
		}
	}
	return nil, false, &fs.PathError{Op: "open", Path: path, Err: unix.EAGAIN}
}

func open(path string, rules Rules, flags int) (*File, error) {
	if st, err := os.Lstat(path); err == nil && !st.Mode().IsRegular() {
		return nil, notPlain(path, st.Mode())
	}
	return openLooked(path, rules, flags)
}

// openLooked opens what may have taken the place of what was looked at.
func openLooked(path string, rules Rules, flags int) (*File, error) {
	flags |= openFlags
	if rules.Append {
		flags |= unix.O_APPEND
	}
	fd, err := openRetry(path, flags, rules.Mode)
	if errors.Is(err, unix.ELOOP) {
		return nil, notPlain(path, fs.ModeSymlink)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	f := &File{os.NewFile(uintptr(fd), path)}
	if err := f.check(rules); err != nil {
		f.File.Close()
		return nil, err
	}
	return f, nil
}

func openRetry(path string, flags int, mode fs.FileMode) (int, error) {
	for {
		fd, err := unix.Open(path, flags, uint32(mode.Perm()))
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// check refuses an open file that is not one to write to. A second name or another
// owner is a danger because who has made either may have others write into a file of
// his choice, or write into this one.
func (f *File) check(rules Rules) error {
	path := f.Name()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() {
		return notPlain(path, info.Mode())
	}
	if info.Mode().Perm()&rules.Refused != 0 {
		return fmt.Errorf("%w; %s", notPlain(path, info.Mode()), rules.Advice)
	}
	if me := os.Geteuid(); int(st.Uid) != me && st.Uid != 0 {
		return fmt.Errorf("%w; user %d owns it, not %d", notPlain(path, info.Mode()), st.Uid, me)
	}
	if st.Nlink > 1 {
		return fmt.Errorf("%w; it has %d names (hard links): remove the others, or move it away",
			notPlain(path, info.Mode()), st.Nlink)
	}
	if err := unix.SetNonblock(int(f.Fd()), false); err != nil {
		return fmt.Errorf("set %s to blocking: %w", path, err)
	}
	return nil
}

func notPlain(path string, mode fs.FileMode) error {
	return fmt.Errorf("%s is %s: %w", path, mode, ErrUnsafe)
}

// Lock locks the file against other processes and other opens of this one. It waits
// until the deadline, and not at all when that is zero; the error is ErrLocked then.
func (f *File) Lock(deadline time.Time) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EINTR):
			continue
		case !errors.Is(err, unix.EWOULDBLOCK):
			return fmt.Errorf("lock %s: %w", f.Name(), err)
		case time.Until(deadline) < lockRetry:
			return fmt.Errorf("%s: %w", f.Name(), ErrLocked)
		}
		time.Sleep(lockRetry)
	}
}

// LockNamed locks the file, and fails with fs.ErrNotExist when it lost its name before
// that: whoever comes later would lock another file.
func (f *File) LockNamed(deadline time.Time) error {
	if err := f.Lock(deadline); err != nil {
		return err
	}
	if !f.Named() {
		return &fs.PathError{Op: "lock", Path: f.Name(), Err: fs.ErrNotExist}
	}
	return nil
}

// WriteOnce is one write(2), which may be short.
func (f *File) WriteOnce(b []byte) (int, error) {
	for {
		n, err := unix.Write(int(f.Fd()), b)
		n = max(n, 0)
		if n == 0 && errors.Is(err, unix.EINTR) {
			continue
		}
		return n, err
	}
}

// Close unlocks and closes the file; a second time does nothing. Unlocking comes first:
// a program that this process is just starting holds a copy of the descriptor until its
// exec, and with that the lock.
func (f *File) Close() error {
	unlock := unix.Flock(int(f.Fd()), unix.LOCK_UN)
	if errors.Is(unlock, unix.EBADF) {
		unlock = nil
	}
	err := f.File.Close()
	if errors.Is(err, fs.ErrClosed) {
		err = nil
	}
	return errors.Join(unlock, err)
}

// Status looks at the open file.
func (f *File) Status() (Status, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return Status{}, fmt.Errorf("look at %s: %w", f.Name(), err)
	}
	return statusOf(&st), nil
}

// Look looks at what is at path, and never follows a link.
func Look(path string) (Status, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return Status{}, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	return statusOf(&st), nil
}

func statusOf(st *unix.Stat_t) Status {
	//nolint:unconvert // the widths differ between systems
	return Status{ID: ID{uint64(st.Dev), uint64(st.Ino)}, Size: st.Size, Links: uint64(st.Nlink)}
}

// SyncDir makes the names in a directory durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	// Some network file systems cannot sync a directory and say EINVAL: the names are as
	// durable as they get there.
	if err := d.Sync(); err != nil && !errors.Is(err, unix.EINVAL) {
		return err
	}
	return nil
}
