// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package trail

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// What Seal takes becomes one line that is read back, and it is JSON when the event
// was: that is the encoder's promise, and none that Seal looks at breaks it.
func FuzzSeal(f *testing.F) {
	f.Add([]byte(`{"n":1}`), uint64(0))
	f.Add([]byte(`{}`), uint64(9))
	f.Add([]byte(`{"a":"b}`), ^uint64(0)-1)
	f.Add([]byte(`{""}`), uint64(1))
	f.Add([]byte(`{"a":"\\\",\"event.sequence\":7"}`), uint64(1))
	f.Fuzz(func(t *testing.T, event []byte, seq uint64) {
		if seq == ^uint64(0) {
			return
		}
		c := newTestChain(t)
		c.seq = seq
		before := *c
		line, err := c.Seal(event)
		if err != nil {
			if *c != before {
				t.Fatal("the chain has moved")
			}
			if lawful(event) {
				t.Fatalf("%q is one event: %v", event, err)
			}
			return
		}
		bare, ok := bytes.CutSuffix(line, []byte("\n"))
		if !ok || bytes.Contains(bare, []byte("\n")) || len(line) > MaxLine || json.Valid(bare) != json.Valid(event) || !utf8.Valid(bare) {
			t.Fatalf("not a line: %q", line)
		}
		s, ok := parseLine(bare)
		if !ok || s.intact(bare) != json.Valid(event) || s.chain != *c || s.prev != before.head || c.seq != seq+1 {
			t.Fatalf("not read back: %q", line)
		}
	})
}

// lawful reports whether the event is one that Seal has to take: short enough, one JSON
// object with a member on one line without white space around it, and with no member of
// the seal anywhere, however it is spelt.
func lawful(event []byte) bool {
	if len(event) > MaxEvent || !json.Valid(event) || !utf8.Valid(event) || bytes.ContainsFunc(event, func(r rune) bool { return r < ' ' }) ||
		event[0] != '{' || event[len(event)-1] != '}' {
		return false
	}
	for _, name := range []string{fieldSequence, fieldUID, fieldPrev, fieldHash} {
		if bytes.Contains(event, []byte(name)) { // some of these would do, but not all
			return false
		}
	}
	var members map[string]json.RawMessage
	return json.Unmarshal(event, &members) == nil && len(members) > 0
}

// A line that is taken apart is what Seal writes: put together again it is the same.
func FuzzParseLine(f *testing.F) {
	for _, line := range sample(f, 4, Options{}) {
		f.Add([]byte(strings.TrimSpace(line)))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		s, ok := parseLine(line)
		if !ok {
			return
		}
		if !s.intact(line) {
			return
		}
		at := bytes.LastIndex(s.body, []byte(sequencePart))
		event := append(bytes.Clone(s.body[:at]), '}')
		c := Chain{uid: s.chain.uid, seq: s.chain.seq - 1, head: s.prev}
		if got := c.appendSealed(nil, event); string(got) != string(line)+"\n" {
			t.Fatalf("got  %q\nfrom %q", got, line)
		}
	})
}

// Whatever is in the file: Open refuses it and leaves it alone, or goes on with whole
// lines of its own, and what it appends can be read back by the next Open.
func FuzzOpen(f *testing.F) {
	log := strings.Join(sample(f, 6, Options{}), "")
	f.Add([]byte(log))
	f.Add([]byte(log[:len(log)-100]))
	f.Add([]byte(log + "\x00\x00"))
	f.Add([]byte("{"))
	f.Add([]byte("hello\n"))
	dir := memoryDir(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		sub, err := os.MkdirTemp(dir, "")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(sub)
		path := filepath.Join(sub, "audit.log")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		a, err := Open(path, Options{})
		if err != nil {
			if after, _ := os.ReadFile(path); !bytes.Equal(after, text) {
				t.Fatalf("refused (%v) and changed: %q", err, after)
			}
			return
		}
		if err := a.Append(testContext(), event(77)); err != nil {
			t.Fatal(err)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		after, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if whole := text[:bytes.LastIndexByte(text, '\n')+1]; !bytes.HasPrefix(after, whole) {
			t.Fatalf("whole lines were changed: %q", after)
		}
		lines := bytes.Split(bytes.TrimSuffix(after, []byte("\n")), []byte("\n"))
		for _, line := range lines[len(lines)-3:] {
			if s, ok := parseLine(line); !ok || !s.intact(line) {
				t.Fatalf("not a line: %q", line)
			}
		}
		b, err := Open(path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// Verify must not fall over, and must not take for good what is not exactly what was
// written.
func FuzzVerify(f *testing.F) {
	signer, verifier := keyed(f)
	var notes []string
	log := strings.Join(sample(f, 12, Options{Key: signer, CheckpointEvery: 3, OnCheckpoint: func(n string) { notes = append(notes, n) }}), "")
	f.Add([]byte(log), []byte(notes[0]))
	f.Add([]byte(gzipped(f, log)), []byte(strings.Join(notes, "")))
	f.Add([]byte(log[:len(log)/2]), []byte("x"))
	f.Add([]byte(log+log), []byte(nil))
	f.Add([]byte{0x1f, 0x8b, 8}, []byte(nil))
	opts := VerifyOptions{}
	opts.Verifiers = append(opts.Verifiers, verifier)
	f.Fuzz(func(t *testing.T, text, outside []byte) {
		o := opts
		o.Checkpoints = append(o.Checkpoints, bytes.NewReader(outside))
		half := len(text) / 2
		for _, s := range [][]Source{
			{textSource("a", string(text))},
			{textSource("a", string(text[:half])), textSource("b", string(text[half:]))},
		} {
			r, err := Verify(s, o)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Findings) > maxFindings {
				t.Fatal("too many findings")
			}
			// Without the private key nothing but a piece of what was signed can pass.
			if r.OK() && text[0] == '{' && !strings.Contains(log, strings.TrimSuffix(string(text), "\n")) {
				t.Fatalf("it passes: %q", text)
			}
		}
	})
}
