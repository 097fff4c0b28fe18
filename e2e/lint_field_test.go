// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"strings"
	"testing"

	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/transfer"
	"github.com/miekg/dns"
)

// clusterZones stands for kubernetes, which has no place in these tests: its zones are all
// that is looked at.
type clusterZones struct {
	plugin.Handler
	Zones []string
}

func (clusterZones) Name() string { return "kubernetes" }

func (clusterZones) Transfer(string, uint32) (<-chan []dns.RR, error) {
	return nil, transfer.ErrNotAuthoritative
}

func init() {
	plugin.Register("kubernetes", func(c *caddy.Controller) error {
		c.Next()
		zones := c.RemainingArgs()
		dnsserver.GetConfig(c).AddPlugin(func(next plugin.Handler) plugin.Handler { return clusterZones{next, zones} })
		return nil
	})
}

// TestLintField: what has another effect than it seems in Corefiles as operators have them
// is a finding with its code, and what has none is not.
func TestLintField(t *testing.T) {
	const ns2 = "allow as ns2 net 127.0.0.53 key a.example.net. b.example.net."
	files := map[string]string{"db": xfrtest.ZoneOrg, "bare": strings.TrimPrefix(xfrtest.ZoneOrg, "$ORIGIN example.org.\n"), "hosts": "192.0.2.7 seven.example.org\n", "other": "192.0.2.7 seven.example.com\n"}
	with := func(lines, extra string) string { return xfrtest.Guarded(lines, extra) }
	// A block for all names, of which one zone is guarded.
	beside := func(extra string) string {
		return strings.NewReplacer("example.org:0 {", ".:0 {", "xfrguard {", "xfrguard example.org {\n\t\tfindings fail", "file DIR/db", "file DIR/db example.org").Replace(xfrtest.Guarded(ns2, extra))
	}
	acl := func(lines ...string) string { return "acl {\n\t\t" + strings.Join(lines, "\n\t\t") + "\n\t}" }
	for name, c := range map[string]struct {
		corefile string
		want     string // "CODE: text" of the only finding; "" for none
	}{
		"good": {with(ns2, ""), ""},

		"transfer to, for NOTIFY":      {with(ns2, "transfer {\n\t\tto 127.0.0.53:9\n\t}"), ""},
		"transfer to, somebody else":   {with(ns2, "transfer {\n\t\tto 127.0.0.53:9 127.0.0.54:9\n\t}"), "transfer-to-refused: transfer to no longer decides about transfers in this server block: 127.0.0.54 is notified of example.org., and no rule allows it"},
		"transfer to, denied":          {with("deny net 127.0.0.53\n\t\tallow as all net 127.0.0.0/24 key a.example.net. b.example.net.", "transfer {\n\t\tto 127.0.0.53:9\n\t}"), "transfer-to-refused: transfer to no longer decides about transfers in this server block: 127.0.0.53"},
		"transfer to, another zone":    {with(ns2, "transfer example.net {\n\t\tto 127.0.0.54:9\n\t}"), ""},
		"transfer to everybody":        {with(ns2, "transfer {\n\t\tto *\n\t}"), "transfer-to-refused: transfer to no longer decides about transfers in this server block: 'to *' lets nobody in"},
		"acl, and all get through":     {with(ns2, acl("allow net 127.0.0.0/8", "block")), ""},
		"acl, transfers alone":         {with(ns2, acl("block type AXFR IXFR")), ""},
		"acl, other queries":           {with(ns2, acl("block type A")), ""},
		"acl, another zone":            {with(ns2, "acl example.net {\n\t\tblock\n\t}"), ""},
		"acl blocks":                   {with(ns2, acl("allow net 10.0.0.0/8", "block")), `acl-blocks-soa: acl refuses the SOA query of 127.0.0.53 for example.org., whose transfer rule "ns2" allows`},
		"acl filters":                  {with(ns2, acl("filter type SOA")), "acl-blocks-soa: acl refuses the SOA query of 127.0.0.53"},
		"acl drops":                    {with(ns2, acl("drop net 127.0.0.53")), "acl-blocks-soa: acl refuses the SOA query of 127.0.0.53"},
		"acl blocks one of a rule":     {with("allow as two net 127.0.0.53 127.0.0.54 key a.example.net.", acl("block net 127.0.0.54")), "acl-blocks-soa: acl refuses the SOA query of 127.0.0.54 for"},
		"acl blocks a prefix":          {with("allow as lan net 127.0.1.0/24 key a.example.net.", acl("block net 127.0.1.0/24")), "acl-blocks-soa: acl refuses the SOA query of 127.0.1.0 for"},
		"acl blocks who is denied":     {with("deny net 127.0.0.54\n\t\tallow as lan net 127.0.0.53 127.0.0.54 key a.example.net.", acl("block net 127.0.0.54")), ""},
		"acl blocks strangers, IPv6":   {with("allow as six net ::1 key a.example.net.", acl("allow net ::1", "block")), ""},
		"acl blocks IPv6":              {with("allow as six net ::1 key a.example.net.", acl("block net ::/0")), "acl-blocks-soa: acl refuses the SOA query of ::1 for"},
		"tsig require, and a key":      {strings.Replace(with(ns2, ""), "tsig {", "tsig {\n\t\trequire AXFR", 1), ""},
		"tsig require, unsigned":       {strings.Replace(with("allow as open net 127.0.0.53 unsigned", ""), "tsig {", "tsig {\n\t\trequire all", 1), `tsig-require-ignored: tsig require no longer decides about transfers in this server block, and rule "open" lets in without a signature`},
		"hosts in the zone":            {with(ns2, "hosts DIR/hosts"), "answers-not-transferred: hosts answers for seven.example.org."},
		"hosts, inline":                {with(ns2, "hosts {\n\t\t192.0.2.8 eight.example.org\n\t}"), "answers-not-transferred: hosts answers for eight.example.org."},
		"hosts of another zone":        {with(ns2, "hosts DIR/other"), ""},
		"template in the zone":         {with(ns2, "template IN A example.org {\n\t\tanswer \"{{ .Name }} 60 IN A 192.0.2.9\"\n\t}"), "answers-not-transferred: template answers for example.org."},
		"template below":               {with(ns2, "template IN A gen.example.org {\n\t\tanswer \"{{ .Name }} 60 IN A 192.0.2.9\"\n\t}"), "answers-not-transferred: template answers for gen.example.org."},
		"template of another zone":     {with(ns2, "template IN A example.net {\n\t\tanswer \"{{ .Name }} 60 IN A 192.0.2.9\"\n\t}"), ""},
		"rewrite answer":               {with(ns2, "rewrite stop {\n\t\tname regex (.*)\\.old\\.example\\.org {1}.example.org\n\t\tanswer name (.*)\\.example\\.org {1}.old.example.org\n\t}"), "answers-not-transferred: rewrite changes names"},
		"rewrite answer, elsewhere":    {beside("rewrite name suffix .foo.example .bar.example answer auto"), ""},
		"rewrite answer, by pattern":   {beside("rewrite stop {\n\t\tname regex (.*)\\.foo\\.example {1}.bar.example\n\t\tanswer name (.*)\\.bar\\.example {1}.foo.example\n\t}"), ""},
		"rewrite answer, both":         {beside("rewrite name suffix .foo.example .bar.example answer auto\n\trewrite name suffix .old.EXAMPLE.org .example.org answer auto"), "answers-not-transferred: Corefile:14: rewrite changes names"},
		"rewrite answer, all names":    {beside("rewrite name regex (.*) {1} answer auto"), "answers-not-transferred: Corefile:13: rewrite changes names"},
		"rewrite answer, no zone":      {with(ns2, "rewrite name suffix .foo.example .bar.example answer auto"), "answers-not-transferred: rewrite changes names"},
		"rewrite":                      {with(ns2, "rewrite name a.example.org b.example.org"), ""},
		"kubernetes, a reverse zone":   {strings.NewReplacer("example.org:0 {", "example.org:0 0.0.10.in-addr.arpa:0 {", "file DIR/db", "file DIR/db example.org").Replace(with(ns2, "kubernetes cluster.local 0.0.10.in-addr.arpa")), "reverse-kubernetes: kubernetes transfers services under the name of its reverse zone 0.0.10.in-addr.arpa."},
		"kubernetes, not guarded":      {with(ns2, "kubernetes cluster.local 0.0.10.in-addr.arpa"), ""},
		"no backend":                   {strings.Replace(with(ns2, ""), "file DIR/db", "whoami", 1), "zone-no-backend: no plugin of this server block has the zone example.org."},
		"no backend, another zone":     {strings.Replace(with(ns2, ""), "file DIR/db", "file DIR/bare www.example.org", 1), "zone-no-backend: no plugin of this server block has the zone example.org."},
		"auto has it, or will":         {strings.Replace(with(ns2, ""), "file DIR/db", "auto {\n\t\tdirectory DIR\n\t}", 1), ""},
		"secondary has it":             {strings.Replace(with(ns2, ""), "file DIR/db", "secondary {\n\t\ttransfer from 127.0.0.1:9\n\t}", 1), ""},
		"a rule after the deny":        {with("allow as lan net 127.0.0.0/24 key a.example.net.\n\t\tdeny as stolen net 127.0.0.66", ""), `deny-no-effect: rule "stolen" denies nobody whom rule "lan" in front of it lets in`},
		"the deny in front":            {with("deny as stolen net 127.0.0.66\n\t\tallow as lan net 127.0.0.0/24 key a.example.net.", ""), ""},
		"a closing deny":               {with(ns2+"\n\t\tdeny net *", ""), ""},
		"a closing deny of the rest":   {with(ns2+"\n\t\tdeny net 127.0.0.0/8", ""), ""},
		"a deny of just that":          {with("allow as one net 127.0.0.66 key a.example.net.\n\t\tdeny as same net 127.0.0.66", ""), `deny-no-effect: rule "same" denies nobody`},
		"a deny between":               {with("allow as one net 127.0.0.66 key a.example.net.\n\t\tdeny net 127.0.0.66\n\t\tallow as lan net 127.0.0.0/24 key b.example.net.", ""), ""},
		"no rules":                     {with("", ""), "policy-empty: there is no allow rule here"},
		"nobody, and said so":          {with("deny net *", ""), ""},
		"a slow bandwidth":             {with(ns2+"\n\t\tbandwidth 8KiB", ""), "bandwidth-too-low: with a bandwidth of 8192 bytes a second"},
		"the least bandwidth":          {with(ns2+"\n\t\tbandwidth 10KiB", ""), ""},
		"a secret of 64 bits":          {strings.Replace(with(ns2, ""), xfrtest.SecretB, "YWJjZGVmZ2g=", 1), "secret-short: the secret of TSIG key b.example.net. has 64 bits"},
		"one secret for two":           {strings.Replace(with(ns2, ""), xfrtest.SecretB, xfrtest.SecretA, 1), "secret-shared: TSIG keys a.example.net. and b.example.net. have the same secret"},
		"a name with capitals":         {strings.Replace(with(ns2, ""), "secret a.example.net.", "secret A.Example.net.", 1), "key-case: TSIG key A.Example.net. has capitals"},
		"an unguarded block":           {with(ns2, "") + strings.ReplaceAll(xfrtest.Unguarded, "TRANSFER", "transfer {\n\t\tto *\n\t}"), "block-transfer-unguarded: the server block of example.com. (dns://127.0.0.1:0) has transfer and no xfrguard"},
		"an unguarded block, no zones": {with(ns2, "") + strings.ReplaceAll(xfrtest.Unguarded, "TRANSFER", ""), ""},
		"an unguarded block, let pass": {with(ns2+"\n\t\telsewhere pass", "") + strings.ReplaceAll(xfrtest.Unguarded, "TRANSFER", "transfer {\n\t\tto *\n\t}"), ""},
		"an unguarded block, observed": {with(ns2+"\n\t\tmode observe", "") + strings.ReplaceAll(xfrtest.Unguarded, "TRANSFER", "transfer {\n\t\tto *\n\t}"), ""},
		"observed, and refuse is said": {with(ns2+"\n\t\tmode observe\n\t\telsewhere refuse", "") + strings.ReplaceAll(xfrtest.Unguarded, "TRANSFER", ""), "property-ignored: elsewhere refuse only records"},
		"everything but that one":      {with(ns2+"\n\t\tbandwidth 1KiB\n\t\tfindings fail except bandwidth-too-low", ""), ""},
	} {
		t.Run(name, func(t *testing.T) {
			text := c.corefile
			if !strings.Contains(text, "findings fail") {
				text = strings.Replace(text, "xfrguard {", "xfrguard {\n\t\tfindings fail", 1)
			}
			_, err := xfrtest.TryServe(t, text, files)
			if c.want == "" {
				if err != nil {
					t.Errorf("a finding: %v", err)
				}
				return
			}
			code, says, coded := strings.Cut(c.want, ": ")
			switch {
			case err == nil || !strings.Contains(err.Error(), says) || coded && !strings.Contains(err.Error(), "set: "+code+": "):
				t.Errorf("got %v, want %s", err, c.want)
			case coded && strings.Count(err.Error(), "Corefile:") != 1:
				t.Errorf("more than one finding: %v", err)
			case coded:
				if _, err := xfrtest.TryServe(t, strings.Replace(text, "findings fail", "findings fail except "+code, 1), files); err != nil {
					t.Errorf("with except %s: %v", code, err)
				}
			}
		})
	}
}
