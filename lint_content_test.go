// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"fmt"
	"strings"
	"testing"

	"github.com/xfrguard/xfrguard/internal/xfrtest"
	"github.com/xfrguard/xfrguard/internal/zone"

	"github.com/miekg/dns"
)

// TestLintContent: what other servers refuse a zone for is a finding, with owner and type,
// once a version and kind; the zone is served all the same.
func TestLintContent(t *testing.T) {
	for name, c := range map[string]struct{ records, want string }{
		"good":                 {"www IN TXT \"\"\na IN HTTPS 1 . alpn=h2 mandatory=alpn\nc IN CNAME www\n", ""},
		"a CNAME beside":       {"c IN CNAME www\nc IN TXT \"text\"\n", "peers-refuse: zone example.org., serial 7: c.example.org. TXT stands beside a CNAME"},
		"a CNAME, an address":  {"c IN CNAME www\nc IN A 192.0.2.3\n", "peers-refuse: zone example.org., serial 7: c.example.org. A stands beside a CNAME"},
		"two CNAMEs":           {"c IN CNAME www\nc IN CNAME ns1\n", "peers-refuse: zone example.org., serial 7: c.example.org. CNAME is there twice"},
		"NS at a wildcard":     {"*.q IN NS ns1\n", "peers-refuse: zone example.org., serial 7: *.q.example.org. NS is at a wildcard"},
		"mandatory is missing": {"h IN HTTPS 1 . mandatory=alpn port=443\n", "peers-refuse: zone example.org., serial 7: h.example.org. HTTPS lacks a parameter"},
		"two of one kind":      {"*.q IN NS ns1\n*.r IN NS ns1\n", "peers-refuse: zone example.org., serial 7: *.q.example.org. NS is at a wildcard"},
		"no NS":                {"-", "apex-no-ns: zone example.org., serial 7: example.org. NS is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			db := xfrtest.ZoneOrg + c.records
			if c.records == "-" {
				db = strings.Replace(xfrtest.ZoneOrg, "@     IN NS  ns1\n", "", 1)
			}
			s := xfrtest.Serve(t, xfrtest.Guarded("allow as ns2 net 127.0.0.1 key a.example.net. b.example.net.", ""), map[string]string{"db": db})
			for range 2 { // it is told once
				got, err := xfrtest.TransferIn(t, s.Addr(t, "tcp", 0), xfrtest.Question(dns.TypeAXFR), xfrtest.KeyA, xfrtest.SecretA)
				if err != nil {
					t.Fatal(err)
				}
				if want := strings.Count(db, " IN ") + 1; len(got) != want {
					t.Errorf("%d records came over, want %d: %v", len(got), want, got)
				}
			}
			s.Events(t, 4)
			found := s.Findings(t)
			if c.want == "" {
				if len(found) > 0 {
					t.Errorf("a finding: %v", found)
				}
				return
			}
			code, text, _ := strings.Cut(c.want, ": ")
			if len(found) != 1 || found[0]["event.reason"] != code || !strings.HasPrefix(fmt.Sprint(found[0]["message"]), text) {
				t.Errorf("got %v, want %s", found, c.want)
			}
		})
	}
	for _, kind := range zone.FaultKinds {
		if faultTexts[kind] == "" {
			t.Errorf("no text for %s", kind)
		}
	}
}
