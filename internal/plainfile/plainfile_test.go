// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package plainfile

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var private = Rules{Mode: 0o600, Refused: 0o077, Advice: "chmod 600"}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustOpen(t *testing.T, path string) *File {
	t.Helper()
	f, _, err := OpenOrMake(path, private)
	must(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

// refused makes what is never opened, by its name.
var refused = map[string]func(t *testing.T, path string) error{
	"link": func(_ *testing.T, p string) error {
		return errors.Join(os.WriteFile(p+".target", nil, 0o600), os.Symlink(p+".target", p))
	},
	"dangling link": func(_ *testing.T, p string) error { return os.Symlink(p+".target", p) },
	"pipe":          func(_ *testing.T, p string) error { return unix.Mkfifo(p, 0o600) },
	"directory":     func(_ *testing.T, p string) error { return os.Mkdir(p, 0o700) },
	"socket": func(t *testing.T, p string) error {
		l, err := net.Listen("unix", p)
		if err == nil {
			t.Cleanup(func() { l.Close() })
		}
		return err
	},
	"device": func(_ *testing.T, p string) error {
		if os.Geteuid() != 0 {
			return os.Mkdir(p, 0o700) // nobody else can make one
		}
		return unix.Mknod(p, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3)))
	},
	"group reads": func(_ *testing.T, p string) error {
		return errors.Join(os.WriteFile(p, nil, 0o600), os.Chmod(p, 0o640))
	},
	"others write": func(_ *testing.T, p string) error {
		return errors.Join(os.WriteFile(p, nil, 0o600), os.Chmod(p, 0o602))
	},
	"another user's": func(_ *testing.T, p string) error {
		if os.Geteuid() != 0 {
			return os.Mkdir(p, 0o700) // nobody else can give one away
		}
		return errors.Join(os.WriteFile(p, nil, 0o600), os.Chown(p, 65534, 65534))
	},
	"two names": func(_ *testing.T, p string) error {
		return errors.Join(os.WriteFile(p, nil, 0o600), os.Link(p, p+".second"))
	},
}

// TestRefused: what is no plain file of our own is neither opened nor made nor written
// to.
func TestRefused(t *testing.T) {
	t.Chdir(t.TempDir()) // the path of a socket is short
	for name, prepare := range refused {
		path := strings.ReplaceAll(name, " ", "-")
		must(t, prepare(t, path))
		before, err := os.Lstat(path)
		must(t, err)
		if f, err := Open(path, private); !errors.Is(err, ErrUnsafe) {
			t.Errorf("%s: opened %v: %v", name, f, err)
		}
		if f, _, err := OpenOrMake(path, private); !errors.Is(err, ErrUnsafe) {
			t.Errorf("%s: opened or made %v: %v", name, f, err)
		}
		// It came between the look and the open.
		if f, err := openLooked(path, private, 0); !errors.Is(err, ErrUnsafe) && !errors.Is(err, unix.EISDIR) && !errors.Is(err, unix.ENXIO) {
			t.Errorf("%s: opened %v after the look: %v", name, f, err)
		}
		if f, err := openLooked(path, private, unix.O_CREAT|unix.O_EXCL); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: made %v after the look: %v", name, f, err)
		}
		after, err := os.Lstat(path)
		if err != nil || !os.SameFile(before, after) || before.Mode() != after.Mode() {
			t.Errorf("%s: it was changed: %v", name, err)
		}
		if st, err := os.Stat(path + ".target"); err == nil && (name != "link" || st.Size() != 0) {
			t.Errorf("%s: the link was followed", name)
		}
	}
	_, err := Open("group-reads", private)
	if err == nil || !strings.Contains(err.Error(), private.Advice) {
		t.Errorf("no advice: %v", err)
	}
}

