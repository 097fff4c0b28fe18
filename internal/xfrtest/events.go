// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrtest

import (
	"bytes"
	"fmt"
	stdlog "log"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit/audittest"

	"github.com/prometheus/client_golang/prometheus"
)

// Findings are the events of findings in the audit file.
func (s *Server) Findings(t *testing.T) (found []map[string]any) {
	t.Helper()
	for _, e := range audittest.Lines(t, filepath.Join(s.Dir, "audit.log")) {
		if e["event.action"] == "policy-finding" {
			found = append(found, e)
		}
	}
	return found
}

// EventsOf waits for the first event of a client, and returns all there are.
func (s *Server) EventsOf(t *testing.T, client string) []map[string]any {
	t.Helper()
	var all []map[string]any
	audittest.Eventually(t, func() bool {
		all = s.Events(t, 1)
		for _, e := range all {
			if e["client.ip"] == client {
				return true
			}
		}
		return false
	})
	return all
}

// Await waits until there is an event of the action, and returns all there are by then.
func (s *Server) Await(t *testing.T, action string, n int) []map[string]any {
	t.Helper()
	var got []map[string]any
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		got = nil
		for _, e := range audittest.Lines(t, filepath.Join(s.Dir, "audit.log")) {
			if e["event.action"] == action {
				got = append(got, e)
			}
		}
		if len(got) >= n {
			return got
		}
	}
	t.Fatalf("%d events %s, want %d: %v", len(got), action, n, got)
	return nil
}

// Lifecycle is what the audit file says of loads of the Corefile, oldest first.
func (s *Server) Lifecycle(t *testing.T) []string {
	t.Helper()
	var got []string
	for _, e := range audittest.Lines(t, filepath.Join(s.Dir, "audit.log")) {
		switch a := e["event.action"].(string); a {
		case "policy-load", "policy-reload":
			got = append(got, a)
		case "policy-reload-failed":
			got = append(got, fmt.Sprint(a, " ", e["event.reason"]))
		}
	}
	return got
}

// WantLifecycle waits until the audit file says so and nothing else.
func (s *Server) WantLifecycle(t *testing.T, want ...string) {
	t.Helper()
	audittest.Eventually(t, func() bool { return len(s.Lifecycle(t)) >= len(want) })
	if got := s.Lifecycle(t); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("on record: %q, want %q", got, want)
	}
}

// When returns the time of the last event of the action, with the reason if there is one.
func (s *Server) When(t *testing.T, action, reason string) time.Time {
	t.Helper()
	var last time.Time
	for deadline := time.Now().Add(30 * time.Second); last.IsZero() && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		for _, e := range audittest.Lines(t, s.Dir+"/audit.log") {
			if e["event.action"] == action && (reason == "" || e["event.reason"] == reason) {
				at, err := time.Parse(time.RFC3339Nano, e["@timestamp"].(string))
				if err != nil {
					t.Fatal(err)
				}
				last = at
			}
		}
	}
	if last.IsZero() {
		t.Fatalf("no event %s %s", action, reason)
	}
	return last
}

// Events waits until the audit file has at least n events of transfers, and returns them.
func (s *Server) Events(t *testing.T, n int) []map[string]any {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for {
		got := TransferEvents(t, filepath.Join(s.Dir, "audit.log"))
		if len(got) >= n || time.Now().After(deadline) {
			if len(got) < n {
				t.Fatalf("%d events within 5 s, want %d: %v", len(got), n, got)
			}
			return got
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Metric returns the sum of a metric of the plugin over all series that have these values
// of labels, in any order.
func Metric(t *testing.T, name string, values ...string) (sum float64) {
	t.Helper()
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "coredns_xfrguard_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			var has []string
			for _, l := range m.GetLabel() {
				has = append(has, l.GetValue())
			}
			if !slices.ContainsFunc(values, func(v string) bool { return !slices.Contains(has, v) }) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// TransferEvents returns the events of transfers in an audit file.
func TransferEvents(t *testing.T, path string) []map[string]any {
	t.Helper()
	return slices.DeleteFunc(audittest.Lines(t, path), func(e map[string]any) bool {
		a, _ := e["event.action"].(string)
		return !strings.HasPrefix(a, "zone-transfer-")
	})
}

// CaptureLog redirects CoreDNS's log to memory for one test.
func CaptureLog(t *testing.T) func() string {
	t.Helper()
	var mu sync.Mutex
	var b bytes.Buffer
	old := stdlog.Writer()
	stdlog.SetOutput(writerFunc(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return b.Write(p)
	}))
	t.Cleanup(func() { stdlog.SetOutput(old) })
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		return b.String()
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// NotifyEvents returns the events of NOTIFYs in an audit file.
func NotifyEvents(t *testing.T, path string) []map[string]any {
	t.Helper()
	return slices.DeleteFunc(audittest.Lines(t, path), func(e map[string]any) bool {
		a, _ := e["event.action"].(string)
		return !strings.HasPrefix(a, "zone-notify-")
	})
}
