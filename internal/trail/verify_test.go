// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package trail

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// sample is a log of n lines, the trail's own included, each with its newline.
func sample(tb testing.TB, n int, opts Options) []string {
	tb.Helper()
	path := filepath.Join(memoryDir(tb), "audit.log")
	f := openTest(tb, path, opts)
	for i := 2; f.stats().sequence < uint64(n-1); i++ {
		mustAppend(tb, f, i)
	}
	mustClose(tb, f)
	text, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return slices.Collect(strings.Lines(string(text)))
}

func textSource(name string, lines ...string) Source {
	return Source{Name: name, Open: func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(strings.Join(lines, ""))), nil
	}}
}

func verifySources(tb testing.TB, opts VerifyOptions, sources ...Source) *Report {
	tb.Helper()
	r, err := Verify(sources, opts)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// rehash makes the line's hash fit its bytes again, as somebody who knows the format
// would.
func rehash(line string) string {
	line = strings.TrimSuffix(line, "\n")
	s, ok := parseLine([]byte(line))
	if !ok {
		panic("not a line: " + line)
	}
	c := Chain{uid: s.chain.uid, seq: s.chain.seq - 1, head: s.prev}
	event := line[:strings.Index(line, `,"event.sequence":`)] + "}"
	return string(c.appendSealed(nil, []byte(event)))
}

// swapLast changes the last digit of the hash.
func swapLast(line string) string {
	at := len(line) - len("0\"}\n")
	if line[at] == '0' {
		return line[:at] + "1\"}\n"
	}
	return line[:at] + "0\"}\n"
}

// What a hand with write access can do to a log of ten lines, and what verify says: the
// first finding.
func TestTamper(t *testing.T) {
	log := sample(t, 10, Options{})
	if len(log) != 10 {
		t.Fatalf("%d lines", len(log))
	}
	other := sample(t, 10, Options{})
	flip := func(line string) string { return strings.Replace(line, `"n":`, `"n":1`, 1) }
	edit := func(f func(l []string) []string) []string { return f(slices.Clone(log)) }
	for name, tt := range map[string]struct {
		lines []string
		want  Problem
		line  int
		all   int // findings that fail
	}{
		"flip":                  {edit(func(l []string) []string { l[4] = flip(l[4]); return l }), ProblemChanged, 5, 1},
		"flip and hash again":   {edit(func(l []string) []string { l[4] = rehash(flip(l[4])); return l }), ProblemChanged, 5, 1},
		"flip in the seal":      {edit(func(l []string) []string { l[4] = swapLast(l[4]); return l }), ProblemChanged, 5, 1},
		"not JSON any more":     {edit(func(l []string) []string { l[4] = "hello\n"; return l }), ProblemChanged, 5, 1},
		"empty line":            {edit(func(l []string) []string { l[4] = "\n"; return l }), ProblemChanged, 5, 1},
		"delete":                {edit(func(l []string) []string { return slices.Delete(l, 4, 5) }), ProblemRemoved, 5, 1},
		"delete three":          {edit(func(l []string) []string { return slices.Delete(l, 4, 7) }), ProblemRemoved, 5, 1},
		"delete in two places":  {edit(func(l []string) []string { return slices.Delete(slices.Delete(l, 6, 7), 2, 3) }), ProblemRemoved, 3, 2},
		"swap":                  {edit(func(l []string) []string { l[4], l[5] = l[5], l[4]; return l }), ProblemMoved, 5, 1},
		"swap far":              {edit(func(l []string) []string { l[2], l[7] = l[7], l[2]; return l }), ProblemMoved, 3, 1},
		"move to the end":       {edit(func(l []string) []string { return append(slices.Delete(l, 4, 5), log[4]) }), ProblemMoved, 5, 1},
		"duplicate":             {edit(func(l []string) []string { return slices.Insert(l, 4, l[3]) }), ProblemDuplicated, 5, 1},
		"duplicate at the end":  {edit(func(l []string) []string { return append(l, l[3]) }), ProblemDuplicated, 11, 1},
		"insert garbage":        {edit(func(l []string) []string { return slices.Insert(l, 4, "{\"n\":7}\n") }), ProblemInserted, 5, 1},
		"insert a forged line":  {edit(func(l []string) []string { return slices.Insert(l, 4, rehash(flip(l[4]))) }), ProblemInserted, 5, 1},
		"insert another log's":  {edit(func(l []string) []string { return slices.Insert(l, 4, other[4]) }), ProblemSpliced, 5, 1},
		"splice":                {append(slices.Clone(log[:5]), other[5:]...), ProblemSpliced, 6, 1},
		"another log behind":    {append(slices.Clone(log), other...), ProblemSpliced, 11, 1},
		"torn":                  {edit(func(l []string) []string { l[9] = l[9][:50]; return l }), ProblemTorn, 10, 1},
		"no newline":            {edit(func(l []string) []string { l[9] = strings.TrimSpace(l[9]); return l }), ProblemTorn, 10, 1},
		"too long":              {edit(func(l []string) []string { return slices.Insert(l, 4, strings.Repeat("x", 5000)+"\n") }), ProblemTooLong, 5, 1},
		"far too long":          {edit(func(l []string) []string { return slices.Insert(l, 4, strings.Repeat("x", 1_000_000)+"\n") }), ProblemTooLong, 5, 1},
		"first line edited":     {edit(func(l []string) []string { l[0] = strings.Replace(l[0], "opened", "closed", 1); return l }), ProblemChanged, 1, 1},
		"everything is garbage": {[]string{"a\n", "b\n"}, ProblemChanged, 1, 2},
		"nothing":               {nil, ProblemUnreadable, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := verifySources(t, VerifyOptions{}, textSource("log", tt.lines...))
			if r.OK() || len(r.Findings) == 0 {
				t.Fatal("it passes")
			}
			f := r.Findings[0]
			if f.Problem != tt.want || f.Line != tt.line || f.Warning || len(r.Findings) != tt.all {
				t.Errorf("got %v\nwant %s in line %d, %d in all", r.Findings, tt.want, tt.line, tt.all)
			}
		})
	}
	if r := verifySources(t, VerifyOptions{}, textSource("log", log...)); !r.OK() || len(r.Findings) > 0 {
		t.Errorf("untouched: %v", r.Findings)
	}
}

