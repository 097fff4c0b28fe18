// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit/audittest"
	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/trail"
)

// The table of faults: whatever befalls the only sink, refuse refuses, serve serves,
// denials never fail, and a gap event tells of every lost line once it is over.
func TestSinkFaults(t *testing.T) {
	faults := map[string]func([]byte) error{
		"ENOSPC": func([]byte) error { return &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC} },
		"EIO":    func([]byte) error { return syscall.EIO },
		"EPIPE":  func([]byte) error { return fmt.Errorf("write: %w", syscall.EPIPE) },
		"busy":   nil, // there is no room at all
		"panic":  func([]byte) error { panic("disk on fire") },
		"hang":   nil,
	}
	for name, fault := range faults {
		for _, failure := range []corefile.AuditFailure{corefile.AuditRefuse, corefile.AuditServe} {
			t.Run(name+"/"+string(failure), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { oneFault(t, name, fault, failure) })
			})
		}
	}
}

func oneFault(t *testing.T, name string, fault func([]byte) error, failure corefile.AuditFailure) {
	s := &audittest.FaultyWriter{}
	a := recordTo(t, failure, 2*time.Second, map[string]Opener{"only": ToLines(s.Write)})
	var hang chan struct{}
	if name == "hang" {
		hang = make(chan struct{})
	}
	if name == "busy" {
		lineOf(a.sinks[0]).setRoom(0)
	}
	s.Set(hang, fault)
	const n = 5
	for range n {
		start := time.Now()
		err := a.Decision(t.Context(), allowed())
		if (err == nil) != (failure == corefile.AuditServe) {
			t.Fatalf("Decision returned %v", err)
		}
		if d := time.Since(start); d > 2*time.Second {
			t.Fatalf("a decision waited %s", d)
		}
	}
	if name != "busy" {
		for i := range n { // the sink is down: nothing of this reaches it
			a.Denied(denied(fmt.Sprintf("198.51.%d.1", i)))
		}
	}
	synctest.Wait()
	if got := len(s.Take()); got != 0 {
		t.Fatalf("%d lines in a broken sink", got)
	}
	time.Sleep(time.Minute)
	if hang != nil {
		close(hang)
	}
	s.Set(nil, nil)
	lineOf(a.sinks[0]).setRoom(lineQueue)
	time.Sleep(2 * lastProbe)
	if err := a.Decision(t.Context(), allowed()); err != nil {
		t.Fatalf("the sink is back, but: %v", err)
	}
	closeAuditor(t, a)

	lines := s.Take()
	audittest.ValidateEvents(t, lines...)
	var lost, lostAllowed, late int64
	first := audittest.Members(t, lines[0])
	if hang == nil && first["event.action"] != string(ActionGap) {
		t.Errorf("the first line after the fault is %s", lines[0])
	}
	audittest.Count(t, lines, ActionGap, func(m map[string]any) {
		lost += audittest.Number(m[trail.FieldLost])
		lostAllowed += audittest.Number(m[ExtraLostAllowed])
		late += audittest.Number(m[trail.FieldLate])
	})
	decisions := int64(audittest.Count(t, lines, ActionDecision, nil))
	want := int64(n + n + 1)
	if name == "busy" {
		want = n + 1
	}
	if decisions+lost-late != want || lostAllowed != n {
		t.Errorf("%d decisions written, %d told as lost (%d allowed), %d of these late: want %d in all, %d allowed",
			decisions, lost, lostAllowed, late, want, n)
	}
}

