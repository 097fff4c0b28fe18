// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package trail

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// fileMode: the group may read (a log shipper), nobody may execute. CVE-2025-6000 planted a program by way of an audit file.
const fileMode = 0o640

// openFlags: O_NONBLOCK so that a pipe cannot hold up the open; it means nothing for the regular file that is wanted.
const openFlags = unix.O_RDWR | unix.O_APPEND | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY

type osDisk struct{}

type osFile struct{ *os.File }

func (osDisk) open(path string, alone bool) (file, error) {
	// Opening a device can already do something, so look first; what counts is the look at the open file below.
	if st, err := os.Lstat(path); err == nil && !st.Mode().IsRegular() {
		return nil, notPlain(path, st.Mode())
	}
	fd, err := openOrCreate(path)
	if errors.Is(err, unix.ELOOP) {
		return nil, notPlain(path, fs.ModeSymlink)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	f := osFile{os.NewFile(uintptr(fd), path)}
	if err := f.claim(path, alone); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func openOrCreate(path string) (int, error) {
	for range 8 { // a file that comes and goes
		fd, err := openRetry(path, openFlags)
		if !errors.Is(err, unix.ENOENT) {
			return fd, err
		}
		fd, err = openRetry(path, openFlags|unix.O_CREAT|unix.O_EXCL)
		if !errors.Is(err, unix.EEXIST) {
			return fd, err
		}
	}
	return -1, unix.EAGAIN
}

func openRetry(path string, flags int) (int, error) {
	for {
		fd, err := unix.Open(path, flags, fileMode)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// claim makes sure that the open file is one to write to, and locks it against other processes.
func (f osFile) claim(path string, alone bool) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() || st.Mode().Perm()&0o002 != 0 {
		return notPlain(path, st.Mode())
	}
	if err := ours(path, st); err != nil {
		return err
	}
	if err := unix.SetNonblock(int(f.Fd()), false); err != nil {
		return fmt.Errorf("set %s to blocking: %w", path, err)
	}
	if err := flock(f.File, path); err != nil && !(alone && errors.Is(err, ErrLocked)) {
		return err
	}
	if perm := st.Mode().Perm(); perm&0o111 != 0 {
		return f.Chmod(perm &^ 0o111)
	}
	return nil
}

// ours refuses a file that another user owns, or that has a second name: who has made either may have others write into a
// file of his choice, or write into this one.
func ours(path string, info os.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return notPlain(path, info.Mode())
	}
	if me := os.Geteuid(); int(st.Uid) != me && st.Uid != 0 {
		return fmt.Errorf("%w; user %d owns it, not %d", notPlain(path, info.Mode()), st.Uid, me)
	}
	if st.Nlink > 1 {
		return fmt.Errorf("%w; it has %d names (hard links): remove the others, or move it away", notPlain(path, info.Mode()), st.Nlink)
	}
	return nil
}

func flock(f *os.File, path string) error {
	err := error(unix.EINTR)
	for errors.Is(err, unix.EINTR) {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("%s: %w: give each process a file of its own", path, ErrLocked)
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", path, err)
	}
	return nil
}

func notPlain(path string, mode fs.FileMode) error {
	return fmt.Errorf("%s is %s: %w", path, mode, ErrUnsafe)
}

func (f osFile) write(b []byte) (int, error) {
	for {
		n, err := unix.Write(int(f.Fd()), b)
		if n < 0 {
			n = 0
		}
		if n == 0 && errors.Is(err, unix.EINTR) {
			continue
		}
		return n, err
	}
}

func (f osFile) sync() error               { return f.Sync() }
func (f osFile) truncate(size int64) error { return f.Truncate(size) }

// close unlocks first: a program that this process is just starting holds a copy of the descriptor until its exec, and
// with that the lock.
func (f osFile) close() error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_UN)
	return errors.Join(err, f.Close())
}

func (f osFile) stat() (status, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return status{}, fmt.Errorf("look at %s: %w", f.Name(), err)
	}
	return statusOf(&st), nil
}

func (osDisk) lstat(path string) (status, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return status{}, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	return statusOf(&st), nil
}

func statusOf(st *unix.Stat_t) status {
	mode := fs.ModeIrregular
	if st.Mode&unix.S_IFMT == unix.S_IFREG {
		mode = fs.FileMode(st.Mode & 0o777)
	}
	//nolint:unconvert // the widths differ between systems
	return status{id: fileID{uint64(st.Dev), uint64(st.Ino)}, size: st.Size, links: uint64(st.Nlink), mode: mode}
}

func (osDisk) syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	// Some network file systems cannot sync a directory and say EINVAL; the names are then as durable as they get.
	if err := d.Sync(); err != nil && !errors.Is(err, unix.EINVAL) {
		return err
	}
	return nil
}
