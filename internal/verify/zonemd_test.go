// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/verify"

	"github.com/miekg/dns"
)

const a1 = `
example.      86400  IN  SOA     ns1 admin 2018031900 1800 900 604800 86400
example.      86400  IN  NS      ns1
example.      86400  IN  NS      ns2
example.      86400  IN  ZONEMD  2018031900 1 1 c68090d90a7aed716bc459f9340e3d7c1370d4d24b7e2fc3a1ddc0b9a87153b9a9713b3c9ae5cc27777f98b8e730044c
ns1           3600   IN  A       203.0.113.63
ns2           3600   IN  AAAA    2001:db8::63
`

const a2 = `
example.      86400  IN  SOA     ns1 admin 2018031900 1800 900 604800 86400
example.      86400  IN  NS      ns1
example.      86400  IN  NS      ns2
example.      86400  IN  ZONEMD  2018031900 1 1 a3b69bad980a3504e1cffcb0fd6397f93848071c93151f552ae2f6b1711d4bd2d8b39808226d7b9db71e34b72077f8fe
ns1           3600   IN  A       203.0.113.63
NS2           3600   IN  AAAA    2001:db8::63
occluded.sub  7200   IN  TXT     "I'm occluded but must be digested"
sub           7200   IN  NS      ns1
duplicate     300    IN  TXT     "I must be digested just once"
duplicate     300    IN  TXT     "I must be digested just once"
foo.test.     555    IN  TXT     "out-of-zone data must be excluded"
UPPERCASE     3600   IN  TXT     "canonicalize uppercase owner names"
*             777    IN  PTR     dont-forget-about-wildcards
mail          3600   IN  MX      20 MAIL1
mail          3600   IN  MX      10 Mail2.Example.
sortme        3600   IN  AAAA    2001:db8::5:61
sortme        3600   IN  AAAA    2001:db8::3:62
sortme        3600   IN  AAAA    2001:db8::4:63
sortme        3600   IN  AAAA    2001:db8::1:65
sortme        3600   IN  AAAA    2001:db8::2:64
non-apex      900    IN  ZONEMD  2018031900 1 1 616c6c6f776564206275742069676e6f7265642e20616c6c6f776564206275742069676e6f7265642e20616c6c6f7765
`

// The digests of A.3: SHA-384, SHA-512, a private hash and a private scheme.
const (
	a3SHA384 = `example. 86400 IN ZONEMD 2018031900 1 1 62e6cf51b02e54b9b5f967d547ce43136792901f9f88e637493daaf401c92c279dd10f0edb1c56f8080211f8480ee306
`
	a3SHA512 = `example. 86400 IN ZONEMD 2018031900 1 2 08cfa1115c7b948c4163a901270395ea226a930cd2cbcf2fa9a5e6eb85f37c8a4e114d884e66f176eab121cb02db7d652e0cc4827e7a3204f166b47e5613fd27
`
	a3Private = `example. 86400 IN ZONEMD 2018031900 1 240 e2d523f654b9422a96c5a8f44607bbee
example. 86400 IN ZONEMD 2018031900 241 1 e1846540e33a9e4189792d18d5d131f605fc283e
`
	a3Rest = `
example.      86400   IN  SOA     ns1 admin 2018031900 1800 900 604800 86400
example.      86400   IN  NS      ns1.example.
example.      86400   IN  NS      ns2.example.
ns1.example.  3600    IN  A       203.0.113.63
ns2.example.  86400   IN  TXT     "This example has multiple digests"
ns2.example.  3600    IN  AAAA    2001:db8::63
`
)

