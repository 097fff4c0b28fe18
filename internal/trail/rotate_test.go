// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package trail

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
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

// Delete under load: what was in the file is gone, and verify says so; but no line is acknowledged on the strength of a
// file that was gone by then.
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

// The file is deleted between the write and the release: the line is written again, to the new file.
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

// copytruncate: the copy has some lines, the file loses all of them. verify says what is missing between the two.
func TestCopyTruncateUnderLoad(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.log")
	f := openTest(t, path, Options{})
	l := startLoad(f, 8)
	var copies []string
	for i := range 10 {
		l.more(t, 20)
		name := fmt.Sprintf("%s.%d", path, i)
		copyFile(t, path, name)
		if err := os.Truncate(path, 0); err != nil {
			t.Fatal(err)
		}
		copies = append(copies, name)
	}
	l.more(t, 20)
	l.stop()
	mustClose(t, f)
	all := append(copies, path)
	found := numbers(lenientLog(t, concat(t, all...)))
	missing := 0
	for _, n := range l.acked {
		if found[n] == 0 {
			missing++
		}
	}
	r := verifyPaths(t, VerifyOptions{}, all...)
	if missing > 0 && r.OK() {
		t.Errorf("%d lines are gone, and verify passes", missing)
	}
	truncated := 0
	for _, p := range problems(r) {
		switch p {
		case ProblemTruncated:
			truncated++
		case ProblemRemoved:
		case ProblemTorn, ProblemRepaired, ProblemChanged: // a copy taken in the middle of a write
		default:
			t.Errorf("%s", p)
		}
	}
	if truncated != 10 && r.Omitted == 0 {
		t.Errorf("%d of 10 cuts are named", truncated)
	}
}

func copyFile(tb testing.TB, from, to string) {
	tb.Helper()
	in, err := os.Open(from)
	if err != nil {
		tb.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		tb.Fatal(err)
	}
	defer out.Close()
	if _, err := io.Copy(out, in); err != nil {
		tb.Fatal(err)
	}
}

func concat(tb testing.TB, paths ...string) string {
	tb.Helper()
	var all []byte
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, b...)
	}
	name := filepath.Join(tb.TempDir(), "all.log")
	if err := os.WriteFile(name, all, 0o600); err != nil {
		tb.Fatal(err)
	}
	return name
}

// The cut comes while a line is under way: it is acknowledged only when it is in the file.
func TestTruncateWhileWriting(t *testing.T) {
	for name, h := range map[string]func(d *faultyDisk) *hook{
		"before the write": func(d *faultyDisk) *hook { return &d.onWrite },
		"before the sync":  func(d *faultyDisk) *hook { return &d.onSync },
	} {
		for _, size := range []int64{0, 100} {
			t.Run(fmt.Sprintf("%s, to %d", name, size), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "audit.log")
				d := &faultyDisk{}
				f := openTest(t, path, Options{disk: d})
				mustAppend(t, f, 1)
				done := false
				h(d).set(func(do func([]byte) (int, error), b []byte) (int, error) {
					if !done {
						done = true
						if err := os.Truncate(path, size); err != nil {
							return 0, err
						}
					}
					return do(b)
				})
				mustAppend(t, f, 2)
				mustClose(t, f)
				log := lenientLog(t, path)
				if numbers(log)[2] < 1 || !strings.Contains(order(log), "truncated") {
					t.Errorf("%s", order(log))
				}
			})
		}
	}
}

// Somebody else writes into the file: no line of ours is glued to it, and verify names it.
func TestForeignBytes(t *testing.T) {
	for name, text := range map[string]string{"a line": "hello\n", "half a line": "hello", "much": strings.Repeat("hello\n", 10_000)} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "audit.log")
			f := openTest(t, path, Options{})
			mustAppend(t, f, 1)
			appendTo(t, path, text)
			mustAppend(t, f, 2)
			mustClose(t, f)
			log := lenientLog(t, path)
			if o := strings.ReplaceAll(order(log), "repaired ", ""); o != "opened 1 foreign 2 closed" {
				t.Errorf("%s", o)
			}
			r := verifyPaths(t, VerifyOptions{}, path)
			if r.OK() || (text != "hello" && r.Findings[0].Line != 3) {
				t.Errorf("%v", r.Findings)
			}
		})
	}
}

