// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/policy"

	"github.com/miekg/dns"
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
		b := defaultAnswers.class[foldProven].identity
		if most := zoneCount + b.burst + int(b.perSecond*(seconds+1)); own > most {
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
		if most := (seconds/30 + 2) * (defaultAnswers.perPrefix + 1); lines > most {
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
			if class := defaultAnswers.class[foldStream]; want > 100+class.burst {
				want = 100 + class.burst
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

// TestAnswerIsOneLine: an answer of the SOA alone is one line that says all; beyond its
// budget it is counted, and answered all the same.
func TestAnswerIsOneLine(t *testing.T) {
	s := serve(t, guarded("allow as ns2 net 127.0.0.0/8 key a.example.net. rate 100000/1s burst 100000", ""), map[string]string{"db": zoneOrg})
	tcp := s.addr(t, "tcp", 0)
	const n = 300
	first := dns.Id()
	for i := range n {
		q := question(dns.TypeIXFR, withSerial(7))
		q.Id = first + uint16(i) // two with one ID in one second are the same message
		if m := ask1(t, "tcp", tcp, "", signed(t, q, keyA, dns.HmacSHA256, secretA)); len(m.Answer) != 1 {
			t.Fatal(m)
		}
	}
	if _, err := transferIn(t, tcp, question(dns.TypeAXFR), keyA, secretA); err != nil {
		t.Fatal(err)
	}
	s.when(t, "zone-transfer-end", "complete")
	lines, ends := 0, 0
	for _, e := range s.events(t, 1) {
		switch {
		case e["event.action"] == string(ActionEnd):
			ends++
		case e["coredns.xfr.served"] == string(ServedUpToDate):
			lines++
			if e["coredns.xfr.complete"] != true || e["event.outcome"] != "success" || e["coredns.xfr.serial.served"] != 7.0 {
				t.Errorf("on record as %v", e)
			}
		}
	}
	counted := int(latestInstance().sorted()[0].audit.answers.counted())
	if ends != 1 || lines+counted != n || lines < 21 || lines > 60 {
		t.Errorf("%d ends, %d lines and %d counted of %d answers", ends, lines, counted, n)
	}
}

// TestAnswerNotRecorded: what has no line is refused like anything else when nobody can
// record anything; what cannot be sent has an end.
func TestAnswerNotRecorded(t *testing.T) {
	noLeak(t)
	s := newFaultySink(t)
	a := recordTo(t, corefile.AuditRefuse, time.Second, map[string]sink{"one": s})
	for range 100 {
		e := currentAnswer("example.org.", "k.")
		if err := a.Answer(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		a.End(e)
	}
	if a.answers.counted() == 0 {
		t.Fatal("nothing is counted: this shows nothing")
	}
	lost := currentAnswer("other.example.org.", "k.")
	if err := a.Answer(t.Context(), lost); err != nil {
		t.Fatal(err)
	}
	lost.Complete, lost.Reason, lost.Rcode = false, string(EndClientGone), "NOERROR"
	a.End(lost)
	s.set(nil, func([]byte) error { return errors.New("no space left on device") })
	for range 10 { // the first one finds out
		if err := a.Answer(t.Context(), currentAnswer("example.net.", "k.")); err == nil {
			t.Error("allowed, and nobody has it")
		}
	}
	s.set(nil, nil)
	eventually(t, a.up)
	closeAuditor(t, a)
	validateEvents(t, s.take()...)
	if n := count(t, s.take(), ActionEnd, nil); n != 1 {
		t.Errorf("%d ends, want one of what could not be sent", n)
	}
}
