// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package trail

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xfrguard/xfrguard/internal/plainfile"
)

// stateLog is what an owner is told of the file.
type stateLog struct {
	mu     sync.Mutex
	states []error
}

func (l *stateLog) add(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.states = append(l.states, err)
}

func (l *stateLog) take() []error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.states)
}

// TestStartDown: what may pass leaves the file down at the start. It comes up by itself,
// what was posted meanwhile is there in order, and the gap tells of the rest.
func TestStartDown(t *testing.T) {
	fails := func(pick func(*faultyDisk) *hook, err error) func(*faultyDisk) func() {
		return func(d *faultyDisk) func() {
			pick(d).fail(err, -1)
			return pick(d).clear
		}
	}
	hangs := func(pick func(*faultyDisk) *hook) func(*faultyDisk) func() {
		return func(d *faultyDisk) func() {
			_, release := pick(d).hang()
			return release
		}
	}
	open, write := func(d *faultyDisk) *hook { return &d.onOpen }, func(d *faultyDisk) *hook { return &d.onWrite }
	sync, syncDir := func(d *faultyDisk) *hook { return &d.onSync }, func(d *faultyDisk) *hook { return &d.onSyncDir }
	for name, c := range map[string]struct {
		broken func(*faultyDisk) (heal func())
		want   error
	}{
		"full for a file":         {fails(open, unix.ENOSPC), unix.ENOSPC},
		"full for a line":         {fails(write, unix.ENOSPC), unix.ENOSPC},
		"no quota":                {fails(write, unix.EDQUOT), unix.EDQUOT},
		"read-only":               {fails(open, unix.EROFS), unix.EROFS},
		"bad blocks":              {fails(sync, unix.EIO), unix.EIO},
		"bad directory":           {fails(syncDir, unix.EIO), unix.EIO},
		"too many open files":     {fails(open, unix.EMFILE), unix.EMFILE},
		"hangs at the open":       {hangs(open), os.ErrDeadlineExceeded},
		"hangs at the first line": {hangs(write), os.ErrDeadlineExceeded},
	} {
		for _, old := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, with a file %v", name, old), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "audit.log")
				if old {
					f := openTest(t, path, Options{})
					mustAppend(t, f, 1)
					mustClose(t, f)
				}
				d, states := &faultyDisk{}, &stateLog{}
				heal := c.broken(d)
				defer heal()
				f := openTest(t, path, Options{disk: d, StartDown: true, Patience: 100 * time.Millisecond, OnState: states.add})
				defer f.Close()
				if got := states.take(); len(got) != 1 || !errors.Is(got[0], c.want) {
					t.Errorf("the owner was told %v", got)
				}
				if err := f.Post(event(2)); err != nil {
					t.Error(err)
				}
				if err := f.Append(soon(t), event(3)); !errors.Is(err, ErrDown) || !errors.Is(err, c.want) {
					t.Errorf("append: %v", err)
				}
				heal()
				waitFor(t, "up", func() bool { got := states.take(); return len(got) == 2 && got[1] == nil })
				f.w.opts.Patience = defaultPatience // of the close: the machine may be slow
				mustAppend(t, f, 4)
				mustClose(t, f)
				log := readLog(t, path)
				got := order(log)
				if want := map[bool]string{false: "opened gap 2 4 closed", true: "opened 1 closed resumed gap 2 4 closed"}[old]; got != want {
					t.Errorf("%s, want %s", got, want)
				}
				gap := log[slices.IndexFunc(log, func(p parsed) bool { return p.Kind == KindGap })]
				same(t, [2]int{gap.Lost, gap.Late}, [2]int{1, 0})
				if r := verifyPaths(t, VerifyOptions{}, path); r.OK() || len(r.Findings) != 1 || r.Findings[0].Problem != ProblemGap {
					t.Errorf("verify finds %v", r.Findings)
				}
			})
		}
	}
}

// TestStartMisconfigured: what nobody mends by waiting is an error of Open all the same,
// and leaves nothing behind.
func TestStartMisconfigured(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	holder := openTest(t, at("locked"), Options{})
	defer mustClose(t, holder)
	for _, err := range []error{
		os.Mkdir(at("directory"), 0o700), unix.Mkfifo(at("pipe"), 0o600), os.Symlink(at("elsewhere"), at("link")),
		os.WriteFile(at("foreign"), []byte("not a line of ours\n"), 0o600),
		os.WriteFile(at("unsafe"), nil, 0o600), os.Chmod(at("unsafe"), 0o666),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]error{
		"directory": plainfile.ErrUnsafe, "pipe": plainfile.ErrUnsafe, "link": plainfile.ErrUnsafe, "unsafe": plainfile.ErrUnsafe,
		"foreign": ErrNotTrail, "locked": plainfile.ErrLocked, "missing/audit.log": unix.ENOENT, "foreign/audit.log": unix.ENOTDIR,
		strings.Repeat("x", 300): unix.ENAMETOOLONG,
	} {
		f, err := Open(at(name), Options{StartDown: true})
		if !errors.Is(err, want) || !Misconfigured(err) {
			t.Errorf("%.20s: %v", name, err)
		}
		if err == nil {
			f.Close()
		}
	}
	d := &faultyDisk{}
	d.onOpen.fail(unix.EACCES, -1)
	if _, err := Open(at("denied"), Options{StartDown: true, disk: d}); !errors.Is(err, unix.EACCES) {
		t.Errorf("no permission: %v", err)
	}
	if _, err := os.Lstat(lockPath(at("denied"))); err == nil {
		t.Error("a lock file is left behind")
	}
}

// TestStartDownAndClose: a file that was never there leaves nothing behind.
func TestStartDownAndClose(t *testing.T) {
	dir := t.TempDir()
	d := &faultyDisk{}
	d.onOpen.fail(unix.ENOSPC, -1)
	f := openTest(t, filepath.Join(dir, "audit.log"), Options{disk: d, StartDown: true})
	if err := f.Post(event(1)); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err == nil || !strings.Contains(err.Error(), "1 posted lines could not be written") {
		t.Errorf("close: %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}
