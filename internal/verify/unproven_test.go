// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/verify"
	"github.com/xfrguard/xfrguard/internal/verify/verifytest"

	"github.com/miekg/dns"
)

// hashedZone signs the first records, with a chain of NSEC3 records for their names and for
// the delegations among the others, which stay as they are.
func hashedZone(t *testing.T, s *verifytest.Signer, own, others []dns.RR) []dns.RR {
	t.Helper()
	apex := own[0].Header().Name
	own = append(slices.Clone(own), s.Key, rr(t, apex+" 3600 NSEC3PARAM 1 0 0 -"))
	types := make(map[string][]uint16)
	sets := make(map[string][]dns.RR)
	for _, rr := range own {
		h := rr.Header()
		key := h.Name + " " + dns.Type(h.Rrtype).String()
		if sets[key] == nil {
			types[h.Name] = append(types[h.Name], h.Rrtype)
		}
		sets[key] = append(sets[key], rr)
	}
	for _, name := range slices.Collect(maps.Keys(types)) {
		types[name] = append(types[name], dns.TypeRRSIG)
		for above := name; above != apex; _, above, _ = strings.Cut(above, ".") {
			types[above] = append([]uint16(nil), types[above]...) // also of a name that has nothing
		}
	}
	for _, rr := range others {
		if rr.Header().Rrtype == dns.TypeNS {
			types[rr.Header().Name] = []uint16{dns.TypeNS}
		}
	}
	var chain []*dns.NSEC3
	for name, has := range types {
		slices.Sort(has)
		chain = append(chain, &dns.NSEC3{
			Hdr:  dns.RR_Header{Name: strings.ToLower(dns.HashName(name, dns.SHA1, 0, "")) + "." + apex, Rrtype: dns.TypeNSEC3, Class: dns.ClassINET, Ttl: 3600},
			Hash: dns.SHA1, HashLength: 20, TypeBitMap: has,
		})
	}
	slices.SortFunc(chain, func(a, b *dns.NSEC3) int { return cmp.Compare(a.Hdr.Name, b.Hdr.Name) })
	out := append(own, others...)
	for _, set := range sets {
		out = append(out, s.Sign(t, set))
	}
	for i, n := range chain {
		n.NextDomain, _, _ = strings.Cut(chain[(i+1)%len(chain)].Hdr.Name, ".")
		out = append(out, n, s.Sign(t, []dns.RR{n}))
	}
	return out
}

// forged is a signature as the signer makes them that does not fit its set.
func forged(t *testing.T, s *verifytest.Signer, set dns.RR) dns.RR {
	t.Helper()
	other := dns.Copy(set)
	other.(*dns.A).A[3]++
	return s.Sign(t, []dns.RR{other})
}

