// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

// Command hostile attacks this module's server, and other people's, on loopback, and measures
// meanwhile how an honest secondary fares: with an identity of its own, and with the
// attackers' key and rule. It prints a table in Markdown and what did not hold; then its
// exit status is 1. See "Under attack" in docs/THREATS.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/xfrguard/xfrguard/interop/lab"
	"github.com/xfrguard/xfrguard/interop/peer"
)

func main() { os.Exit(program()) }

func program() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	h, err := parseFlags(os.Args[1:])
	if err == nil {
		err = h.main(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "hostile:", err)
		return 1
	}
	return 0
}

var errFaults = errors.New("not everything holds; see the list of faults")

// main runs everything that is asked for and prints what it has measured, also when it
// ended early.
func (h *hostile) main(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, h.limit, errOvertime)
	defer cancel()
	if err := raiseFiles(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(h.parent, "xfrguard-hostile-")
	if err != nil {
		return fmt.Errorf("make a directory for the servers (-dir): %w", err)
	}
	defer os.RemoveAll(dir)
	h.dir = dir
	if h.coredns, err = peer.Build(ctx, dir); err != nil {
		return err
	}
	if err := h.prepare(); err != nil {
		return err
	}
	if h.soak > 0 {
		err = h.runSoak(ctx)
	} else {
		err = h.run(ctx)
	}
	if outErr := h.print(); outErr != nil {
		return outErr
	}
	if err == nil && h.faults() > 0 {
		err = errFaults
	}
	return err
}

// raiseFiles permits this process and its children as many descriptors as the system gives.
func raiseFiles() error {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("read the limit of open files: %w", err)
	}
	if l.Cur < l.Max {
		l.Cur = l.Max
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
			return fmt.Errorf("raise the limit of open files: %w", err)
		}
	}
	if l.Cur < 10_000 {
		lab.Progress("only %d files may be open: runs with 2,000 clients will fail (ulimit -n)", l.Cur)
	}
	return nil
}