// TestOpen: a file that is opened is the one at the path; it is made only when that is
// asked for, blocks, and no child gets it.
func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if f, err := Open(path, private); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v, %v", f, err)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("it was made")
	}
	f, made, err := OpenOrMake(path, private)
	must(t, err)
	if st, err := f.Stat(); err != nil || !made || st.Mode() != 0o600 {
		t.Errorf("made %v, mode %v: %v", made, st.Mode(), err)
	}
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_NONBLOCK != 0 {
		t.Errorf("it does not block: %#x, %v", flags, err)
	}
	flags, err = unix.FcntlInt(f.Fd(), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("a child gets it: %#x, %v", flags, err)
	}
	if n, err := f.WriteOnce([]byte("one")); n != 3 || err != nil {
		t.Errorf("wrote %d: %v", n, err)
	}
	must(t, f.Close())
	must(t, f.Close())
	if n, err := f.WriteOnce([]byte("two")); n != 0 || err == nil {
		t.Errorf("wrote %d to a closed file", n)
	}
	rules := private
	rules.Append = true
	f, made, err = OpenOrMake(path, rules)
	if err != nil || made {
		t.Fatalf("made %v: %v", made, err)
	}
	if _, err := f.WriteOnce([]byte("two")); err != nil {
		t.Error(err)
	}
	must(t, f.Close())
	if text, _ := os.ReadFile(path); string(text) != "onetwo" {
		t.Errorf("got %q", text)
	}
	if _, _, err := OpenOrMake(filepath.Join(path, "x"), private); err == nil {
		t.Error("made in a file")
	}
	if _, _, err := OpenOrMake(filepath.Join(t.TempDir(), "x", "y"), private); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("made in no directory: %v", err)
	}
}

// TestLock: one open file has the lock. It ends with the close, also when a child
// process still has a copy of the descriptor.
func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	first, second := mustOpen(t, path), mustOpen(t, path)
	must(t, first.Lock(time.Time{}))
	must(t, first.Lock(time.Time{})) // it is had already
	if err := second.Lock(time.Time{}); !errors.Is(err, ErrLocked) {
		t.Errorf("twice: %v", err)
	}
	began := time.Now()
	if err := second.LockNamed(began.Add(3 * lockRetry)); !errors.Is(err, ErrLocked) {
		t.Errorf("twice, waiting: %v", err)
	}
	if time.Since(began) < lockRetry {
		t.Error("it did not wait")
	}
	inherited, err := unix.Dup(int(first.Fd()))
	must(t, err)
	defer unix.Close(inherited)
	got := make(chan error)
	go func() { got <- second.LockNamed(time.Now().Add(time.Minute)) }()
	must(t, first.Close())
	if err := <-got; err != nil {
		t.Errorf("after the close: %v", err)
	}
}

// TestName: a file that lost its name is not taken for the one that has it.
func TestName(t *testing.T) {
	dir := t.TempDir()
	for name, lose := range map[string]func(path string) error{
		"removed":  os.Remove,
		"renamed":  func(p string) error { return os.Rename(p, p+".1") },
		"replaced": func(p string) error { return errors.Join(os.Rename(p, p+".1"), os.WriteFile(p, nil, 0o600)) },
		"a link now": func(p string) error {
			return errors.Join(os.Rename(p, p+".1"), os.Symlink(p+".1", p))
		},
	} {
		path := filepath.Join(dir, name)
		f := mustOpen(t, path)
		open, err := f.Status()
		must(t, err)
		if at, err := Look(path); err != nil || at != open || at.Links != 1 || !f.Named() {
			t.Errorf("%s: %+v is not %+v: %v", name, at, open, err)
		}
		must(t, lose(path))
		if f.Named() {
			t.Errorf("%s: it is named", name)
		}
		if err := f.LockNamed(time.Time{}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: locked: %v", name, err)
		}
		if at, err := Look(path); err == nil && at.ID == open.ID {
			t.Errorf("%s: the path leads to it", name)
		}
		if now, err := f.Status(); err != nil || now.ID != open.ID || (now.Links == 0) != (name == "removed") {
			t.Errorf("%s: %+v: %v", name, now, err)
		}
	}
}

func TestSyncDir(t *testing.T) {
	must(t, SyncDir(t.TempDir()))
	if err := SyncDir(filepath.Join(t.TempDir(), "x")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}

func TestContent(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	must(t, WriteNew(path, []byte("12345"), 0o600))
	if err := WriteNew(path, []byte("6"), 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("written again: %v", err)
	}
	must(t, os.Symlink(path, path+".link"))
	for _, p := range []string{path, path + ".link"} {
		if text, mode, err := Read(p, 5); string(text) != "12345" || mode != 0o600 || err != nil {
			t.Errorf("%s: %q, %v, %v", p, text, mode, err)
		}
	}
	if text, _, err := Read(path, 4); err == nil || text != nil {
		t.Errorf("too long: %q", text)
	}
	must(t, os.Symlink("nowhere", filepath.Join(dir, "dangling")))
	if err := WriteNew(filepath.Join(dir, "dangling"), nil, 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("written by a link: %v", err)
	}
	must(t, unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	for _, p := range []string{dir, filepath.Join(dir, "pipe"), "/dev/zero", filepath.Join(dir, "missing"), filepath.Join(dir, "dangling")} {
		if _, _, err := Read(p, 5); err == nil {
			t.Errorf("read %s", p)
		}
	}
}
