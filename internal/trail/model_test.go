// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package trail

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/pool"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// The model: a list of the numbers that are in the log for sure. After any course of
// appends, posts, renames, reopenings, crashes' leftovers and failures, the files
// together hold the list in its order, and nothing else that was not posted or refused;
// and the log holds, but for the gaps that it tells of itself: these tell of each event
// that was lost and of what it stood for, once.
func TestModel(t *testing.T) {
	t.Parallel()
	base := memoryDir(t)
	runs := 0
	rapid.Check(t, func(t *rapid.T) {
		runs++
		dir := filepath.Join(base, fmt.Sprint(runs))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		m := &model{path: filepath.Join(dir, "audit.log"), disk: &faultyDisk{}}
		m.open(t)
		t.Repeat(map[string]func(*rapid.T){
			"refuse":        m.refuse,
			"append":        m.append,
			"append again":  m.append,
			"post":          m.post,
			"rename":        m.rename,
			"reopen":        m.reopen,
			"second user":   m.secondUser,
			"torn tail":     m.tornTail,
			"one failure":   m.oneFailure,
			"down for once": m.down,
		})
		m.check(t)
	})
}

type model struct {
	path    string
	disk    *faultyDisk
	files   pool.Pool[*File] // as users that overlap have it
	f       *File
	release func() error
	n       int
	want    []int
	wasDown bool
	lost    int // events
	stood   int // for so much
	renames int
}

func (m *model) open(t *rapid.T) {
	var err error
	m.f, m.release, err = m.files.Acquire(m.path, func() (*File, error) { return Open(m.path, Options{disk: m.disk, Stands: standsFor}) }, (*File).Close)
	if err != nil {
		t.Fatal(err)
	}
}

func (m *model) append(t *rapid.T) {
	m.n++
	if err := m.f.Append(testContext(), event(m.n)); err != nil {
		t.Fatalf("append %d: %v", m.n, err)
	}
	m.want = append(m.want, m.n)
}

func (m *model) post(t *rapid.T) {
	for range rapid.IntRange(1, 20).Draw(t, "posts") {
		m.n++
		if err := m.f.Post(event(m.n)); err != nil {
			t.Fatalf("post %d: %v", m.n, err)
		}
		m.want = append(m.want, m.n)
	}
	// Appends may overtake posts, so this model lets none follow before these are through.
	m.append(t)
}

func (m *model) rename(t *rapid.T) {
	m.renames++
	if err := os.Rename(m.path, fmt.Sprintf("%s.%d", m.path, m.renames)); err != nil {
		t.Fatal(err)
	}
	m.append(t) // it is noticed now, and not only after a second
	for {       // and the writer is in the new file
		if _, err := os.Stat(m.path); err == nil {
			return
		}
		time.Sleep(100 * time.Microsecond)
	}
}

func (m *model) reopen(t *rapid.T) {
	if err := m.release(); err != nil {
		t.Fatal(err)
	}
	m.open(t)
}

func (m *model) secondUser(t *rapid.T) {
	old := m.release
	m.open(t)
	if err := old(); err != nil {
		t.Fatal(err)
	}
}

func (m *model) tornTail(t *rapid.T) {
	if err := m.release(); err != nil {
		t.Fatal(err)
	}
	torn := rapid.SampledFrom([]string{"{", `{"n":`, "\x00\x00\x00", `{"n":7,"event.sequence":`, "x"}).Draw(t, "torn")
	f, err := os.OpenFile(m.path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString(torn)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	if rapid.Bool().Draw(t, "append only") {
		m.disk.onTruncate.fail(unix.EPERM, -1)
	}
	m.open(t)
	m.disk.onTruncate.clear()
}

func (m *model) oneFailure(t *rapid.T) {
	h := rapid.SampledFrom([]*hook{&m.disk.onWrite, &m.disk.onSync}).Draw(t, "hook")
	h.fail(unix.EIO, 1)
	m.append(t)
	h.clear()
}

// refuse has an event that no file takes, on either way.
func (m *model) refuse(t *rapid.T) {
	m.n++
	broken := fmt.Appendf(nil, `{"n":%d} `, m.n)
	var err error
	if rapid.Bool().Draw(t, "posted") {
		err = m.f.Post(broken)
	} else {
		err = m.f.Append(testContext(), broken)
	}
	if !errors.Is(err, ErrNotEvent) {
		t.Fatalf("no event: %v", err)
	}
	m.lost++
	m.stood += m.n
}

func (m *model) down(t *rapid.T) {
	if m.wasDown {
		t.Skip("once is enough: the retry takes its time")
	}
	m.disk.onWrite.fail(unix.ENOSPC, -1)
	m.n++
	if err := m.f.Append(testContext(), event(m.n)); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("append to a full disk: %v", err)
	}
	m.wasDown = true
	m.lost++
	m.stood += m.n
	m.n++
	if err := m.f.Post(event(m.n)); err != nil { // waits
		t.Fatal(err)
	}
	m.want = append(m.want, m.n)
	m.disk.onWrite.clear()
	for !m.f.healthy() {
		time.Sleep(100 * time.Microsecond)
	}
	m.append(t)
}

func (m *model) check(t *rapid.T) {
	if err := m.release(); err != nil {
		t.Fatal(err)
	}
	var sources []Source
	var got []int
	lost, stood := 0, 0
	for i := 1; i <= m.renames+1; i++ {
		path := fmt.Sprintf("%s.%d", m.path, i)
		if i > m.renames {
			path = m.path
		}
		sources = append(sources, FileSource(path))
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, intactNumbers(text)...)
		l, _, s := told(intactLines(text))
		lost, stood = lost+l, stood+s
	}
	if lost != m.lost || stood != m.stood {
		t.Errorf("the gap events tell of %d lost events that stood for %d: %d for %d were lost", lost, stood, m.lost, m.stood)
	}
	if !slices.Equal(got, m.want) {
		t.Fatalf("got  %v\nwant %v", got, m.want)
	}
	r, err := Verify(sources, VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	failed := false
	for _, f := range r.Findings {
		if !f.Warning {
			if f.Problem != ProblemGap {
				t.Errorf("%s", f)
			}
			failed = true
		}
	}
	if failed != (m.lost > 0) {
		t.Errorf("lost: %v, verify: %v", m.lost, r.Findings)
	}
}

func intactNumbers(text []byte) []int {
	var all []int
	for _, p := range intactLines(text) {
		if p.N != nil {
			all = append(all, *p.N)
		}
	}
	return all
}

func intactLines(text []byte) []parsed {
	var all []parsed
	for line := range bytes.SplitSeq(text, []byte("\n")) {
		if s, ok := parseLine(line); ok && s.intact(line) {
			var p parsed
			if err := json.Unmarshal(line, &p); err == nil {
				all = append(all, p)
			}
		}
	}
	return all
}
