// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package trail

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/xfrguard/xfrguard/internal/plainfile"
)

// disk is what the writer needs of the file system; tests put faults in between.
type disk interface {
	// lock makes this process the only one that writes to the path. It is nil where no
	// lock file can be made: the lock on the audit file itself has to do there, although
	// everyone who may read the file can take it.
	lock(path string) (pathLock, error)
	// open opens or creates the regular file at path for appending, and locks it. With
	// alone a lock that another process has on the file itself is no obstacle: the path is
	// locked, so that one is not a writer.
	open(path string, alone bool) (file, error)
	// lstat looks at what is at the path, and never follows a link.
	lstat(path string) (plainfile.Status, error)
	// syncDir makes the names in a directory durable.
	syncDir(dir string) error
}

// pathLock is held as long as a path has a writer.
type pathLock interface {
	// fresh reports whether the lock file was made for this lock: a writer of a version
	// that knows none may be there.
	fresh() bool
	// named reports whether the lock file is still where others look for it.
	named() bool
	// release ends the lock; with remove the lock file goes too.
	release(remove bool) error
}

// file is one open file. All its methods are called by one goroutine.
type file interface {
	io.ReaderAt
	// write is one write(2), which may be short.
	write(b []byte) (int, error)
	sync() error
	truncate(size int64) error
	stat() (plainfile.Status, error)
	close() error
}

// fileRules: the group may read (a log shipper), nobody may execute.
var fileRules = plainfile.Rules{
	Append: true, Mode: 0o640,
	Refused: 0o002, Advice: "everybody can write to it: chmod o-w, or move it away",
}

type osDisk struct{}

type osFile struct{ *plainfile.File }

func (osDisk) open(path string, alone bool) (file, error) {
	f, _, err := plainfile.OpenOrMake(path, fileRules)
	if err != nil {
		return nil, err
	}
	if err := claim(f, alone); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return osFile{f}, nil
}

// claim locks the file against other processes, and takes away the permission to
// execute it: CVE-2025-6000 planted a program by way of an audit file.
func claim(f *plainfile.File, alone bool) error {
	if err := f.Lock(time.Time{}); err != nil && !(alone && errors.Is(err, plainfile.ErrLocked)) {
		return explainLocked(err)
	}
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if perm := st.Mode().Perm(); perm&0o111 != 0 {
		return f.Chmod(perm &^ 0o111)
	}
	return nil
}

// explainLocked adds what to do about a lock that another process holds.
func explainLocked(err error) error {
	if errors.Is(err, plainfile.ErrLocked) {
		return fmt.Errorf("%w: give each process an audit file of its own", err)
	}
	return err
}

func (osDisk) lstat(path string) (plainfile.Status, error) { return plainfile.Look(path) }
func (osDisk) syncDir(dir string) error                    { return plainfile.SyncDir(dir) }

func (f osFile) write(b []byte) (int, error)     { return f.WriteOnce(b) }
func (f osFile) sync() error                     { return f.Sync() }
func (f osFile) truncate(size int64) error       { return f.Truncate(size) }
func (f osFile) close() error                    { return f.Close() }
func (f osFile) stat() (plainfile.Status, error) { return f.Status() }
