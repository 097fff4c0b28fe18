// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package corefile

import (
	"encoding/base64"
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/finding"
	"github.com/xfrguard/xfrguard/internal/policy/policytest"

	"github.com/xfrguard/xfrguard/internal/policy"

	"github.com/coredns/caddy/caddyfile"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/miekg/dns"
)

// parseText parses the xfrguard lines of a server block with these keys.
func parseText(text string, keys ...string) ([]*Config, error) {
	tokens := caddyfile.NewDispenser("Testfile", strings.NewReader(text))
	return Parse(&tokens, keys)
}

// sameConfig compares what directives mean, not where they stand.
var sameConfig = cmp.Options{
	cmp.AllowUnexported(Config{}, Sink{}, Notify{}),
	cmpopts.IgnoreTypes(Position{}, []Position{}),
	cmpopts.EquateComparable(netip.AddrPort{}, netip.Addr{}),
	cmpopts.IgnoreFields(Notify{}, "Unclear"),
	cmpopts.IgnoreFields(Config{}, "Given"),
	cmpopts.SortSlices(func(a, b Notify) int { return a.Addrs[0].Compare(b.Addrs[0]) }), // rules say it too
	cmpopts.EquateEmpty(),
	cmp.Comparer(func(a, b policy.Nets) bool {
		return a.String() == b.String()
	}),
}

// expect is the default directive for example.org. with changes.
func expect(changes ...func(*Config)) *Config {
	c := &Config{
		Zones:      []string{"example.org."},
		Algorithms: []string{"hmac-sha256", "hmac-sha384", "hmac-sha512"},
		Limits: policy.Limits{
			Rate:  policy.Rate{Count: 60, Period: time.Minute, Burst: 10},
			Total: 16, PerClient: 4, Wait: 5 * time.Second,
			Timeout: 2 * time.Hour, Stall: 30 * time.Second, Pace: 4 << 10,
		},
		Audit:        []Sink{{Kind: "stdout"}},
		AuditFailure: "refuse",
		Mode:         "enforce",
		Elsewhere:    "refuse",
		Findings:     "warn",
		Cache:        268435456,
		Verify:       Verify{Zonemd: "warn", Dnssec: "warn"},
	}
	for _, change := range changes {
		change(c)
	}
	return c
}

func rules(list ...policy.Rule) func(*Config) { return func(c *Config) { c.Rules = list } }

var (
	hexPin    = "sha256:" + strings.Repeat("01ab", 16)
	base64Pin = base64.StdEncoding.EncodeToString(mustHex(strings.Repeat("01ab", 16)))
)

