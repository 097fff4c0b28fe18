// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xfrguard/xfrguard/internal/policy"

	"pgregory.net/rapid"
)

// foldLog keeps what a folder writes.
type foldLog struct {
	mu    sync.Mutex
	lines []*Event
	bytes int
}

func (l *foldLog) emit(e *Event) {
	Stamp(e)
	event := e.Encode()
	line := *e
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, &line)
	l.bytes += len(event)
}

// sum returns what the lines add up to: one for each denial, the count for each summary.
func (l *foldLog) sum() (total, lines int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.lines {
		if e.Suppressed != nil {
			total += e.Suppressed.Count
		} else {
			total++
		}
	}
	return total, int64(len(l.lines))
}

func (l *foldLog) take() []*Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := l.lines
	l.lines = nil
	return lines
}

func refusal(client string, reason policy.Reason, transport policy.Transport) *Event {
	return &Event{
		Action: ActionDecision, Client: client, Reason: string(reason), Transport: transport,
		Zone: "example.org.", Block: "dns://:53", Enforced: true, TSIG: policy.TSIGProof{Status: policy.TSIGAbsent},
	}
}

// onlyFirst are the default limits, with one line of its own for a kind.
func onlyFirst() foldLimits {
	l := DefaultFold
	l.tries = 0
	return l
}

// The first of a kind at once, then one line a window as long as it goes on, then nothing.
func TestFoldWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &foldLog{}
		f := newFolder(onlyFirst(), l.emit)
		w := DefaultFold.window
		start := time.Now()
		f.add(refusal("198.51.100.1", policy.ReasonClientNotAllowed, policy.TransportTCP))
		if got := l.take(); len(got) != 1 || got[0].Suppressed != nil {
			t.Fatalf("the first made %v", got)
		}
		for i := range 9 {
			time.Sleep(time.Second)
			f.add(refusal(fmt.Sprintf("198.51.100.%d", i%3), policy.ReasonClientNotAllowed, policy.TransportTLS))
		}
		if got := l.take(); len(got) != 0 {
			t.Fatalf("the window wrote %v", got)
		}
		time.Sleep(w) // nothing more comes, and yet:
		got := l.take()
		if len(got) != 1 {
			t.Fatalf("%d lines at the window's end", len(got))
		}
		s := got[0].Suppressed
		if s.Count != 9 || !s.Since.Equal(start.Add(time.Second)) || s.Prefix != "198.51.100.0/24" || s.ClientsTotal != 3 ||
			!slices.Equal(s.Clients, []string{"198.51.100.0", "198.51.100.1", "198.51.100.2"}) || s.Class != "stream" ||
			!got[0].Time.Equal(start.Add(w)) || got[0].Reason != string(policy.ReasonClientNotAllowed) || got[0].Zone != "example.org." {
			t.Errorf("%+v %+v", got[0], s)
		}
		f.add(refusal("198.51.100.1", policy.ReasonClientNotAllowed, policy.TransportTCP)) // still the same flood
		time.Sleep(2 * w)
		if got := l.take(); len(got) != 1 || got[0].Suppressed.Count != 1 {
			t.Errorf("the second window made %v", got)
		}
		time.Sleep(2 * w) // it is over
		f.add(refusal("198.51.100.1", policy.ReasonClientNotAllowed, policy.TransportTCP))
		if got := l.take(); len(got) != 1 || got[0].Suppressed != nil {
			t.Errorf("a new flood began with %v", got)
		}
		time.Sleep(2 * w)
		f.Mu.Lock()
		if len(f.windows)+len(f.sources)+f.order.Len() != 0 || f.timer != nil {
			t.Errorf("left behind: %v %v", f.windows, f.sources)
		}
		f.Mu.Unlock()
		f.close()
	})
}

