// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/interop/peer"
	"github.com/xfrguard/xfrguard/interop/rrset"
	"github.com/xfrguard/xfrguard/interop/zonegen"
)

// ixfrClients are the programs that a person asks for differences with.
var ixfrClients = []string{"dig", "kdig"}

// question is one question of a program.
type question struct {
	client string   // "raw": peer.Incremental, which needs a key
	key    peer.Key // without a name: unsigned
	from   string   // source address; "": 127.0.0.1
	serial uint32   // that it claims to have
	whole  bool     // AXFR
	udp    bool
}

func (q question) args(port int) []string {
	args := []string{"@127.0.0.1", "-p", strconv.Itoa(port)}
	if q.client == "kdig" {
		args = append(args, "+noidn")
	}
	if q.key.Name != "" {
		args = append(args, "-y", q.key.Dig())
	}
	if q.from != "" {
		args = append(args, "-b", q.from)
	}
	if q.udp {
		args = append(args, "+notcp")
	}
	if q.whole {
		return append(args, ixfrZone, "AXFR")
	}
	return append(args, "-t", fmt.Sprintf("IXFR=%d", q.serial), ixfrZone)
}

// answer is what the program prints, read again, done to what it has.
func (q question) answer(t *testing.T, port int, have rrset.Set) (rrset.Set, rrset.Answer) {
	t.Helper()
	var rrs []dns.RR
	var err error
	out := ""
	if q.client == "raw" {
		rrs, err = peer.Incremental(t.Context(), peer.Loopback(port), cmp.Or(q.from, "127.0.0.1"), ixfrZone, q.key, q.serial)
	} else {
		out = runClient(t, q.client, q.args(port)...)
		rrs, err = rrset.ParseAll(strings.NewReader(tsigLine.ReplaceAllString(out, "")), ".", q.client)
	}
	if err != nil {
		t.Fatalf("%+v: %v\n%.2000s", q, err, out)
	}
	set, answer, err := rrset.Apply(have, rrs)
	if err != nil {
		t.Fatalf("%+v: %v\n%.2000s", q, err, out)
	}
	return set, answer
}

// expect asks, checks the answer, and that it was put on record as served. Nobody else
// may ask meanwhile.
func (q question) expect(t *testing.T, p *incremental, have, want rrset.Set, answer rrset.Answer, served string) {
	t.Helper()
	before := p.count(t)
	got, kind := q.answer(t, p.port, have)
	if kind != answer {
		t.Errorf("%+v: %s, want %s", q, kind, answer)
	} else if diff := rrset.Diff(want, got); kind != rrset.SOAOnly && diff != "" {
		t.Errorf("%+v: %s", q, diff)
	}
	e := p.endAfter(t, before)
	future := served == "up-to-date" && !q.whole && q.serial != e.Serial
	if e.Served != served || !e.Complete || e.Future != future || !q.whole && e.Asked != q.serial {
		t.Errorf("%+v on record, want %s, future %v: %s", q, served, future, e.Line)
	}
}

// count is how many transfers have ended.
func (p *incremental) count(t *testing.T) (n int) {
	t.Helper()
	for _, e := range p.events(t) {
		if e.Ended() {
			n++
		}
	}
	return n
}

// endAfter waits for the end after the first n.
func (p *incremental) endAfter(t *testing.T, n int) (end peer.Event) {
	t.Helper()
	eventually(t, "the end to be on record", func() error {
		left := n
		for _, e := range p.events(t) {
			if !e.Ended() {
				continue
			}
			if left--; left < 0 {
				end = e
				return nil
			}
		}
		return fmt.Errorf("%d to go", left+1)
	})
	return end
}

// dig and kdig get from any serial that they had, what makes the zone of it; the SOA
// alone when nothing is newer or UDP is all they use; and the whole zone when the serial
// is not known, or was never given to them.
func TestIXFRClients(t *testing.T) {
	t.Parallel()
	for _, name := range ixfrClients {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clientHistory(t, name)
		})
	}
}

func clientHistory(t *testing.T, name string) {
	const edits = 16
	first := ^uint32(0) - edits/2
	zone := zonegen.NewChurn(ixfrZone, first, ixfrSeed(t))
	p := newIncremental(t, nil, "", zone.String())
	p.start(t)
	ours, stranger := ixfrKeys["named"], ixfrKeys["knotd"]

	zones := []rrset.Set{p.publish(t, zone.String(), first)}
	question{client: name, key: ours, whole: true}.expect(t, p, nil, zones[0], rrset.Whole, "axfr")
	for i := range uint32(edits) {
		zone.Edit(first + i + 1)
		zones = append(zones, p.publish(t, zone.String(), first+i+1))
		question{client: name, key: ours, serial: first + i}.expect(t, p, zones[i], zones[i+1], rrset.Difference, "ixfr")
	}
	last, now := first+edits, zones[edits]
	ask := func(serial uint32) question { return question{client: name, key: ours, serial: serial} }
	for i := range uint32(edits) {
		if i%5 == 0 {
			ask(first+i).expect(t, p, zones[i], now, rrset.Difference, "ixfr")
		}
	}
	ask(last).expect(t, p, now, now, rrset.SOAOnly, "up-to-date")
	ask(last+1).expect(t, p, now, now, rrset.SOAOnly, "up-to-date")
	ask(last+1<<31-1).expect(t, p, now, now, rrset.SOAOnly, "up-to-date") // RFC 1982 §3.2: as far ahead as can be
	for _, unknown := range []uint32{first - 1, last - 1<<31 + 1} {
		ask(unknown).expect(t, p, zones[0], now, rrset.Whole, "axfr-fallback")
	}
	question{client: name, key: ours, serial: first, udp: true}.expect(t, p, zones[0], now, rrset.SOAOnly, "use-tcp")
	question{client: name, key: ours, serial: last, udp: true}.expect(t, p, now, now, rrset.SOAOnly, "up-to-date")

	ask = func(serial uint32) question { return question{client: name, key: stranger, serial: serial} }
	ask(last-1).expect(t, p, zones[edits-1], now, rrset.Whole, "axfr-fallback")
	zone.Edit(last + 1)
	next := p.publish(t, zone.String(), last+1)
	ask(last-1).expect(t, p, zones[edits-1], next, rrset.Whole, "axfr-fallback")
	ask(last).expect(t, p, now, next, rrset.Difference, "ixfr")
}
