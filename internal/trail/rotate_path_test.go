// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package trail

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/plainfile"

	"golang.org/x/sys/unix"
)

// replacements put something else at the path of an audit file. dir has a file "target".
func replacements(dir string) map[string]func(path string) error {
	target := filepath.Join(dir, "target")
	return map[string]func(path string) error{
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
	}
}

// The path is taken by something that must not be followed: the file is down until that
// is gone, and no line goes there.
func TestPathReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	target := filepath.Join(dir, "target")
	for name, replace := range replacements(dir) {
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
			waitFor(t, "down", func() bool { return !f.healthy() })
			if err := f.Append(soon(t), event(-1)); !errors.Is(err, plainfile.ErrUnsafe) && !errors.Is(err, ErrNotTrail) {
				t.Errorf("append: %v", err)
			}
			l.stop()
			if st, err := os.Stat(target); err != nil || st.Size() != 0 {
				t.Errorf("something was written to the link's target: %v", err)
			}
			if err := os.Rename(path, filepath.Join(dir, "away "+name)); err != nil {
				t.Fatal(err)
			}
			waitFor(t, "up", f.healthy)
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
	// Renames the file, takes the right to write to its directory away, and gives it back:
	// as a user whom that stops.
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
		for !f.healthy() {
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
	waitFor(t, "down", func() bool { return !f.healthy() })
	if err := os.Rename(path+".1", path); err != nil {
		t.Fatal(err)
	}
	d.onOpen.clear()
	waitFor(t, "up", f.healthy)
	mustAppend(t, f, 2)
	mustClose(t, f)
	log := readLog(t, path)
	if n := numbers(log); n[1] != 1 || n[2] != 1 {
		t.Errorf("%s", order(log))
	}
	verifyGood(t, []Problem{ProblemGap}, path)
}