// TestZonemd: the zones of RFC 8976 Appendix A fit their digests, in any order of their
// records; and what §4 says of records that do not count.
func TestZonemd(t *testing.T) {
	wrong := strings.NewReplacer("62e6cf51", "62e6cf52", "08cfa111", "08cfa112")
	for _, tt := range []struct {
		name, zone, says string // "": good
	}{
		{"A.1", a1, ""},
		{"A.2", a2, ""},
		{"A.3", a3Rest + a3SHA384 + a3SHA512 + a3Private, ""},
		{"A.3, SHA-512 alone", a3Rest + a3SHA512, ""},
		{"one of two fits", a3Rest + wrong.Replace(a3SHA384) + a3SHA512, ""},
		{"the other one fits", a3Rest + a3SHA384 + wrong.Replace(a3SHA512), ""},
		{"none fits", a3Rest + wrong.Replace(a3SHA384) + wrong.Replace(a3SHA512), "does not fit the zone"},
		{"unknown kinds alone", a3Rest + a3Private, "is not known"},
		{"scheme 0", a3Rest + strings.Replace(a3SHA384, "1 1 ", "0 1 ", 1), "scheme 0 and hash 1, which is not known"},
		{"one kind twice", a3Rest + a3SHA384 + wrong.Replace(a3SHA384), "is there twice"},
		{"one kind twice, another once", a3Rest + a3SHA384 + wrong.Replace(a3SHA384) + a3SHA512, ""},
		{"another serial", a3Rest + strings.Replace(a3SHA384, "2018031900", "2018031899", 1), "is for serial 2018031899"},
		{"a short digest", a3Rest + strings.Replace(a3SHA384, "080211f8480ee306", "0802", 1), "has a digest of 42 octets"},
		{"changed", strings.Replace(a1, "203.0.113.63", "203.0.113.64", 1), "does not fit the zone"},
		{"a longer TTL", strings.Replace(a1, "3600   IN  A ", "3601   IN  A ", 1), "does not fit the zone"},
		{"cut short", strings.Split(a1, "ns2           3600")[0], "does not fit the zone"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			records := parseZone(t, tt.zone, "example.")
			for range 5 {
				r := judge(t, records, verify.Options{Zonemd: true, NeedZonemd: true})
				if r.Good() != (tt.says == "") || !r.Good() && (!names(r, verify.ZonemdMismatch, "example.", dns.TypeZONEMD) || !strings.Contains(list(r), tt.says)) {
					t.Fatalf("got%s", list(r))
				}
				body := records[1:]
				rand.Shuffle(len(body), func(i, j int) { body[i], body[j] = body[j], body[i] })
			}
		})
	}
}

// TestZonemdMissing: a digest that has to be there, or that the zone's own chain says is
// there, is missed.
func TestZonemdMissing(t *testing.T) {
	plain := parseZone(t, a3Rest, "example.")
	promised := append(parseZone(t, a3Rest, "example."), rr(t, "example. 86400 NSEC ns1.example. NS SOA NSEC RRSIG ZONEMD"))
	for _, tt := range []struct {
		records []dns.RR
		need    bool
		missed  bool
	}{{plain, false, false}, {plain, true, true}, {promised, false, true}} {
		r := judge(t, tt.records, verify.Options{Zonemd: true, NeedZonemd: tt.need})
		if names(r, verify.ZonemdMissing, "example.", dns.TypeZONEMD) != tt.missed {
			t.Errorf("need %v:%s", tt.need, list(r))
		}
	}
}

// TestRFCSigned: the zone of RFC 8976 A.4, with ZONEMD and signatures of 2021, is good in
// its time and for each reason bad at another.
func TestRFCSigned(t *testing.T) {
	z := readSigned(t, "testdata/uri.arpa.zone")
	r := judge(t, z.records, verify.Options{Zonemd: true, NeedZonemd: true, Dnssec: true, NeedDnssec: true, Now: z.now})
	if !r.Good() || r.FirstEnd != time.Date(2021, 2, 17, 23, 24, 40, 0, time.UTC) {
		t.Errorf("ends %s:%s", r.FirstEnd, list(r))
	}
	for years, why := range map[int]verify.Reason{-1: verify.RRSIGNotYet, 1: verify.RRSIGExpired} {
		r = judge(t, z.records, verify.Options{Dnssec: true, Now: z.now.AddDate(years, 0, 0)})
		if !names(r, why, "ftp.uri.arpa.", dns.TypeNAPTR) || len(r.First()) != 1 {
			t.Errorf("%d years later:%s", years, list(r))
		}
	}
}
