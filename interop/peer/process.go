// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

// Package peer starts the servers of the interoperability tests as children on
// loopback: CoreDNS with the guard, and unmodified secondaries (BIND, NSD, Knot
// DNS, PowerDNS). Each has its own port and directory and ends with the test.
package peer

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"
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
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, &p.Stdout, &p.Stderr
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

// Output keeps what a process writes. The zero value is empty and ready.
type Output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (o *Output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

// Lines returns the whole lines written so far, without their ends.
func (o *Output) Lines() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	text := o.buf.String()
	end := strings.LastIndexByte(text, '\n')
	if end < 0 {
		return nil
	}
	return strings.Split(text[:end], "\n")
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