// The path is taken by something that must not be followed: the file is down until that is gone, and no line goes there.
func TestPathReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	target := filepath.Join(dir, "target")
	for name, replace := range map[string]func(path string) error{
		"link":      func(path string) error { return os.Symlink(target, path) },
		"fifo":      func(path string) error { return unix.Mkfifo(path, 0o600) },
		"directory": func(path string) error { return os.Mkdir(path, 0o700) },
		"device":    func(path string) error { return unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))) },
		"other log": func(path string) error {
			hello := filepath.Join(dir, "hello")
			if err := os.WriteFile(hello, []byte("hello\n"), 0o600); err != nil {
				return err
			}
			if err := os.Link(hello, path); err != nil { // with its content at once, and not over another file
				return err
			}
			return os.Remove(hello)
		},
		"hard link": func(path string) error { return os.Link(target, path) },
		"file of another owner": func(path string) error {
			theirs := filepath.Join(dir, "theirs")
			if err := errors.Join(os.WriteFile(theirs, nil, 0o600), os.Chown(theirs, 65534, 65534), os.Link(theirs, path)); err != nil {
				return err
			}
			return os.Remove(theirs)
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "audit.log")
			if err := os.WriteFile(target, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			f := openTest(t, path, Options{})
			l := startLoad(f, 4)
			l.more(t, 10)
			if err := os.Rename(path, path+".1"); err != nil {
				t.Fatal(err)
			}
			err := replace(path)
			for n := 2; errors.Is(err, os.ErrExist); n++ { // the writer was faster
				if err = os.Rename(path, fmt.Sprintf("%s.%d", path, n)); err == nil {
					err = replace(path)
				}
			}
			if errors.Is(err, os.ErrPermission) && os.Getuid() != 0 {
				l.stop()
				t.Skip("needs root")
			}
			if err != nil {
				t.Fatal(err)
			}
			waitFor(t, "down", func() bool { return !f.Healthy() })
			if err := f.Append(soon(t), event(-1)); !errors.Is(err, ErrUnsafe) && !errors.Is(err, ErrNotTrail) {
				t.Errorf("append: %v", err)
			}
			l.stop()
			if st, err := os.Stat(target); err != nil || st.Size() != 0 {
				t.Errorf("something was written to the link's target: %v", err)
			}
			if err := os.Rename(path, filepath.Join(dir, "away "+name)); err != nil {
				t.Fatal(err)
			}
			waitFor(t, "up", f.Healthy)
			mustAppend(t, f, -2)
			mustClose(t, f)
			all := generations(t, path)
			found := numbers(readLog(t, all...))
			for _, n := range append(l.acked, l.posted...) {
				if found[n] != 1 {
					t.Errorf("event %d is there %d times", n, found[n])
				}
			}
			same(t, problems(verifyPaths(t, VerifyOptions{}, all...)), []Problem{ProblemGap})
		})
	}
}

func init() {
	// Renames the file, takes the right to write to its directory away, and gives it back: as a user whom that stops.
	children["read-only directory"] = func(args []string) error {
		path := args[0]
		f, err := Open(path, Options{})
		if err != nil {
			return err
		}
		dir := filepath.Dir(path)
		if err := errors.Join(os.Rename(path, path+".1"), os.Chmod(dir, 0o500)); err != nil {
			return err
		}
		for range 3 {
			if err := f.Append(testContext(), event(1)); !errors.Is(err, os.ErrPermission) || !errors.Is(err, ErrDown) {
				return fmt.Errorf("append without the right to make a file: %w", err)
			}
		}
		if err := os.Chmod(dir, 0o700); err != nil {
			return err
		}
		for !f.Healthy() {
			time.Sleep(time.Millisecond)
		}
		return errors.Join(f.Append(testContext(), event(2)), f.Close())
	}
}

func TestReadOnlyDirectory(t *testing.T) {
	t.Parallel()
	// TempDir's parents are closed to others.
	dir, err := os.MkdirTemp("", "trail-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "audit.log")
	c := child(t, "read-only directory", path)
	if os.Getuid() == 0 { // whom permissions do not stop
		const nobody = 65534
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
		binary := filepath.Join(dir, "trail.test")
		copyFile(t, os.Args[0], binary)
		if err := os.Chmod(binary, 0o755); err != nil {
			t.Fatal(err)
		}
		c.Path, c.Dir = binary, dir
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	same(t, order(readLog(t, path+".1", path)), "opened rotated gap 2 closed")
	same(t, problems(verifyPaths(t, VerifyOptions{}, path, path+".1")), []Problem{ProblemGap})
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

// The file is moved away and back: it is the same one.
func TestMovedBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	d := &faultyDisk{}
	f := openTest(t, path, Options{disk: d})
	mustAppend(t, f, 1)
	d.onOpen.fail(unix.EMFILE, -1)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "down", func() bool { return !f.Healthy() })
	if err := os.Rename(path+".1", path); err != nil {
		t.Fatal(err)
	}
	d.onOpen.clear()
	waitFor(t, "up", f.Healthy)
	mustAppend(t, f, 2)
	mustClose(t, f)
	log := readLog(t, path)
	if n := numbers(log); n[1] != 1 || n[2] != 1 {
		t.Errorf("%s", order(log))
	}
	verifyGood(t, []Problem{ProblemGap}, path)
}

// Posts that were written and not yet synced are synced before their file is left: nobody comes back to it.
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
