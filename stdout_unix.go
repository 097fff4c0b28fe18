// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package xfrguard

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// duplicate opens the same stream under another descriptor. The Go runtime ends
// the process when a write to descriptor 1 or 2 meets a broken pipe (os/signal);
// for us that is an error like others: the audit is down, DNS is not.
func duplicate(f *os.File) (*os.File, error) {
	raw, err := f.SyscallConn() // Fd would change the mode of the descriptor that CoreDNS's log uses
	if err != nil {
		return nil, fmt.Errorf("open standard output for the audit: %w", err)
	}
	var fd int
	var dupErr error
	if err := raw.Control(func(old uintptr) { fd, dupErr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 3) }); err != nil {
		return nil, fmt.Errorf("open standard output for the audit: %w", err)
	}
	if dupErr != nil {
		return nil, fmt.Errorf("open standard output for the audit: %w", dupErr)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}
