// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

// Package audittest holds what the tests of events share: the schema, lines, a writer that
// fails on demand. For tests only.
package audittest

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.uber.org/goleak"

	"github.com/xfrguard/xfrguard/internal/trail"
)

// eventSchema is event.schema.json, compiled once. A test of another package does
// the same with the file's path.
var eventSchema = sync.OnceValue(func() *jsonschema.Schema {
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	s, err := c.Compile("event.schema.json")
	if err != nil {
		panic(err)
	}
	return s
})

// ValidateEvents fails the test for every line that event.schema.json does not
// allow or that is too long. Lines are those of a sink, sealed, with or without newlines.
func ValidateEvents(t testing.TB, lines ...[]byte) {
	t.Helper()
	for i, line := range lines {
		line = bytes.TrimSuffix(line, []byte{'\n'})
		if len(line)+1 > trail.MaxLine {
			t.Errorf("line %d has %d bytes, at most %d are allowed", i+1, len(line)+1, trail.MaxLine)
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(line))
		if err == nil {
			err = eventSchema().Validate(v)
		}
		if err != nil {
			t.Errorf("line %d: %v\n%s", i+1, err, line)
		}
	}
}

// SplitLines returns the lines of a sink's output.
func SplitLines(b []byte) [][]byte {
	var lines [][]byte
	for line := range bytes.Lines(b) {
		lines = append(lines, line)
	}
	return lines
}

// Members returns the fields of a line.
func Members(t testing.TB, line []byte) map[string]any {
	t.Helper()
	var m map[string]any
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if err := d.Decode(&m); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	return m
}

// schemaDoc is event.schema.json as far as the tests look into it.
type schemaDoc struct {
	ID         string `json:"$id"`
	Properties map[string]struct {
		Type        string
		Description string
		Enum        []string
		Items       struct{ Enum []string }
	}
	AllOf []struct {
		If struct {
			Properties map[string]struct{ Const any }
		}
		Then struct {
			Properties map[string]struct {
				Const string
				Enum  []string
			}
			Required []string
		}
	}
}

func ReadSchema(t testing.TB) *schemaDoc {
	t.Helper()
	text, err := os.ReadFile("event.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var s schemaDoc
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	return &s
}

func Texts[S ~string](vs []S) []string {
	out := make([]string, len(vs))
	for i, v := range vs {
		out[i] = string(v)
	}
	slices.Sort(out)
	return out
}

// Count returns how many lines have the action, and, of each, what fn says of it.
func Count[A ~string](t testing.TB, lines [][]byte, a A, fn func(map[string]any)) int {
	t.Helper()
	n := 0
	for _, l := range lines {
		if m := Members(t, l); m["event.action"] == string(a) {
			n++
			if fn != nil {
				fn(m)
			}
		}
	}
	return n
}

func Number(v any) int64 {
	n, _ := v.(json.Number)
	i, _ := n.Int64()
	return i
}

func NoLeak(t testing.TB) {
	t.Helper()
	opt := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, opt) })
}

// Seal makes lines of events.
func Seal(t testing.TB, events ...[]byte) [][]byte {
	t.Helper()
	chain, err := trail.NewChain()
	if err != nil {
		t.Fatal(err)
	}
	lines := make([][]byte, len(events))
	for i, e := range events {
		if lines[i], err = chain.Seal(e); err != nil {
			t.Fatalf("%v: %s", err, e)
		}
	}
	return lines
}

func SortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	return Texts(keys)
}

// DocTable returns the rows of the first table under a heading of docs/EVENTS.md,
// without its head, and the cells without their backquotes.
func DocTable(t testing.TB, heading string) [][]string {
	t.Helper()
	text, err := os.ReadFile("docs/EVENTS.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("docs/EVENTS.md has no section %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var rows [][]string
	for line := range strings.Lines(section) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.Trim(strings.TrimSpace(cells[i]), "`")
		}
		rows = append(rows, cells)
	}
	if len(rows) < 3 {
		t.Fatalf("section %q has no table", heading)
	}
	return rows[2:]
}

func Column(rows [][]string, i int) []string {
	var out []string
	for _, r := range rows {
		out = append(out, r[i])
	}
	slices.Sort(out)
	return out
}

func Heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func Eventually(t testing.TB, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatal("it did not happen in 10 s")
}

// FaultyWriter is what a sink of lines writes to; the test sets its faults. It keeps what
// it took.
type FaultyWriter struct {
	mu    sync.Mutex
	lines [][]byte
	fault func(line []byte) error // nil: works
	hang  chan struct{}           // not nil: a write blocks until it is closed
}

// Set replaces the faults.
func (w *FaultyWriter) Set(hang chan struct{}, fault func(line []byte) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hang, w.fault = hang, fault
}

// Write is the writer of a sink of lines.
func (w *FaultyWriter) Write(line []byte) error {
	w.mu.Lock()
	hang := w.hang
	w.mu.Unlock()
	if hang != nil {
		<-hang
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fault != nil {
		if err := w.fault(line); err != nil {
			return err
		}
	}
	w.lines = append(w.lines, line)
	return nil
}

// Take returns the lines that were written.
func (w *FaultyWriter) Take() [][]byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.SplitAfter(bytes.Join(w.lines, nil), []byte{'\n'})[:len(w.lines)]
}

// NotOfSchema prints the first few lines that are not of the schema, and returns how many there are.
func NotOfSchema(events [][]byte) int {
	chain, err := trail.NewChain()
	if err != nil {
		panic(err)
	}
	wrong := 0
	for _, event := range events {
		line, err := chain.Seal(event)
		var v any
		if err == nil {
			v, err = jsonschema.UnmarshalJSON(bytes.NewReader(line))
		}
		if err == nil {
			err = eventSchema().Validate(v)
		}
		if err == nil {
			continue
		}
		if wrong++; wrong <= 5 {
			fmt.Printf("not of the schema: %v\n%s\n", err, event)
		}
	}
	fmt.Printf("%d of %d events are of the schema\n", len(events)-wrong, len(events))
	return wrong
}

// UpdateGolden is -update.
var UpdateGolden = flag.Bool("update", false, "write the golden files anew")

// Lines returns every whole line of the audit file.
func Lines(t testing.TB, path string) []map[string]any {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got []map[string]any
	for line := range strings.Lines(string(b)) {
		if !strings.HasSuffix(line, "\n") {
			break
		}
		var e map[string]any
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		ValidateEvents(t, []byte(line))
		got = append(got, e)
	}
	return got
}
