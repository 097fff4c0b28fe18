// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package trail

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
)

func newTestChain(tb testing.TB) *Chain {
	tb.Helper()
	c, err := NewChain()
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// The seal as the package comment defines it, read with nothing but JSON and string
// functions.
func TestSealIsAsDefined(t *testing.T) {
	c := newTestChain(t)
	prev := strings.Repeat("0", 64)
	for i := range 5 {
		line, err := c.Seal(event(i))
		if err != nil {
			t.Fatal(err)
		}
		var p struct {
			N    int    `json:"n"`
			Seq  uint64 `json:"event.sequence"`
			UID  string `json:"coredns.xfr.chain.uid"`
			Prev string `json:"coredns.xfr.chain.prev"`
			Hash string `json:"coredns.xfr.chain.hash"`
		}
		if err := json.Unmarshal(line, &p); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		body, _, ok := strings.Cut(string(line), `,"coredns.xfr.chain.hash":`)
		if !ok || !bytes.HasSuffix(line, []byte("}\n")) || bytes.Count(line, []byte("\n")) != 1 {
			t.Fatalf("not a line with a seal: %q", line)
		}
		sum := sha256.Sum256([]byte(body))
		if p.N != i || p.Seq != uint64(i+1) || p.UID != c.UID() || p.Prev != prev || p.Hash != hex.EncodeToString(sum[:]) {
			t.Errorf("line %d: %s", i, line)
		}
		prev = p.Hash
	}
	if c.Sequence() != 5 || c.Head() == [32]byte{} {
		t.Errorf("chain stands at %d", c.Sequence())
	}
}

func TestSealRefuses(t *testing.T) {
	long := func(n int) []byte { return []byte(`{"n":"` + strings.Repeat("x", n-8) + `"}`) }
	for name, tt := range map[string]struct {
		event []byte
		want  error
	}{
		"longest":          {long(MaxEvent), nil},
		"too long":         {long(MaxEvent + 1), ErrTooLong},
		"empty":            {nil, ErrNotEvent},
		"empty object":     {[]byte("{}"), ErrNotEvent},
		"blank object":     {[]byte("{ \t}"), ErrNotEvent},
		"array":            {[]byte("[1]"), ErrNotEvent},
		"two objects":      {[]byte(`{"a":1}{"b":2}`), ErrNotEvent},
		"two lines":        {[]byte("{\"a\":1,\n\"b\":2}"), ErrNotEvent},
		"newline at end":   {[]byte("{\"a\":1}\n"), ErrNotEvent},
		"space in front":   {[]byte(` {"a":1}`), ErrNotEvent},
		"not UTF-8":        {[]byte("{\"a\":\"\xff\"}"), ErrNotEvent},
		"cut":              {[]byte(`{"a":"b}`), ErrNotEvent},
		"own sequence":     {[]byte(`{"event.sequence":7}`), ErrNotEvent},
		"own hash":         {[]byte(`{"a":1,"coredns.xfr.chain.hash":"00"}`), ErrNotEvent},
		"seal in a string": {[]byte(`{"a":",\"coredns.xfr.chain.hash\":\"00\"}"}`), nil},
		"seal as a value":  {[]byte(`{"a":"coredns.xfr.chain.hash","b":"event.sequence"}`), nil},
	} {
		t.Run(name, func(t *testing.T) {
			c := newTestChain(t)
			c.seq = math.MaxUint64 - 1 // the longest number
			before := *c
			line, err := c.Seal(tt.event)
			if !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if err != nil && *c != before {
				t.Error("the chain has moved")
			}
			if len(line) > MaxLine {
				t.Errorf("line has %d bytes", len(line))
			}
			if err == nil {
				if s, ok := parseLine(line[:len(line)-1]); !ok || !s.intact(line[:len(line)-1]) || s.chain != *c {
					t.Errorf("not read back: %s", line)
				}
			}
		})
	}
	if l := len(long(MaxEvent)); l != MaxEvent {
		t.Fatal(l)
	}
}

// A line must be refused when any one byte of it is another.
func TestEveryByteCounts(t *testing.T) {
	c := newTestChain(t)
	for range 12 {
		if _, err := c.Seal(event(1)); err != nil {
			t.Fatal(err)
		}
	}
	line, err := c.Seal([]byte(`{"who":"ns2.example.org.","n":1}`))
	if err != nil {
		t.Fatal(err)
	}
	line = line[:len(line)-1]
	for i := range line {
		for _, flip := range []byte{0x01, 0x20, 0x80} {
			bad := bytes.Clone(line)
			bad[i] ^= flip
			if s, ok := parseLine(bad); ok && s.intact(bad) {
				t.Errorf("byte %d (%q) can be %q", i, line[i], bad[i])
			}
		}
	}
}
