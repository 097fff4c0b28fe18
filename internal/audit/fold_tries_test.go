// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit/audittest"
	"github.com/xfrguard/xfrguard/internal/policy"
)

// TestFoldFirstTries: who sets up a secondary finds the first five tries on record, each
// of a line of its own, also when it is the same one each time; so does the next client of
// the network, until they have the network's share. The rest is counted.
func TestFoldFirstTries(t *testing.T) {
	for _, transport := range []policy.Transport{policy.TransportTCP, policy.TransportUDP} {
		synctest.Test(t, func(t *testing.T) {
			l := &foldLog{}
			f := newFolder(foldLimits{}, l.emit)
			tries := DefaultFold.tries
			for client := range 5 {
				for n := range 3 * tries {
					f.add(refusal(fmt.Sprintf("198.51.100.%d", client), policy.ReasonTSIGBadKey, transport))
					own := min(tries, DefaultFold.perPrefix-client*tries)
					want := 0
					if n < own {
						want = 1
					}
					if got := ownLines(l.take()); len(got) != want {
						t.Errorf("%s: try %d of client %d made %d lines", transport, n+1, client, len(got))
					}
					time.Sleep(time.Second)
				}
			}
			f.add(refusal("203.0.113.1", policy.ReasonTSIGBadKey, transport))
			if got := ownLines(l.take()); len(got) != 1 {
				t.Errorf("%s: the first try of another network made %d lines", transport, len(got))
			}
			time.Sleep(3 * DefaultFold.window) // quiet: what comes then is looked for again
			l.take()
			f.add(refusal("198.51.100.1", policy.ReasonTSIGBadKey, transport))
			f.add(refusal("198.51.100.1", policy.ReasonTSIGBadKey, transport))
			if got := l.take(); len(got) != 2 {
				t.Errorf("%s: after a pause two tries made %d lines", transport, len(got))
			}
			f.close()
		})
	}
}

// ownLines are the lines that stand for one denial.
func ownLines(all []*Event) []*Event {
	return slices.DeleteFunc(all, func(e *Event) bool { return e.Suppressed != nil })
}

// TestFoldTriesTakeNoFirstLine: clients that go on trying leave half of the budget to the
// first lines of others.
func TestFoldTriesTakeNoFirstLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &foldLog{}
		f := newFolder(foldLimits{}, l.emit)
		burst := DefaultFold.Class[foldStream].Burst
		for i := range burst { // more networks than the budget has lines for all their tries
			for range DefaultFold.tries {
				f.add(refusal(fmt.Sprintf("10.0.%d.1", i/4), policy.ReasonClientNotAllowed, policy.TransportTCP))
			}
		}
		clients := map[string]bool{}
		for _, e := range l.take() {
			clients[e.Client] = true
		}
		if len(clients) != burst/4 {
			t.Errorf("of %d networks %d have their first try on record", burst/4, len(clients))
		}
		for i := range burst / 4 {
			f.add(refusal(fmt.Sprintf("10.1.%d.1", i), policy.ReasonClientNotAllowed, policy.TransportTCP))
		}
		if got := len(l.take()); got != burst/4 {
			t.Errorf("of %d more networks %d have their first try on record", burst/4, got)
		}
		f.close()
	})
}

// TestFoldDayOfStrangers: who is refused without a pause for a whole day, from ever new
// networks, with a replay and a broken secondary besides and in lines as long as they get,
// writes less than 100 MB, and the lines and counts add up to all of it.
func TestFoldDayOfStrangers(t *testing.T) {
	label := strings.Repeat(`\001`, 60)
	name := strings.Join([]string{label, label, label, label}, ".") + "."
	long := func(e *Event) *Event {
		e.QueryName, e.QueryType, e.QueryClass, e.Opcode = name, "AXFR", "IN", "NOTIFY"
		e.ClientPort, e.Server, e.ServerPort, e.QueryID, e.Rcode = 65535, "2001:db8:1111:2222:3333:4444:5555:6666", 53, 65535, "REFUSED"
		e.Policy, e.Claimed = "sha256:"+strings.Repeat("ab", 32), "2001:db8:1111:2222:3333:4444:5555:6666"
		if e.TSIG.Key == "" {
			e.TSIG = policy.TSIGProof{Status: policy.TSIGBadKey, Key: name, Algorithm: "hmac-sha512."}
		}
		return e
	}
	plain := func(e *Event) *Event {
		e.QueryName, e.QueryType, e.QueryClass, e.Rcode = "example.org.", "AXFR", "IN", "REFUSED"
		e.ClientPort, e.Server, e.ServerPort, e.QueryID = 1024, "192.0.2.1", 53, 4711
		e.Policy, e.Near = "sha256:"+strings.Repeat("ab", 32), "ns2"
		return e
	}
	for kind, dress := range map[string]func(*Event) *Event{"plain": plain, "long": long} {
		synctest.Test(t, func(t *testing.T) {
			l := &foldLog{}
			f := newFolder(foldLimits{}, l.emit)
			const step = 500 * time.Millisecond
			added := int64(0)
			add := func(e *Event) {
				f.add(dress(e))
				added++
			}
			for i := range int(24 * time.Hour / step) {
				from := fmt.Sprintf("2001:%x:%x::%x", i>>16, i&0xffff, i)
				reason := policy.Reasons[2+i%8]
				add(refusal(from, reason, policy.TransportUDP))
				add(refusal(from, reason, policy.TransportTCP))
				e := refusal(from, reason, policy.TransportUDP) // whoever saw one packet sends it again
				e.TSIG = policy.TSIGProof{Status: policy.TSIGValid, Key: "seen."}
				add(e)
				add(provenRefusal("broken.", policy.TransportTCP)) // a secondary that asks for what is not its
				time.Sleep(step)
			}
			f.close()
			total, lines := l.sum()
			if total != added {
				t.Errorf("%s: %d denials add up to %d", kind, added, total)
			}
			bytes := int64(l.bytes) + lines*sealed
			if bytes > 100_000_000 {
				t.Errorf("%s: %d denials of a day made %d lines of %d bytes", kind, added, lines, bytes)
			}
			t.Logf("%s: %d denials, %d lines, %.1f MB", kind, added, lines, float64(bytes)/1e6)
		})
	}
	if got := len(audittest.Seal(t, []byte(`{"n":1}`))[0]) - len(`{"n":1}`); got > sealed {
		t.Errorf("the seal of a line has %d bytes", got)
	}
}

// sealed is how much longer the seal makes a line.
const sealed = 300