// A sink that hangs delays nobody whom another sink recorded, and its state is told there.
func TestHangingSinkDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good, bad := &audittest.FaultyWriter{}, &audittest.FaultyWriter{}
		hang := make(chan struct{})
		bad.Set(hang, nil)
		a := recordTo(t, corefile.AuditRefuse, 2*time.Second, map[string]Opener{"bad": ToLines(bad.Write), "good": ToLines(good.Write)})
		const n = 20
		for range n {
			start := time.Now()
			if err := a.Decision(t.Context(), allowed()); err != nil || time.Since(start) != 0 {
				t.Fatalf("%v after %s", err, time.Since(start))
			}
		}
		time.Sleep(3 * time.Second)
		if audittest.Count(t, good.Take(), ActionSinkDown, func(m map[string]any) {
			if m[extraSink] != "bad" || m["event.reason"] != "timeout" {
				t.Error(m)
			}
		}) != 1 {
			t.Error("the good sink was not told, or more than once")
		}
		close(hang)
		time.Sleep(2 * lastProbe)
		if audittest.Count(t, good.Take(), ActionSinkUp, nil) != 1 {
			t.Error("the good sink was not told that the other is back")
		}
		closeAuditor(t, a)
		audittest.ValidateEvents(t, good.Take()...)
		audittest.ValidateEvents(t, bad.Take()...)
		var lost, late int64
		audittest.Count(t, bad.Take(), ActionGap, func(m map[string]any) {
			lost += audittest.Number(m[trail.FieldLost])
			late += audittest.Number(m[trail.FieldLate])
		})
		if got := int64(audittest.Count(t, bad.Take(), ActionDecision, nil)) + lost - late; got != n {
			t.Errorf("%d decisions accounted for in the bad sink, want %d", got, n)
		}
		if got := audittest.Count(t, good.Take(), ActionDecision, nil); got != n {
			t.Errorf("%d decisions in the good sink, want %d", got, n)
		}
	})
}

// Every allowed transfer has one decision and one end; every denial is a line or in
// a count; nothing twice. Sinks fail at random all the while.
func TestPairsAndCountsUnderFaults(t *testing.T) {
	audittest.NoLeak(t)
	steady, flaky := &audittest.FaultyWriter{}, &audittest.FaultyWriter{}
	var turn atomic.Int64
	flaky.Set(nil, func([]byte) error {
		if turn.Add(1)%7 == 0 {
			return syscall.EIO
		}
		return nil
	})
	const patience = 30 * time.Second // nothing hangs here, but the machine may be busy
	a := recordTo(t, corefile.AuditRefuse, patience, map[string]Opener{"steady": ToLines(steady.Write), "flaky": ToLines(flaky.Write)})
	const workers, each = 16, 100
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				e := allowed()
				if err := a.Decision(t.Context(), e); err != nil {
					t.Error(err)
				}
				a.End(ended(e))
				a.Denied(denied(fmt.Sprintf("198.51.%d.%d", w, i)))
			}
		})
	}
	wg.Wait()
	closeAuditor(t, a)
	lines := steady.Take()
	audittest.ValidateEvents(t, lines[:200]...) // the rest is alike, and validation is slow under -race
	pairs := map[string][2]int{}
	ids := map[string]bool{}
	var denials int64
	for _, l := range lines {
		m := audittest.Members(t, l)
		if id := m["event.id"].(string); ids[id] {
			t.Errorf("event %s twice", id)
		} else {
			ids[id] = true
		}
		p := pairs[fmt.Sprint(m["coredns.xfr.id"])]
		switch {
		case m["event.action"] == string(ActionDecision) && m["event.reason"] == string(policy.ReasonAllowed):
			p[0]++
		case m["event.action"] == string(ActionEnd):
			p[1]++
		case m["event.action"] == string(ActionDecision):
			denials++
			continue
		case m["event.action"] == string(ActionDenied):
			denials += audittest.Number(m["coredns.xfr.suppressed.count"])
			continue
		default:
			continue
		}
		pairs[fmt.Sprint(m["coredns.xfr.id"])] = p
	}
	if len(pairs) != workers*each {
		t.Errorf("%d transfers, want %d", len(pairs), workers*each)
	}
	for id, p := range pairs {
		if p != [2]int{1, 1} {
			t.Errorf("transfer %s has %d decisions and %d ends", id, p[0], p[1])
		}
	}
	if denials != workers*each {
		t.Errorf("%d denials, want %d", denials, workers*each)
	}
}
