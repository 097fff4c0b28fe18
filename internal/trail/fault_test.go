// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package trail

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Whatever fails once is got over within the same Append: opened anew and written
// again. The log tells, and holds.
func TestOneFailureIsGotOver(t *testing.T) {
	short := func(n int, err error) func(d *faultyDisk) {
		return func(d *faultyDisk) {
			first := true
			d.onWrite.set(func(do func([]byte) (int, error), b []byte) (int, error) {
				if !first {
					return do(b)
				}
				first = false
				if n > len(b) {
					n = len(b) - 1
				}
				n, werr := do(b[:n])
				return n, errors.Join(err, werr)
			})
		}
	}
	for name, fault := range map[string]func(d *faultyDisk){
		"write ENOSPC":            func(d *faultyDisk) { d.onWrite.fail(unix.ENOSPC, 1) },
		"write EIO":               func(d *faultyDisk) { d.onWrite.fail(unix.EIO, 1) },
		"write EPIPE":             func(d *faultyDisk) { d.onWrite.fail(unix.EPIPE, 1) },
		"sync EIO":                func(d *faultyDisk) { d.onSync.fail(unix.EIO, 1) },
		"short write":             short(20, nil),
		"short write of one byte": short(1, nil),
		"short by the newline":    short(4096, nil),
		"short write, ENOSPC":     short(20, unix.ENOSPC),
	} {
		for _, appendOnly := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", append only"}[appendOnly], func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "audit.log")
				d := &faultyDisk{}
				f := openTest(t, path, Options{disk: d})
				mustAppend(t, f, 1)
				if appendOnly { // the attribute that chattr +a sets
					d.onTruncate.fail(unix.EPERM, -1)
				}
				fault(d)
				mustAppend(t, f, 2)
				mustAppend(t, f, 3)
				mustClose(t, f)
				log := lenientLog(t, path)
				n := numbers(log)
				if n[1] != 1 || n[2] < 1 || n[3] != 1 || (n[2] > 1 && !appendOnly) {
					t.Errorf("%s", order(log))
				}
				if !appendOnly {
					same(t, order(log), "opened 1 gap 2 3 closed")
				}
				verifyGood(t, []Problem{ProblemGap, ProblemRepaired}, path)
			})
		}
	}
}

// lenientLog reads a log that may have lines that were torn and ended.
func lenientLog(tb testing.TB, path string) []parsed {
	tb.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	var good strings.Builder
	for line := range strings.Lines(string(text)) {
		bare := []byte(strings.TrimSuffix(line, "\n"))
		if s, ok := parseLine(bare); ok && s.intact(bare) {
			good.WriteString(line)
		}
	}
	clean := filepath.Join(tb.TempDir(), "clean.log")
	if err := os.WriteFile(clean, []byte(good.String()), 0o600); err != nil {
		tb.Fatal(err)
	}
	return readLog(tb, clean)
}

// While nothing can be written, appends fail at once, and posts wait. The first line
// after that tells what was lost.
func TestDownAndUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	d := &faultyDisk{}
	f := openTest(t, path, Options{disk: d})
	mustAppend(t, f, 1)
	d.onWrite.fail(unix.ENOSPC, -1)
	for n := 2; n < 7; n++ {
		start := time.Now()
		err := f.Append(soon(t), event(n))
		if !errors.Is(err, ErrDown) || !errors.Is(err, unix.ENOSPC) {
			t.Fatalf("append %d: %v", n, err)
		}
		if d := time.Since(start); d > time.Second {
			t.Errorf("it took %s", d)
		}
	}
	if err := f.Post(event(7)); err != nil {
		t.Errorf("post: %v", err)
	}
	if f.healthy() || !errors.Is(f.err(), unix.ENOSPC) {
		t.Errorf("healthy; %v", f.err())
	}
	d.onWrite.clear()
	waitFor(t, "recovery without another append", f.healthy)
	mustAppend(t, f, 8)
	mustClose(t, f)
	log := readLog(t, path)
	same(t, order(log), "opened 1 gap 7 8 closed")
	same(t, log[2].Lost, 5)
	r := verifyPaths(t, VerifyOptions{}, path)
	same(t, problems(r), []Problem{ProblemGap})
	if r.OK() || !strings.Contains(r.Findings[0].String(), "5 events were lost") || !strings.Contains(r.Findings[0].Detail, "no space left") {
		t.Errorf("%v", r.Findings)
	}
}

// A caller does not wait for a disk that hangs longer than its deadline; those after it
// do not wait at all.
func TestHang(t *testing.T) {
	for name, h := range map[string]func(d *faultyDisk) *hook{
		"write": func(d *faultyDisk) *hook { return &d.onWrite },
		"sync":  func(d *faultyDisk) *hook { return &d.onSync },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "audit.log")
			d := &faultyDisk{}
			f := openTest(t, path, Options{disk: d})
			mustAppend(t, f, 1)
			_, release := h(d).hang()
			defer release()
			ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
			defer cancel()
			if err := f.Append(ctx, event(2)); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("append: %v", err)
			}
			start := time.Now()
			if err := f.Append(context.Background(), event(3)); !errors.Is(err, ErrDown) || time.Since(start) > time.Second {
				t.Errorf("append while it hangs: %v after %s", err, time.Since(start))
			}
			if f.healthy() {
				t.Error("healthy while it hangs")
			}
			if err := f.Post(event(4)); err != nil {
				t.Errorf("post: %v", err)
			}
			release()
			waitFor(t, "up", f.healthy)
			mustAppend(t, f, 5)
			mustClose(t, f)
			log := readLog(t, path)
			same(t, order(log), "opened 1 2 gap 4 5 closed")
			same(t, [2]int{log[3].Lost, log[3].Late}, [2]int{2, 1})
		})
	}
}

