// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package trail

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// keyed is a key pair in files.
func keyed(tb testing.TB) (note.Signer, note.Verifier) {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "key")
	public, err := GenerateKey(path, "test")
	if err != nil {
		tb.Fatal(err)
	}
	signer, err := ReadKey(path)
	if err != nil {
		tb.Fatal(err)
	}
	verifier, err := note.NewVerifier(public)
	if err != nil {
		tb.Fatal(err)
	}
	if again, err := VerifierKey(path); err != nil || again != public {
		tb.Errorf("verifier key: %q, %v", again, err)
	}
	return signer, verifier
}

func isNote(line string) bool {
	return strings.Contains(line, `"coredns.xfr.audit.kind":"checkpoint"`)
}

// remake makes the whole log anew as one without the key can, with or without the old
// notes.
func remake(t *testing.T, log []string, keep bool) []string {
	t.Helper()
	c := newTestChain(t)
	var all []string
	for _, line := range log {
		if isNote(line) && !keep {
			continue
		}
		event := line[:strings.Index(line, `,"event.sequence":`)] + "}"
		all = append(all, string(c.appendSealed(nil, []byte(event))))
	}
	return all
}

// printedNotes is a program's log that has the notes quoted once, twice, and as they are.
func printedNotes(notes []string) string {
	var printed strings.Builder
	for i, n := range notes {
		switch i % 3 {
		case 0:
			fmt.Fprintf(&printed, "[INFO] plugin/xfrguard: checkpoint %q\n", n)
		case 1:
			fmt.Fprintf(&printed, "{\"msg\":%q}\n", fmt.Sprintf("checkpoint %q", n))
		case 2:
			fmt.Fprintf(&printed, "checkpoint:\n%s\n", n)
		}
		printed.WriteString(strings.Repeat("[INFO] 127.0.0.1:4242 - 1 \"A IN example.org.\"\n", 1000))
	}
	return printed.String()
}

func TestCheckpoints(t *testing.T) {
	signer, verifier := keyed(t)
	_, stranger := keyed(t)
	var notes []string
	log := sample(t, 30, Options{Key: signer, CheckpointEvery: 5, OnCheckpoint: func(n string) { notes = append(notes, n) }})
	var at []int // the checkpoints' places
	for i, line := range log {
		if isNote(line) {
			at = append(at, i)
		}
	}
	if len(at) < 4 || len(notes) != len(at) || at[len(at)-1] != len(log)-1 {
		t.Fatalf("checkpoints in %v of %d lines, %d notes", at, len(log), len(notes))
	}
	printed := printedNotes(notes)
	withKey := func(outside ...string) VerifyOptions {
		o := VerifyOptions{Verifiers: []note.Verifier{verifier}}
		for _, text := range outside {
			o.Checkpoints = append(o.Checkpoints, strings.NewReader(text))
		}
		return o
	}
	unsigned := func(n string) string { return n[:len(n)-20] + strings.Repeat("A", 10) + n[len(n)-10:] }
	for name, tt := range map[string]struct {
		lines []string
		opts  VerifyOptions
		want  []Problem
	}{
		"untouched":                {log, withKey(), nil},
		"untouched, notes":         {log, withKey(printed), nil},
		"untouched, notes, no key": {log, VerifyOptions{Checkpoints: []io.Reader{strings.NewReader(printed)}}, nil},
		"another key":              {log, VerifyOptions{Verifiers: []note.Verifier{stranger}}, nil},
		"cut tail":                 {log[:at[2]+1], withKey(), nil}, // not to be known
		"cut tail, notes":          {log[:at[2]+1], withKey(printed), []Problem{ProblemRemoved}},
		"cut tail, notes, no key":  {log[:at[2]+1], VerifyOptions{Checkpoints: []io.Reader{strings.NewReader(printed)}}, []Problem{ProblemRemoved}},
		"made anew":                {remake(t, log, false), withKey(), []Problem{ProblemUnsigned}},
		"made anew, old notes":     {remake(t, log, true), withKey(), slices.Concat(repeat(ProblemCheckpoint, 2))},
		"made anew, notes":         {remake(t, log, false), withKey(printed), []Problem{ProblemUnsigned, ProblemRemoved}},
		"no file of that chain":    {sample(t, 5, Options{Key: signer}), withKey(printed), []Problem{ProblemRemoved}},
		"a forged note outside":    {log, withKey(unsigned(notes[0])), []Problem{ProblemCheckpoint}},
	} {
		t.Run(name, func(t *testing.T) {
			r := verifySources(t, tt.opts, textSource("log", tt.lines...))
			got := problems(r)
			if name == "another key" {
				if r.OK() || r.Checkpoints != 0 {
					t.Error("it passes")
				}
				return
			}
			if len(got) > len(tt.want) && len(tt.want) > 1 {
				got = got[:len(tt.want)]
			}
			if !slices.Equal(got, tt.want) || r.OK() != (tt.want == nil) {
				t.Errorf("got %v, want %v", r.Findings, tt.want)
			}
		})
	}
}