// What the chain alone cannot show passes, and the report says so.
func TestWhatIsNotKnown(t *testing.T) {
	log := sample(t, 10, Options{})
	says := func(r *Report, text string) bool {
		return slices.ContainsFunc(r.Unknown, func(u string) bool { return strings.Contains(u, text) })
	}
	r := verifySources(t, VerifyOptions{}, textSource("log", log[:7]...))
	if !r.OK() || !says(r, "cut from the end") {
		t.Errorf("cut tail: %v %v", r.Findings, r.Unknown)
	}
	r = verifySources(t, VerifyOptions{}, textSource("log", log[3:]...))
	if !r.OK() || !says(r, "lines 1 to 3 were not given") {
		t.Errorf("cut head: %v %v", r.Findings, r.Unknown)
	}
	r = verifySources(t, VerifyOptions{}, textSource("log", sample(t, 10, Options{})...))
	if !r.OK() || !says(r, "make all of them anew") {
		t.Errorf("made anew: %v %v", r.Findings, r.Unknown)
	}
}

func gzipped(tb testing.TB, text string) string {
	tb.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write([]byte(text))
	if err := errors.Join(err, z.Close()); err != nil {
		tb.Fatal(err)
	}
	return b.String()
}

func TestSeveralFiles(t *testing.T) {
	log := sample(t, 12, Options{})
	part := func(name string, from, to int) Source { return textSource(name, log[from:to]...) }
	zipped := textSource("b.gz", gzipped(t, strings.Join(log[4:8], "")))
	cut := textSource("b.gz", gzipped(t, strings.Join(log[4:8], ""))[:200])
	other := sample(t, 5, Options{})
	for name, tt := range map[string]struct {
		sources []Source
		want    []Problem
		ok      bool
	}{
		"in order":           {[]Source{part("a", 0, 4), zipped, part("c", 8, 12)}, nil, true},
		"newest first":       {[]Source{part("c", 8, 12), zipped, part("a", 0, 4)}, nil, true},
		"one empty":          {[]Source{part("a", 0, 12), part("e", 0, 0)}, nil, true},
		"one missing":        {[]Source{part("a", 0, 4), part("c", 8, 12)}, []Problem{ProblemRemoved}, false},
		"one twice":          {[]Source{part("a", 0, 4), part("A", 0, 4), part("b", 4, 12)}, repeat(ProblemDuplicated, 4), false},
		"gzip cut":           {[]Source{part("a", 0, 4), cut, part("c", 8, 12)}, []Problem{ProblemUnreadable, ProblemRemoved}, false},
		"restart in order":   {[]Source{part("a", 0, 12), textSource("o", other...)}, []Problem{ProblemRestarted}, true},
		"restart after cut":  {[]Source{part("a", 0, 11), textSource("o", other...)}, []Problem{ProblemRestarted}, false},
		"other log's middle": {[]Source{part("a", 0, 12), textSource("o", other[1:]...)}, []Problem{ProblemSpliced}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := verifySources(t, VerifyOptions{}, tt.sources...)
			if got := problems(r); r.OK() != tt.ok || !slices.Equal(dropUnreadable(got, tt.want), tt.want) {
				t.Errorf("%v", r.Findings)
			}
		})
	}
	r := verifySources(t, VerifyOptions{}, FileSource(t.TempDir()), FileSource("/nowhere"), part("a", 0, 12))
	same(t, problems(r), repeat(ProblemUnreadable, 2))
}

