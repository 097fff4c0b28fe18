// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

// Command bench measures zone transfers side by side: this module's server and the
// servers of others, on loopback, with the same zone, in turn. It prints tables in
// Markdown. See "Side by side" in docs/PERFORMANCE.md for what the columns mean.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/xfrguard/xfrguard/interop/lab"
	"github.com/xfrguard/xfrguard/interop/peer"
)

func main() { os.Exit(program()) }

func program() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if spec := os.Getenv(limitEnv); spec != "" {
		if err := serveLimit(ctx, spec); ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "limit:", err)
			return 1
		}
		return 0
	}
	b, err := parseFlags(os.Args[1:])
	if err == nil {
		err = b.main(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

// Time for what the plan cannot cut short, and for the whole of one transfer.
const (
	overtime      = 4 * time.Minute
	transferLimit = 2 * time.Minute
)

var (
	errOvertime = errors.New("the time limit is over")
	errSlow     = fmt.Errorf("not done within %v", transferLimit)
)

// main runs the plan and prints what it has measured, also when it ended early.
func (b *bench) main(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, b.limit+overtime, errOvertime)
	defer cancel()
	dir, err := os.MkdirTemp(b.parent, "xfrguard-bench-")
	if err != nil {
		return fmt.Errorf("make a directory for the servers (-dir): %w", err)
	}
	defer os.RemoveAll(dir)
	b.dir = dir
	if b.coredns, err = peer.Build(ctx, dir); err != nil {
		return err
	}
	if slices.ContainsFunc(b.software, func(s software) bool { return s.unrecorded }) {
		if b.unrecorded, err = buildUnrecorded(ctx, dir); err != nil {
			return err
		}
	}
	b.begun = time.Now()
	runErr := b.run(ctx)
	out := os.Stdout
	if b.out != "" {
		if out, err = os.Create(b.out); err != nil {
			return fmt.Errorf("write the tables (-out): %w", err)
		}
		defer out.Close()
	}
	if _, err := out.WriteString(b.markdown()); err != nil {
		return fmt.Errorf("write the tables: %w", err)
	}
	return errors.Join(append(b.failures, runErr)...)
}

// fail notes an error and goes on: the other servers are still of interest.
func (b *bench) fail(err error) {
	b.failures = append(b.failures, err)
	lab.Progress("%v", err)
}
