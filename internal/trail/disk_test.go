// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package trail

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xfrguard/xfrguard/internal/plainfile"

	"golang.org/x/sys/unix"
)

// unsafeFiles makes what is never opened in a directory.
func unsafeFiles(t *testing.T, at func(name string) string, must func(error)) {
	t.Helper()
	must(os.WriteFile(at("plain"), nil, 0o600))
	must(os.Symlink(at("plain"), at("link")))
	must(os.Symlink(at("nowhere"), at("dangling")))
	must(unix.Mkfifo(at("fifo"), 0o600))
	must(os.Mkdir(at("dir"), 0o700))
	must(os.WriteFile(at("open to all"), nil, 0o600))
	must(os.Chmod(at("open to all"), 0o666))
	must(os.WriteFile(at("passwd"), []byte("root:x:0:0:root:/root:/bin/sh\n"), 0o600))
	must(os.WriteFile(at("config.json"), []byte(`{"a":1}`), 0o600))
	must(os.WriteFile(at("long"), []byte(strings.Repeat("x", 100_000)), 0o600))
	must(os.WriteFile(at("two names"), nil, 0o600))
	must(os.Link(at("two names"), at("second name")))
	must(os.WriteFile(at("log"), nil, 0o600))
	must(os.WriteFile(at(".log.lock"), nil, 0o600))
	must(os.Chmod(at(".log.lock"), 0o640))
	must(os.WriteFile(at("trap"), nil, 0o600))
	must(os.Symlink(at("plain"), at(".trap.lock")))
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	unsafeFiles(t, at, must)
	theirs := error(nil)
	must(os.WriteFile(at("theirs"), nil, 0o600))
	if os.Geteuid() == 0 { // nobody else can give a file away
		must(os.Chown(at("theirs"), 65534, 65534))
		theirs = plainfile.ErrUnsafe
	}
	for name, want := range map[string]error{
		"two names": plainfile.ErrUnsafe, "second name": plainfile.ErrUnsafe, "theirs": theirs, "log": plainfile.ErrUnsafe, "trap": plainfile.ErrUnsafe,
		"link": plainfile.ErrUnsafe, "dangling": plainfile.ErrUnsafe, "fifo": plainfile.ErrUnsafe, "dir": plainfile.ErrUnsafe, "open to all": plainfile.ErrUnsafe, "/dev/null": plainfile.ErrUnsafe,
		"passwd": ErrNotTrail, "config.json": ErrNotTrail, "long": ErrNotTrail, "missing/audit.log": os.ErrNotExist,
	} {
		path := at(name)
		if filepath.IsAbs(name) {
			path = name
		}
		before, _ := os.ReadFile(at("plain"))
		content := func() string {
			if st, err := os.Lstat(path); err != nil || !st.Mode().IsRegular() {
				return ""
			}
			text, _ := os.ReadFile(path)
			return string(text)
		}
		was := content()
		f, err := Open(path, Options{})
		if (f != nil) != (want == nil) || !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
		if f != nil {
			mustClose(t, f)
			continue
		}
		if after, _ := os.ReadFile(at("plain")); string(after) != string(before) || content() != was {
			t.Errorf("%s: something was written", name)
		}
	}
	if _, err := os.Lstat("/dev/.null.lock"); err == nil {
		t.Error("a lock file beside a device")
	}
	if _, err := os.Lstat(at("nowhere")); err == nil {
		t.Error("a dangling link was followed")
	}
}

func TestExecBitsAreRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(path, nil, 0o750); err != nil {
		t.Fatal(err)
	}
	mustClose(t, openTest(t, path, Options{}))
	if st, _ := os.Stat(path); st.Mode() != 0o640 {
		t.Errorf("mode %v", st.Mode())
	}
}

func init() {
	children["open"] = func(args []string) error {
		f, err := Open(args[0], Options{})
		if err != nil {
			return err
		}
		return f.Close()
	}
}

func child(tb testing.TB, name string, args ...string) *exec.Cmd {
	tb.Helper()
	c := exec.CommandContext(soon(tb), os.Args[0], args...)
	c.Env = append(os.Environ(), childEnv+"="+name)
	return c
}

func TestSecondProcessIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	f := openTest(t, path, Options{})
	out, err := child(t, "open", path).CombinedOutput()
	if err == nil || !strings.Contains(string(out), plainfile.ErrLocked.Error()) {
		t.Errorf("a second process: %v: %s", err, out)
	}
	// The lock goes with the file to its new name, and the new file is locked too.
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, f, 1)
	waitFor(t, "the new file", func() bool { _, err := os.Stat(path); return err == nil })
	mustAppend(t, f, 2)
	if out, err := child(t, "open", path).CombinedOutput(); err == nil {
		t.Errorf("a second process after rotation: %s", out)
	}
	mustClose(t, f)
	if out, err := child(t, "open", path).CombinedOutput(); err != nil {
		t.Errorf("after close: %v: %s", err, out)
	}
	verifyGood(t, nil, path, path+".1")
}

// The lock must not outlive the close because a child process, between fork and exec,
// still has the descriptor.
func TestLockEndsWithClose(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	f := openTest(t, path, Options{})
	inherited, err := unix.Dup(int(f.w.f.(osFile).Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(inherited)
	mustClose(t, f)
	mustClose(t, openTest(t, path, Options{}))
}