// dropUnreadable: how much of a cut gzip file can be read is up to the library.
func dropUnreadable(got, want []Problem) []Problem {
	if slices.Contains(want, ProblemUnreadable) && len(got) > len(want) {
		return got[:len(want)]
	}
	return got
}

func repeat(p Problem, n int) []Problem { return slices.Repeat([]Problem{p}, n) }

// A report stays small whatever it is given.
func TestReportIsBounded(t *testing.T) {
	r := verifySources(t, VerifyOptions{}, textSource("log", strings.Repeat("x\n", 100_000)))
	if r.OK() || len(r.Findings) != maxFindings || r.Findings[0].Line != 1 || r.Omitted != 100_000-maxFindings {
		t.Errorf("%d findings, %d omitted", len(r.Findings), r.Omitted)
	}
}

// TestEveryLossFails: whoever lost an event, and wherever the log tells of it, it is a
// failure with its counts; an event that came late is none.
func TestEveryLossFails(t *testing.T) {
	for name, c := range map[string]struct {
		fields string
		ok     bool
		want   string
	}{
		"the queue was full": {
			`"event.reason":"busy","error.message":"audit file is busy",%q:139,"coredns.xfr.audit.lost_allowed":3,"coredns.xfr.audit.lost_denials":400`,
			false, "139 events were lost before the log had them (3 allow decisions, 400 denials)",
		},
		"one event":            {`%q:1`, false, "1 event was lost"},
		"more lost than late":  {`%q:5,"coredns.xfr.audit.late":4`, false, "1 event was lost"},
		"all of them came":     {`%q:5,"coredns.xfr.audit.late":5`, true, "5 events were late"},
		"only late ones":       {`%q:0,"coredns.xfr.audit.late":2`, true, ""},
		"the file's own":       {`"coredns.xfr.audit.kind":"gap",%q:2`, false, "2 events were lost"},
		"the file's own, late": {`"coredns.xfr.audit.kind":"gap",%q:2,"coredns.xfr.audit.late":2`, true, ""},
	} {
		chain := newTestChain(t)
		var log []string
		for _, text := range []string{`{"n":1}`, `{"event.action":"audit-gap",` + fmt.Sprintf(c.fields, FieldLost) + `}`, `{"n":2}`} {
			log = append(log, string(chain.appendSealed(nil, []byte(text))))
		}
		r := verifySources(t, VerifyOptions{}, textSource("log", log...))
		if r.OK() != c.ok {
			t.Errorf("%s: ok is %v: %v", name, r.OK(), r.Findings)
		}
		if c.want != "" && (len(r.Findings) != 1 || r.Findings[0].Line != 2 || !strings.Contains(r.Findings[0].Detail, c.want)) {
			t.Errorf("%s: %v", name, r.Findings)
		}
	}
}
