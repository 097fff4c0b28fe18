// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// TestFaults: what other servers refuse a zone for, or read in another way, is found with
// its owner and type, and what they take is not. That they do is tested beside them.
func TestFaults(t *testing.T) {
	const key, hash = "AQIDBAUGBwg=", "2a9b7c9c1b2d3e4f5061728394a5b6c7d8e9fa0b1c2d3e4f5061728394a5b6c7"
	for records, want := range map[string]string{
		"a 60 A 192.0.2.1\na 60 AAAA ::1\na 60 TXT \"\"":         "",
		"a 60 CNAME b\na 60 A 192.0.2.1":                         "cname-beside a A",
		"a 60 CNAME b\na 60 HTTPS 1 .":                           "cname-beside a HTTPS",
		"a 60 CNAME b\na 60 NSEC c CNAME\na 60 KEY 0 3 8 " + key: "",
		"a 60 CNAME b\na 60 CNAME B":                             "",
		"a 60 CNAME b\na 60 CNAME c":                             "two-cnames a CNAME",
		"a 60 DNAME b\na 60 DNAME c":                             "two-dnames a DNAME",
		"a 60 DNAME b\na 60 TXT x":                               "",
		"a 60 DNAME b\na 60 NS c":                                "ns-beside-dname a NS",
		"@ 60 DNAME b.example.net.\n@ 60 NS c.example.net.":      "",
		"a 60 DNAME b\nx.a 60 TXT x":                             "below-dname x.a TXT",
		"a 60 DNAME b\na 60 TXT x\nxa 60 TXT x":                  "",
		"*.q 60 NS b":                                            "wildcard-ns *.q NS",
		"q.*.w 60 NS b":                                          "",
		"a 60 TXT \\# 0":                                         "empty-text a TXT",
		"a 60 SPF \\# 0":                                         "empty-text a SPF",
		"a 60 AVC \\# 0":                                         "empty-text a AVC",
		"a 60 DNSKEY 256 3 13":                                   "empty-key a DNSKEY",
		"a 60 CDNSKEY 256 3 13":                                  "empty-key a CDNSKEY",
		"a 60 KEY 256 3 13":                                      "empty-key a KEY",
		"a 60 KEY 49152 3 13":                                    "",
		"a 60 OPENPGPKEY":                                        "empty-key a OPENPGPKEY",
		"a 60 CERT 1 1 1":                                        "empty-key a CERT",
		"a 60 DNSKEY 256 3 13 " + key:                            "",
		"a 60 A \\# 0":                                           "empty-data a A",
		"a 60 AAAA \\# 0":                                        "empty-data a AAAA",
		"a 60 TLSA 3 1 1":                                        "empty-data a TLSA",
		"a 60 SMIMEA 3 1 1":                                      "empty-data a SMIMEA",
		"a 60 DHCID":                                             "empty-data a DHCID",
		"a 60 DS 1 13 2":                                         "empty-data a DS",
		"a 60 SSHFP 1 1":                                         "empty-data a SSHFP",
		"a 60 RRSIG A 13 3 60 20400101000000 20240101000000 1 example.org.": "empty-data a RRSIG",
		"a 60 DS 1 13 2 abcd":                                     "digest-length a DS",
		"a 60 CDS 1 13 1 " + hash:                                 "digest-length a CDS",
		"a 60 DS 1 13 2 " + hash + "\na 60 DS 1 13 9 abcd":        "",
		"a 60 CDS 0 0 0 00":                                       "",
		"a 60 SSHFP 1 1 abcd":                                     "digest-length a SSHFP",
		"a 60 SSHFP 1 2 " + hash:                                  "",
		"a 60 ZONEMD 7 1 1 abcd":                                  "digest-length a ZONEMD",
		"a 60 HTTPS 1 . mandatory=alpn":                           "mandatory-missing a HTTPS",
		"a 60 SVCB 1 . mandatory=mandatory":                       "mandatory-missing a SVCB",
		"a 60 HTTPS 1 . mandatory=alpn alpn=h2":                   "",
		"a 60 HTTPS 1 . alpn=":                                    "service-parameters a HTTPS",
		"a 60 HTTPS 1 . no-default-alpn":                          "service-parameters a HTTPS",
		"a 60 HTTPS 1 . no-default-alpn alpn=h2 dohpath=/q{?dns}": "",
		"a 60 SVCB 1 b dohpath=x":                                 "service-parameters a SVCB",
		"a 60 SVCB 0 b port=1":                                    "service-parameters a SVCB",
		"a 60 NSEC b":                                             "no-types a NSEC",
		"a 60 CAA 0 is-sue x":                                     "caa-tag a CAA",
		"a 60 CAA 0 ISSUE x":                                      "",
		"a 60 NULL \\# 0":                                         "no-data-type a NULL",
		"a 60 TYPE0 \\# 0":                                        "no-data-type a None",
		"a 60 TYPE249 \\# 0":                                      "no-data-type a TKEY",
		"a 60 TYPE256 \\# 6 000a00016100\na 60 TYPE65280 \\# 0":   "",
		"@ 60 SOA ns1 host 0 1 1 1 1":                             "serial-zero @ SOA",
		"@ 0 SOA ns1 host 7 1 1 1 1":                              "soa-ttl-zero @ SOA",
		"\u00fc 60 A 192.0.2.1":                                   "lowered-letters \u00fc A",
		"\xfc 60 A 192.0.2.1":                                     "lowered-letters \xfc A",
		"\u00fc 60 SRV 1 1 1 b":                                   "",
		"a 60 MX 1 \u00fc":                                        "lowered-letters a MX",
		"a 60 NS \u00fc":                                          "lowered-letters a NS",
		"a 60 CNAME \u00fc":                                       "lowered-letters a CNAME",
		"a 60 DNAME \u00fc\na 60 PTR \u00fc":                      "",
		"a 60 HTTPS 0 \u00fc":                                     "lowered-letters a HTTPS",
		"\\195\\188 60 A 192.0.2.1\na 60 MX 1 \\252":              "",
	} {
		f := faults{fromFile: true}
		rrs := zoneLines(t, records)
		for len(rrs) > 0 {
			n := slices.IndexFunc(rrs, func(rr dns.RR) bool { return rr.Header().Name != rrs[0].Header().Name })
			if n < 0 {
				n = len(rrs)
			}
			at := rrs[0].Header().Name == apex
			if at && rrs[0].Header().Rrtype == dns.TypeSOA { // it needs no more to be looked at
				rrs = append(rrs, zoneLines(t, "@ 60 NS b")...)
				n++
			}
			f.look(rrs[:n], at)
			rrs = rrs[n:]
		}
		var got []string
		for _, x := range f.all {
			owner := strings.TrimSuffix(strings.TrimSuffix(x.Owner, apex), ".")
			if owner == "" {
				owner = "@"
			}
			got = append(got, fmt.Sprintf("%s %s %s", x.Kind, owner, dns.Type(x.Type)))
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%q: found %q, want %q", records, got, want)
		}
	}
	seen := faults{}
	seen.look(zoneLines(t, "@ 0 SOA ns1 host 0 1 1 1 1\n@ 60 NS b"), true)
	if len(seen.all) > 0 {
		t.Errorf("of a zone that comes from no file: %v", seen.all)
	}
}