// What must not share a window does not.
func TestFoldKinds(t *testing.T) {
	base := refusal("198.51.100.1", policy.ReasonClientNotAllowed, policy.TransportTCP)
	other := func(change func(*Event)) *Event { e := *base; change(&e); return &e }
	for name, c := range map[string]struct {
		e    *Event
		same bool
	}{
		"another address of the /24":  {other(func(e *Event) { e.Client = "198.51.100.200" }), true},
		"the address mapped into v6":  {other(func(e *Event) { e.Client = "::ffff:198.51.100.9" }), true},
		"another query name":          {other(func(e *Event) { e.QueryName = "made.up." }), true},
		"another claimed key":         {other(func(e *Event) { e.TSIG = policy.TSIGProof{Status: policy.TSIGBadKey, Key: "made.up."} }), true},
		"TLS in place of TCP":         {other(func(e *Event) { e.Transport = policy.TransportTLS }), true},
		"another SNI and certificate": {other(func(e *Event) { e.TLS = TLSFacts{Established: true, ServerName: "x", SPKI: "aa"} }), true},
		"another /24":                 {other(func(e *Event) { e.Client = "198.51.101.1" }), false},
		"UDP, which can be forged":    {other(func(e *Event) { e.Transport = policy.TransportUDP }), false},
		"another reason":              {other(func(e *Event) { e.Reason = string(policy.ReasonNotAZone) }), false},
		"another zone":                {other(func(e *Event) { e.Zone = "-" }), false},
		"another block":               {other(func(e *Event) { e.Block = "dns://:5353" }), false},
		"observed only":               {other(func(e *Event) { e.Enforced = false }), false},
		"a proven key":                {other(func(e *Event) { e.TSIG = policy.TSIGProof{Status: policy.TSIGValid, Key: "k."} }), false},
		"a proven key over UDP": {other(func(e *Event) {
			e.TSIG, e.Transport = policy.TSIGProof{Status: policy.TSIGValid, Key: "k."}, policy.TransportUDP
		}), false},
		"a verified certificate": {other(func(e *Event) { e.TLS = TLSFacts{Verified: true, SPKI: "aa"} }), false},
	} {
		l := &foldLog{}
		f := newFolder(onlyFirst(), l.emit)
		f.add(base)
		f.add(c.e)
		if _, lines := l.sum(); (lines == 1) != c.same {
			t.Errorf("%s: %d lines", name, lines)
		}
		f.close()
		if total, _ := l.sum(); total != 2 {
			t.Errorf("%s: adds up to %d", name, total)
		}
	}
}

// provenRefusal is one of a request whose signature proves its key.
func provenRefusal(key string, transport policy.Transport) *Event {
	e := refusal("192.0.2.1", policy.ReasonTSIGKeyNotAllowed, transport)
	e.TSIG = policy.TSIGProof{Status: policy.TSIGValid, Key: key}
	return e
}

// A proven identity is never folded while its budget lasts, and alone when it does not.
func TestFoldProven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &foldLog{}
		f := newFolder(foldLimits{}, l.emit)
		burst := DefaultFold.Class[foldProven].identity.Burst + 1 // and the first one
		for range burst {
			f.add(provenRefusal("a.", policy.TransportTCP))
		}
		if total, lines := l.sum(); int(lines) != burst || total != lines {
			t.Fatalf("%d lines for %d denials", lines, burst)
		}
		l.take()
		for range 1000 {
			f.add(provenRefusal("a.", policy.TransportTCP))
			f.add(provenRefusal("b.", policy.TransportTCP))
		}
		f.close()
		summaries := 0
		for _, e := range l.take() {
			if e.Suppressed == nil {
				if e.TSIG.Key != "b." {
					t.Errorf("a line of its own: %+v", e)
				}
				continue
			}
			summaries++
			if e.Suppressed.Class != "proven" || e.TSIG.Status != policy.TSIGValid || !slices.Equal(e.Suppressed.Keys, []string{e.TSIG.Key}) {
				t.Errorf("%+v %+v", e, e.Suppressed)
			}
		}
		if summaries != 2 {
			t.Errorf("%d summaries of two identities", summaries)
		}
	})
}

