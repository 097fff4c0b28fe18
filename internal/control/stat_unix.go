// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package control

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// openFlags have no link followed, and no pipe hold the open up.
const openFlags = unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY

// checkOwner refuses what others than root and we may have written.
func checkOwner(f *os.File, st fs.FileInfo) error {
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.New("its owner is not known")
	}
	if readOnly(f) {
		return nil
	}
	switch {
	case sys.Uid != 0 && int(sys.Uid) != os.Geteuid():
		return fmt.Errorf("user %d owns it: chown it to root, or to user %d, as whom the server runs", sys.Uid, os.Geteuid())
	case st.Mode().Perm()&0o002 != 0:
		return errors.New("everybody may write to it: chmod o-w")
	}
	return nil
}

func ownerOf(st fs.FileInfo) string {
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		return fmt.Sprintf("uid %d", sys.Uid)
	}
	return ""
}
