// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package trail

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/plainfile"
	"github.com/xfrguard/xfrguard/internal/pool"

	"golang.org/x/sys/unix"
)

func TestOpenAppendReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	f := openTest(t, path, Options{})
	mustAppend(t, f, 1)
	if err := f.Post(event(2)); err != nil {
		t.Fatal(err)
	}
	mustClose(t, f)
	mustClose(t, f) // again does nothing
	if err := f.Append(soon(t), event(9)); !errors.Is(err, ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
	if err := f.Post(event(9)); !errors.Is(err, ErrClosed) {
		t.Errorf("post after close: %v", err)
	}
	f = openTest(t, path, Options{})
	mustAppend(t, f, 3)
	if got := f.stats(); got.lines != 2 || got.sequence != 6 || got.lost != 0 {
		t.Errorf("stats: %+v", got)
	}
	mustClose(t, f)
	same(t, order(readLog(t, path)), "opened 1 2 closed resumed 3 closed")
	verifyGood(t, nil, path)
	st, err := os.Stat(path)
	if err != nil || st.Mode() != fileRules.Mode {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
}

// TestOneWriterPerFile: all spellings of a path are resolved to one, under which users
// share a file; who opens it a second time is refused, whatever the spelling.
func TestOneWriterPerFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "audit.log")
	if err := os.Symlink(dir, filepath.Join(dir, "sub")); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	f := openTest(t, path, Options{})
	want, err := Resolve(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, "audit.log", "./audit.log", filepath.Join(dir, "sub", "..", "sub", "audit.log"), "sub/audit.log"} {
		if got, err := Resolve(name); got != want || err != nil {
			t.Errorf("%s is %s, want %s: %v", name, got, want, err)
		}
		if _, err := Open(name, Options{}); !errors.Is(err, plainfile.ErrLocked) {
			t.Errorf("%s is opened again: %v", name, err)
		}
	}
	if got, err := Resolve("missing/audit.log"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("in no directory: %s, %v", got, err)
	}
	if err := os.Link(path, path+".hard"); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path+".hard", Options{}); !errors.Is(err, plainfile.ErrUnsafe) || !strings.Contains(err.Error(), "2 names") {
		t.Errorf("a hard link: %v", err)
	}
	if err := os.Remove(path + ".hard"); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, f, 1)
	mustClose(t, f)
	same(t, order(readLog(t, path)), "opened 1 closed")
}

func TestBadComposerDoesNotHurt(t *testing.T) {
	for name, compose := range map[string]func(Kind, map[string]any) []byte{
		"nothing":     func(Kind, map[string]any) []byte { return nil },
		"no JSON":     func(Kind, map[string]any) []byte { return []byte("hello\n") },
		"too long":    func(Kind, map[string]any) []byte { return []byte(`{"a":"` + strings.Repeat("x", MaxLine) + `"}`) },
		"kind lost":   func(Kind, map[string]any) []byte { return []byte(`{"a":1}`) },
		"with a seal": func(Kind, map[string]any) []byte { return []byte(`{"event.sequence":1}`) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "audit.log")
			f := openTest(t, path, Options{Compose: compose})
			mustAppend(t, f, 1)
			mustClose(t, f)
			same(t, order(readLog(t, path)), "opened 1 closed")
			verifyGood(t, nil, path)
		})
	}
}

