// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package trail

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sys/unix"
)

// TestEveryLossIsTold: whatever way an event is lost on, the file's own gap event counts
// it once and says what it stood for.
func TestEveryLossIsTold(t *testing.T) {
	const first, second = 100, 20_000
	for name, c := range map[string]struct {
		lose  func(t *testing.T, f *File, d *faultyDisk)
		lost  int
		late  int
		cause string
	}{
		"no room for a post": {func(t *testing.T, f *File, d *faultyDisk) {
			in, release := d.onWrite.hang()
			mustPost(t, f, 1)
			<-in
			for range maxPosts {
				mustPost(t, f, 1)
			}
			wantError(t, f.Post(event(first)), ErrBusy)
			wantError(t, f.Post(event(second)), ErrBusy)
			release()
		}, 2, 0, causeBusy},
		"no event": {func(t *testing.T, f *File, _ *faultyDisk) {
			wantError(t, f.Post([]byte(`{"n":100} `)), ErrNotEvent)
			wantError(t, f.Append(soon(t), []byte(`{"n":20000} `)), ErrNotEvent)
		}, 2, 0, causeBusy},
		"the disk fails": {func(t *testing.T, f *File, d *faultyDisk) {
			d.onSync.fail(unix.EIO, -1)
			wantError(t, f.Append(soon(t), event(first)), unix.EIO)
			wantError(t, f.Append(soon(t), event(second)), ErrDown)
			d.onSync.clear()
			waitFor(t, "up", f.healthy)
		}, 2, 0, ""},
		"the disk hangs": {func(t *testing.T, f *File, d *faultyDisk) {
			in, release := d.onSync.hang()
			mustPost(t, f, 1)
			results := make(chan error, 2)
			ctx, cancel := context.WithCancel(t.Context())
			for _, n := range []int{first, second} {
				go func() { results <- f.Append(ctx, event(n)) }()
				if n == first {
					<-in
				}
			}
			waitFor(t, "the second to be queued", func() bool {
				f.w.mu.Lock()
				defer f.w.mu.Unlock()
				return len(f.w.queue) == 1
			})
			cancel()
			for range 2 {
				wantError(t, <-results, context.Canceled)
			}
			release()
		}, 2, 1, ""},
		"the caller is late": {func(t *testing.T, f *File, _ *faultyDisk) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			wantError(t, f.Append(ctx, event(first)), context.Canceled)
			wantError(t, f.Append(ctx, event(second)), context.Canceled)
		}, 2, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "audit.log")
			d := &faultyDisk{}
			f := openTest(t, path, Options{disk: d, Stands: standsFor})
			c.lose(t, f, d)
			mustAppend(t, f, 1)
			mustClose(t, f)
			log := readLog(t, path)
			lost, late, stood := told(log)
			same(t, [3]int{lost, late, stood}, [3]int{c.lost, c.late, first + second})
			for _, p := range log {
				if p.Kind == KindGap {
					same(t, p.Cause, c.cause)
				}
			}
			r := verifyPaths(t, VerifyOptions{}, path)
			if r.OK() {
				t.Error("verify knows of no loss")
			}
		})
	}
}

// TestLostWhileClosing: what comes when the file is being closed is lost, and told in
// front of the closed event. There may be no end of it.
func TestLostWhileClosing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	d := &faultyDisk{}
	f := openTest(t, path, Options{disk: d, Stands: standsFor})
	in, release := d.onWrite.hang()
	mustPost(t, f, 1)
	<-in
	closed := make(chan error)
	go func() { closed <- f.Close() }()
	waitFor(t, "the close", f.w.isClosing)
	wantError(t, f.Append(soon(t), event(20)), ErrClosed)
	wantError(t, f.Post(event(300)), ErrClosed)
	release()
	if err := <-closed; err != nil {
		t.Error(err)
	}
	log := readLog(t, path)
	same(t, order(log), "opened 1 gap closed")
	lost, late, stood := told(log)
	same(t, [3]int{lost, late, stood}, [3]int{2, 0, 320})
}

// TestGapIsToldOnce: a loss that comes up just before a group is made that is not synced
// waits for one that is. Told in both, it would count twice.
func TestGapIsToldOnce(t *testing.T) {
	w := newWriter("audit.log", Options{Stands: standsFor}.withDefaults())
	w.loseLocked(event(7), context.Canceled)
	w.compose(&batch{posts: [][]byte{event(1)}}, false)
	if strings.Contains(string(w.buf), FieldLost) || w.told.lost > 0 {
		t.Errorf("told in a group that is not synced: %s", w.buf)
	}
	w.compose(&batch{}, true)
	same(t, w.told.lost, uint64(1))
	w.loseLocked(event(20), context.Canceled)
	w.synced()
	same(t, [2]uint64{w.gap.lost, w.gap.stood["stood"]}, [2]uint64{1, 20})
}

// TestBusyExcusesNoCheckpoint: a file that worked, and only had no room, owes its
// checkpoints all the same.
func TestBusyExcusesNoCheckpoint(t *testing.T) {
	for cause, excused := range map[string]bool{"": true, `"coredns.xfr.audit.cause":"busy",`: false} {
		chain := newTestChain(t)
		var log []string
		for _, text := range []string{`{"n":1}`, `{"n":2}`, `{"coredns.xfr.audit.kind":"gap",` + cause + `"coredns.xfr.audit.lost":1}`} {
			log = append(log, string(chain.appendSealed(nil, []byte(text))))
		}
		_, verifier := keyed(t)
		r := verifySources(t, VerifyOptions{Verifiers: []note.Verifier{verifier}}, textSource("log", log...))
		if got := strings.Contains(strings.Join(r.Unknown, " "), "while the file was down"); got != excused {
			t.Errorf("cause %q: %v", cause, r.Unknown)
		}
	}
}

func mustPost(tb testing.TB, f *File, n int) {
	tb.Helper()
	if err := f.Post(event(n)); err != nil {
		tb.Fatalf("post %d: %v", n, err)
	}
}

func wantError(tb testing.TB, got, want error) {
	tb.Helper()
	if !errors.Is(got, want) {
		tb.Errorf("%v, want %v", got, want)
	}
}
