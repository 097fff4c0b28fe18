// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit/audittest"
	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/policy"
)

// currentAnswer is what the handler records of an up-to-date answer to a proven key.
func currentAnswer(zone, key string) *Event {
	e := allowed()
	e.Served, e.Complete, e.Zone, e.TSIG = ServedUpToDate, true, zone, policy.TSIGProof{Status: policy.TSIGValid, Key: key}
	return e
}

// TestAnswersOfOneIdentity: one key asks for 600 zones in a loop, a thousand times a second.
// What is written does not grow with that, each zone has a line, another key has all of its
// lines, and everything adds up.
func TestAnswersOfOneIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &foldLog{}
		f := newAnswerFolder(foldLimits{}, l.emit)
		own, total, zones := 0, 0, map[string]bool{}
		const zoneCount, seconds = 600, 120
		for i := range 1000 * seconds {
			e := currentAnswer(fmt.Sprintf("z%d.", i%zoneCount), "busy.")
			total++
			if f.own(e) {
				own++
				zones[e.Zone] = true
			} else {
				f.tally(e)
			}
			if i%10_000 == 0 { // a well-behaved one beside it
				if !f.own(currentAnswer(fmt.Sprintf("z%d.", i/10_000), "quiet.")) {
					t.Errorf("answer %d of the other key has no line", i/10_000)
				}
			}
			time.Sleep(time.Millisecond)
		}
		if len(zones) != zoneCount {
			t.Errorf("%d zones have a line of their own, want all %d", len(zones), zoneCount)
		}
		b := DefaultAnswers.Class[foldProven].identity
		if most := zoneCount + b.Burst + int(b.perSecond*(seconds+1)); own > most {
			t.Errorf("%d lines of one key, at most %d", own, most)
		}
		f.close()
		sum, lines := own, 0
		for _, e := range l.take() {
			if e.Action != ActionAnswered || e.Suppressed == nil || e.TSIG.Key != "busy." {
				t.Errorf("%+v", e)
				continue
			}
			lines++
			sum += int(e.Suppressed.Count)
		}
		if sum != total {
			t.Errorf("%d answers add up to %d", total, sum)
		}
		if most := (seconds/30 + 2) * (DefaultAnswers.perPrefix + 1); lines > most {
			t.Errorf("%d lines for what is counted, at most %d", lines, most)
		}
		t.Logf("%d answers in %d s: %d lines of their own, %d for the others", total, seconds, own, lines)
	})
}

// TestAnswersWithoutProof: over a connection an address is an identity, over UDP none is.
func TestAnswersWithoutProof(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, transport := range []policy.Transport{policy.TransportTCP, policy.TransportUDP} {
			f := newAnswerFolder(foldLimits{}, func(*Event) {})
			own := 0
			for i := range 10_000 {
				e := currentAnswer("example.org.", "")
				e.TSIG, e.Transport = policy.TSIGProof{Status: policy.TSIGAbsent}, transport
				e.Client = fmt.Sprintf("192.0.2.%d", i%100)
				if f.own(e) {
					own++
				} else {
					f.tally(e)
				}
			}
			want := 100 + 20*100 // first ones, and each one's budget
			if class := DefaultAnswers.Class[foldStream]; want > 100+class.Burst {
				want = 100 + class.Burst
			}
			if transport == policy.TransportUDP {
				want = 1
			}
			if own != want {
				t.Errorf("%s: %d lines, want %d", transport, own, want)
			}
			f.close()
		}
	})
}

// TestAnswerNotRecorded: what has no line is refused like anything else when nobody can
// record anything; what cannot be sent has an end.
func TestAnswerNotRecorded(t *testing.T) {
	audittest.NoLeak(t)
	s := &audittest.FaultyWriter{}
	a := recordTo(t, corefile.AuditRefuse, time.Second, map[string]Opener{"one": ToLines(s.Write)})
	for range 100 {
		e := currentAnswer("example.org.", "k.")
		if err := a.Answer(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		a.End(e)
	}
	if a.Answers.Counted() == 0 {
		t.Fatal("nothing is counted: this shows nothing")
	}
	lost := currentAnswer("other.example.org.", "k.")
	if err := a.Answer(t.Context(), lost); err != nil {
		t.Fatal(err)
	}
	lost.Complete, lost.Reason, lost.Rcode = false, string(EndClientGone), "NOERROR"
	a.End(lost)
	audittest.Eventually(t, func() bool { return audittest.Count(t, s.Take(), ActionEnd, nil) == 1 })
	s.Set(nil, func([]byte) error { return errors.New("no space left on device") })
	for range 10 { // the first one finds out
		if err := a.Answer(t.Context(), currentAnswer("example.net.", "k.")); err == nil {
			t.Error("allowed, and nobody has it")
		}
	}
	s.Set(nil, nil)
	audittest.Eventually(t, a.up)
	closeAuditor(t, a)
	audittest.ValidateEvents(t, s.Take()...)
	if n := audittest.Count(t, s.Take(), ActionEnd, nil); n != 1 {
		t.Errorf("%d ends, want one of what could not be sent", n)
	}
}