// TestFoldOneIdentityHidesNoOther: a key that is denied all the time, over many zones, takes
// no line from any other key or certificate, and no other identity's name from the summaries.
func TestFoldOneIdentityHidesNoOther(t *testing.T) {
	for name, transport := range map[string]policy.Transport{"tcp": policy.TransportTCP, "tls": policy.TransportTLS, "udp": policy.TransportUDP} {
		synctest.Test(t, func(t *testing.T) {
			l := &foldLog{}
			f := newFolder(foldLimits{}, l.emit)
			var lines int64
			flood := func(d time.Duration) {
				for i := range int(d / time.Millisecond) {
					e := provenRefusal("a.", transport)
					e.Zone = fmt.Sprintf("z%d.", i%200)
					f.add(e)
					time.Sleep(time.Millisecond)
				}
			}
			for n := range 20 {
				flood(5 * time.Second)
				_, now := l.sum()
				lines = max(lines, now)
				l.take()
				quiet := provenRefusal(fmt.Sprintf("b%d.", n), transport)
				if transport == policy.TransportTLS {
					quiet.TSIG, quiet.TLS = policy.TSIGProof{Status: policy.TSIGAbsent}, TLSFacts{Established: true, Verified: true, SPKI: fmt.Sprint(n)}
				}
				f.add(quiet)
				if got := l.take(); len(got) != 1 || got[0].TSIG.Key != quiet.TSIG.Key || got[0].TLS.SPKI != quiet.TLS.SPKI {
					t.Fatalf("%s: the only denial of identity %d has %d lines of its own", name, n, len(got))
				}
			}
			f.close()
			for _, e := range l.take() {
				if e.Suppressed != nil && e.TSIG.Key != "a." {
					t.Errorf("%s: a summary without the key: %+v %+v", name, e, e.Suppressed)
				}
			}
			class := DefaultFold.Class[foldProven]
			if transport == policy.TransportUDP {
				class = DefaultFold.Class[foldSignedUDP]
			}
			if most := int64(class.identity.Burst) + int64(35*class.identity.perSecond) + 40; lines > most {
				t.Errorf("%s: %d lines of one key within 5 s, at most %d", name, lines, most)
			}
		})
	}
}

// TestFoldManyIdentities: any number of identities, each with a few denials, stay within
// the class's budget and the memory.
func TestFoldManyIdentities(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &foldLog{}
		f := newFolder(foldLimits{}, l.emit)
		const identities, each = 20_000, 3
		for range each {
			for i := range identities {
				f.add(provenRefusal(fmt.Sprintf("k%d.", i), policy.TransportTCP))
			}
		}
		class := DefaultFold.Class[foldProven]
		if _, lines := l.sum(); int(lines) > class.Burst+class.first.Burst {
			t.Errorf("%d lines at once", lines)
		}
		if n := f.proven.budgets.Len() + f.proven.firsts.Len() + len(f.windows); n > 2*maxFoldIdentities+2*class.windows {
			t.Errorf("%d entries in memory", n)
		}
		f.close()
		if total, _ := l.sum(); total != identities*each {
			t.Errorf("%d denials add up to %d", identities*each, total)
		}
	})
}

// Whoever saw one signed message can send it again: over UDP from any address, over TCP
// until its signature was used. Neither takes anything from a proven identity.
func TestFoldReplayHidesNoProven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &foldLog{}
		f := newFolder(foldLimits{}, l.emit)
		proven := func(client string, reason policy.Reason, transport policy.Transport) *Event {
			e := refusal(client, reason, transport)
			e.TSIG = policy.TSIGProof{Status: policy.TSIGValid, Key: "k."}
			return e
		}
		for i := range 50_000 {
			from := fmt.Sprintf("%d.%d.%d.1", 1+i>>16, i>>8&255, i&255)
			f.add(proven(from, policy.ReasonTransportUnsupported, policy.TransportUDP))
			f.add(proven(from, policy.ReasonTSIGReplay, policy.TransportUDP))
			f.add(proven("198.51.100.1", policy.ReasonTSIGReplay, policy.TransportTCP))
		}
		if _, lines := l.sum(); lines > 1000 {
			t.Errorf("replays made %d lines", lines)
		}
		l.take()
		f.add(proven("192.0.2.1", policy.ReasonTSIGKeyNotAllowed, policy.TransportTCP))
		if got := l.take(); len(got) != 1 || got[0].Client != "192.0.2.1" {
			t.Errorf("the attempt with a proven key made %v", got)
		}
		f.add(refusal("198.51.100.1", policy.ReasonClientNotAllowed, policy.TransportTCP))
		if got := l.take(); len(got) != 1 {
			t.Errorf("the first attempt over TCP made %v", got)
		}
		f.close()
	})
}

