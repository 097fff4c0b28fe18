// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xfrguard/xfrguard/internal/audit/audittest"
	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/miekg/dns"
)

// TestLintContent: what other servers refuse a zone for is a finding, with owner and type,
// once a version and kind; the zone is served all the same.
func TestLintContent(t *testing.T) {
	for name, c := range map[string]struct{ records, want string }{
		"good":                  {"www IN TXT \"\"\na IN HTTPS 1 . alpn=h2 mandatory=alpn\nc IN CNAME www\n", ""},
		"a CNAME beside":        {"c IN CNAME www\nc IN TXT \"text\"\n", "peers-refuse: zone example.org., serial 7: c.example.org. TXT stands beside a CNAME"},
		"a CNAME, an address":   {"c IN CNAME www\nc IN A 192.0.2.3\n", "peers-refuse: zone example.org., serial 7: c.example.org. A stands beside a CNAME"},
		"two CNAMEs":            {"c IN CNAME www\nc IN CNAME ns1\n", "peers-refuse: zone example.org., serial 7: c.example.org. CNAME is there twice"},
		"NS at a wildcard":      {"*.q IN NS ns1\n", "peers-refuse: zone example.org., serial 7: *.q.example.org. NS is at a wildcard"},
		"mandatory is missing":  {"h IN HTTPS 1 . mandatory=alpn port=443\n", "peers-refuse: zone example.org., serial 7: h.example.org. HTTPS lacks a parameter"},
		"a DNAME, and below it": {"d IN DNAME example.net.\nx.d IN A 192.0.2.3\n", "peers-refuse: zone example.org., serial 7: x.d.example.org. A stands below a DNAME"},
		"no signature":          {"a IN RRSIG A 13 3 300 20400101000000 20240101000000 1 example.org.\n", "peers-refuse: zone example.org., serial 7: a.example.org. RRSIG lacks what it is there for"},
		"letters as they are":   {"b\u00dccher IN A 192.0.2.3\n", "case-changed: zone example.org., serial 7: b\u00fccher.example.org. A has letters outside ASCII"},
		"no UTF-8":              {"b\xdccher IN A 192.0.2.3\n", "case-changed: zone example.org., serial 7: b\ufffdcher.example.org. A has letters outside ASCII"},
		"two of one kind":       {"*.q IN NS ns1\n*.r IN NS ns1\n", "peers-refuse: zone example.org., serial 7: *.q.example.org. NS is at a wildcard"},
		"no $TTL":               {"0", "soa-ttl-zero: zone example.org., serial 7: example.org. SOA has a TTL of 0"},
		"no NS":                 {"-", "apex-no-ns: zone example.org., serial 7: example.org. NS is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			db := xfrtest.ZoneOrg + c.records
			switch c.records {
			case "-":
				db = strings.Replace(xfrtest.ZoneOrg, "@     IN NS  ns1\n", "", 1)
			case "0":
				db = strings.Replace(xfrtest.ZoneOrg, "$TTL ", "; ", 1)
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
}

// TestLintSerialZero: a zone file with serial 0 is taken while the server runs, which is a
// finding, for with such a file CoreDNS does not start.
func TestLintSerialZero(t *testing.T) {
	zero := strings.Replace(xfrtest.ZoneOrg, " 7 7200 ", " 0 7200 ", 1)
	corefile := xfrtest.Guarded("allow as ns2 net 127.0.0.1 key a.example.net. b.example.net.", "")
	if _, err := xfrtest.TryServe(t, corefile, map[string]string{"db": zero}); err == nil || !strings.Contains(err.Error(), "no change in SOA serial") {
		t.Errorf("CoreDNS starts with serial 0 (%v): it is no finding any more", err)
	}
	s := xfrtest.Serve(t, strings.Replace(corefile, "file DIR/db", "file DIR/db {\n\t\treload 20ms\n\t}", 1), map[string]string{"db": xfrtest.ZoneOrg})
	if err := os.WriteFile(filepath.Join(s.Dir, "db"), []byte(zero), 0o600); err != nil {
		t.Fatal(err)
	}
	audittest.Eventually(t, func() bool {
		got, err := xfrtest.TransferIn(t, s.Addr(t, "tcp", 0), xfrtest.Question(dns.TypeAXFR), xfrtest.KeyA, xfrtest.SecretA)
		return err == nil && got[0].(*dns.SOA).Serial == 0
	})
	s.Await(t, "policy-finding", 1)
	found := s.Findings(t)
	want := "zone example.org., serial 0: example.org. SOA has serial 0"
	for _, e := range found {
		if e["event.reason"] == "serial-zero" && strings.HasPrefix(fmt.Sprint(e["message"]), want) {
			return
		}
	}
	t.Errorf("got %v, want %q", found, want)
}
