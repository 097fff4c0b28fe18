// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

// Package plainfile opens, locks and syncs files that only this process may write to.
//
// A file is refused with [ErrUnsafe] when it is a link, a directory, a pipe or a
// device, when a user other than our own and root owns it, when it has a second name,
// or when its permissions are among those that the caller refuses. What is at the path
// is looked at before it is opened, because opening a device can already do something,
// and the open file is looked at again, because only that look counts.
package plainfile

import (
	"errors"
	"io/fs"
	"os"
)

var (
	// ErrUnsafe says that the path leads to something that is never opened or written to.
	ErrUnsafe = errors.New("not a plain file that only we may write")
	// ErrLocked says that somebody else holds the lock of the file.
	ErrLocked = errors.New("in use by another process")
	// ErrUnsupported is every answer on a system without flock and O_NOFOLLOW: a file that
	// cannot keep its promises is refused.
	ErrUnsupported = errors.New("a locked file needs a unix system")
)

// Rules say how a file is opened, and which one is refused.
type Rules struct {
	// Append has every write go to the end of the file.
	Append bool
	// Mode is what a file that is made gets, less the umask.
	Mode fs.FileMode
	// Refused are the permissions of which the file may have none.
	Refused fs.FileMode
	// Advice ends the error about such permissions: what is wrong, and what to do.
	Advice string
}

// File is an open file. It blocks, it is closed on exec, and it is not safe for
// concurrent use.
type File struct {
	*os.File
}

// ID tells files apart, whatever their names.
type ID struct{ Dev, Ino uint64 }

// Status is what a look at a file tells.
type Status struct {
	ID    ID
	Size  int64  // bytes
	Links uint64 // names that lead to it; 0 when it is deleted
}

// Named reports whether the name by which the file was opened still leads to it.
func (f *File) Named() bool {
	at, err := os.Lstat(f.Name())
	if err != nil {
		return false
	}
	here, err := f.Stat()
	return err == nil && os.SameFile(at, here)
}
