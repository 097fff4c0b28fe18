// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package trail

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// A process that was killed leaves lines without a checkpoint, and the next one, much
// later, covers them: that is no fault of the log. What it means is said.
func TestLateAfterCrash(t *testing.T) {
	signer, verifier := keyed(t)
	dir := t.TempDir()
	f := openTest(t, filepath.Join(dir, "running"), Options{Key: signer})
	old := time.Now().Add(-time.Hour).UTC().Format(time.RFC3339Nano)
	for n := range 3 {
		if err := f.Append(soon(t), fmt.Appendf(nil, `{"@timestamp":%q,"n":%d}`, old, n)); err != nil {
			t.Fatal(err)
		}
	}
	killed := filepath.Join(dir, "killed")
	copyFile(t, filepath.Join(dir, "running"), killed) // what is there when it dies now
	mustClose(t, f)

	again := openTest(t, killed, Options{Key: signer})
	mustAppend(t, again, 4)
	mustClose(t, again)
	r := verifyPaths(t, VerifyOptions{Verifiers: []note.Verifier{verifier}}, killed)
	if !r.OK() {
		t.Errorf("an honest log: %v", r.Findings)
	}
	if !slices.ContainsFunc(r.Unknown, func(u string) bool {
		return strings.Contains(u, "the 3 lines before") && strings.Contains(u, "killed:6")
	}) {
		t.Errorf("it does not say that three lines stood without a checkpoint until the restart: %q", r.Unknown)
	}
}

// TestNotClosed: verify says how often a log went on that had not been closed, because
// what waited to be written then is lost without a trace. One that was closed has nothing
// of that kind.
func TestNotClosed(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "audit.log")
	told := func() []string {
		r := verifyPaths(t, VerifyOptions{}, path)
		if !r.OK() {
			t.Errorf("an honest log: %v", r.Findings)
		}
		return slices.DeleteFunc(r.Unknown, func(u string) bool { return !strings.Contains(u, "had not been closed") })
	}
	for range 3 {
		f := openTest(t, path, Options{})
		mustAppend(t, f, 1)
		mustClose(t, f)
	}
	if got := told(); len(got) > 0 {
		t.Errorf("closed each time: %q", got)
	}
	for range 2 {
		f := openTest(t, path, Options{})
		mustAppend(t, f, 2)
		killed := filepath.Join(dir, "killed")
		copyFile(t, path, killed) // what is there when it dies now
		mustClose(t, f)
		if err := os.Rename(killed, path); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, openTest(t, path, Options{}))
	if got := told(); len(got) != 1 || !strings.Contains(got[0], "2 times") || !strings.Contains(got[0], "audit.log:14") {
		t.Errorf("killed twice: %q", got)
	}
}

// The disk was away for an hour, and with it the checkpoint: the gap event tells of
// it. A checkpoint that is late for no reason is a failure.
func TestLateAfterGap(t *testing.T) {
	signer, verifier := keyed(t)
	for kind, ok := range map[Kind]bool{KindGap: true, KindResumed: true, KindRotated: false, "": false} {
		c := newTestChain(t)
		var log []string
		add := func(age time.Duration, fields string) {
			text := fmt.Sprintf(`{"@timestamp":%q%s}`, time.Now().Add(-age).UTC().Format(time.RFC3339Nano), fields)
			log = append(log, string(c.appendSealed(nil, []byte(text))))
		}
		add(time.Hour, fmt.Sprintf(`,%q:"opened"`, FieldKind))
		add(time.Hour, "")
		add(0, fmt.Sprintf(`,%q:%q`, FieldKind, kind))
		cp := Checkpoint{UID: c.uid, Sequence: c.seq, Head: c.head, Time: time.Now(), Every: 1000, Interval: time.Minute}
		signed, err := note.Sign(&note.Note{Text: cp.text()}, signer)
		if err != nil {
			t.Fatal(err)
		}
		add(0, fmt.Sprintf(`,%q:"checkpoint",%q:%q`, FieldKind, FieldCheckpoint, signed))
		r := verifySources(t, VerifyOptions{Verifiers: []note.Verifier{verifier}}, textSource("log", log...))
		if r.OK() != ok {
			t.Errorf("with %q between: %v", kind, r.Findings)
		}
	}
}
