// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit/audittest"
	"github.com/xfrguard/xfrguard/internal/corefile"
)

// recordTo makes an auditor over sinks that the test has made.
func recordTo(t testing.TB, failure corefile.AuditFailure, deadline time.Duration, sinks map[string]Opener) *Auditor {
	t.Helper()
	rec := &Recorder{}
	for _, name := range audittest.SortedKeys(sinks) {
		w, err := WatchSink(name, sinks[name], deadline, func(from *WatchedSink, e *Event) {
			r := recordOf(e)
			for _, s := range rec.sinks {
				if s != from {
					s.post(r)
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		rec.sinks = append(rec.sinks, w)
		rec.releases = append(rec.releases, w.Close)
	}
	rec.Fold = newFolder(foldLimits{}, rec.postFolded)
	rec.Answers = newAnswerFolder(foldLimits{}, rec.postFolded)
	return &Auditor{Recorder: rec, failure: failure, release: rec.close}
}

// lineOf is the sink of lines under a watched one.
func lineOf(w *WatchedSink) *lineSink {
	return w.sink.(*lineSink) //nolint:forcetypeassert // else it is the test's mistake
}

// setRoom sets how much may wait.
func (s *lineSink) setRoom(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.room = n
}

func (s *lineSink) losses() losses {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost
}

func closeAuditor(t testing.TB, a *Auditor) {
	t.Helper()
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

// allowed and denied make events as the handler does.
func allowed() *Event {
	e := *sampleEvents()["decision-allowed"]
	e.Time, e.ID, e.EventID = time.Time{}, "", ""
	return &e
}

func denied(client string) *Event {
	e := *sampleEvents()["decision-denied"]
	e.Time, e.ID, e.EventID, e.Client = time.Time{}, "", "", client
	return &e
}

func ended(of *Event) *Event {
	e := *sampleEvents()["end-complete"]
	e.Time, e.EventID, e.ID = time.Time{}, "", of.ID
	if e.ID == "" { // no decision was recorded before
		e.ID = NewID()
	}
	return &e
}

func TestDecisionIsDurableBeforeItReturns(t *testing.T) {
	audittest.NoLeak(t)
	path := filepath.Join(t.TempDir(), "xfr.log")
	a, err := Open(Config{sinks: []corefile.Sink{{Kind: "file", Path: path}}})
	if err != nil {
		t.Fatal(err)
	}
	e := allowed()
	if err := a.Decision(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil || e.ID == "" || !bytes.Contains(text, []byte(`"coredns.xfr.id":"`+e.ID+`"`)) {
		t.Fatalf("%v, id %q is not in\n%s", err, e.ID, text)
	}
	a.End(ended(e))
	a.Denied(denied("198.51.100.1"))
	a.Lifecycle(sampleEvents()["policy-load"])
	closeAuditor(t, a)
	closeAuditor(t, a) // again does nothing

	text, err = os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := audittest.SplitLines(text)
	audittest.ValidateEvents(t, lines...)
	for _, want := range []Action{ActionOpened, ActionStart, ActionDecision, ActionEnd, ActionPolicyLoaded, ActionStop, ActionClosed} {
		if audittest.Count(t, lines, want, nil) == 0 {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}

// Blocks and overlapping instances share one set of sinks: one start, one stop, one sequence.
func TestAuditorsShareSinks(t *testing.T) {
	audittest.NoLeak(t)
	path := filepath.Join(t.TempDir(), "xfr.log")
	cfg := Config{sinks: []corefile.Sink{{Kind: "file", Path: path}, {Kind: "file", Path: path}}}
	var open []*Auditor
	for i := range 20 { // each reload opens the new one before it closes the old one
		a, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, a)
		if err := a.Decision(t.Context(), allowed()); err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			closeAuditor(t, open[i-1])
		}
	}
	closeAuditor(t, open[len(open)-1])
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := audittest.SplitLines(text)
	audittest.ValidateEvents(t, lines...)
	for i, l := range lines {
		if got := audittest.Number(audittest.Members(t, l)["event.sequence"]); got != int64(i+1) {
			t.Fatalf("line %d has sequence %d", i+1, got)
		}
	}
	if s, p, d := audittest.Count(t, lines, ActionStart, nil), audittest.Count(t, lines, ActionStop, nil), audittest.Count(t, lines, ActionDecision, nil); s != 1 || p != 1 || d != 20 {
		t.Errorf("%d starts, %d stops, %d decisions", s, p, d)
	}
	if recorders.Len()+SinkPool.Len() != 0 {
		t.Errorf("left behind: %d %d", recorders.Len(), SinkPool.Len())
	}
}

// A sink's change of state is told to every other sink of the process, and not to itself.
func TestTellOthers(t *testing.T) {
	names := []string{"a", "b", "c"}
	sinks := map[string]*audittest.FaultyWriter{}
	watched, releases := map[string]*WatchedSink{}, map[string]func() error{}
	for _, name := range names {
		sinks[name] = &audittest.FaultyWriter{}
		w, release, err := SinkPool.Acquire(name, func() (*WatchedSink, error) {
			return WatchSink(name, ToLines(sinks[name].Write), time.Second, TellOthers)
		}, (*WatchedSink).Close)
		if err != nil {
			t.Fatal(err)
		}
		watched[name] = w
		releases[name] = release
	}
	down := *sampleEvents()["sink-down"]
	Stamp(&down)
	TellOthers(watched["b"], &down)
	for _, name := range names {
		if err := releases[name](); err != nil { // what was posted is written
			t.Error(err)
		}
		lines := sinks[name].Take()
		audittest.ValidateEvents(t, lines...)
		if told := audittest.Count(t, lines, ActionSinkDown, nil) == 1; told != (name != "b") {
			t.Errorf("%s was told: %v", name, told)
		}
	}
}

// What cannot be opened is an error at start, in either mode, and leaves nothing open.
func TestOpenAuditorFails(t *testing.T) {
	audittest.NoLeak(t)
	dir := t.TempDir()
	good := corefile.Sink{Kind: "file", Path: filepath.Join(dir, "xfr.log")}
	for name, cfg := range map[string]Config{
		"no directory": {sinks: []corefile.Sink{good, {Kind: "file", Path: filepath.Join(dir, "missing", "xfr.log")}}},
		"a directory":  {sinks: []corefile.Sink{good, {Kind: "file", Path: dir}}},
		"no such kind": {sinks: []corefile.Sink{good, {Kind: "carrier pigeon"}}},
		"no key":       {sinks: []corefile.Sink{good}, key: filepath.Join(dir, "missing.key")},
	} {
		if a, err := Open(cfg); err == nil {
			t.Errorf("%s: no error", name)
			closeAuditor(t, a)
		}
		if recorders.Len()+SinkPool.Len() != 0 {
			t.Errorf("%s: left behind: %d %d", name, recorders.Len(), SinkPool.Len())
		}
	}
}

// A request whose client went away does not wait, and nobody is marked down for it.
func TestDecisionEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a1, b1 := &audittest.FaultyWriter{}, &audittest.FaultyWriter{}
		hang := make(chan struct{})
		a1.Set(hang, nil)
		b1.Set(hang, nil)
		a := recordTo(t, corefile.AuditRefuse, time.Second, map[string]Opener{"a": ToLines(a1.Write), "b": ToLines(b1.Write)})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		start := time.Now()
		if err := a.Decision(ctx, allowed()); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 100*time.Millisecond {
			t.Errorf("%v after %s", err, time.Since(start))
		}
		close(hang)
		closeAuditor(t, a)
	})
}

func BenchmarkDecision(b *testing.B) {
	for _, parallel := range []int{1, 64} {
		b.Run(fmt.Sprintf("file/parallel=%d", parallel), func(b *testing.B) {
			a, err := Open(Config{sinks: []corefile.Sink{{Kind: "file", Path: filepath.Join(b.TempDir(), "xfr.log")}}})
			if err != nil {
				b.Fatal(err)
			}
			defer closeAuditor(b, a)
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for range parallel {
				wg.Go(func() {
					e := allowed()
					for left.Add(-1) >= 0 {
						if err := a.Decision(context.Background(), e); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
		})
	}
}
