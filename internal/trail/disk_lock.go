// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package trail

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

// fileLock is a lock on a file beside the audit file that only its owner can open. A
// lock on the audit file itself is not enough: flock(2) grants one to everyone who may
// read the file, such as a log shipper, and its holder could keep the writer out when
// the file is opened anew. The lock file stays when the lock ends, so that its absence
// tells of a version that knew none.
type fileLock struct {
	*plainfile.File
	made bool
}

var lockRules = plainfile.Rules{
	Mode: 0o600, Refused: 0o077, Advice: "others can open this lock file: remove it",
}

// lockPath is where the lock file of an audit file is: no pattern for the log's parts
// finds it.
func lockPath(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".lock")
}

func (osDisk) lock(path string) (pathLock, error) {
	if st, err := os.Lstat(path); err == nil && !st.Mode().IsRegular() {
		// Nothing is made beside what is never written to.
		return nil, fmt.Errorf("%s is %s: %w", path, st.Mode(), plainfile.ErrUnsafe)
	}
	name := lockPath(path)
	for range 8 { // a lock file that comes and goes
		l, err := takeLock(name)
		switch {
		case err == nil:
			return l, nil
		case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
			return nil, nil //nolint:nilnil // said at disk.lock
		case errors.Is(err, fs.ErrNotExist):
			continue
		default:
			return nil, fmt.Errorf("lock file of the audit file: %w", explainLocked(err))
		}
	}
	return nil, fmt.Errorf("lock file %s: %w", name, syscall.EAGAIN)
}

// takeLock takes the lock. It is fs.ErrNotExist when the file lost its name before
// that.
func takeLock(name string) (*fileLock, error) {
	f, made, err := plainfile.OpenOrMake(name, lockRules)
	if err != nil {
		return nil, err
	}
	if err := f.LockNamed(time.Time{}); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &fileLock{f, made}, nil
}

func (l *fileLock) fresh() bool { return l.made }
func (l *fileLock) named() bool { return l.Named() }

func (l *fileLock) release(remove bool) error {
	var err error
	if remove {
		err = os.Remove(l.Name())
	}
	return errors.Join(err, l.Close())
}