// TestUnprovenSignatures: a signature that nobody had to look at is checked when a set comes
// to stand on it, although neither it nor the set has changed: that of a name that was below
// a delegation, and one beside a good one that has ended since.
func TestUnprovenSignatures(t *testing.T) {
	s, short := verifytest.New("example."), verifytest.New("example.")
	short.To = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	o := verify.Options{Dnssec: true, Now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	base := []dns.RR{rr(t, "example. 3600 SOA ns.other.test. a. 1 2 3 4 5"), rr(t, "example. 3600 NS ns.other.test.")}
	host, at := rr(t, "host.sub.example. 3600 A 192.0.2.1"), rr(t, "sub.example. 3600 A 192.0.2.1")
	cut := rr(t, "sub.example. 3600 NS ns.other.test.")
	www := rr(t, "www.example. 3600 A 192.0.2.1")
	isGood := func(r dns.RR) func(dns.RR) bool {
		good := s.Sign(t, []dns.RR{r})
		return func(other dns.RR) bool { return other == good }
	}
	beside := change(hashedZone(t, s, append(slices.Clone(base), www), nil), isGood(www), short.Sign(t, []dns.RR{www}), forged(t, s, www))
	for name, c := range map[string]struct {
		old, now []dns.RR
		later    time.Duration
		owner    string
	}{
		"below a delegation": {
			hashedZone(t, s, base, []dns.RR{cut, host, forged(t, s, host)}),
			change(hashedZone(t, s, append(slices.Clone(base), host), nil), isGood(host), forged(t, s, host)), 0, "host.sub.example.",
		},
		"at a delegation": {
			hashedZone(t, s, base, []dns.RR{cut, at, forged(t, s, at)}),
			change(hashedZone(t, s, append(slices.Clone(base), at), nil), isGood(at), forged(t, s, at)), 0, "sub.example.",
		},
		"beside a good one": {beside, beside, 2 * 365 * 24 * time.Hour, "www.example."},
	} {
		t.Run(name, func(t *testing.T) {
			before, state, err := verify.Judge(context.Background(), verify.Input{Zone: tableOf(t, c.old)}, o)
			if err != nil || !before.Good() {
				t.Fatalf("before: %v%s", err, list(before))
			}
			o := o
			o.Now = o.Now.Add(c.later)
			r, _, err := verify.Judge(context.Background(), verify.Input{Zone: tableOf(t, c.now), Before: state, Change: difference(t, c.old, c.now)}, o)
			if err != nil || !names(r, verify.RRSIGBogus, c.owner, dns.TypeA) {
				t.Errorf("by what changed: %v%s", err, list(r))
			}
			if r := judge(t, c.now, o); !names(r, verify.RRSIGBogus, c.owner, dns.TypeA) {
				t.Errorf("whole:%s", list(r))
			}
		})
	}
}

// TestApexDNAME: a DNAME record at the apex hides no NSEC3 record of the zone.
func TestApexDNAME(t *testing.T) {
	s := verifytest.New("example.")
	zone := hashedZone(t, s, []dns.RR{
		rr(t, "example. 3600 SOA ns.other.test. a. 1 2 3 4 5"), rr(t, "example. 3600 NS ns.other.test."), rr(t, "example. 3600 DNAME other.test."),
	}, nil)
	o := verify.Options{Dnssec: true, Now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	if r := judge(t, zone, o); !r.Good() {
		t.Errorf("a good one:%s", list(r))
	}
	gap := change(zone, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeNSEC3 })
	if r := judge(t, gap, o); !names(r, verify.NSECBroken, "example.", dns.TypeNSEC3) {
		t.Errorf("without its NSEC3 record:%s", list(r))
	}
}

// TestNSEC3PARAMFlags: a NSEC3PARAM record with flags counts for nothing (RFC 5155 §4.1.2),
// so a zone with no other has no chain.
func TestNSEC3PARAMFlags(t *testing.T) {
	s := verifytest.New("example.")
	o := verify.Options{Dnssec: true, Now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	flagged := rr(t, "example. 3600 NSEC3PARAM 1 1 0 -")
	param := rr(t, "example. 3600 NSEC3PARAM 1 0 0 -")
	zone := hashedZone(t, s, []dns.RR{rr(t, "example. 3600 SOA ns.other.test. a. 1 2 3 4 5"), rr(t, "example. 3600 NS ns.other.test.")}, nil)
	if r := judge(t, zone, o); !r.Good() {
		t.Fatalf("a good one:%s", list(r))
	}
	isParam := func(rr dns.RR) bool {
		return rr.String() == param.String() || sigOf("example.", dns.TypeNSEC3PARAM)(rr)
	}
	for _, others := range [][]dns.RR{{flagged}, {flagged, param}} {
		r := judge(t, change(zone, isParam, append(others, s.Sign(t, others))...), o)
		if want := len(others) == 1; want != names(r, verify.NSECBroken, "example.", dns.TypeNSEC) || !want && !r.Good() {
			t.Errorf("%v:%s", others, list(r))
		}
	}
}
