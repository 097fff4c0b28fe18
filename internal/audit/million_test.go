// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit/audittest"
	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/trail"
)

// 1,000,000 refused requests of 5,000 sources, into a real audit file, while allowed
// transfers are recorded: the counts add up, and lines, bytes, memory and the time
// that an allowed transfer's record takes stay small.
func TestAuditMillionDenials(t *testing.T) {
	audittest.NoLeak(t)
	const total, sources, workers = 1_000_000, 5000, 4
	path := filepath.Join(t.TempDir(), "audit.log")
	a, err := Open(Config{sinks: []corefile.Sink{{Kind: "file", Path: path}}})
	if err != nil {
		t.Fatal(err)
	}
	alone := decisionTimes(t, a, func(n int) bool { return n < 100 })
	clients := make([]string, sources)
	for i := range clients {
		clients[i] = fmt.Sprintf("10.%d.%d.%d", i>>8, i&255, i%250+1)
	}
	before := audittest.Heap()
	start := time.Now()
	var flood sync.WaitGroup
	var left atomic.Int32
	left.Store(workers)
	for w := range workers {
		flood.Go(func() {
			defer left.Add(-1)
			e := denied("")
			for i := w; i < total; i += workers {
				e.Client, e.Reason = clients[i%sources], string(policy.Reasons[1+i%7])
				a.Denied(e)
			}
		})
	}
	during := decisionTimes(t, a, func(int) bool { return left.Load() > 0 })
	flood.Wait()
	took := time.Since(start)
	held := audittest.Heap() - before
	closeAuditor(t, a)

	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var sum, lines, bytes int64
	for _, l := range audittest.SplitLines(b) {
		switch m := audittest.Members(t, l); {
		case m["event.action"] == string(ActionDenied):
			sum += audittest.Number(m["coredns.xfr.suppressed.count"])
		case m["event.action"] == string(ActionDecision) && m["event.outcome"] == "failure":
			sum++
		default:
			continue
		}
		audittest.ValidateEvents(t, l)
		lines++
		bytes += int64(len(l))
	}
	if sum != total {
		t.Errorf("%d denials add up to %d", total, sum)
	}
	var most float64
	for _, c := range DefaultFold.Class {
		most += float64(c.Burst) + c.perSecond*(took.Seconds()+2) + 2
	}
	if float64(lines) > most || bytes > lines*trail.MaxLine {
		t.Errorf("%d lines of %d bytes in %s, at most %.0f", lines, bytes, took, most)
	}
	if held > 32<<20 {
		t.Errorf("%d bytes of memory", held)
	}
	if worst := slices.Max(during); worst > DefaultDeadline/2 {
		t.Errorf("the record of an allowed transfer took %s", worst)
	}
	t.Logf("%d denials of %d sources in %s: %d lines, %d bytes, %d kB of memory; an allowed transfer's record: median %s, slowest %s of %d; without flood %s and %s",
		total, sources, took.Round(time.Millisecond), lines, bytes, held>>10, median(during), slices.Max(during), len(during), median(alone), slices.Max(alone))
}

func decisionTimes(t *testing.T, a *Auditor, more func(n int) bool) []time.Duration {
	t.Helper()
	var times []time.Duration
	for more(len(times)) {
		start := time.Now()
		if err := a.Decision(t.Context(), allowed()); err != nil {
			t.Error(err)
		}
		times = append(times, time.Since(start))
	}
	return append(times, 0)[:max(len(times), 1)]
}

func median(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[len(d)/2]
}
