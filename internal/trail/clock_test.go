// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package trail

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// TestClockIsNoted: the file says where the clock was set, before the first line with
// the new time, also when nobody writes anything.
func TestClockIsNoted(t *testing.T) {
	var mu sync.Mutex
	at := ReadClock()
	set := func(step time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		at.Wall, at.Mono = at.Wall.Add(time.Minute+step), at.Mono+time.Minute
	}
	path := filepath.Join(t.TempDir(), "log")
	f := openTest(t, path, Options{clock: func() Clock {
		mu.Lock()
		defer mu.Unlock()
		return at
	}})
	mustAppend(t, f, 1)
	set(0)
	mustAppend(t, f, 2)
	set(-time.Hour)
	mustAppend(t, f, 3)
	lines := f.stats().lines
	set(time.Hour)
	for begin := time.Now(); f.stats().lines == lines; time.Sleep(10 * time.Millisecond) {
		if time.Since(begin) > 10*time.Second {
			t.Fatal("nothing is written while nobody writes")
		}
	}
	mustClose(t, f)
	if got := order(readLog(t, path)); got != "opened 1 2 clock 3 clock closed" {
		t.Errorf("the file has: %s", got)
	}
	r := verifyPaths(t, VerifyOptions{}, path)
	if !r.OK() || len(r.Findings) != 2 || r.Findings[0].Problem != ProblemClock {
		t.Errorf("verify: %v", r.Findings)
	}
}

// TestCheckpointAfterClockStep: a checkpoint is late by the time that passed, not by
// what the clock says after it was set, or after a machine slept.
func TestCheckpointAfterClockStep(t *testing.T) {
	signer, verifier := keyed(t)
	const passed = 30 * time.Second
	for name, c := range map[string]struct {
		step   time.Duration // of the clock, between the lines and the checkpoint
		passed time.Duration
		told   bool
		ok     bool
	}{
		"no step":                      {0, passed, false, true},
		"asleep for an hour":           {time.Hour, passed, true, true},
		"set back by an hour":          {-time.Hour, passed, true, true},
		"late":                         {0, 10 * time.Minute, false, false},
		"late, and asleep":             {time.Hour, 10 * time.Minute, true, false},
		"late, and set back":           {-time.Hour, 10 * time.Minute, true, false},
		"an hour that nobody tells of": {time.Hour, passed, false, false},
	} {
		at := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
		chain := newTestChain(t)
		var log []string
		add := func(fields string) {
			text := fmt.Sprintf(`{"@timestamp":%q%s}`, at.Format(time.RFC3339Nano), fields)
			log = append(log, string(chain.appendSealed(nil, []byte(text))))
		}
		checkpoint := func() {
			cp := Checkpoint{UID: chain.uid, Sequence: chain.seq, Head: chain.head, Time: at, Every: 1000, Interval: time.Minute}
			signed, err := note.Sign(&note.Note{Text: cp.text()}, signer)
			if err != nil {
				t.Fatal(err)
			}
			add(fmt.Sprintf(`,%q:"checkpoint",%q:%q`, FieldKind, FieldCheckpoint, signed))
		}
		add(fmt.Sprintf(`,%q:"opened"`, FieldKind))
		checkpoint()
		add("")
		at = at.Add(c.step + c.passed)
		if c.told {
			step, err := json.Marshal(map[string]any{FieldKind: KindClock, FieldClockStep: c.step.Nanoseconds()})
			if err != nil {
				t.Fatal(err)
			}
			add("," + string(step[1:len(step)-1]))
		}
		checkpoint()
		r := verifySources(t, VerifyOptions{Verifiers: []note.Verifier{verifier}, Now: at}, textSource("log", log...))
		if r.OK() != c.ok {
			t.Errorf("%s: %v", name, r.Findings)
		}
	}
}
