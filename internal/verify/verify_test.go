// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/verify"

	"github.com/miekg/dns"
)

// signedZone is one of testdata/signed.
type signedZone struct {
	name    string
	records []dns.RR
	now     time.Time
}

func parseZone(t testing.TB, text, origin string) (records []dns.RR) {
	t.Helper()
	zp := dns.NewZoneParser(strings.NewReader(text), origin, "")
	for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
		records = append(records, rr)
	}
	if err := zp.Err(); err != nil {
		t.Fatal(err)
	}
	return records
}

func readSigned(t testing.TB, file string) signedZone {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(b), "\n")
	at, err := strconv.ParseInt(first[strings.LastIndexByte(first, ' ')+1:], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return signedZone{strings.TrimSuffix(filepath.Base(file), ".zone"), parseZone(t, string(b), "example."), time.Unix(at, 0)}
}

// allSigned are all zones of testdata/signed.
func allSigned(t testing.TB) (zones []signedZone) {
	t.Helper()
	files, err := filepath.Glob("testdata/signed/*.zone")
	if err != nil || len(files) != 4*(5*2+1) {
		t.Fatalf("%d zones, %v", len(files), err)
	}
	for _, f := range files {
		zones = append(zones, readSigned(t, f))
	}
	return zones
}

// rowOf is the records in wire format.
func rowOf(t testing.TB, records []dns.RR) []byte {
	t.Helper()
	var out []byte
	b := make([]byte, 70_000)
	for _, rr := range records {
		n, err := dns.PackRR(rr, b, 0, nil, false)
		if err != nil {
			t.Fatalf("%s: %v", rr, err)
		}
		out = append(out, b[:n]...)
	}
	return out
}

