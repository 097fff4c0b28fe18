// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit/audittest"
	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/policy"
)

// TestBurstOfDenials: as many denials at once as the budgets let through, of every class,
// find room in the queue of each sink: none is lost.
func TestBurstOfDenials(t *testing.T) {
	audittest.NoLeak(t)
	path := filepath.Join(t.TempDir(), "xfr.log")
	a, err := Open(Config{sinks: []corefile.Sink{{Kind: "file", Path: path}}})
	if err != nil {
		t.Fatal(err)
	}
	gate := make(chan struct{})
	slow := ToLines(func([]byte) error { <-gate; return nil })
	line := recordTo(t, corefile.AuditServe, time.Minute, map[string]Opener{"line": slow})
	const each = 1000
	for i := range each {
		for _, e := range []*Event{
			provenRefusal(fmt.Sprintf("k%d.%s", i, strings.Repeat("long-label.", 20)), policy.TransportTCP),
			provenRefusal("one.", policy.TransportTCP), // pipelined by one client
			provenRefusal(fmt.Sprintf("k%d.", i), policy.TransportUDP),
			refusal(fmt.Sprintf("10.%d.%d.1", i>>8, i&255), policy.ReasonClientNotAllowed, policy.TransportUDP),
			refusal(fmt.Sprintf("10.%d.%d.1", i>>8, i&255), policy.ReasonClientNotAllowed, policy.TransportTCP),
		} {
			e.QueryName, e.QueryType, e.QueryClass = "example.org.", "AXFR", "IN"
			e.ClientPort, e.Server, e.ServerPort, e.QueryID = 1025+i, "127.0.0.1", 53, 1
			e.Rcode = "REFUSED"
			a.Denied(e)
			line.Denied(e)
		}
	}
	if lost := lineOf(line.sinks[0]).losses().events; lost != 0 {
		t.Errorf("a sink that stands still has lost %d events", lost)
	}
	close(gate)
	closeAuditor(t, line)
	closeAuditor(t, a)
	sum := int64(0)
	for _, m := range audittest.Lines(t, path) {
		switch m["event.action"] {
		case string(ActionGap):
			t.Errorf("lost: %v", m)
		case string(ActionDecision):
			sum++
		case string(ActionDenied):
			n, _ := m["coredns.xfr.suppressed.count"].(float64)
			sum += int64(n)
		}
	}
	if sum != 5*each {
		t.Errorf("%d denials add up to %d", 5*each, sum)
	}
}

// A flood over UDP, from as many forged addresses as there are, takes nothing from TCP.
func TestFoldUDPFloodHidesNoTCP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &foldLog{}
		f := newFolder(foldLimits{}, l.emit)
		for i := range 50_000 {
			f.add(refusal(fmt.Sprintf("%d.%d.%d.1", 1+i>>16, i>>8&255, i&255), policy.ReasonTransportUnsupported, policy.TransportUDP))
		}
		l.take()
		f.add(refusal("198.51.100.1", policy.ReasonClientNotAllowed, policy.TransportTCP))
		if got := l.take(); len(got) != 1 || got[0].Client != "198.51.100.1" {
			t.Errorf("the attempt over TCP made %v", got)
		}
		f.close()
	})
}

// 1,000,000 refused requests of 5,000 sources: everything is accounted for, and lines
// and memory stay small.
func TestFoldFlood(t *testing.T) {
	const total, sources, workers = 1_000_000, 5000, 4
	l := &foldLog{}
	f := newFolder(foldLimits{}, l.emit)
	clients := make([]string, sources)
	for i := range clients {
		clients[i] = fmt.Sprintf("10.%d.%d.%d", i>>8, i&255, i%250)
	}
	before := audittest.Heap()
	start := time.Now()
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			e := refusal("", "", policy.TransportTCP)
			for i := w; i < total; i += workers {
				e.Client, e.Reason = clients[i%sources], string(policy.Reasons[1+i%7])
				f.add(e)
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	held := audittest.Heap() - before
	f.close()
	sum, lines := l.sum()
	if sum != total {
		t.Errorf("%d denials add up to %d", total, sum)
	}
	budget := DefaultFold.Class[foldStream]
	if most := int64(float64(budget.Burst) + budget.perSecond*(took.Seconds()+1) + 2); lines > most {
		t.Errorf("%d lines in %s, at most %d", lines, took, most)
	}
	if held > 32<<20 {
		t.Errorf("%d bytes of memory", held)
	}
	t.Logf("%d denials of %d sources in %s: %d lines, %d bytes written, %d kB held", total, sources, took, lines, l.bytes, held>>10)
}

// Memory at its worst: every window full of the longest names.
func TestFoldMemoryIsBounded(t *testing.T) {
	f := newFolder(foldLimits{}, func(*Event) {})
	before := audittest.Heap()
	name := strings.Repeat("x", 1000)
	for i := range 10_000 {
		for j := range 3 {
			e := refusal(fmt.Sprintf("10.%d.%d.%d", i>>8, i&255, j), policy.ReasonTSIGBadKey, policy.TransportTCP)
			e.TSIG = policy.TSIGProof{Status: policy.TSIGBadKey, Key: fmt.Sprintf("%d.%s", j, name)}
			f.add(e)
		}
	}
	held := audittest.Heap() - before
	if open := f.open[foldStream]; open != DefaultFold.Class[foldStream].windows {
		t.Errorf("%d windows", open)
	}
	if held > 32<<20 {
		t.Errorf("%d bytes", held)
	}
	f.close()
}

// A flood of denials delays no allowed transfer's record.
func TestFloodDoesNotDelayDecisions(t *testing.T) {
	audittest.NoLeak(t)
	a, err := Open(Config{sinks: []corefile.Sink{{Kind: "file", Path: t.TempDir() + "/xfr.log"}}})
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var flood sync.WaitGroup
	for w := range 2 {
		flood.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
					a.Denied(denied(fmt.Sprintf("10.%d.%d.1", w*128+i>>8&127, i&255)))
				}
			}
		})
	}
	var worst time.Duration
	for range 50 {
		start := time.Now()
		if err := a.Decision(t.Context(), allowed()); err != nil {
			t.Error(err)
		}
		worst = max(worst, time.Since(start))
	}
	close(stop)
	flood.Wait()
	closeAuditor(t, a)
	if worst > time.Second {
		t.Errorf("a decision took %s", worst)
	}
	t.Logf("slowest of 50 decisions under the flood: %s", worst)
}

func BenchmarkDenied(b *testing.B) {
	f := newFolder(foldLimits{}, func(*Event) {})
	e := refusal("198.51.100.1", policy.ReasonClientNotAllowed, policy.TransportTCP)
	b.ReportAllocs()
	for b.Loop() {
		f.add(e)
	}
	f.close()
}

// One client that tries all zones for all reasons takes only its share of the budget.
func TestFoldOnePrefixLeavesBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &foldLog{}
		f := newFolder(foldLimits{}, l.emit)
		for i := range 20_000 {
			e := refusal("198.51.100.1", policy.Reasons[1+i%10], policy.TransportTCP)
			e.Zone = fmt.Sprintf("zone%d.", i%1000)
			f.add(e)
		}
		if _, lines := l.sum(); int(lines) > DefaultFold.perPrefix {
			t.Errorf("one client made %d lines", lines)
		}
		l.take()
		f.add(refusal("203.0.113.1", policy.ReasonClientNotAllowed, policy.TransportTCP))
		if got := l.take(); len(got) != 1 {
			t.Errorf("another client's first attempt made %d lines", len(got))
		}
		f.close()
	})
}