// One without the key takes away one line, and makes the chain anew from there on:
// whatever of the old notes is kept or dropped, it does not pass.
func TestRebuiltTail(t *testing.T) {
	signer, verifier := keyed(t)
	log := sample(t, 30, Options{Key: signer, CheckpointEvery: 5})
	for drop := 1; drop < len(log)-1; drop++ {
		s, ok := parseLine([]byte(strings.TrimSpace(log[drop-1])))
		if !ok {
			t.Fatal(log[drop-1])
		}
		c := s.chain
		forged := slices.Clone(log[:drop])
		for _, line := range log[drop+1:] {
			event := line[:strings.Index(line, `,"event.sequence":`)] + "}"
			forged = append(forged, string(c.appendSealed(nil, []byte(event))))
		}
		r := verifySources(t, VerifyOptions{Verifiers: []note.Verifier{verifier}}, textSource("log", forged...))
		if r.OK() {
			t.Errorf("line %d is dropped, and it passes", drop+1)
		}
		if r := verifySources(t, VerifyOptions{}, textSource("log", forged...)); drop > 0 && r.OK() && r.Checkpoints > 0 {
			// Without a key the notes' text alone gives it away, unless no note follows.
			t.Errorf("line %d is dropped, %d checkpoints fit", drop+1, r.Checkpoints)
		}
	}
}

// forge is a log of lines with checkpoints signed by the key at the places given, which
// edit may change before.
func forge(tb testing.TB, signer note.Signer, lines int, at []int, edit func(cp *Checkpoint)) []string {
	tb.Helper()
	c := newTestChain(tb)
	var all []string
	for i := range lines {
		text := event(i)
		if slices.Contains(at, i) {
			cp := Checkpoint{UID: c.uid, Sequence: c.seq, Head: c.head, Time: time.Now(), Every: 5, Interval: time.Minute}
			edit(&cp)
			signed, err := note.Sign(&note.Note{Text: cp.text()}, signer)
			if err != nil {
				tb.Fatal(err)
			}
			text = composeDefault(KindCheckpoint, map[string]any{FieldKind: KindCheckpoint, FieldCheckpoint: string(signed)})
		}
		all = append(all, string(c.appendSealed(nil, text)))
	}
	return all
}

// A good signature is not enough: the checkpoint must fit its place, and come in time.
func TestCheckpointsThatDoNotFit(t *testing.T) {
	signer, verifier := keyed(t)
	opts := VerifyOptions{Verifiers: []note.Verifier{verifier}}
	for name, tt := range map[string]struct {
		at   []int
		edit func(cp *Checkpoint)
		want []Problem
	}{
		"as they should be": {[]int{1, 7, 9}, func(*Checkpoint) {}, nil},
		"another sequence":  {[]int{1, 7, 9}, func(cp *Checkpoint) { cp.Sequence += cp.Sequence / 9 }, []Problem{ProblemCheckpoint}},
		"another head":      {[]int{1, 7, 9}, func(cp *Checkpoint) { cp.Head[0] ^= byte(cp.Sequence / 9) }, []Problem{ProblemCheckpoint}},
		"another chain":     {[]int{9}, func(cp *Checkpoint) { cp.UID = newTestChain(t).uid }, []Problem{ProblemCheckpoint, ProblemUnsigned}},
		"one too late":      {[]int{1, 8, 9}, func(*Checkpoint) {}, []Problem{ProblemUnsigned}},
		"none after one":    {[]int{1}, func(*Checkpoint) {}, []Problem{ProblemUnsigned}},
	} {
		t.Run(name, func(t *testing.T) {
			same(t, problems(verifySources(t, opts, textSource("log", forge(t, signer, 10, tt.at, tt.edit)...))), tt.want)
		})
	}
}

func TestLateCheckpoint(t *testing.T) {
	signer, verifier := keyed(t)
	opts := VerifyOptions{Verifiers: []note.Verifier{verifier}}
	log := sample(t, 10, Options{Key: signer, CheckpointEvery: 1000})
	opts.Now = time.Now().Add(time.Second)
	var bare []string // without the last lines: closed and its checkpoint
	for _, line := range log[:len(log)-2] {
		event := line[:strings.Index(line, `,"event.sequence":`)]
		if strings.HasPrefix(event, `{"n":`) { // as an owner's event, with a time
			event += fmt.Sprintf(`,"@timestamp":%q`, time.Now().UTC().Format(time.RFC3339Nano))
		}
		bare = append(bare, event+"}")
	}
	// Sealed again with notes that fit: the log of a process that was killed after these
	// lines.
	c := newTestChain(t)
	var killed []string
	for _, event := range bare {
		if strings.Contains(event, string(KindCheckpoint)) {
			cp := Checkpoint{UID: c.uid, Sequence: c.seq, Head: c.head, Time: time.Now(), Every: 1000, Interval: time.Minute}
			signed, err := note.Sign(&note.Note{Text: cp.text()}, signer)
			if err != nil {
				t.Fatal(err)
			}
			event = string(composeDefault(KindCheckpoint, map[string]any{FieldKind: KindCheckpoint, FieldCheckpoint: string(signed)}))
		}
		killed = append(killed, string(c.appendSealed(nil, []byte(event))))
	}
	r := verifySources(t, opts, textSource("log", killed...))
	if !r.OK() || !slices.ContainsFunc(r.Unknown, func(u string) bool { return strings.Contains(u, "no checkpoint yet") }) {
		t.Errorf("a young tail: %v %v", r.Findings, r.Unknown)
	}
	opts.Now = time.Now().Add(time.Hour)
	r = verifySources(t, opts, textSource("log", killed...))
	same(t, problems(r), []Problem{ProblemUnsigned})
}
