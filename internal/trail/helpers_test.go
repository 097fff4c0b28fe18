// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package trail

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// event is a small event with a number that the tests find again.
func event(n int) []byte { return fmt.Appendf(nil, `{"n":%d}`, n) }

func openTest(tb testing.TB, path string, opts Options) *File {
	tb.Helper()
	f, err := Open(path, opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { f.Close() })
	return f
}

// err is what made the file go down; nil while it works.
func (f *File) err() error {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	return f.w.down
}

// healthy reports whether an Append would be tried.
func (f *File) healthy() bool { return f.err() == nil }

func (f *File) stats() stats {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	return f.w.stats
}

func mustAppend(tb testing.TB, f *File, n int) {
	tb.Helper()
	if err := f.Append(soon(tb), event(n)); err != nil {
		tb.Fatalf("append %d: %v", n, err)
	}
}

func mustClose(tb testing.TB, f *File) {
	tb.Helper()
	if err := f.Close(); err != nil {
		tb.Fatal(err)
	}
}

func soon(tb testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	tb.Cleanup(cancel)
	return ctx
}

// parsed is a line as a consumer reads it.
type parsed struct {
	N    *int   `json:"n"`
	Seq  uint64 `json:"event.sequence"`
	Kind Kind   `json:"coredns.xfr.audit.kind"`
	Lost int    `json:"coredns.xfr.audit.lost"`
	Late int    `json:"coredns.xfr.audit.late"`

	Cause string `json:"coredns.xfr.audit.cause"`
	Stood int    `json:"stood"`
}

func readLog(tb testing.TB, paths ...string) []parsed {
	tb.Helper()
	var all []parsed
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			tb.Fatal(err)
		}
		for i, line := range bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n")) {
			var p parsed
			if err := json.Unmarshal(line, &p); err != nil {
				tb.Fatalf("%s:%d: %v: %q", path, i+1, err, line)
			}
			all = append(all, p)
		}
	}
	return all
}

// standsFor is an Options.Stands: an event stands for its number.
func standsFor(event []byte) map[string]uint64 {
	var p parsed
	if json.Unmarshal(event, &p) != nil || p.N == nil {
		return nil
	}
	return map[string]uint64{"stood": uint64(*p.N)}
}

// told returns what the gap events of a log tell in all.
func told(log []parsed) (lost, late, stood int) {
	for _, p := range log {
		lost, late, stood = lost+p.Lost, late+p.Late, stood+p.Stood
	}
	return lost, late, stood
}

// numbers returns how often each number stands in the log.
func numbers(log []parsed) map[int]int {
	found := map[int]int{}
	for _, p := range log {
		if p.N != nil {
			found[*p.N]++
		}
	}
	return found
}

// order returns the numbers and kinds of a log: "opened 1 2 closed".
func order(log []parsed) string {
	var b bytes.Buffer
	for _, p := range log {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		if p.N != nil {
			fmt.Fprint(&b, *p.N)
		} else {
			b.WriteString(string(p.Kind))
		}
	}
	return b.String()
}

func verifyPaths(tb testing.TB, opts VerifyOptions, paths ...string) *Report {
	tb.Helper()
	var sources []Source
	for _, p := range paths {
		sources = append(sources, FileSource(p))
	}
	r, err := Verify(sources, opts)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// verifyGood fails the test unless the log holds and every finding is one of the
// warnings allowed.
func verifyGood(tb testing.TB, allowed []Problem, paths ...string) {
	tb.Helper()
	r := verifyPaths(tb, VerifyOptions{}, paths...)
	for _, f := range r.Findings {
		known := false
		for _, p := range allowed {
			known = known || f.Problem == p && f.Warning
		}
		if !known {
			tb.Errorf("unexpected finding: %s", f)
		}
	}
}

func problems(r *Report) []Problem {
	var all []Problem
	for _, f := range r.Findings {
		all = append(all, f.Problem)
	}
	return all
}

func same[T any](tb testing.TB, got, want T) {
	tb.Helper()
	if d := cmp.Diff(want, got); d != "" {
		tb.Errorf("(-want +got)\n%s", d)
	}
}

func waitFor(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("waited in vain for: %s", what)
		}
	}
}

// load appends and posts from several goroutines until it is stopped.
type load struct {
	f        *File
	next     atomic.Int64
	stopping atomic.Bool
	wg       sync.WaitGroup
	mu       sync.Mutex
	acked    []int // appended with a nil error
	posted   []int
	failed   int
}

