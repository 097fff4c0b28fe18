// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package journal

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/plainfile"
)

func TestPath(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new")
	j := mustOpen(t, dir, Options{})
	for path, want := range map[string]os.FileMode{dir: 0o700 | os.ModeDir, j.Path(): 0o600} {
		if st, err := os.Stat(path); err != nil || st.Mode() != want {
			t.Errorf("%s is %v, want %v: %v", path, st.Mode(), want, err)
		}
	}
	if _, err := os.Lstat(j.Path() + newSuffix); !errors.Is(err, os.ErrNotExist) {
		t.Error("the file that was made is still there")
	}
	// flock is by open file, so a second Open stands for another process.
	start := time.Now()
	if _, err := Open(dir, Options{Timeout: 100 * time.Millisecond}); !errors.Is(err, plainfile.ErrLocked) {
		t.Errorf("locked: %v", err)
	}
	if d := time.Since(start); d < 50*time.Millisecond || d > 5*time.Second {
		t.Errorf("waited %v", d)
	}
	time.AfterFunc(50*time.Millisecond, func() { _ = j.Close() })
	mustClose(t, mustOpen(t, dir, Options{Timeout: 5 * time.Second}))
	if err := os.Chmod(j.Path(), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); !errors.Is(err, plainfile.ErrUnsafe) {
		t.Errorf("readable by others: %v", err)
	}
}

func TestPathUnsafe(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(path string) error{
		"link": func(p string) error {
			return errors.Join(os.WriteFile(p+".target", nil, 0o600), os.Symlink(p+".target", p))
		},
		"dangling link": func(p string) error { return os.Symlink(p+".target", p) },
		"fifo":          func(p string) error { return syscall.Mkfifo(p, 0o600) },
		"directory":     func(p string) error { return os.Mkdir(p, 0o700) },
		"two names": func(p string) error {
			return errors.Join(os.WriteFile(p, nil, 0o600), os.Link(p, p+".second"))
		},
	} {
		for _, suffix := range []string{"", newSuffix} {
			dir := t.TempDir()
			path := filepath.Join(dir, FileName)
			if err := prepare(path + suffix); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(dir, Options{}); !errors.Is(err, plainfile.ErrUnsafe) {
				t.Errorf("%s%s: %v", name, suffix, err)
			}
			if st, err := os.Stat(path + suffix + ".target"); err == nil && st.Size() != 0 {
				t.Errorf("%s%s: its target was written", name, suffix)
			}
		}
	}
}

// What a crash left of a journal that was being made is replaced.
func TestLeftover(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, FileName+newSuffix), octets(1, 5000), 0o600); err != nil {
		t.Fatal(err)
	}
	mustUpdate(t, mustOpen(t, dir, Options{}), "a.", Change{Base: baseOf(1, 0, 5)})
}
