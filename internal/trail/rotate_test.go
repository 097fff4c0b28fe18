// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package trail

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Rename under load, many times: every event is there once, in one chain.
func TestRenameUnderLoad(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.log")
	f := openTest(t, path, Options{})
	l := startLoad(f, 8)
	for i := range 40 {
		l.more(t, 20)
		if err := os.Rename(path, fmt.Sprintf("%s.%d", path, i)); err != nil {
			t.Fatal(err)
		}
	}
	l.more(t, 20)
	l.stop()
	mustClose(t, f)
	all := generations(t, path)
	verifyGood(t, nil, all...)
	found := numbers(readLog(t, all...))
	for _, n := range append(l.acked, l.posted...) {
		if found[n] != 1 {
			t.Errorf("event %d is there %d times", n, found[n])
		}
	}
	same(t, len(found), len(l.acked)+len(l.posted))
	same(t, l.failed, 0)
	same(t, len(all), 41)
}

// Delete under load: what was in the file is gone, and verify says so; but no line is
// acknowledged on the strength of a file that was gone by then.
func TestDeleteUnderLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "audit.log")
	f := openTest(t, path, Options{})
	l := startLoad(f, 8)
	for i := range 20 {
		l.more(t, 20)
		// A second name shows afterwards what was in the file when it was deleted.
		if err := os.Link(path, fmt.Sprintf("%s/was.%d", dir, i)); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	l.stop()
	mustClose(t, f)
	found := numbers(readLog(t, append(generations(t, dir+"/was."), path)...))
	for _, n := range l.acked {
		if found[n] < 1 {
			t.Errorf("event %d was acknowledged and is nowhere", n)
		}
	}
	r := verifyPaths(t, VerifyOptions{}, path)
	if r.OK() && len(r.Unknown) == 0 {
		t.Error("verify is content with a part of the log")
	}
}

func TestDeletedFileIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	f := openTest(t, path, Options{})
	mustAppend(t, f, 1)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, f, 2)
	mustClose(t, f)
	same(t, order(readLog(t, path)), "rotated 2 closed")
	r := verifyPaths(t, VerifyOptions{}, path)
	same(t, problems(r), []Problem{ProblemDestroyed})
	if r.OK() {
		t.Error("it passes")
	}
}

// The file is deleted between the write and the release: the line is written again, to
// the new file.
func TestDeleteWhileWriting(t *testing.T) {
	for name, h := range map[string]func(d *faultyDisk) *hook{
		"before the write": func(d *faultyDisk) *hook { return &d.onWrite },
		"before the sync":  func(d *faultyDisk) *hook { return &d.onSync },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "audit.log")
			d := &faultyDisk{}
			f := openTest(t, path, Options{disk: d})
			mustAppend(t, f, 1)
			done := false
			h(d).set(func(do func([]byte) (int, error), b []byte) (int, error) {
				if !done {
					done = true
					if err := os.Remove(path); err != nil {
						return 0, err
					}
				}
				return do(b)
			})
			mustAppend(t, f, 2)
			mustClose(t, f)
			same(t, order(readLog(t, path)), "rotated 2 closed")
		})
	}
}

// A rename is noticed within about a second when nothing is written at all.
func TestIdleRotation(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.log")
	f := openTest(t, path, Options{})
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	waitFor(t, "the new file", func() bool { _, err := os.Stat(path); return err == nil })
	if d := time.Since(start); d > 3*time.Second {
		t.Errorf("it took %s", d)
	}
	mustClose(t, f)
	same(t, order(readLog(t, path+".1", path)), "opened rotated closed")
}

// Posts that were written and not yet synced are synced before their file is left:
// nobody comes back to it.
func TestLeftFileIsSynced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	d := &faultyDisk{}
	f := openTest(t, path, Options{disk: d})
	if err := f.Post(event(1)); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the post", func() bool { return len(readLog(t, path)) == 2 })
	var calls []string
	note := func(name string) func(func([]byte) (int, error), []byte) (int, error) {
		return func(do func([]byte) (int, error), b []byte) (int, error) {
			calls = append(calls, name)
			return do(b)
		}
	}
	d.onOpen.set(note("open"))
	d.onSync.set(note("sync"))
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, f, 2)
	mustClose(t, f)
	same(t, calls[:3], []string{"sync", "open", "sync"})
	same(t, order(readLog(t, path+".1", path)), "opened 1 rotated 2 closed")
}

// logrotate itself, as it should be configured.
func TestLogrotate(t *testing.T) {
	t.Parallel()
	logrotate, err := exec.LookPath("logrotate")
	if err != nil {
		if logrotate, err = exec.LookPath("/usr/sbin/logrotate"); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatal("logrotate is not installed")
			}
			t.Skip("logrotate is not installed")
		}
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "audit.log")
	config := filepath.Join(dir, "logrotate.conf")
	text := fmt.Sprintf("%s {\n\trotate 100\n\tnocreate\n\tcompress\n\tdelaycompress\n\tmissingok\n\tnotifempty\n}\n", path)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f := openTest(t, path, Options{})
	l := startLoad(f, 4)
	for range 5 {
		l.more(t, 20)
		out, err := exec.CommandContext(soon(t), logrotate, "--force", "--state", filepath.Join(dir, "state"), config).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	l.more(t, 20)
	l.stop()
	mustClose(t, f)
	r := verifyPaths(t, VerifyOptions{}, generations(t, path)...)
	if !r.OK() || len(r.Findings) > 0 {
		t.Errorf("%v", r.Findings)
	}
	same(t, r.Files, 6)
	same(t, r.Lines, len(l.acked)+len(l.posted)+7) // opened, 5 rotated, closed
}
