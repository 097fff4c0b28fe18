// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package trail

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/plainfile"

	"golang.org/x/sys/unix"
)

// readerLocks takes the lock on a file as anybody who may read it can.
func readerLocks(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Fatal(err)
	}
}

// TestReaderKeepsNobodyOut: who may read the audit file, a log shipper, can lock it.
// That keeps the writer out neither at a start nor when the file is opened anew, and
// lets no second one in.
func TestReaderKeepsNobodyOut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	mustClose(t, openTest(t, path, Options{}))
	readerLocks(t, path)
	d := &faultyDisk{}
	f := openTest(t, path, Options{disk: d})
	mustAppend(t, f, 1)
	for n := 2; n < 5; n++ {
		d.onSync.fail(unix.EIO, 1) // the descriptor is not trusted any more
		mustAppend(t, f, n)
	}
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, f, 5)
	waitFor(t, "the new file", func() bool { _, err := os.Stat(path); return err == nil })
	if out, err := child(t, "open", path).CombinedOutput(); err == nil || !strings.Contains(string(out), plainfile.ErrLocked.Error()) {
		t.Errorf("a second process: %v: %s", err, out)
	}
	mustClose(t, f)
	if out, err := child(t, "open", path).CombinedOutput(); err != nil {
		t.Errorf("after the close: %v: %s", err, out)
	}
	verifyGood(t, []Problem{ProblemGap}, path, path+".1")
}

// TestLockOfOlderVersion: a writer that knows no lock file has the lock on the audit
// file alone. It is respected as long as there is no lock file, however often one
// tries.
func TestLockOfOlderVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	mustClose(t, openTest(t, path, Options{}))
	if err := os.Remove(lockPath(path)); err != nil {
		t.Fatal(err)
	}
	older, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(older.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := Open(path, Options{}); !errors.Is(err, plainfile.ErrLocked) {
			t.Fatalf("beside an older version: %v", err)
		}
	}
	// A child that was just forked has a copy of the descriptor until its exec.
	if err := errors.Join(unix.Flock(int(older.Fd()), unix.LOCK_UN), older.Close()); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	older, err = os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer older.Close()
	if err := unix.Flock(int(older.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("an older version beside this one: %v", err)
	}
	mustClose(t, f)
}

// slowDisk takes its time to end a lock.
type slowDisk struct{ osDisk }

type slowLock struct{ pathLock }

func (slowDisk) lock(path string) (pathLock, error) {
	l, err := osDisk{}.lock(path)
	return slowLock{l}, err
}

func (l slowLock) release(remove bool) error {
	time.Sleep(50 * time.Millisecond)
	return l.pathLock.release(remove)
}

// TestRefusedOpenLetsGo: an Open that was refused holds nothing when it returns, so that
// the next one is not told that another process has the file.
func TestRefusedOpenLetsGo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(path, []byte("not a line of ours\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := Open(path, Options{disk: slowDisk{}}); !errors.Is(err, ErrNotTrail) {
			t.Fatalf("something else in the file: %v", err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	mustClose(t, openTest(t, path, Options{}))
}

// noLockDisk is a directory that takes no lock file.
type noLockDisk struct{ osDisk }

func (noLockDisk) lock(string) (pathLock, error) { return nil, nil }

// TestNoLockFile: where none can be made the lock on the audit file has to do.
func TestNoLockFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	f := openTest(t, path, Options{disk: noLockDisk{}})
	mustAppend(t, f, 1)
	if out, err := child(t, "open", path).CombinedOutput(); err == nil || !strings.Contains(string(out), plainfile.ErrLocked.Error()) {
		t.Errorf("a second process: %v: %s", err, out)
	}
	mustClose(t, f)
	readerLocks(t, path)
	if _, err := Open(path, Options{disk: noLockDisk{}}); !errors.Is(err, plainfile.ErrLocked) {
		t.Errorf("with the lock taken: %v", err)
	}
}

// TestLockFileRemoved: a lock whose file was removed lets another process in. It is not
// relied upon when the file is opened anew: where the other one was first it has the
// path.
func TestLockFileRemoved(t *testing.T) {
	for name, other := range map[string]bool{"nobody came": false, "another process came": true} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "audit.log")
			f := openTest(t, path, Options{})
			mustAppend(t, f, 1)
			if err := os.Remove(lockPath(path)); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(path, path+".1"); err != nil {
				t.Fatal(err)
			}
			if other {
				lock, err := osDisk{}.lock(path)
				if err != nil {
					t.Fatal(err)
				}
				file, err := osDisk{}.open(path, false)
				if err != nil {
					t.Fatal(err)
				}
				if err := f.Append(soon(t), event(2)); !errors.Is(err, plainfile.ErrLocked) {
					t.Errorf("beside another process: %v", err)
				}
				if st, err := file.stat(); err != nil || st.Size != 0 {
					t.Errorf("written to another one's file: %+v, %v", st, err)
				}
				if err := errors.Join(file.close(), lock.release(false)); err != nil {
					t.Fatal(err)
				}
				waitFor(t, "up", f.healthy)
			}
			mustAppend(t, f, 3)
			if out, err := child(t, "open", path).CombinedOutput(); err == nil || !strings.Contains(string(out), plainfile.ErrLocked.Error()) {
				t.Errorf("a second process: %v: %s", err, out)
			}
			readerLocks(t, path+".1") // one that had the file open before
			mustAppend(t, f, 4)
			mustClose(t, f)
		})
	}
}