func tableOf(t testing.TB, records []dns.RR) *verify.Table {
	t.Helper()
	table, err := verify.NewTable(rowOf(t, records))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func judge(t testing.TB, records []dns.RR, o verify.Options) *verify.Report {
	t.Helper()
	report, _, err := verify.Judge(context.Background(), verify.Input{Zone: tableOf(t, records)}, o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func list(r *verify.Report) string {
	var b strings.Builder
	for _, f := range r.Failures {
		fmt.Fprintf(&b, "\n\t%s", f.String())
	}
	return b.String()
}

// names reports whether a failure of the report has reason, owner and type.
func names(r *verify.Report, why verify.Reason, owner string, rtype uint16) bool {
	return slices.ContainsFunc(r.Failures, func(f verify.Failure) bool {
		return f.Reason == why && dns.CanonicalName(f.Owner) == owner && f.Type == rtype
	})
}

// anchorOf is the DS record of the key that the zone's keys are signed with.
func anchorOf(t testing.TB, records []dns.RR) string {
	t.Helper()
	for _, rr := range records {
		sig, ok := rr.(*dns.RRSIG)
		if !ok || sig.TypeCovered != dns.TypeDNSKEY {
			continue
		}
		for _, rr := range records {
			if key, ok := rr.(*dns.DNSKEY); ok && key.KeyTag() == sig.KeyTag {
				return key.ToDS(dns.SHA256).String()
			}
		}
	}
	t.Fatal("no key signs the keys")
	return ""
}

func readAnchor(t testing.TB, text string) *verify.Anchor {
	t.Helper()
	a, err := verify.ReadAnchor(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestSignedZones: what BIND, Knot DNS, ldns and PowerDNS sign is good, with each
// algorithm and each chain, by the zone's own keys and by an anchor; also when the
// signatures are checked by other means.
func TestSignedZones(t *testing.T) {
	for _, z := range allSigned(t) {
		t.Run(z.name, func(t *testing.T) {
			for _, anchor := range []*verify.Anchor{nil, readAnchor(t, anchorOf(t, z.records))} {
				r := judge(t, z.records, verify.Options{Zonemd: true, Dnssec: true, NeedDnssec: true, Anchor: anchor, Now: z.now})
				if !r.Good() || !r.Signed || !r.Whole || len(r.Unchecked) > 0 {
					t.Fatalf("signed %v, whole %v, unchecked %v:%s", r.Signed, r.Whole, r.Unchecked, list(r))
				}
				var sigs int
				var first uint32
				for _, rr := range z.records {
					if sig, ok := rr.(*dns.RRSIG); ok {
						if sigs++; first == 0 || sig.Expiration < first {
							first = sig.Expiration
						}
					}
				}
				if r.Checked != sigs || r.FirstEnd.Unix() != int64(first) {
					t.Errorf("checked %d of %d signatures, the first ends at %s, want %s", r.Checked, sigs, r.FirstEnd, dns.TimeToString(first))
				}
			}
		})
	}
}

// change returns the records without those that drop says, and with others.
func change(records []dns.RR, drop func(dns.RR) bool, add ...dns.RR) []dns.RR {
	out := slices.DeleteFunc(slices.Clone(records), func(rr dns.RR) bool { return drop != nil && drop(rr) })
	return append(out, add...)
}

func is(owner string, rtype uint16) func(dns.RR) bool {
	return func(rr dns.RR) bool {
		h := rr.Header()
		sig, ok := rr.(*dns.RRSIG)
		return dns.CanonicalName(h.Name) == owner && (h.Rrtype == rtype || ok && sig.TypeCovered == rtype && rtype != dns.TypeRRSIG)
	}
}

func only(owner string, rtype uint16) func(dns.RR) bool {
	return func(rr dns.RR) bool {
		return dns.CanonicalName(rr.Header().Name) == owner && rr.Header().Rrtype == rtype
	}
}

func sigOf(owner string, rtype uint16) func(dns.RR) bool {
	return func(rr dns.RR) bool {
		sig, ok := rr.(*dns.RRSIG)
		return ok && dns.CanonicalName(rr.Header().Name) == owner && sig.TypeCovered == rtype
	}
}

func rr(t testing.TB, s string) dns.RR {
	t.Helper()
	r, err := dns.NewRR(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// breakage is one way to break a zone.
type breakage struct {
	name  string
	why   verify.Reason
	owner string
	rtype uint16
	do    func(t *testing.T, z *signedZone, o *verify.Options)
}

func breakages() []breakage {
	return []breakage{
		{"expired", verify.RRSIGExpired, "mail.example.", dns.TypeA, func(_ *testing.T, _ *signedZone, o *verify.Options) {
			o.Now = time.Date(2045, 1, 1, 0, 0, 0, 0, time.UTC)
		}},
		{"not yet valid", verify.RRSIGNotYet, "mail.example.", dns.TypeA, func(_ *testing.T, _ *signedZone, o *verify.Options) {
			o.Now = time.Date(2019, 1, 1, 0, 0, 0, 0, time.UTC)
		}},
		{"one set changed", verify.RRSIGBogus, "mail.example.", dns.TypeA, func(t *testing.T, z *signedZone, _ *verify.Options) {
			z.records = change(z.records, nil, rr(t, "mail.example. 3600 A 192.0.2.66"))
		}},
		{"one signature missing", verify.RRSIGMissing, "mail.example.", dns.TypeA, func(_ *testing.T, z *signedZone, _ *verify.Options) {
			z.records = change(z.records, sigOf("mail.example.", dns.TypeA))
		}},
		{"one set missing", verify.NSECBroken, "below.an.empty.example.", 0, func(_ *testing.T, z *signedZone, _ *verify.Options) {
			z.records = change(z.records, is("below.an.empty.example.", dns.TypeA))
		}},
		{"wrong anchor", verify.DSMismatch, "example.", dns.TypeDS, func(t *testing.T, z *signedZone, o *verify.Options) {
			ds := rr(t, anchorOf(t, z.records)).(*dns.DS)
			ds.Digest = strings.Repeat("00", len(ds.Digest)/2)
			o.Anchor = readAnchor(t, ds.String())
		}},
		{"wrong DS at a delegation", verify.RRSIGBogus, "secure.example.", dns.TypeDS, func(_ *testing.T, z *signedZone, _ *verify.Options) {
			z.records = mapped(z.records, only("secure.example.", dns.TypeDS), func(rr dns.RR) { rr.(*dns.DS).KeyTag++ })
		}},
		{"stray DNSKEY", verify.RRSIGBogus, "example.", dns.TypeDNSKEY, func(t *testing.T, z *signedZone, _ *verify.Options) {
			z.records = change(z.records, nil, rr(t, "example. 3600 DNSKEY 256 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4="))
		}},
		{"a key is gone", verify.DNSKEYMissing, "mail.example.", dns.TypeA, func(_ *testing.T, z *signedZone, _ *verify.Options) {
			var tag uint16
			for _, rr := range z.records {
				if sigOf("mail.example.", dns.TypeA)(rr) {
					tag = rr.(*dns.RRSIG).KeyTag
				}
			}
			z.records = change(z.records, func(rr dns.RR) bool { k, ok := rr.(*dns.DNSKEY); return ok && k.KeyTag() == tag })
		}},
		{"extra record at a cut", verify.RRSIGMissing, "secure.example.", dns.TypeTXT, func(t *testing.T, z *signedZone, _ *verify.Options) {
			z.records = change(z.records, nil, rr(t, `secure.example. 3600 TXT "extra"`))
		}},
		{"extra name", verify.RRSIGMissing, "extra.example.", dns.TypeA, func(t *testing.T, z *signedZone, _ *verify.Options) {
			z.records = change(z.records, nil, rr(t, `extra.example. 3600 A 192.0.2.9`))
		}},
		{"ZONEMD stale", verify.ZonemdMismatch, "example.", dns.TypeZONEMD, func(t *testing.T, z *signedZone, _ *verify.Options) {
			z.records = change(z.records, only("example.", dns.TypeZONEMD), zonemd(t, 2026112500, 1, 1))
		}},
		{"ZONEMD of another serial", verify.ZonemdMismatch, "example.", dns.TypeZONEMD, func(t *testing.T, z *signedZone, _ *verify.Options) {
			z.records = change(z.records, only("example.", dns.TypeZONEMD), zonemd(t, 7, 1, 2))
		}},
		{"wrong scheme", verify.ZonemdMismatch, "example.", dns.TypeZONEMD, func(t *testing.T, z *signedZone, _ *verify.Options) {
			z.records = change(z.records, only("example.", dns.TypeZONEMD), zonemd(t, 2026112500, 2, 1))
		}},
	}
}

func zonemd(t testing.TB, serial uint32, scheme, hash int) dns.RR {
	return rr(t, fmt.Sprintf("example. 3600 ZONEMD %d %d %d %s", serial, scheme, hash, strings.Repeat("ab", map[int]int{1: 48, 2: 64}[hash])))
}

// mapped returns the records with copies of some of them changed.
func mapped(records []dns.RR, which func(dns.RR) bool, fn func(dns.RR)) []dns.RR {
	out := slices.Clone(records)
	for i, rr := range out {
		if which(rr) {
			out[i] = dns.Copy(rr)
			fn(out[i])
		}
	}
	return out
}

// hasChain is the NSEC or NSEC3 record that a gap is made by taking out.
func hasChain(z *signedZone, owner string) (string, uint16) {
	for _, rr := range z.records {
		if rr.Header().Rrtype == dns.TypeNSEC3 {
			return strings.ToLower(dns.HashName(owner, dns.SHA1, rr.(*dns.NSEC3).Iterations, rr.(*dns.NSEC3).Salt)) + ".example.", dns.TypeNSEC3
		}
	}
	return owner, dns.TypeNSEC
}

// thorough are zones with slow algorithms that are broken in all ways, the others in one.
var thorough = []string{"bind-8-nsec", "knot-10-nsec3", "ldns-14-nsec", "pdns-8-nsec3"}

// TestBrokenZones: each way to break a zone is found, and named by owner and type, in
// each of the signed zones.
func TestBrokenZones(t *testing.T) {
	all := append(breakages(),
		breakage{"gap in the chain", verify.NSECBroken, "mail.example.", 0, func(_ *testing.T, z *signedZone, _ *verify.Options) {
			z.records = change(z.records, is(hasChain(z, "mail.example.")))
		}},
		breakage{"chain of an older zone", verify.NSECBroken, "mail.example.", 0, func(_ *testing.T, z *signedZone, _ *verify.Options) {
			owner, rtype := hasChain(z, "mail.example.")
			z.records = mapped(z.records, only(owner, rtype), func(rr dns.RR) {
				switch rr := rr.(type) {
				case *dns.NSEC:
					rr.NextDomain = "x." + rr.NextDomain
				case *dns.NSEC3:
					rr.NextDomain = "0" + rr.NextDomain[1:]
				}
			})
		}},
	)
	for _, z := range allSigned(t) {
		for _, b := range all {
			if b.name != "one set changed" && !slices.Contains(thorough, z.name) && !strings.Contains(z.name, "-13-") && !strings.Contains(z.name, "-15-") {
				continue
			}
			t.Run(z.name+"/"+b.name, func(t *testing.T) {
				z, o := z, verify.Options{Zonemd: true, Dnssec: true, Now: z.now}
				b.do(t, &z, &o)
				r := judge(t, z.records, o)
				owner, rtype := b.owner, b.rtype
				if rtype == 0 {
					_, rtype = hasChain(&z, owner)
					if !names(r, b.why, owner, rtype) {
						owner, _ = hasChain(&z, owner)
					}
				}
				if !names(r, b.why, owner, rtype) {
					t.Errorf("want %s %s %s, got%s", b.why, owner, dns.Type(rtype), list(r))
				}
			})
		}
	}
}

// TestJudgeEnds: a judgement ends with its context.
func TestJudgeEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	z := allSigned(t)[0]
	if _, _, err := verify.Judge(ctx, verify.Input{Zone: tableOf(t, z.records)}, verify.Options{Dnssec: true, Now: z.now}); err == nil {
		t.Error("no error")
	}
}

// TestFailuresAreBounded: a zone that is wrong everywhere has a report of bounded size,
// with each reason in it.
func TestFailuresAreBounded(t *testing.T) {
	z := readSigned(t, "testdata/signed/bind-13-nsec.zone")
	for i := range 1000 {
		z.records = append(z.records, rr(t, fmt.Sprintf("n%d.example. 3600 A 192.0.2.1", i)))
	}
	z.records = append(z.records, rr(t, "www.example. 3600 CNAME other.test."))
	r := judge(t, z.records, verify.Options{Dnssec: true, Now: z.now})
	if len(r.Failures) > 64 || r.Total < 2000 || len(r.First()) != 3 {
		t.Errorf("%d of %d failures, first %v", len(r.Failures), r.Total, r.First())
	}
}

// TestAnchorFile: an anchor file holds DS and DNSKEY records and nothing else.
func TestAnchorFile(t *testing.T) {
	z := readSigned(t, "testdata/signed/bind-13-nsec.zone")
	var key string
	for _, rr := range z.records {
		if k, ok := rr.(*dns.DNSKEY); ok && k.Flags == 257 {
			key = k.String()
		}
	}
	for _, tt := range []struct {
		text string
		ok   bool
	}{
		{anchorOf(t, z.records), true},
		{key, true},
		{"example. IN DS 1 13 2 " + strings.Repeat("00", 32), true},
		{"; nothing\n", false},
		{"example. 3600 A 192.0.2.1\n", false},
		{"example. DS 1 13\n", false},
		{strings.Repeat(";", 2<<20), false},
	} {
		a, err := verify.ReadAnchor(bytes.NewBufferString(tt.text))
		if (err == nil) != tt.ok || tt.ok && (!a.Has("Example.") || a.Has("example.org.")) {
			t.Errorf("%.60q: %v", tt.text, err)
		}
	}
	r := judge(t, z.records, verify.Options{Dnssec: true, Anchor: readAnchor(t, key), Now: z.now})
	if !r.Good() {
		t.Error(list(r))
	}
	r = judge(t, []dns.RR{rr(t, "example. 1 SOA . . 1 1 1 1 1")}, verify.Options{Dnssec: true, Anchor: readAnchor(t, key), Now: z.now})
	if !names(r, verify.DNSKEYMissing, "example.", dns.TypeDNSKEY) {
		t.Error("an anchored zone without keys:", list(r))
	}
}
