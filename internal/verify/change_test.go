// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/verify"
	"github.com/xfrguard/xfrguard/internal/verify/verifytest"

	"github.com/miekg/dns"
	"pgregory.net/rapid"
)

// difference is what differs between two zones.
func difference(t testing.TB, old, now []dns.RR) *verify.Change {
	t.Helper()
	lines := func(records []dns.RR) map[string]bool {
		m := make(map[string]bool)
		for _, rr := range records {
			m[rr.String()] = true
		}
		return m
	}
	before, after := lines(old), lines(now)
	removed := change(old, func(rr dns.RR) bool { return after[rr.String()] })
	added := change(now, func(rr dns.RR) bool { return before[rr.String()] })
	return &verify.Change{Removed: rowOf(t, removed), Added: rowOf(t, added)}
}

// someName draws one of few names, some below others.
func someName(r *rapid.T) string {
	name := "example."
	for range rapid.IntRange(1, 3).Draw(r, "depth") {
		name = rapid.SampledFrom([]string{"a", "b", "c", "*"}).Draw(r, "label") + "." + name
	}
	return name
}

// edit draws a change of an unsigned zone.
func edit(t *testing.T, r *rapid.T, records []dns.RR) []dns.RR {
	name := someName(r)
	switch rapid.IntRange(0, 4).Draw(r, "edit") {
	case 0:
		return change(records, func(rr dns.RR) bool { return rr.Header().Name == name })
	case 1:
		return change(records, func(rr dns.RR) bool { return rr.Header().Name == name }, rr(t, name+" 3600 NS ns.other.test."))
	case 2:
		return change(records, func(rr dns.RR) bool { return rr.Header().Name == name && rr.Header().Rrtype == dns.TypeNS })
	case 3:
		if slices.ContainsFunc(records, only(name, dns.TypeNS)) {
			return records // beside a delegation it would be a fault
		}
		return change(records, nil, rr(t, name+` 3600 TXT "`+rapid.StringMatching("[a-z]{2}").Draw(r, "text")+`"`))
	}
	return change(records, nil, rr(t, fmt.Sprintf("%s 3600 A 192.0.2.%d", name, rapid.IntRange(1, 9).Draw(r, "address"))))
}

// damage draws a fault of a signed zone.
func damage(t *testing.T, r *rapid.T, s *verifytest.Signer, records []dns.RR) []dns.RR {
	if rapid.Bool().Draw(r, "signed") {
		return misled(t, r, s, records)
	}
	at := rapid.IntRange(1, len(records)-1).Draw(r, "at")
	switch rapid.IntRange(0, 3).Draw(r, "damage") {
	case 0:
		return slices.Delete(slices.Clone(records), at, at+1)
	case 1:
		return change(records, nil, rr(t, someName(r)+" 3600 AAAA 2001:db8::1"))
	case 2:
		name := someName(r)
		return change(records, nil, rr(t, name+" 3600 NSEC "+someName(r)+" A RRSIG NSEC"))
	}
	return mapped(records, func(rr dns.RR) bool { return rr == records[at] }, func(rr dns.RR) {
		switch rr := rr.(type) {
		case *dns.NSEC:
			rr.NextDomain = someName(r)
		case *dns.A:
			rr.A[len(rr.A)-1]++
		default:
			rr.Header().Name = someName(r)
		}
	})
}

// misled draws a fault of the chain that is signed as if it were right.
func misled(t *testing.T, r *rapid.T, s *verifytest.Signer, records []dns.RR) []dns.RR {
	var all []*dns.NSEC
	for _, rr := range records {
		if nsec, ok := rr.(*dns.NSEC); ok {
			all = append(all, nsec)
		}
	}
	old := rapid.SampledFrom(all).Draw(r, "nsec")
	out := change(records, func(rr dns.RR) bool { return rr == old || sigOf(dns.CanonicalName(old.Hdr.Name), dns.TypeNSEC)(rr) })
	now := dns.Copy(old).(*dns.NSEC)
	switch rapid.IntRange(0, 3).Draw(r, "misled") {
	case 0:
		return out
	case 1:
		now.TypeBitMap = append([]uint16{dns.TypeA, dns.TypeNS}, dns.TypeRRSIG, dns.TypeNSEC)
	case 2:
		now.NextDomain = rapid.SampledFrom(all).Draw(r, "next").Hdr.Name
	default:
		now.NextDomain = someName(r)
	}
	return append(out, now, s.Sign(t, []dns.RR{now}))
}

func unique(records []dns.RR) (out []dns.RR) {
	seen := make(map[string]bool)
	for _, rr := range records {
		if !seen[rr.String()] {
			seen[rr.String()] = true
			out = append(out, rr)
		}
	}
	return out
}