// What was signed once and came over UDP keeps its key in the summary, and shares it
// with no other key; a replay proves no key.
func TestFoldSignedUDP(t *testing.T) {
	l := &foldLog{}
	f := newFolder(foldLimits{}, l.emit)
	for i := range 300 {
		e := refusal("192.0.2.1", policy.ReasonTransportUnsupported, policy.TransportUDP)
		e.TSIG = policy.TSIGProof{Status: policy.TSIGValid, Key: fmt.Sprintf("k%d.", i%2)}
		f.add(e)
		e = refusal("192.0.2.1", policy.ReasonTSIGReplay, policy.TransportTCP)
		e.TSIG = policy.TSIGProof{Status: policy.TSIGValid, Key: fmt.Sprintf("k%d.", i%2)}
		f.add(e)
	}
	f.close()
	classes := map[string]int{}
	for _, e := range l.take() {
		if e.Suppressed == nil {
			continue
		}
		classes[e.Suppressed.Class]++
		if key := e.TSIG.Key; (key != "") != (e.Suppressed.Class == "udp-signed") {
			t.Errorf("%+v of class %s names key %q", e.Suppressed, e.Suppressed.Class, key)
		}
	}
	if classes["udp-signed"] != 2 || classes["stream"] != 1 || len(classes) != 2 {
		t.Errorf("summaries: %v", classes)
	}
}

// Whatever comes in whatever order, the lines and counts add up to all of it, and
// the lines stay within the budgets.
func TestFoldAddsUpProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		steps := rapid.IntRange(1, 2000).Draw(rt, "steps")
		pause := time.Duration(rapid.IntRange(0, 100).Draw(rt, "pause ms")) * time.Millisecond
		limits := foldLimits{
			window: time.Second, perPrefix: rapid.IntRange(1, 4).Draw(rt, "per prefix"), tries: rapid.IntRange(0, 6).Draw(rt, "tries"),
		}
		for c := range limits.Class {
			limits.Class[c] = foldBudget{
				foldRate: foldRate{3, rapid.IntRange(0, 5).Draw(rt, "burst")}, windows: rapid.IntRange(0, 6).Draw(rt, "windows"),
				identity: foldRate{1, rapid.IntRange(0, 3).Draw(rt, "of an identity")}, first: foldRate{1, rapid.IntRange(0, 3).Draw(rt, "first")},
			}
		}
		limits.first = foldFirst{within: time.Second, remember: rapid.IntRange(1, 4).Draw(rt, "remembered")}
		synctest.Test(t, func(*testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			l := &foldLog{}
			f := newFolder(limits, l.emit)
			start := time.Now()
			for range steps {
				e := refusal(fmt.Sprintf("198.51.%d.%d", r.IntN(8), r.IntN(9)), policy.Reasons[1+r.IntN(5)], []policy.Transport{policy.TransportUDP, policy.TransportTCP}[r.IntN(2)])
				if r.IntN(5) == 0 {
					e.TSIG = policy.TSIGProof{Status: policy.TSIGValid, Key: fmt.Sprintf("k%d.", r.IntN(3))}
				}
				f.add(e)
				time.Sleep(pause * time.Duration(r.IntN(3)))
			}
			f.close()
			took := time.Since(start)
			total, lines := l.sum()
			if total != int64(steps) {
				rt.Fatalf("%d denials add up to %d", steps, total)
			}
			most := 0.0
			for _, b := range limits.Class {
				most += float64(b.Burst+b.first.Burst) + (b.perSecond+b.first.perSecond)*took.Seconds() + float64(2+b.windows/4)*(took.Seconds()+2)
			}
			if float64(lines) > most {
				rt.Fatalf("%d lines in %s, at most %f", lines, took, most)
			}
		})
	})
}