// Instances that overlap, as in a reload: one sequence, no line lost, none twice, and
// no goroutine left (TestMain).
func TestReloadUnderLoad(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.log")
	var files pool.Pool[*File]
	open := func() (*File, func() error) {
		f, release, err := files.Acquire(path, func() (*File, error) { return Open(path, Options{}) }, (*File).Close)
		if err != nil {
			t.Fatal(err)
		}
		return f, release
	}
	f, release := open()
	var loads []*load
	for range 30 {
		l := startLoad(f, 4)
		loads = append(loads, l)
		l.more(t, 10)
		next, releaseNext := open()
		l2 := startLoad(next, 2)
		l2.next.Store(int64(len(loads)) * 1_000_000)
		loads = append(loads, l2)
		l2.more(t, 5)
		l.stop()
		if err := release(); err != nil {
			t.Fatal(err)
		}
		l2.stop()
		f, release = next, releaseNext
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	log := readLog(t, path)
	for i, p := range log {
		if p.Seq != uint64(i+1) {
			t.Fatalf("line %d has sequence %d", i+1, p.Seq)
		}
	}
	events := 0
	for _, l := range loads {
		events += len(l.acked) + len(l.posted)
		if l.failed > 0 {
			t.Errorf("%d appends failed", l.failed)
		}
	}
	same(t, len(log), events+2) // opened, closed
	verifyGood(t, nil, path)
}

// TestAppendContext: an event whose caller comes too late is lost like any other that got
// no answer in time, and the next line tells so.
func TestAppendContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	f := openTest(t, path, Options{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := f.Append(ctx, event(1)); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that is over: %v", err)
	}
	mustAppend(t, f, 2)
	if !f.healthy() || f.err() != nil || f.stats().lost != 1 {
		t.Errorf("not healthy: %v", f.err())
	}
	mustClose(t, f)
	same(t, order(readLog(t, path)), "opened gap 2 closed")
	if r := verifyPaths(t, VerifyOptions{}, path); r.OK() {
		t.Error("verify knows of no loss")
	}
}

func TestPostHasABudget(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	d := &faultyDisk{}
	f := openTest(t, path, Options{disk: d})
	in, release := d.onWrite.hang()
	defer release()
	posts := 0
	if err := f.Post(event(posts)); err != nil {
		t.Fatal(err)
	}
	<-in
	posts++
	for ; f.Post(event(posts)) == nil; posts++ {
	}
	if posts != maxPosts+1 { // one is with the writer
		t.Errorf("%d posts were taken", posts)
	}
	if err := f.Post(event(posts)); !errors.Is(err, ErrBusy) {
		t.Errorf("over the budget: %v", err)
	}
	// An append is not hurt by them.
	done := make(chan error)
	go func() { done <- f.Append(context.Background(), event(-1)) }()
	waitFor(t, "the append to wait", func() bool {
		f.w.mu.Lock()
		defer f.w.mu.Unlock()
		return len(f.w.queue) == 1
	})
	release()
	if err := <-done; err != nil {
		t.Errorf("append beside too many posts: %v", err)
	}
	mustClose(t, f)
	log := readLog(t, path)
	last := -1
	for _, p := range log {
		if p.N != nil && *p.N >= 0 {
			if *p.N != last+1 {
				t.Fatalf("post %d after %d", *p.N, last)
			}
			last = *p.N
		}
	}
	same(t, last, posts-1)
	same(t, f.stats().lost, uint64(2))
	lost := 0
	for _, p := range log {
		lost += p.Lost
	}
	same(t, lost, 2)
	same(t, problems(verifyPaths(t, VerifyOptions{}, path)), []Problem{ProblemGap})
}

func TestOnState(t *testing.T) {
	d := &faultyDisk{}
	var mu sync.Mutex
	var states []string
	f := openTest(t, filepath.Join(t.TempDir(), "audit.log"), Options{disk: d, OnState: func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			states = append(states, "down")
		} else {
			states = append(states, "up")
		}
	}})
	var fail atomic.Bool
	fail.Store(true)
	d.onSync.fail(unix.EIO, -1)
	if err := f.Append(soon(t), event(1)); !errors.Is(err, ErrDown) || !errors.Is(err, unix.EIO) {
		t.Fatalf("append: %v", err)
	}
	d.onSync.clear()
	waitFor(t, "up", f.healthy)
	mustAppend(t, f, 2)
	mustClose(t, f)
	same(t, states, []string{"down", "up"})
}

// A program that is about to end must not wait for ever for a disk.
func TestCloseIsBounded(t *testing.T) {
	d := &faultyDisk{}
	f := openTest(t, filepath.Join(t.TempDir(), "audit.log"), Options{disk: d, Patience: 50 * time.Millisecond})
	in, release := d.onWrite.hang()
	defer release()
	if err := f.Post(event(1)); err != nil {
		t.Fatal(err)
	}
	<-in
	if err := f.Close(); err == nil || !strings.Contains(err.Error(), "no answer") {
		t.Errorf("close of a file that hangs: %v", err)
	}
	if _, err := Open(f.w.path, Options{Patience: 50 * time.Millisecond}); err == nil {
		t.Error("opened while the last user still waits")
	}
	release()
	<-f.w.done
	again := openTest(t, f.w.path, Options{})
	mustClose(t, again)
	same(t, order(readLog(t, f.w.path)), "opened 1 closed resumed closed")
}

func TestOpenIsBounded(t *testing.T) {
	d := &faultyDisk{}
	_, release := d.onOpen.hang()
	defer release()
	path := filepath.Join(t.TempDir(), "audit.log")
	if _, err := Open(path, Options{disk: d, Patience: 50 * time.Millisecond}); err == nil || !strings.Contains(err.Error(), "no answer") {
		t.Errorf("open of a file system that hangs: %v", err)
	}
	if _, err := Open(path, Options{Patience: 50 * time.Millisecond}); err == nil || !strings.Contains(err.Error(), "last user") {
		t.Errorf("opened beside the one that hangs: %v", err)
	}
	release()
	mustClose(t, openTest(t, path, Options{}))
}