func startLoad(f *File, appenders int) *load {
	l := &load{f: f}
	for range appenders {
		l.wg.Go(func() {
			for !l.stopping.Load() {
				n := int(l.next.Add(1))
				ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
				err := f.Append(ctx, event(n))
				cancel()
				l.mu.Lock()
				if err == nil {
					l.acked = append(l.acked, n)
				} else {
					l.failed++
				}
				l.mu.Unlock()
				if err != nil {
					time.Sleep(time.Millisecond)
				}
			}
		})
	}
	l.wg.Go(func() {
		for !l.stopping.Load() {
			n := int(l.next.Add(1))
			if f.Post(event(n)) == nil {
				l.posted = append(l.posted, n)
			}
			time.Sleep(200 * time.Microsecond)
		}
	})
	return l
}

func (l *load) stop() {
	l.stopping.Store(true)
	l.wg.Wait()
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// more waits until that many more lines were acknowledged.
func (l *load) more(tb testing.TB, n int) {
	tb.Helper()
	start := l.count()
	waitFor(tb, "progress under load", func() bool { return l.count() >= start+n })
}

// generations returns path and everything beside it that begins with its name.
func generations(tb testing.TB, path string) []string {
	tb.Helper()
	all, err := filepath.Glob(path + "*")
	if err != nil {
		tb.Fatal(err)
	}
	return all
}

// faultyDisk lets the real disk be reached through hooks, which a test can set at any
// time.
type faultyDisk struct {
	osDisk
	onWrite, onTruncate, onSync, onOpen, onSyncDir hook
}

// hook is called instead of the real operation, which it may do itself.
type hook struct {
	p atomic.Pointer[func(do func(b []byte) (int, error), b []byte) (int, error)]
}

func (h *hook) set(f func(do func(b []byte) (int, error), b []byte) (int, error)) { h.p.Store(&f) }
func (h *hook) clear()                                                            { h.p.Store(nil) }

// fail makes the next n operations fail; n < 0: all of them.
func (h *hook) fail(err error, n int) {
	var done atomic.Int64
	h.set(func(do func([]byte) (int, error), b []byte) (int, error) {
		if n >= 0 && done.Add(1) > int64(n) {
			return do(b)
		}
		return 0, err
	})
}

// hang makes operations wait until the returned function is called.
func (h *hook) hang() (entered <-chan struct{}, release func()) {
	in, out := make(chan struct{}), make(chan struct{})
	var first, last sync.Once
	h.set(func(do func([]byte) (int, error), b []byte) (int, error) {
		first.Do(func() { close(in) })
		<-out
		return do(b)
	})
	return in, func() { last.Do(func() { h.clear(); close(out) }) }
}

func (h *hook) run(do func(b []byte) (int, error), b []byte) (int, error) {
	if f := h.p.Load(); f != nil {
		return (*f)(do, b)
	}
	return do(b)
}

func (d *faultyDisk) open(path string, alone bool) (file, error) {
	if _, err := d.onOpen.run(func([]byte) (int, error) { return 0, nil }, nil); err != nil {
		return nil, err
	}
	f, err := d.osDisk.open(path, alone)
	if err != nil {
		return nil, err
	}
	return faultyFile{f, d}, nil
}

func (d *faultyDisk) syncDir(dir string) error {
	_, err := d.onSyncDir.run(func([]byte) (int, error) { return 0, d.osDisk.syncDir(dir) }, nil)
	return err
}

type faultyFile struct {
	file
	d *faultyDisk
}

func (f faultyFile) write(b []byte) (int, error) { return f.d.onWrite.run(f.file.write, b) }

func (f faultyFile) sync() error {
	_, err := f.d.onSync.run(func([]byte) (int, error) { return 0, f.file.sync() }, nil)
	return err
}

func (f faultyFile) truncate(size int64) error {
	_, err := f.d.onTruncate.run(func([]byte) (int, error) { return 0, f.file.truncate(size) }, nil)
	return err
}

// testContext is soon for code that has no testing.TB.
func testContext() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	time.AfterFunc(20*time.Second, cancel)
	return ctx
}

// memoryDir is a directory on a file system in memory, where there is one: for tests of
// many steps to which the disk's time means nothing.
func memoryDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "trail-test-")
	if err != nil {
		return tb.TempDir()
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
