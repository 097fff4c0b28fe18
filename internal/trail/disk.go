// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package trail

import (
	"errors"
	"io"
	"io/fs"
)

// ErrLocked says that another process has the audit file open for writing.
var ErrLocked = errors.New("another process is writing to this audit file")

// ErrUnsafe says that the path leads to something that is never written to: a link, a directory, a pipe, a device, a file
// that everybody may write, that has a second name, or that another user owns.
var ErrUnsafe = errors.New("not a plain file of our own, with one name, that only its owner and group can write")

// disk is what the writer needs of the file system; tests put faults in between.
type disk interface {
	// lock makes this process the only one that writes to the path. It is nil where the directory takes no lock file:
	// the lock on the audit file itself, which whoever may read it can take, has to do.
	lock(path string) (pathLock, error)
	// open opens or creates the regular file at path for appending, and locks it. With alone it is opened also when
	// somebody else has the lock: it is no writer.
	open(path string, alone bool) (file, error)
	// lstat looks at what is at the path, and never follows a link.
	lstat(path string) (status, error)
	// syncDir makes the names in a directory durable.
	syncDir(dir string) error
}

// pathLock is held as long as a path has a writer.
type pathLock interface {
	// fresh reports whether the lock file was made for this lock: a writer of a version that knows none may be there.
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
	stat() (status, error)
	close() error
}

// fileID tells files apart, whatever their names.
type fileID struct{ dev, ino uint64 }

type status struct {
	id    fileID
	size  int64  // bytes
	links uint64 // names that lead to it; 0 when it is deleted
	mode  fs.FileMode
}
