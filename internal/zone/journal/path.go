// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/xfrguard/xfrguard/internal/plainfile"
)

// newSuffix names a file that is being made. It gets its name when it is whole, so that
// a crash leaves no half of one.
const newSuffix = ".new"

var fileRules = plainfile.Rules{
	Mode: fileMode, Refused: 0o077, Advice: "it holds whole zones: chmod 600",
}

// openOrMake returns the file at the path, or an empty one at the path with newSuffix;
// locked in both cases.
func openOrMake(path string, timeout time.Duration) (f *plainfile.File, made bool, err error) {
	deadline := time.Now().Add(timeout)
	for range 16 { // a file that comes and goes
		f, err := openLocked(path, false, deadline)
		if !errors.Is(err, fs.ErrNotExist) {
			return f, false, err
		}
		f, err = openLocked(path+newSuffix, true, deadline)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, false, err
		}
		// Another process that made one meanwhile held the lock on this name.
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			if err := f.Truncate(0); err != nil {
				return nil, false, errors.Join(err, f.Close())
			}
			return f, true, nil
		}
		_ = os.Remove(path + newSuffix) // a leftover
		if err := f.Close(); err != nil {
			return nil, false, err
		}
	}
	return nil, false, fmt.Errorf("%s: %w", path, syscall.EAGAIN)
}

// openLocked opens and locks a file, and makes it first when that is asked for. The
// error is fs.ErrNotExist when there is none, or when it lost its name before the lock
// was had.
func openLocked(path string, create bool, deadline time.Time) (f *plainfile.File, err error) {
	if create {
		f, _, err = plainfile.OpenOrMake(path, fileRules)
	} else {
		f, err = plainfile.Open(path, fileRules)
	}
	if err != nil {
		return nil, err
	}
	err = f.LockNamed(deadline)
	if errors.Is(err, plainfile.ErrLocked) {
		err = fmt.Errorf("%w: give each process a directory of its own", err)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// publish gives a new file its name, durably.
func publish(path string) error {
	if err := os.Rename(path+newSuffix, path); err != nil {
		return err
	}
	return plainfile.SyncDir(filepath.Dir(path))
}