// Those who are in the queue when the file fails are told at once.
func TestQueueIsToldOfFailure(t *testing.T) {
	d := &faultyDisk{}
	f := openTest(t, filepath.Join(t.TempDir(), "audit.log"), Options{disk: d})
	in, release := d.onSync.hang()
	errs := make(chan error, 20)
	go func() { errs <- f.Append(context.Background(), event(0)) }()
	<-in
	for n := 1; n < 20; n++ {
		go func() { errs <- f.Append(context.Background(), event(n)) }()
	}
	waitFor(t, "the others to be queued", func() bool {
		f.w.mu.Lock()
		defer f.w.mu.Unlock()
		return len(f.w.queue) == 19
	})
	d.onWrite.fail(unix.EIO, -1)
	release()
	failed := 0
	for range 20 {
		if err := <-errs; err != nil {
			if !errors.Is(err, ErrDown) || !errors.Is(err, unix.EIO) {
				t.Errorf("%v", err)
			}
			failed++
		}
	}
	same(t, failed, 19)
	d.onWrite.clear()
	waitFor(t, "up", f.healthy)
	mustClose(t, f)
	same(t, f.stats().lost, uint64(failed))
}

// A caller that is not patient is no reason to call the file down.
func TestCancelIsNoFailure(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	d := &faultyDisk{}
	f := openTest(t, path, Options{disk: d})
	in, release := d.onSync.hang()
	defer release()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- f.Append(ctx, event(1)) }()
	<-in
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("append: %v", err)
	}
	if !f.healthy() {
		t.Errorf("down: %v", f.err())
	}
	release()
	mustAppend(t, f, 2)
	mustClose(t, f)
	same(t, order(readLog(t, path)), "opened 1 gap 2 closed")
	verifyGood(t, []Problem{ProblemGap}, path)
}

// Where nothing can be removed, lines of which the caller was told that they failed
// stay: the gap event names them.
func TestLateLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	d := &faultyDisk{}
	f := openTest(t, path, Options{disk: d})
	d.onTruncate.fail(unix.EPERM, -1)
	d.onSync.fail(unix.EIO, -1)
	if err := f.Append(soon(t), event(1)); !errors.Is(err, unix.EIO) {
		t.Fatalf("append: %v", err)
	}
	d.onSync.clear()
	waitFor(t, "up", f.healthy)
	mustClose(t, f)
	late := 0
	for _, p := range readLog(t, path) {
		late += p.Late
	}
	if late == 0 {
		t.Errorf("%s", order(readLog(t, path)))
	}
	same(t, problems(verifyPaths(t, VerifyOptions{}, path))[0], ProblemGap)
}

// A new file is of no use before its name is durable too.
func TestDirectoryIsSynced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	d := &faultyDisk{}
	d.onSyncDir.fail(unix.EIO, 1)
	if _, err := Open(path, Options{disk: d}); !errors.Is(err, unix.EIO) {
		t.Errorf("open: %v", err)
	}
	f := openTest(t, path, Options{disk: d})
	d.onSyncDir.fail(unix.EIO, -1)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "down", func() bool { return !f.healthy() })
	if err := f.Append(soon(t), event(1)); !errors.Is(err, unix.EIO) {
		t.Errorf("append to a new file without a durable name: %v", err)
	}
	d.onSyncDir.clear()
	waitFor(t, "up", f.healthy)
	mustClose(t, f)
}

func TestCloseSaysWhatIsLost(t *testing.T) {
	d := &faultyDisk{}
	f := openTest(t, filepath.Join(t.TempDir(), "audit.log"), Options{disk: d})
	d.onWrite.fail(unix.ENOSPC, -1)
	_ = f.Append(soon(t), event(1))
	if err := f.Post(event(2)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err == nil || !strings.Contains(err.Error(), "1 posted lines") {
		t.Errorf("close: %v", err)
	}
}

// mountTmpfs makes a file system of a few pages. Only a run that is not root and not in
// CI may go without.
func mountTmpfs(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	err := unix.Mount("trail-test", dir, "tmpfs", 0, "size="+size)
	if err != nil {
		if os.Getuid() != 0 && os.Getenv("CI") == "" {
			t.Skipf("mount: %v", err)
		}
		t.Fatalf("mount: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// A file system that is really full: every line acknowledged is there, none is torn,
// and when there is room again the log goes on with what was lost.
func TestFullFileSystem(t *testing.T) {
	t.Parallel()
	dir := mountTmpfs(t, "128k")
	path := filepath.Join(dir, "audit.log")
	f := openTest(t, path, Options{})
	l := startLoad(f, 8)
	waitFor(t, "the disk to be full", func() bool { return !f.healthy() })
	if err := f.Append(soon(t), event(-1)); !errors.Is(err, ErrDown) || !(errors.Is(err, unix.ENOSPC) || errors.Is(err, io.ErrShortWrite)) {
		t.Errorf("append to a full disk: %v", err)
	}
	for _, p := range readLog(t, path) { // no line is torn, even now
		_ = p
	}
	if err := unix.Mount("trail-test", dir, "tmpfs", unix.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "up", f.healthy)
	l.more(t, 5)
	l.stop()
	mustClose(t, f)
	log := readLog(t, path)
	found := numbers(log)
	for _, n := range l.acked {
		if found[n] != 1 {
			t.Errorf("line %d was acknowledged and is there %d times", n, found[n])
		}
	}
	lost := 0
	for _, p := range log {
		lost += p.Lost
	}
	same(t, lost, l.failed+1)
	same(t, problems(verifyPaths(t, VerifyOptions{}, path))[0], ProblemGap)
}