// TestChangesAsWhole: a zone that is judged by what changed gets the verdict that it gets
// when it is judged whole, through any row of changes and faults.
func TestChangesAsWhole(t *testing.T) {
	s := verifytest.New("example.")
	o := verify.Options{Dnssec: true, Now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	alone, faults := 0, 0
	rapid.Check(t, func(r *rapid.T) {
		plain := []dns.RR{rr(t, "example. 3600 SOA ns.other.test. a. 1 2 3 4 5"), rr(t, "example. 3600 NS ns.other.test.")}
		for range rapid.IntRange(0, 8).Draw(r, "names") {
			plain = unique(edit(t, r, plain))
		}
		signed := s.Zone(t, plain)
		_, state, err := verify.Judge(context.Background(), verify.Input{Zone: tableOf(t, signed)}, o)
		if err != nil {
			r.Fatal(err)
		}
		for range rapid.IntRange(1, 5).Draw(r, "versions") {
			for range rapid.IntRange(1, 3).Draw(r, "edits") {
				plain = unique(edit(t, r, plain))
			}
			next := s.Zone(t, plain)
			damaged := rapid.IntRange(0, 2).Draw(r, "damaged") == 0
			if damaged {
				next = unique(damage(t, r, s, next))
			}
			table := tableOf(t, next)
			whole, _, err := verify.Judge(context.Background(), verify.Input{Zone: table}, o)
			if err != nil {
				r.Fatal(err)
			}
			part, after, err := verify.Judge(context.Background(), verify.Input{Zone: table, Before: state, Change: difference(t, signed, next)}, o)
			if err != nil {
				r.Fatal(err)
			}
			if whole.Good() != part.Good() || !damaged && !whole.Good() || !whole.FirstEnd.Equal(part.FirstEnd) {
				r.Fatalf("damaged %v: whole %v%s\nby what changed (whole %v) %v%s", damaged, whole.FirstEnd, list(whole), part.Whole, part.FirstEnd, list(part))
			}
			if !part.Whole {
				alone++
			}
			if !part.Good() {
				faults++
			}
			signed, state = next, after
		}
	})
	if alone == 0 || faults == 0 {
		t.Errorf("%d were judged by what changed, %d were faulty", alone, faults)
	}
}

// TestKnownFaultStays: what was wrong before and did not change is still wrong, and what
// was good is not checked again.
func TestKnownFaultStays(t *testing.T) {
	z := readSigned(t, "testdata/signed/knot-13-nsec3.zone")
	o := verify.Options{Dnssec: true, Now: z.now}
	broken := change(z.records, nil, rr(t, "mail.example. 3600 A 192.0.2.66"))
	_, state, err := verify.Judge(context.Background(), verify.Input{Zone: tableOf(t, broken)}, o)
	if err != nil {
		t.Fatal(err)
	}
	none := difference(t, broken, broken)
	r, _, err := verify.Judge(context.Background(), verify.Input{Zone: tableOf(t, broken), Before: state, Change: none}, o)
	if err != nil || !names(r, verify.RRSIGBogus, "mail.example.", dns.TypeA) || r.Checked > 4 {
		t.Errorf("%v, checked %d:%s", err, r.Checked, list(r))
	}
	r, _, err = verify.Judge(context.Background(), verify.Input{Zone: tableOf(t, z.records), Before: state, Change: difference(t, broken, z.records)}, o)
	if err != nil || !r.Good() || r.Checked > 4 {
		t.Errorf("%v, checked %d:%s", err, r.Checked, list(r))
	}
	o.Full = true
	r, _, err = verify.Judge(context.Background(), verify.Input{Zone: tableOf(t, z.records), Before: state, Change: difference(t, broken, z.records)}, o)
	if err != nil || !r.Good() || r.Checked < 40 {
		t.Errorf("full: %v, checked %d:%s", err, r.Checked, list(r))
	}
}

// TestEndsWithTime: a zone that nobody touched is found when its signatures have ended.
func TestEndsWithTime(t *testing.T) {
	z := readSigned(t, "testdata/signed/bind-13-nsec.zone")
	table, none := tableOf(t, z.records), difference(t, nil, nil)
	_, state, err := verify.Judge(context.Background(), verify.Input{Zone: table}, verify.Options{Dnssec: true, Now: z.now})
	if err != nil {
		t.Fatal(err)
	}
	for _, later := range []time.Duration{time.Hour, 30 * 365 * 24 * time.Hour} {
		o := verify.Options{Dnssec: true, Now: z.now.Add(later)}
		r, _, err := verify.Judge(context.Background(), verify.Input{Zone: table, Before: state, Change: none}, o)
		if ended := later > 20*365*24*time.Hour; err != nil || names(r, verify.RRSIGExpired, "mail.example.", dns.TypeA) != ended {
			t.Errorf("after %s: %v%s", later, err, list(r))
		}
	}
}
