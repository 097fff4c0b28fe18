// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package trail

import (
	"bytes"
	"errors"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// firstWaitsThenFull makes the first write wait for the release; a later one, of all that
// was queued meanwhile, finds the disk full after some lines, and nothing fits any more.
func firstWaitsThenFull(d *faultyDisk, inFile int) (begun <-chan struct{}, release func()) {
	begins, out := make(chan struct{}), make(chan struct{})
	waited, full := false, false
	d.onWrite.set(func(do func([]byte) (int, error), b []byte) (int, error) {
		switch {
		case !waited:
			waited = true
			close(begins)
			<-out
			return do(b)
		case full:
			return 0, unix.ENOSPC
		case bytes.Count(b, []byte("\n")) < 4:
			return do(b)
		}
		full = true
		n := 0
		for range inFile {
			n += bytes.IndexByte(b[n:], '\n') + 1
		}
		n, err := do(b[:n])
		return n, errors.Join(err, unix.ENOSPC)
	})
	return begins, sync.OnceFunc(func() { close(out) })
}

// TestLostAmongLate: where nothing can be removed, as under the append-only attribute,
// a write that the disk was too full for leaves its first lines in the file. They make
// up for no line that is missing: the gap event tells of it, and Verify fails.
func TestLostAmongLate(t *testing.T) {
	for name, inFile := range map[string]int{"the posts": 2, "the posts and one append": 3, "all": 4} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "audit.log")
			d := &faultyDisk{}
			f := openTest(t, path, Options{disk: d})
			in, release := firstWaitsThenFull(d, inFile)
			defer release()
			if err := f.Post(event(1)); err != nil {
				t.Fatal(err)
			}
			<-in
			for i := range 2 {
				if err := f.Post(event(2 + i)); err != nil {
					t.Fatal(err)
				}
			}
			results := make(chan error, 2)
			for i := range 2 {
				go func() { results <- f.Append(soon(t), event(4+i)) }()
				waitFor(t, "queued", func() bool {
					f.w.mu.Lock()
					defer f.w.mu.Unlock()
					return len(f.w.queue) == i+1
				})
			}
			d.onTruncate.fail(unix.EPERM, -1)
			release()
			for range 2 {
				if err := <-results; !errors.Is(err, unix.ENOSPC) {
					t.Fatalf("append: %v", err)
				}
			}
			d.onWrite.clear()
			waitFor(t, "up", f.healthy)
			mustClose(t, f)
			lost, late := 0, 0
			for _, p := range lenientLog(t, path) {
				lost, late = lost+p.Lost, late+p.Late
			}
			same(t, [2]int{lost, late}, [2]int{2, inFile - 2})
			same(t, verifyPaths(t, VerifyOptions{}, path).OK(), inFile == 4)
		})
	}
}
