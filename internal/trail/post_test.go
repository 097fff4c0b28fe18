// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package trail

import (
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// A caller may use the bytes of its event again at once.
func TestPostKeepsACopy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	d := &faultyDisk{}
	f := openTest(t, path, Options{disk: d})
	in, release := d.onWrite.hang()
	defer release()
	text := event(1)
	if err := f.Post(text); err != nil {
		t.Fatal(err)
	}
	<-in
	text = event(2)
	if err := f.Post(text); err != nil {
		t.Fatal(err)
	}
	copy(text, "xxxxx")
	release()
	mustClose(t, f)
	same(t, order(readLog(t, path)), "opened 1 2 closed")
}

// What was posted and not yet synced is written again when the sync fails.
func TestPostsSurviveAFailedSync(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	d := &faultyDisk{}
	f := openTest(t, path, Options{disk: d})
	for n := range 20 {
		if err := f.Post(event(n)); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "the posts to be written", func() bool {
		return len(readLog(t, path)) == 21
	})
	d.onSync.fail(unix.EIO, 1)
	mustAppend(t, f, 20)
	mustClose(t, f)
	same(t, order(readLog(t, path)), "opened gap 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 closed")
	verifyGood(t, []Problem{ProblemGap}, path)
}

// TestPostsAreSyncedInTime: lines that are posted one by one, with no long pause, are on
// stable storage after a second all the same.
func TestPostsAreSyncedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, err := Open(filepath.Join(t.TempDir(), "audit.log"), Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for n := range 50 {
			if err := f.Post(event(n)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(lookEvery / 5)
			synctest.Wait()
			if synced := int(f.stats().lines) - 1; synced < n-5 {
				t.Fatalf("%d lines were posted, %d are synced", n+1, synced)
			}
		}
	})
}
