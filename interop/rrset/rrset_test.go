// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package rrset

import (
	"strings"
	"testing"

	"github.com/miekg/dns"
)

const base = `
@	3600 IN SOA ns1 hostmaster 7 86400 3600 604800 60
@	3600 IN NS ns1
ns1	3600 IN A 192.0.2.1
WWW	60 IN CNAME Ns1
t	60 IN TXT "Case" "counts"
n	60 IN NSEC Next A RRSIG
x	60 IN X25 311061700956
l	60 IN L64 10 2001:0db8:0040:0000
h	60 IN HTTPS 1 Svc.Example.ORG. alpn="h2"
`

func parse(t *testing.T, text string) Set {
	t.Helper()
	set, err := Parse(strings.NewReader(text), "example.org.", "test")
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestDiffSeesContent(t *testing.T) {
	tests := []struct {
		name, from, to string
		same           bool
	}{
		{"nothing changed", "", "", true},
		{"owner case", "WWW", "www", true},
		{"target case", "Ns1", "nS1", true},
		{"embedded target case", "Svc.Example.ORG.", "svc.example.org.", true},
		{"case of NSEC's next name", "NSEC Next", "NSEC next", false},
		{"escaped letter", "ns1\t3600", `n\083\049` + "\t3600", true},
		{"quoted X25", "X25 311061700956", `X25 "311061700956"`, true},
		{"other X25", "X25 311061700956", `X25 "311061700957"`, false},
		{"L64 without leading zeros", "2001:0db8:0040:0000", "2001:db8:40:0", true},
		{"other L64", "2001:0db8:0040:0000", "2001:db8:4:0", false},
		{"TTL", "60 IN CNAME", "61 IN CNAME", false},
		{"text case", `"Case"`, `"case"`, false},
		{"string boundaries", `"Case" "counts"`, `"Casecounts"`, false},
		{"address", "192.0.2.1", "192.0.2.2", false},
		{"serial", " 7 ", " 8 ", false},
		{"service parameter", `alpn="h2"`, `alpn="h3"`, false},
		{"record gone", "t\t60 IN TXT", ";", false},
		{"known type as an unknown one", "A 192.0.2.1", `TYPE1 \# 4 C0000201`, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := parse(t, strings.Replace(base, tt.from, tt.to, 1))
			diff := Diff(parse(t, base), got)
			if (diff == "") != tt.same {
				t.Errorf("same = %v, want %v: %s", diff == "", tt.same, diff)
			}
		})
	}
}

func TestParseRefusesTwins(t *testing.T) {
	if _, err := Parse(strings.NewReader(base+"NS1 3600 IN A 192.0.2.1\n"), "example.org.", "test"); err == nil {
		t.Error("a record that is there twice was accepted")
	}
}

func TestFromTransfer(t *testing.T) {
	rrs := parse(t, base).Records()
	soa := rrs[0]
	other := dns.Copy(soa).(*dns.SOA)
	other.Serial++

	whole := append(append([]dns.RR{}, rrs...), soa)
	set, err := FromTransfer(whole)
	if err != nil {
		t.Fatal(err)
	}
	if diff := Diff(parse(t, base), set); diff != "" {
		t.Error(diff)
	}
	if serial, err := set.Serial(); err != nil || serial != 7 {
		t.Errorf("serial %d, %v", serial, err)
	}
	for name, broken := range map[string][]dns.RR{
		"no closing SOA":    rrs,
		"SOA in the middle": append([]dns.RR{soa, rrs[1], soa}, rrs[2:]...),
		"other closing SOA": append(append([]dns.RR{}, rrs...), other),
		"empty":             nil,
		"one SOA":           {soa},
	} {
		if _, err := FromTransfer(broken); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
