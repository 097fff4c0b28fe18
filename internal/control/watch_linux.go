// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package control

import (
	"os"

	"golang.org/x/sys/unix"
)

// watch tells of changes in a directory by inotify. It may miss some, and the directory
// may be another one meanwhile: looks from time to time find that out.
type watch struct {
	file  *os.File
	wake  chan struct{}
	dir   os.FileInfo
	ended chan struct{}
}

const watched = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_CLOSE_WRITE | unix.IN_MODIFY |
	unix.IN_ATTRIB | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR

// follow watches what is at the path now.
func (w *watch) follow(path string) {
	now, err := os.Stat(path)
	if err == nil && w.dir != nil && os.SameFile(w.dir, now) {
		return
	}
	w.close()
	if err != nil {
		return
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return
	}
	if _, err := unix.InotifyAddWatch(fd, path, watched); err != nil {
		_ = unix.Close(fd)
		return
	}
	w.file, w.dir = os.NewFile(uintptr(fd), "inotify"), now
	w.wake, w.ended = make(chan struct{}, 1), make(chan struct{})
	go pump(w.file, w.wake, w.ended)
}

// pump ends when the file is closed.
func pump(f *os.File, wake chan<- struct{}, ended chan<- struct{}) {
	defer close(ended)
	buf := make([]byte, 16<<10)
	for {
		if _, err := f.Read(buf); err != nil {
			return
		}
		select {
		case wake <- struct{}{}:
		default:
		}
	}
}

func (w *watch) told() <-chan struct{} { return w.wake }

func (w *watch) close() {
	if w.file != nil {
		_ = w.file.Close()
		<-w.ended
	}
	*w = watch{}
}
