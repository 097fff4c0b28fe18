// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xfrguard/xfrguard/internal/audit/audittest"
	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/trail"
)

// TestStandsFor: what an event stands for is read out of its text.
func TestStandsFor(t *testing.T) {
	folded := func(a Action, n int64) *Event {
		e := denied("192.0.2.1")
		e.Action, e.Suppressed = a, &Suppressed{Count: n, Class: "stream"}
		return e
	}
	want := map[string][2]uint64{"allowed": {1, 0}, "denied": {0, 1}, "answered": {7, 0}, "folded": {0, 300}}
	events := map[string]*Event{
		"allowed": allowed(), "denied": denied("192.0.2.1"), "answered": folded(ActionAnswered, 7), "folded": folded(ActionDenied, 300),
	}
	for name, e := range sampleEvents() {
		switch e.Action {
		case ActionDecision, ActionDenied, ActionAnswered:
		default:
			events[name] = e
		}
	}
	for name, e := range events {
		Stamp(e)
		a, d := standsFor(e.Encode())
		if got := [2]uint64{a, d}; got != want[name] {
			t.Errorf("%s stands for %v, want %v", name, got, want[name])
		}
	}
	if a, d := standsFor([]byte("{")); a+d != 0 {
		t.Errorf("no event stands for %d and %d", a, d)
	}
}

// TestFileHasOneKindOfGap: all that a file did not take, on whichever way, is in gap events
// of the file's own, with what it stood for.
func TestFileHasOneKindOfGap(t *testing.T) {
	audittest.NoLeak(t)
	path := filepath.Join(t.TempDir(), "xfr.log")
	a, err := Open(Config{sinks: []corefile.Sink{{Kind: "file", Path: path}}, failure: corefile.AuditServe})
	if err != nil {
		t.Fatal(err)
	}
	tooLong := func(e *Event) *record {
		e.ID = NewID()
		Stamp(e)
		r := recordOf(e)
		r.event = append(bytes.TrimSuffix(r.event, []byte("}")), fmt.Sprintf(`,"x":%q}`, strings.Repeat("x", trail.MaxEvent))...)
		return r
	}
	folded := denied("192.0.2.1")
	folded.Action, folded.Suppressed = ActionDenied, &Suppressed{Count: 300, Class: "stream"}
	file := a.sinks[0]
	file.post(tooLong(folded))
	file.post(tooLong(denied("192.0.2.1")))
	if file.append(tooLong(allowed())) == nil {
		t.Error("a line that is too long is written")
	}
	if err := a.Decision(t.Context(), allowed()); err != nil {
		t.Error(err)
	}
	closeAuditor(t, a)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := audittest.SplitLines(b)
	audittest.ValidateEvents(t, lines...)
	var told [3]int64
	audittest.Count(t, lines, ActionGap, func(m map[string]any) {
		if m[trail.FieldKind] != string(trail.KindGap) || m["event.reason"] != "busy" {
			t.Errorf("not the file's own: %v", m)
		}
		for i, field := range []string{trail.FieldLost, trail.FieldLostAllowed, trail.FieldLostDenials} {
			told[i] += audittest.Number(m[field])
		}
	})
	if told != [3]int64{3, 1, 301} {
		t.Errorf("told: %v", told)
	}
}
