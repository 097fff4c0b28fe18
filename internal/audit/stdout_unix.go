// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package audit

import (
	"fmt"
	"os"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"
)

// surviveBrokenLog catches SIGPIPE. Without a handler the Go runtime ends the process at
// the next write to a broken descriptor 1 or 2, and reporting a broken audit sink is such
// a write. With one the write fails as any other. Programs that CoreDNS starts are not
// affected.
var surviveBrokenLog = sync.OnceFunc(func() { signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE) })

// duplicate opens the same stream under another descriptor, so that closing ours ends
// a write that hangs and leaves theirs to others.
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
