// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

// Package peer starts the servers of the interoperability tests as children on
// loopback: CoreDNS with the guard, and unmodified secondaries (BIND, NSD, Knot
// DNS, PowerDNS). Each has its own port and directory and ends with the test.
package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Grace is how long a server may take to end after SIGTERM, before SIGKILL.
const Grace = 5 * time.Second

// Process is a running server.
type Process struct {
	Name   string
	Stdout Output
	Stderr Output

	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // how it ended; valid once done is closed
}

// Run starts argv in dir and has t stop it at its end. If t has failed by then,
// the last lines of its output go into the test's log.
func Run(t testing.TB, name, dir string, argv ...string) *Process {
	t.Helper()
	p := &Process{Name: name, cmd: exec.Command(argv[0], argv[1:]...), done: make(chan struct{})}
	for _, o := range []*Output{&p.Stdout, &p.Stderr} {
		if err := o.open(t.TempDir()); err != nil {
			t.Fatalf("start %s: %v", name, err)
		}
	}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, p.Stdout.file, p.Stderr.file
	p.cmd.SysProcAttr = childAttr()
	p.cmd.WaitDelay = Grace
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.Stop()
		if t.Failed() {
			t.Logf("%s said last:\n%s%s", name, p.Stdout.Tail(40), p.Stderr.Tail(60))
		}
	})
	return p
}

// Stop ends the server, politely first, and returns when it is gone. It may be
// called more than once.
func (p *Process) Stop() {
	pid := p.cmd.Process.Pid
	if !p.Ended() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.done:
		case <-time.After(Grace):
		}
		_ = syscall.Kill(-pid, syscall.SIGKILL) // the group: what is still there
	}
	<-p.done
}

// Ended tells whether the server has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Await calls ready until it returns nil. The test fails when that takes longer
// than limit or the server ends before.
func (p *Process) Await(t testing.TB, limit time.Duration, what string, ready func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for {
		err := ready(ctx)
		if err == nil {
			return
		}
		select {
		case <-p.done:
			t.Fatalf("%s ended (%v) before: %s", p.Name, p.err, what)
		case <-ctx.Done():
			t.Fatalf("%s, after %v still not: %s: %v", p.Name, limit, what, err)
		case <-time.After(25 * time.Millisecond):
		}
	}
}

// Output is what a process has written: into a file, so that a line which is written is
// there to be read. Through a pipe it would come when this process has time for it. The
// zero value is empty.
type Output struct {
	file *os.File
}

// open makes the file, which has no name any more when open returns.
func (o *Output) open(dir string) error {
	f, err := os.CreateTemp(dir, "output")
	if err != nil {
		return err
	}
	o.file, err = os.OpenFile(f.Name(), os.O_RDWR|os.O_APPEND, 0)
	return errors.Join(err, os.Remove(f.Name()), f.Close())
}

// Lines returns the whole lines written so far, without their ends.
func (o *Output) Lines() []string {
	if o.file == nil {
		return nil
	}
	text, err := io.ReadAll(io.NewSectionReader(o.file, 0, math.MaxInt64))
	if err != nil {
		panic(fmt.Sprintf("read what a process wrote: %v", err)) // no test could go on
	}
	end := bytes.LastIndexByte(text, '\n')
	if end < 0 {
		return nil
	}
	return strings.Split(string(text[:end]), "\n")
}

// Tail returns the last n lines, each cut to a readable length.
func (o *Output) Tail(n int) string {
	lines := o.Lines()
	var b strings.Builder
	for _, line := range lines[max(0, len(lines)-n):] {
		if len(line) > 500 {
			line = line[:500] + "…"
		}
		fmt.Fprintln(&b, line)
	}
	return b.String()
}
