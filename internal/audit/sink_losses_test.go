// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit/audittest"
	"github.com/xfrguard/xfrguard/internal/corefile"
)

// TestLostLinesByKind: a gap event tells of how many decisions of either kind the lost
// lines stood for, whichever way they were on, and calls no answer a denial.
func TestLostLinesByKind(t *testing.T) {
	s := &audittest.FaultyWriter{}
	a := recordTo(t, corefile.AuditServe, time.Second, map[string]Opener{"one": ToLines(s.Write)})
	lineOf(a.sinks[0]).setRoom(0)
	current := func() *Event { return currentAnswer("example.org.", "k.") }
	folded := current()
	folded.Action, folded.Suppressed = ActionAnswered, &Suppressed{Count: 7, Class: "proven"}
	a.postFolded(folded)
	denials := denied("192.0.2.1")
	denials.Action, denials.Suppressed = ActionDenied, &Suppressed{Count: 300, Class: "stream"}
	a.postFolded(denials)
	a.Denied(denied("198.51.100.1"))
	cut := current() // counted, and then cut off by us: a decision and an end
	cut.counted, cut.Complete, cut.Reason, cut.Rcode = true, false, string(EndStalled), "NOERROR"
	a.End(cut)
	if err := a.Decision(t.Context(), current()); err != nil {
		t.Fatal(err)
	}
	a.Observed(current())
	lineOf(a.sinks[0]).setRoom(lineQueue)
	closeAuditor(t, a)
	n := audittest.Count(t, s.Take(), ActionGap, func(m map[string]any) {
		lost, allowed, denials := audittest.Number(m["coredns.xfr.audit.lost"]), audittest.Number(m["coredns.xfr.audit.lost_allowed"]), audittest.Number(m["coredns.xfr.audit.lost_denials"])
		if lost != 7 || allowed != 10 || denials != 301 {
			t.Errorf("%d lost, of them %d allowed and %d denials", lost, allowed, denials)
		}
	})
	if n != 1 {
		t.Errorf("%d gap events", n)
	}
}
