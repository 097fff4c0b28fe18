// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"strings"
	"testing"

	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/evidence/catest"
	"github.com/xfrguard/xfrguard/internal/xfrtest"
)

// TestLintTLS: rules over TLS that ask for less than RFC 9103 §7.5, and those that
// the listener leaves without effect, are findings with file and line; others are none.
func TestLintTLS(t *testing.T) {
	files := xfrtest.XoTFiles(t, catest.New(t))
	const (
		noCA     = "{\n\t\tclient_auth request\n\t}"
		noCAhard = "{\n\t\tclient_auth require_and_verify\n\t}"
		pin      = "sha256:0101010101010101010101010101010101010101010101010101010101010101"
	)
	both := func(rule, tls string) string { return xfrtest.XoTBlock(rule, tls, "") }
	only := func(rule, tls string) string { return strings.Replace(both(rule, tls), "dns://example.org:0 ", "", 1) }
	plain := func(rule string) string { return xfrtest.Guarded(rule, "") }
	for name, c := range map[string]struct {
		corefile string
		want     string // "" is no finding
	}{
		"address alone":            {both("allow as r net 127.0.0.1 tls unsigned", ""), `rule "r" rests on an address alone: RFC 9103 §7.5 wants a client certificate, or both an address and a TSIG key`},
		"address alone, block":     {only("allow as r net 127.0.0.1 unsigned", ""), `rule "r" rests on an address alone`},
		"TSIG alone":               {both("allow as r key a.example.net. tls", ""), `rule "r" rests on TSIG without an address`},
		"TSIG alone, every net":    {both("allow as r net * key a.example.net. tls", ""), `rule "r" rests on TSIG without an address`},
		"TSIG alone, block":        {only("allow as r key a.example.net.", ""), `rule "r" rests on TSIG without an address`},
		"nothing":                  {both("allow as r tls unsigned", ""), `rule "r" asks nobody over TLS who they are`},
		"never asked":              {both("allow as r net 127.0.0.1 cert ns2.example.net", ""), `rule "r" lets nobody in: the tls plugin never asks for a client certificate`},
		"never asked, pin":         {both("allow as r net 127.0.0.1 cert "+pin, xfrtest.ClientAuth("nocert")), `rule "r" lets nobody in: the tls plugin never asks for a client certificate`},
		"never verified":           {both("allow as r net 127.0.0.1 cert ns2.example.net", noCA), `rule "r" never accepts ns2.example.net.: there is no CA`},
		"never verified, and pin":  {both("allow as r net 127.0.0.1 cert ns2.example.net "+pin, noCA), `rule "r" never accepts ns2.example.net.: there is no CA`},
		"any CA of the system":     {both("allow as r net 127.0.0.1 cert ns3.example.net ns2.example.net", noCAhard), `rule "r" believes every CA that this system trusts about ns2.example.net. ns3.example.net.`},
		"no TLS listener":          {plain("allow as r net 127.0.0.1 key a.example.net. tls"), `rule "r" lets nobody in: it needs TLS, and this server block has no tls:// listener`},
		"no TLS listener, cert":    {plain("allow as r net 127.0.0.1 cert ns2.example.net"), `rule "r" lets nobody in: it needs TLS`},
		"no TLS listener, until":   {plain("allow as r net 127.0.0.1 key a.example.net. tls until 2999-01-01"), `rule "r" lets nobody in from 2999-01-01T00:00:00Z on`},
		"the date has passed":      {both("allow as r net 127.0.0.1 key a.example.net. tls until 2020-01-01", ""), `rule "r" has not let plain TCP in since 2020-01-01T00:00:00Z`},
		"tls:// without TLS":       {strings.Replace(both("allow as r net 127.0.0.1 key a.example.net.", ""), "tls DIR/cert.pem DIR/key.pem", "", 1), "tls:// without the tls plugin is plain TCP"},
		"a zone twice":             {strings.Replace(both("allow as r net 127.0.0.1 key a.example.net.", ""), "file DIR/db example.org", "file DIR/db", 1), "file has example.org. twice"},
		"good: twice, no reload":   {strings.Replace(both("allow as r net 127.0.0.1 key a.example.net.", ""), "file DIR/db example.org", "file DIR/db {\n\t\treload 0\n\t}", 1), ""},
		"observe":                  {both("allow as r net 127.0.0.1 tls unsigned\n\t\tmode observe", ""), `rule "r" rests on an address alone`},
		"good: address and key":    {both("allow as r net 127.0.0.1 key a.example.net. tls", ""), ""},
		"good: the block":          {only("allow as r net 127.0.0.1 key a.example.net.", ""), ""},
		"good: a name":             {both("allow as r net 127.0.0.1 cert ns2.example.net", xfrtest.ClientAuth("verify_if_given")), ""},
		"good: a name, requested":  {both("allow as r net 127.0.0.1 cert ns2.example.net", xfrtest.ClientAuth("request")), ""},
		"good: a pin":              {both("allow as r net 127.0.0.1 cert "+pin, noCA), ""},
		"good: a date to come":     {both("allow as r net 127.0.0.1 key a.example.net. tls until 2999-01-01", ""), ""},
		"good: address alone, TCP": {both("allow as r net 127.0.0.1 unsigned", ""), ""},
		"good: no TLS at all":      {plain("allow as r net 127.0.0.1 unsigned"), ""},
		"good: a deny rule":        {only("deny as r net *", ""), ""},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(c.corefile, "xfrguard {", "xfrguard {\n\t\tfindings fail", 1)
			_, err := xfrtest.TryServe(t, text, files)
			line := 1 + strings.Count(text[:strings.Index(text, " as r ")], "\n")
			switch {
			case c.want == "" && err != nil:
				t.Errorf("a finding: %v", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want %s", err, c.want)
			case strings.HasPrefix(c.want, "rule") && !strings.Contains(err.Error(), corefile.Position{File: "Corefile", Line: line}.String()+": "+c.want):
				t.Errorf("%v does not name line %d", err, line)
			}
			if name == "a zone twice" {
				return // it would never stop
			}
			if _, err := xfrtest.TryServe(t, c.corefile, files); err != nil {
				t.Errorf("without findings fail: %v", err)
			}
		})
	}
}