func mustHex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func TestParse(t *testing.T) {
	key := func(name string, more ...func(*policy.Rule)) policy.Rule {
		r := policy.Rule{Name: name, Keys: []string{"k."}}
		for _, m := range more {
			m(&r)
		}
		return r
	}
	tests := []struct {
		name, text string
		want       *Config
	}{
		{"the directive alone", ``, expect()},
		{"an empty block", "{\n}", expect()},
		{"the minimal use", "{\n allow as ns2 net 192.0.2.53 2001:db8::53 key ns2.example.org.\n}", expect(rules(
			policy.Rule{Name: "ns2", Nets: policytest.Nets("192.0.2.53/32", "2001:db8::53/128"), Keys: []string{"ns2.example.org."}},
		))},

		{"rules get names by position", "{\n deny net 10.0.0.0/8\n allow key a\n allow as b key b\n allow key c\n}", expect(rules(
			policy.Rule{Name: "rule-1", Deny: true, Nets: policytest.Nets("10.0.0.0/8")},
			policy.Rule{Name: "rule-2", Keys: []string{"a."}},
			policy.Rule{Name: "b", Keys: []string{"b."}},
			policy.Rule{Name: "rule-4", Keys: []string{"c."}},
		))},
		{"a rule's name that is its position's", "{\n allow as rule-1 key k\n}", expect(rules(key("rule-1")))},
		{"conditions in any order", "{\n allow key k tls as x net 10.0.0.1 type AXFR\n}", expect(rules(
			key("x", func(r *policy.Rule) {
				r.TLS, r.Nets, r.Types = true, policytest.Nets("10.0.0.1/32"), []uint16{dns.TypeAXFR}
			}),
		))},
		{"every condition", "{\n allow as x type axfr IXFR net 10.0.0.0/8 key A b. cert NS2.example.net *.example.net " + hexPin +
			" tls rate 5/1h burst 7 concurrent 3\n}", expect(rules(policy.Rule{
			Name: "x", Types: []uint16{dns.TypeAXFR, dns.TypeIXFR}, Nets: policytest.Nets("10.0.0.0/8"), Keys: []string{"a.", "b."},
			Certs: []policy.Cert{{Name: "ns2.example.net."}, {Name: "*.example.net."}, {SPKI: [32]byte(mustHex(strings.Repeat("01ab", 16)))}},
			TLS:   true, Rate: &policy.Rate{Count: 5, Period: time.Hour, Burst: 7}, Concurrent: 3,
		}))},
		{"a certificate implies TLS", "{\n allow cert ns2.example.net\n}", expect(rules(
			policy.Rule{Name: "rule-1", TLS: true, Certs: []policy.Cert{{Name: "ns2.example.net."}}},
		))},
		{"a pin in base64", "{\n allow cert " + base64Pin + "\n}", expect(rules(
			policy.Rule{Name: "rule-1", TLS: true, Certs: []policy.Cert{{SPKI: [32]byte(mustHex(strings.Repeat("01ab", 16)))}}},
		))},
		{"a pin in base64, with its algorithm", "{\n allow cert sha256:" + base64Pin + "\n}", expect(rules(
			policy.Rule{Name: "rule-1", TLS: true, Certs: []policy.Cert{{SPKI: [32]byte(mustHex(strings.Repeat("01ab", 16)))}}},
		))},
		{"a pin in upper case", "{\n allow cert sha256:" + strings.Repeat("01AB", 16) + "\n}", expect(rules(
			policy.Rule{Name: "rule-1", TLS: true, Certs: []policy.Cert{{SPKI: [32]byte(mustHex(strings.Repeat("01ab", 16)))}}},
		))},
		{"unsigned", "{\n allow net 10.0.0.0/8 unsigned\n}", expect(rules(
			policy.Rule{Name: "rule-1", Nets: policytest.Nets("10.0.0.0/8"), Unsigned: true},
		))},
		{"unsigned with a certificate", "{\n allow cert ns2.example.net unsigned\n}", expect(rules(
			policy.Rule{Name: "rule-1", TLS: true, Certs: []policy.Cert{{Name: "ns2.example.net."}}, Unsigned: true},
		))},
		{"tls until a day", "{\n allow key k tls until 2027-01-31\n}", expect(rules(
			key("rule-1", func(r *policy.Rule) { r.TLS, r.TLSUntil = true, time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC) }),
		))},
		{"tls until a moment", "{\n allow key k tls until 2027-01-31T18:00:00+01:00\n}", expect(rules(
			key("rule-1", func(r *policy.Rule) { r.TLS, r.TLSUntil = true, time.Date(2027, 1, 31, 17, 0, 0, 0, time.UTC) }),
		))},
		{"expires on a day", "{\n allow key k expires 2027-03-31 tls\n}", expect(rules(
			key("rule-1", func(r *policy.Rule) { r.TLS, r.Expires = true, time.Date(2027, 3, 31, 0, 0, 0, 0, time.UTC) }),
		))},
		{"expires at a moment", "{\n allow key k expires 2027-03-31T18:00:00+01:00\n}", expect(rules(
			key("rule-1", func(r *policy.Rule) { r.Expires = time.Date(2027, 3, 31, 17, 0, 0, 0, time.UTC) }),
		))},
		{"a rule goes on with one that ended", "{\n allow as short key k expires 2027-03-31\n allow as long key k expires 2027-04-30\n}", expect(rules(
			key("short", func(r *policy.Rule) { r.Expires = time.Date(2027, 3, 31, 0, 0, 0, 0, time.UTC) }),
			key("long", func(r *policy.Rule) { r.Expires = time.Date(2027, 4, 30, 0, 0, 0, 0, time.UTC) }),
		))},
		{"every address", "{\n allow net * key k\n}", expect(rules(key("rule-1", func(r *policy.Rule) { r.Nets = policytest.AnyNet() })))},
		{"every address by prefixes", "{\n allow net 0.0.0.0/0 ::/1 8000::/1 key k\n}", expect(rules(key("rule-1", func(r *policy.Rule) { r.Nets = policytest.AnyNet() })))},
		{"IPv4-mapped", "{\n allow net ::ffff:192.0.2.1 ::ffff:10.0.0.0/104 key k\n}", expect(rules(
			key("rule-1", func(r *policy.Rule) { r.Nets = policytest.Nets("192.0.2.1/32", "10.0.0.0/8") }),
		))},
		{"neighbours and what is inside of them", "{\n allow net 10.0.0.0/9 10.128.0.0/9 10.1.2.3 key k\n}", expect(rules(
			key("rule-1", func(r *policy.Rule) { r.Nets = policytest.Nets("10.0.0.0/8") }),
		))},
		{"a key named like a condition", "{\n allow key net. tls\n}", expect(rules(
			policy.Rule{Name: "rule-1", Keys: []string{"net."}, TLS: true},
		))},
		{"a key that looks like a secret, as a name", "{\n allow key Abcdefgh12345678.\n}", expect(rules(
			policy.Rule{Name: "rule-1", Keys: []string{"abcdefgh12345678."}},
		))},
		{"a rule's rate has a burst of its own", "{\n allow key k rate 5/1s\n}", expect(rules(
			key("rule-1", func(r *policy.Rule) { r.Rate = &policy.Rate{Count: 5, Period: time.Second, Burst: 5} }),
		))},
		{"a rule that is only partly shadowed", "{\n deny net 10.0.0.0/9\n allow net 10.0.0.0/8 key k\n}", expect(rules(
			policy.Rule{Name: "rule-1", Deny: true, Nets: policytest.Nets("10.0.0.0/9")},
			key("rule-2", func(r *policy.Rule) { r.Nets = policytest.Nets("10.0.0.0/8") }),
		))},

		{"algorithms", "{\n algorithms HMAC-SHA512. hmac-sha1 hmac-sha224\n}", expect(func(c *Config) {
			c.Algorithms = []string{"hmac-sha512", "hmac-sha1", "hmac-sha224"}
		})},
		{"rate", "{\n rate 600/1h\n}", expect(func(c *Config) { c.Limits.Rate = policy.Rate{Count: 600, Period: time.Hour, Burst: 10} })},
		{"a rate below the default burst", "{\n rate 3/1h30m\n}", expect(func(c *Config) { c.Limits.Rate = policy.Rate{Count: 3, Period: 90 * time.Minute, Burst: 3} })},
		{"rate with burst", "{\n rate 3/1h burst 20\n}", expect(func(c *Config) { c.Limits.Rate = policy.Rate{Count: 3, Period: time.Hour, Burst: 20} })},
		{"concurrent", "{\n concurrent 100\n}", expect(func(c *Config) { c.Limits.Total = 100 })},
		{"concurrent below the default per client", "{\n concurrent 2\n}", expect(func(c *Config) { c.Limits.Total, c.Limits.PerClient = 2, 2 })},
		{"all of concurrent", "{\n concurrent 8 wait 0s per-client 8\n}", expect(func(c *Config) {
			c.Limits.Total, c.Limits.PerClient, c.Limits.Wait = 8, 8, 0
		})},
		{"bandwidth", "{\n bandwidth 10MiB\n}", expect(func(c *Config) { c.Limits.Bandwidth = 10 << 20 })},
		{"timeout", "{\n timeout 10m\n}", expect(func(c *Config) { c.Limits.Timeout = 10 * time.Minute })},
		{"a timeout below the default stall", "{\n timeout 10s\n}", expect(func(c *Config) {
			c.Limits.Timeout, c.Limits.Stall = 10*time.Second, 10*time.Second
		})},
		{"all of timeout", "{\n timeout 1h pace 1KB stall 1m\n}", expect(func(c *Config) {
			c.Limits.Timeout, c.Limits.Stall, c.Limits.Pace = time.Hour, time.Minute, 1000
		})},
		{"no pace", "{\n timeout 2h pace off\n}", expect(func(c *Config) { c.Limits.Pace = 0 })},
		{"a bandwidth below the default pace", "{\n bandwidth 2000B\n}", expect(func(c *Config) { c.Limits.Bandwidth, c.Limits.Pace = 2000, 1000 })},
		{"a pace within the bandwidth", "{\n timeout 2h pace 1KB\n bandwidth 2KB\n}", expect(func(c *Config) { c.Limits.Bandwidth, c.Limits.Pace = 2000, 1000 })},
		{
			"sinks", "{\n audit file /var/log/xfr//audit.log\n audit journald\n audit syslog tls log.example.org:6514\n audit syslog tcp [::1]:601\n audit syslog unix /run/log\n audit stdout\n audit syslog\n}",
			expect(func(c *Config) {
				c.Audit = []Sink{
					{Kind: "file", Path: "/var/log/xfr/audit.log"},
					{Kind: "journald"},
					{Kind: "syslog", Network: "tls", Address: "log.example.org:6514"},
					{Kind: "syslog", Network: "tcp", Address: "[::1]:601"},
					{Kind: "syslog", Network: "unix", Address: "/run/log"},
					{Kind: "stdout"},
					{Kind: "syslog", Network: "unix", Address: "/dev/log"},
				}
			}),
		},
		{"audit_failure", "{\n audit_failure serve\n}", expect(func(c *Config) { c.AuditFailure = AuditServe })},
		{"audit_key", "{\n audit_key /etc/xfr.key\n audit file a.log\n}", expect(func(c *Config) {
			c.AuditKey, c.Audit = "/etc/xfr.key", []Sink{{Kind: "file", Path: "a.log"}}
		})},
		{"mode", "{\n mode observe\n}", expect(func(c *Config) { c.Mode = ModeObserve })},
		{"elsewhere", "{\n elsewhere pass\n}", expect(func(c *Config) { c.Elsewhere = ElsewherePass })},
		{"findings", "{\n findings fail\n}", expect(func(c *Config) { c.Findings = FindingsFail })},
		{"findings without some", "{\n findings fail except path-relative acl-blocks-soa\n}", expect(func(c *Config) {
			c.Findings, c.Except = FindingsFail, []finding.Code{finding.ACLBlocksSOA, finding.PathRelative}
		})},
		{"cache", "{\n cache 1GB\n}", expect(func(c *Config) { c.Cache = 1e9 })},
		{"hold", "{\n hold shrink 20%\n journal /var/lib/xfr\n}", expect(func(c *Config) { c.Journal, c.HoldShrink = "/var/lib/xfr", 20 })},
		{"verify", "{\n verify zonemd refuse\n verify dnssec warn full anchor /etc/coredns//example.ds\n journal d\n}", expect(func(c *Config) {
			c.Verify, c.Journal = Verify{"refuse", "warn", true, "/etc/coredns/example.ds"}, "d"
		})},
		{"verify dnssec", "{\n verify dnssec refuse anchor a\n journal d\n}", expect(func(c *Config) {
			c.Verify, c.Journal = Verify{"warn", "refuse", false, "a"}, "d"
		})},
		{"verify nothing", "{\n verify dnssec off\n verify zonemd off\n}", expect(func(c *Config) { c.Verify = Verify{"off", "off", false, ""} })},
		{"control", "{\n control /run/xfr/\n}", expect(func(c *Config) { c.Control = "/run/xfr" })},
		{"journal", "{\n journal /var/lib/xfr\n}", expect(func(c *Config) { c.Journal = "/var/lib/xfr" })},
		{"notify", "{\n notify 192.0.2.53 [2001:db8::53]:5300 ::ffff:192.0.2.54 key NS2 \n notify tls 192.0.2.53 192.0.2.55:8853\n}", expect(func(c *Config) {
			c.Notify = []Notify{
				{Addrs: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53"), netip.MustParseAddrPort("[2001:db8::53]:5300"), netip.MustParseAddrPort("192.0.2.54:53")}, Key: "ns2."},
				{Addrs: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:853"), netip.MustParseAddrPort("192.0.2.55:8853")}, TLS: true},
			}
		})},
		{"notify from an address", "{\n notify 192.0.2.53 source ::ffff:192.0.2.1 key k\n notify source fe80::1%eth0 [fe80::53%eth0]:5300 fe80::54 \n}", expect(func(c *Config) {
			c.Notify = []Notify{
				{Addrs: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53")}, Source: netip.MustParseAddr("192.0.2.1"), Key: "k."},
				{Addrs: []netip.AddrPort{netip.MustParseAddrPort("[fe80::53%eth0]:5300"), netip.MustParseAddrPort("[fe80::54]:53")}, Source: netip.MustParseAddr("fe80::1%eth0")},
			}
		})},
		{"notify by a rule", "{\n allow as a net 192.0.2.3 192.0.2.2 ::ffff:192.0.2.1 key k notify\n allow as b notify net 2001:db8::1 unsigned\n}", expect(func(c *Config) {
			c.Rules = []policy.Rule{
				{Name: "a", Nets: policytest.Nets("192.0.2.1/32", "192.0.2.2/31"), Keys: []string{"k."}, Notify: true},
				{Name: "b", Nets: policytest.Nets("2001:db8::1/128"), Unsigned: true, Notify: true},
			}
			c.Notify = []Notify{
				{Addrs: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:53"), netip.MustParseAddrPort("192.0.2.2:53"), netip.MustParseAddrPort("192.0.2.3:53")}, Key: "k.", Rule: "a"},
				{Addrs: []netip.AddrPort{netip.MustParseAddrPort("[2001:db8::1]:53")}, Rule: "b"},
			}
		})},
		{"comments and quotes", "{ # why\n audit file \"/var/log/my audit.log\" # here\n}", expect(func(c *Config) {
			c.Audit = []Sink{{Kind: "file", Path: "/var/log/my audit.log"}}
		})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseText("xfrguard "+tt.text, "dns://example.org.:53")
			if err != nil {
				t.Fatal(err)
			}
			for i := range tt.want.Rules {
				if r := &tt.want.Rules[i]; r.Nets.Empty() { // the line has no `net`
					r.Nets.ImplyAny()
				}
			}
			if diff := cmp.Diff([]*Config{tt.want}, got, sameConfig); diff != "" {
				t.Errorf("parse (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseZones(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		keys       []string
		want       [][]string
	}{
		{"of the server block", "xfrguard", []string{"example.org:53", "EXAMPLE.com"}, [][]string{{"example.com.", "example.org."}}},
		{"once, for each port", "xfrguard", []string{"dns://example.org.:53", "tls://example.org.:853"}, [][]string{{"example.org."}}},
		{"named", "xfrguard Example.ORG sub.example.org.", []string{"."}, [][]string{{"example.org.", "sub.example.org."}}},
		{"reverse", "xfrguard 10.0.0.0/24 2001:db8::/32", []string{"."}, [][]string{{"0.0.10.in-addr.arpa.", "8.b.d.0.1.0.0.2.ip6.arpa."}}},
		{"reverse, off the octet", "xfrguard 10.0.0.0/23", []string{"."}, [][]string{{"0.0.10.in-addr.arpa.", "1.0.10.in-addr.arpa."}}},
		{"classless reverse", "xfrguard 0/25.2.0.192.in-addr.arpa", []string{"."}, [][]string{{"0/25.2.0.192.in-addr.arpa."}}},
		{"the root", "xfrguard .", []string{"."}, [][]string{{"."}}},
		{"escaped", `xfrguard a\.b.example.org \065.example.org`, []string{"."}, [][]string{{`a\.b.example.org.`, "a.example.org."}}},
		{"several directives", "xfrguard example.org\nxfrguard sub.example.org {\n}\n", []string{"example.org"}, [][]string{{"example.org."}, {"sub.example.org."}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			configs, err := parseText(tt.text, tt.keys...)
			if err != nil {
				t.Fatal(err)
			}
			var got [][]string
			for _, c := range configs {
				got = append(got, c.Zones)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("zones (-want +got):\n%s", diff)
			}
		})
	}
}

// TestParseBlockWide: what one directive says of the server block holds for all.
func TestParseBlockWide(t *testing.T) {
	configs, err := parseText("xfrguard a.example\nxfrguard b.example {\n mode observe\n elsewhere pass\n findings fail\n audit_failure serve\n}\nxfrguard c.example {\n mode observe\n}", ".")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range configs {
		if c.Mode != ModeObserve || c.Elsewhere != ElsewherePass || c.Findings != FindingsFail {
			t.Errorf("%v: mode %s, elsewhere %s, findings %s", c.Zones, c.Mode, c.Elsewhere, c.Findings)
		}
	}
	if configs[0].AuditFailure != AuditRefuse || configs[1].AuditFailure != AuditServe {
		t.Error("audit_failure went from one directive to another")
	}
}

// TestParseSinksPerDirective: the first audit line of each directive takes the
// place of the default, and of nothing else.
func TestParseSinksPerDirective(t *testing.T) {
	configs, err := parseText("xfrguard a.example {\n audit journald\n}\nxfrguard b.example {\n audit file b.log\n audit journald\n}\nxfrguard c.example", ".")
	if err != nil {
		t.Fatal(err)
	}
	want := [][]Sink{{{Kind: "journald"}}, {{Kind: "file", Path: "b.log"}, {Kind: "journald"}}, {{Kind: "stdout"}}}
	for i, c := range configs {
		if !slices.Equal(c.Audit, want[i]) {
			t.Errorf("%v: sinks %v, want %v", c.Zones, c.Audit, want[i])
		}
	}
}

// TestParseShadowed has two rules each, of which the second one is dead or not.
func TestParseShadowed(t *testing.T) {
	for _, tt := range []struct {
		first, later string
		dead         bool
	}{
		{"deny net 10.0.0.0/8", "allow net 10.0.0.0/8 key k", true},
		{"deny net 10.0.0.0/9 10.128.0.0/9", "allow net 10.0.0.0/8 key k", true}, // only together
		{"deny net 10.0.0.0/8", "allow net 10.0.0.0/8 11.0.0.1 key k", false},
		{"deny net 10.0.0.0/8", "allow key k", false},
		{"deny net 10.0.0.0/8", "allow net * key k", false},
		{"deny net 0.0.0.0/0", "allow net * key k", false},
		{"deny net 0.0.0.0/0 ::/0", "allow key k", true},
		{"deny net ::/0", "allow net ::ffff:10.0.0.1 key k", false},
		{"deny net *", "deny net 10.0.0.1", true},

		{"allow key a b", "allow key b", true},
		{"allow key a", "allow key a b", false},
		{"allow key a", "allow unsigned", false},
		{"allow unsigned", "allow key a", true},
		{"allow key a", "deny net 10.0.0.1", false},
		{"allow unsigned", "deny net 10.0.0.1", true},
		{"allow key a", "allow cert a.example", false},

		{"allow type AXFR key a", "allow type AXFR key a", true},
		{"allow type AXFR IXFR key a", "allow key a", true},
		{"allow type AXFR key a", "allow key a", false},
		{"allow type AXFR key a", "allow type IXFR key a", false},
		{"allow key a", "allow type IXFR key a", true},

		{"allow cert a.example", "allow key k tls", false},
		{"allow cert a.example", "allow cert a.example key k", true},
		{"allow cert a.example", "allow cert a.example b.example", false},
		{"allow cert *.b.example", "allow cert a.b.example", true},
		{"allow cert a.b.example", "allow cert *.b.example", false}, // a.b.example is one of many
		{"allow cert " + hexPin, "allow cert " + base64Pin, true},
		{"allow cert " + hexPin, "allow cert a.example", false},
		{"allow cert a.example", "allow cert " + hexPin, false},
		{"allow key k tls", "allow cert a.example key k", true},

		{"allow key k tls", "allow key k", false},
		{"allow key k", "allow key k tls", true},
		{"allow key k tls", "allow key k tls until 2027-01-31", false},
		{"allow key k tls until 2027-01-31", "allow key k tls", true},
		{"allow key k tls until 2027-01-31", "allow key k tls until 2027-01-31", true},
		{"allow key k tls until 2027-01-31", "allow key k tls until 2027-01-30", true},
		{"allow key k tls until 2027-01-31", "allow key k tls until 2027-02-01", false}, // one more day of plain TCP
		{"allow key k tls until 2027-01-31", "allow key k", false},

		{"allow key k rate 1/1h concurrent 1", "allow key k rate 9/1h", true}, // limits are no conditions
	} {
		t.Run(tt.first+", "+tt.later, func(t *testing.T) {
			_, err := parseText("xfrguard example.org {\n"+tt.first+"\n"+tt.later+"\n}", "example.org")
			if dead := err != nil && strings.Contains(err.Error(), "can never match"); dead != tt.dead || err != nil && !dead {
				t.Errorf("error %v, want dead %v", err, tt.dead)
			}
		})
	}
}

func TestParsePositions(t *testing.T) {
	configs, err := parseText("xfrguard a.example {\n\n deny net 10.0.0.1\n allow key k\n notify 192.0.2.1\n}\n\nxfrguard b.example", ".")
	if err != nil {
		t.Fatal(err)
	}
	a, b := configs[0], configs[1]
	got := append([]Position{a.Pos, b.Pos, a.Notify[0].Pos}, a.RulePos...)
	want := []Position{{"Testfile", 1}, {"Testfile", 8}, {"Testfile", 5}, {"Testfile", 3}, {"Testfile", 4}}
	if !slices.Equal(got, want) {
		t.Errorf("positions %v, want %v", got, want)
	}
}
