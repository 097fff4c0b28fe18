// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit/audittest"
	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/policy"
)

// up is the state of a sink that nobody watches.
func up(error) {}

// pipeSink is the stdout sink on a pipe of the test's.
func pipeSink(t *testing.T) (Opener, *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	lw := &lineWriter{out: w}
	return func(name string, state func(error)) (Sink, error) { return newLineSink(name, lw.write, w, state) }, r
}

func TestStdoutSinkWritesSealedLines(t *testing.T) {
	audittest.NoLeak(t)
	s, r := pipeSink(t)
	a := recordTo(t, corefile.AuditRefuse, time.Second, map[string]Opener{"stdout": s})
	var lines [][]byte
	done := make(chan struct{})
	go func() {
		defer close(done)
		for in := bufio.NewScanner(r); in.Scan(); {
			lines = append(lines, bytes.Clone(in.Bytes()))
		}
	}()
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			e := allowed()
			if err := a.Decision(t.Context(), e); err != nil {
				t.Error(err)
			}
			a.End(ended(e))
		})
	}
	wg.Wait()
	closeAuditor(t, a)
	<-done
	audittest.ValidateEvents(t, lines...)
	if len(lines) != 21 {
		t.Errorf("%d lines, want 20 and the stop", len(lines))
	}
	head := any("0000000000000000000000000000000000000000000000000000000000000000")
	for i, l := range lines {
		m := audittest.Members(t, l)
		if audittest.Number(m["event.sequence"]) != int64(i+1) || m["coredns.xfr.chain.prev"] != head {
			t.Fatalf("line %d breaks the chain: %s", i+1, l)
		}
		head = m["coredns.xfr.chain.hash"]
	}
}

// A pipe that nobody reads: every decision fails by its deadline, nothing hangs, and
// what was taken back never comes out.
func TestStdoutSinkBlocked(t *testing.T) {
	audittest.NoLeak(t)
	s, r := pipeSink(t)
	a := recordTo(t, corefile.AuditRefuse, 100*time.Millisecond, map[string]Opener{"stdout": s})
	recorded := 0
	start := time.Now()
	var failed *Event
	for failed == nil {
		e := allowed()
		if err := a.Decision(t.Context(), e); err == nil {
			recorded++
		} else if !errors.Is(err, errDeadline) {
			t.Fatal(err)
		} else {
			failed = e
		}
		if time.Since(start) > 10*time.Second {
			t.Fatal("a full pipe takes lines")
		}
	}
	begin := time.Now()
	for range 100 { // it is down: nobody waits for it any longer
		if err := a.Decision(t.Context(), allowed()); !errors.Is(err, errSinkDown) {
			t.Fatal(err)
		}
		a.End(ended(allowed()))
		a.Denied(denied("198.51.100.1"))
	}
	if d := time.Since(begin); d > time.Second {
		t.Errorf("100 decisions waited %s for a sink that is down", d)
	}
	var text bytes.Buffer
	done := make(chan struct{})
	go func() { defer close(done); _, _ = io.Copy(&text, r) }()
	audittest.Eventually(t, func() bool { return a.Decision(t.Context(), allowed()) == nil })
	recorded++
	closeAuditor(t, a)
	<-done
	lines := audittest.SplitLines(text.Bytes())
	audittest.ValidateEvents(t, lines...)
	found := audittest.Count(t, lines, ActionDecision, func(m map[string]any) {
		if m["event.reason"] != string(policy.ReasonAllowed) {
			t.Errorf("not an allow decision: %v", m)
		}
	})
	// The one line that was under way when the pipe filled up comes out late, and a gap says so.
	var late int64
	audittest.Count(t, lines, ActionGap, func(m map[string]any) { late += audittest.Number(m["coredns.xfr.audit.late"]) })
	if int64(found) != int64(recorded)+late || late > 1 {
		t.Errorf("%d decisions in the pipe, %d recorded, %d told as late", found, recorded, late)
	}
}

// A broken pipe is an error, not the end of the process.
func TestStdoutSinkBrokenPipe(t *testing.T) {
	audittest.NoLeak(t)
	open, r := pipeSink(t)
	_ = r.Close()
	s, err := open("stdout", up)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Append(t.Context(), allowed().Encode()); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("got %v", err)
	}
	_ = s.Close()
	if err := s.Append(t.Context(), allowed().Encode()); !errors.Is(err, errSinkClosed) {
		t.Errorf("after Close: %v", err)
	}
	if err := s.Post(allowed().Encode()); !errors.Is(err, errSinkClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestDuplicateStdout(t *testing.T) {
	out, err := duplicate(os.Stdout)
	if err != nil {
		t.Fatal(err)
	}
	if f, ok := any(out).(*os.File); ok && f.Fd() <= 2 {
		t.Errorf("descriptor %d", f.Fd())
	}
	_ = out.Close()
}

// shortWriter takes a part of some writes.
type shortWriter struct {
	buf  bytes.Buffer
	take []int // of the next writes; -1: all
}

func (w *shortWriter) Write(p []byte) (int, error) {
	n := -1
	if len(w.take) > 0 {
		n, w.take = w.take[0], w.take[1:]
	}
	if n < 0 || n >= len(p) {
		return w.buf.Write(p)
	}
	w.buf.Write(p[:n])
	return n, syscall.ENOSPC
}

// A line written in part is ended before the next one, which takes its place in the chain.
func TestStreamSinkShortWrite(t *testing.T) {
	audittest.NoLeak(t)
	out := &shortWriter{take: []int{-1, 40, 1, 0, -1}}
	lw := &lineWriter{out: out}
	s, err := newLineSink("lines", lw.write, io.NopCloser(nil), up)
	if err != nil {
		t.Fatal(err)
	}
	for i, ok := range []bool{true, false, false, false, true, true} {
		e := allowed()
		Stamp(e)
		e.ID = NewID()
		if err := s.put(e.Encode()); (err == nil) != ok { // as its writer does, who has nothing to do
			t.Errorf("write %d: %v", i, err)
		}
	}
	_ = s.Close()
	lines := audittest.SplitLines(out.buf.Bytes())
	if len(lines) != 4 || len(lines[1]) != 41 {
		t.Fatalf("%d lines:\n%s", len(lines), out.buf.Bytes())
	}
	lines = slices.Delete(lines, 1, 2)
	audittest.ValidateEvents(t, lines...)
	for i, l := range lines {
		if got := audittest.Number(audittest.Members(t, l)["event.sequence"]); got != int64(i+1) {
			t.Errorf("line %d has sequence %d", i+1, got)
		}
	}
}

// Posted events have room of their own; an allowed decision still finds some.
func TestLineSinkPostsLeaveRoom(t *testing.T) {
	audittest.NoLeak(t)
	gate := make(chan struct{})
	var n int
	s, err := newLineSink("lines", func(line []byte) error {
		<-gate
		if !bytes.Contains(line, []byte(ActionGap)) {
			n++
		}
		return nil
	}, nil, up)
	if err != nil {
		t.Fatal(err)
	}
	event := allowed().Encode()
	posted := 0
	for s.Post(event) == nil {
		posted++
	}
	if posted < lineQueue/2 || posted > lineQueue/2+1 || s.Room() {
		t.Errorf("%d posts were taken", posted)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Append(ctx, event); !errors.Is(err, errDeadline) {
		t.Errorf("an append behind a writer that hangs: %v", err)
	}
	close(gate)
	audittest.Eventually(t, func() bool { return s.Append(t.Context(), event) == nil })
	if err := s.Close(); err != nil || n != posted+1 {
		t.Errorf("%v, %d written, want %d", err, n, posted+1)
	}
}
