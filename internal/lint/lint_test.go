// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"strings"
	"testing"
	"time"

	"github.com/coredns/caddy/caddyfile"

	"github.com/xfrguard/xfrguard/internal/corefile"
)

// TestBlock: what is found in the text of directives alone, without a server.
func TestBlock(t *testing.T) {
	const ns2 = " allow as ns2 net 192.0.2.53 key k.\n"
	now := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct{ text, want string }{
		"good":              {"xfrguard {\n" + ns2 + " audit file /var/log/xfr.log\n journal /var/lib/xfr\n}", ""},
		"relative file":     {"xfrguard {\n" + ns2 + " audit file xfr.log\n}", "path-relative: Testfile:1: audit file xfr.log depends on"},
		"relative DIR":      {"xfrguard {\n" + ns2 + " journal xfr\n}", "path-relative: Testfile:1: journal xfr depends on"},
		"second cache":      {"xfrguard {\n" + ns2 + "}\nxfrguard sub.example.org {\n" + ns2 + " cache 1GiB\n}", "property-ignored: Testfile:6: cache of a server block is that of its first directive, at Testfile:1"},
		"the same cache":    {"xfrguard {\n" + ns2 + " cache 1GiB\n}\nxfrguard sub.example.org {\n" + ns2 + " cache 1GiB\n}", ""},
		"until is over":     {"xfrguard {\n allow as ns2 net 192.0.2.53 key k. tls until 2026-12-31\n}", `tls-until-over: Testfile:2: rule "ns2" has not let plain TCP in since 2026-12-31T00:00:00Z`},
		"until to come":     {"xfrguard {\n allow as ns2 net 192.0.2.53 key k. tls until 2027-01-02\n}", ""},
		"expires later":     {"xfrguard {\n allow as ns2 net 192.0.2.53 key k. expires 2027-02-01\n}", ""},
		"expires soon":      {"xfrguard {\n allow as ns2 net 192.0.2.53 key k. expires 2027-01-31\n}", `rule-expires-soon: Testfile:2: rule "ns2" allows nobody from 2027-01-31T00:00:00Z on`},
		"has expired":       {"xfrguard {\n allow as ns2 net 192.0.2.53 key k. expires 2027-01-01\n}", `rule-expires-soon: Testfile:2: rule "ns2" has allowed nobody since 2027-01-01T00:00:00Z`},
		"observed":          {"xfrguard {\n" + ns2 + " mode observe\n notify 192.0.2.53\n}", "property-ignored: Testfile:4: notify has no effect in mode observe"},
		"control, observed": {"xfrguard {\n" + ns2 + " mode observe\n control /run/xfr\n}", "property-ignored: Testfile:4: control has no effect in mode observe"},
		"notify, unclear":   {"xfrguard {\n" + ns2 + " notify 2001:db8::53:5300\n}", "notify-ambiguous: Testfile:3: notify 2001:db8::53:5300 goes to that address at port 53"},
		"empty":             {"xfrguard", "policy-empty: Testfile:1: there is no allow rule here"},
	} {
		tokens := caddyfile.NewDispenser("Testfile", strings.NewReader(c.text))
		configs, err := corefile.Parse(&tokens, []string{"example.org"})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		fs := Block(configs, now)
		switch got := fs.String(); {
		case c.want == "" && got != "", c.want != "" && (len(fs) != 1 || !strings.HasPrefix(got, c.want)):
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}
