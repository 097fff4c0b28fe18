// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package corefile

import (
	"fmt"
	"math/big"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/policy/policytest"

	"github.com/xfrguard/xfrguard/internal/policy"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	"pgregory.net/rapid"
)

func drawDuration(t *rapid.T, label string, least time.Duration) time.Duration {
	return time.Duration(rapid.Int64Range(int64(least), int64(maxDuration)).Draw(t, label))
}

func drawRate(t *rapid.T, label string) policy.Rate {
	return policy.Rate{
		Count:  rapid.IntRange(1, maxCount).Draw(t, label+" count"),
		Period: drawDuration(t, label+" period", minDuration),
		Burst:  rapid.IntRange(1, maxCount).Draw(t, label+" burst"),
	}
}

func drawConfig(t *rapid.T) *Config {
	c := &Config{
		Zones:        policytest.Few(t, "zones", []string{"example.org.", "sub.example.org.", `a\.b.example.org.`, "0.10.in-addr.arpa.", "."}),
		Algorithms:   rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"hmac-sha256", "hmac-sha1", "hmac-sha224", "hmac-sha384", "hmac-sha512"}), 1, 5, rapid.ID[string]).Draw(t, "algorithms"),
		AuditFailure: rapid.SampledFrom([]AuditFailure{AuditRefuse, AuditServe}).Draw(t, "audit_failure"),
		Mode:         rapid.SampledFrom([]Mode{ModeEnforce, ModeObserve}).Draw(t, "mode"),
		Elsewhere:    rapid.SampledFrom([]Elsewhere{ElsewhereRefuse, ElsewherePass}).Draw(t, "elsewhere"),
		Findings:     rapid.SampledFrom([]FindingsMode{FindingsWarn, FindingsFail}).Draw(t, "findings"),
		Cache:        rapid.Int64Min(1).Draw(t, "cache"),
		Control:      rapid.SampledFrom([]string{"", "/run/xfr", "/run/my control"}).Draw(t, "control"),
		Journal:      rapid.SampledFrom([]string{"", "/var/lib/xfr", "my journal"}).Draw(t, "journal"),
		Audit: rapid.SliceOfNDistinct(rapid.SampledFrom([]Sink{
			{Kind: "stdout"},
			{Kind: "journald"},
			{Kind: "file", Path: "a.log"},
			{Kind: "file", Path: "/var/log/my log#1"},
			{Kind: "syslog", Network: "unix", Address: "/dev/log"},
			{Kind: "syslog", Network: "tls", Address: "[2001:db8::1]:6514"},
		}), 1, 6, rapid.ID[Sink]).Draw(t, "audit"),
	}
	modes := []VerifyMode{VerifyOff, VerifyWarn}
	if c.Journal != "" {
		modes = append(modes, VerifyRefuse)
	}
	c.Verify = Verify{Zonemd: rapid.SampledFrom(modes).Draw(t, "zonemd"), Dnssec: rapid.SampledFrom(modes).Draw(t, "dnssec")}
	if c.Verify.Dnssec != VerifyOff {
		c.Verify.Full = rapid.Bool().Draw(t, "full")
		c.Verify.Anchor = rapid.SampledFrom([]string{"", "/etc/an anchor"}).Draw(t, "anchor")
	}
	c.Patterns = policytest.Few(t, "patterns", []string{"*.example.org.", `*.a\.b.example.org.`, "*.10.in-addr.arpa."})
	if len(c.Zones)+len(c.Patterns) == 0 {
		c.Patterns = []string{Everything}
	}
	if c.Journal != "" {
		c.HoldShrink = rapid.IntRange(0, 99).Draw(t, "hold shrink")
	}
	l := &c.Limits
	l.Rate = drawRate(t, "rate")
	l.Total = rapid.IntRange(1, maxCount).Draw(t, "total")
	l.PerClient = rapid.IntRange(1, l.Total).Draw(t, "per-client")
	l.Wait = drawDuration(t, "wait", 0)
	l.Bandwidth = rapid.Int64Min(0).Draw(t, "bandwidth")
	l.Timeout = drawDuration(t, "timeout", minDuration)
	l.Stall = min(l.Timeout, drawDuration(t, "stall", minDuration))
	l.Pace = rapid.Int64Range(0, 1<<20).Draw(t, "pace")
	if l.Bandwidth > 0 {
		l.Pace = min(l.Pace, l.Bandwidth/2)
	}
	if slices.ContainsFunc(c.Audit, func(s Sink) bool { return s.Kind == "file" }) {
		c.AuditKey = rapid.SampledFrom([]string{"", "/etc/xfr key"}).Draw(t, "audit_key")
	}
	for i := range rapid.SampledFrom([]int{0, 1, 2, 3, 4, 5}).Draw(t, "rules") {
		r := policytest.DrawRule(t, fmt.Sprintf("rule-%d", i+1), true).Build()
		if policytest.Chance(t, "limits", 30) && !r.Deny {
			rate := drawRate(t, "rule rate")
			r.Rate, r.Concurrent = &rate, rapid.IntRange(1, l.Total).Draw(t, "rule concurrent")
		}
		r.TLS = r.TLS || len(r.Certs) > 0
		r.TLSUntil = r.TLSUntil.Add(time.Duration(len(r.Keys))) // to the nanosecond
		if r.TLSUntil.Year() == 1 {
			r.TLSUntil = time.Time{}
		}
		if !slices.ContainsFunc(c.Rules, func(earlier policy.Rule) bool { return earlier.Shadows(&r) }) {
			r.Name = fmt.Sprintf("rule-%d", len(c.Rules)+1)
			drawRuleNotify(t, c, &r)
			c.Rules = append(c.Rules, r)
		}
	}
	for _, port := range policytest.Few(t, "notify", []string{"53", "853", "5300"}) {
		c.Notify = append(c.Notify, Notify{
			Addrs: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:" + port), netip.MustParseAddrPort("[2001:db8::7]:" + port)},
			Key:   rapid.SampledFrom([]string{"", "k1."}).Draw(t, "notify key"),
			TLS:   rapid.Bool().Draw(t, "notify tls"),
		})
	}
	for _, source := range policytest.Few(t, "notify from", []string{"192.0.2.8", "fe80::8%eth0"}) {
		n := Notify{Addrs: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.2:53")}, Source: netip.MustParseAddr(source)}
		if n.Source.Is6() {
			n.Addrs[0] = netip.MustParseAddrPort("[fe80::2%eth0]:53")
		}
		c.Notify = append(c.Notify, n)
	}
	return c
}

// drawRuleNotify lets a rule tell its addresses, where they are single ones that no
// other rule tells.
func drawRuleNotify(t *rapid.T, c *Config, r *policy.Rule) {
	if r.Deny || r.Nets.Any() || len(r.Keys) > 1 || !policytest.Chance(t, "rule notify", 30) {
		return
	}
	n := Notify{Rule: r.Name}
	if len(r.Keys) == 1 {
		n.Key = r.Keys[0]
	}
	for _, p := range r.Nets.Prefixes() {
		addr := netip.AddrPortFrom(p.Addr(), 53)
		told := func(other Notify) bool { return slices.Contains(other.Addrs, addr) }
		if !p.IsSingleIP() || p.Addr().IsLinkLocalUnicast() || slices.ContainsFunc(c.Notify, told) {
			return
		}
		n.Addrs = append(n.Addrs, addr)
	}
	slices.SortFunc(n.Addrs, netip.AddrPort.Compare)
	r.Notify, c.Notify = true, append(c.Notify, n)
}

// TestParsePrints reads back what was written: nothing that a directive can mean
// is lost or changed on the way.
func TestParsePrints(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawConfig(t)
		text := want.String()
		got, err := parseText(text, ".")
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if diff := cmp.Diff([]*Config{want}, got, sameConfig); diff != "" {
			t.Fatalf("%s\nparse (-want +got):\n%s", text, diff)
		}
	})
}

var hasPosition = regexp.MustCompile(`^Testfile:[0-9]+ - Error during parsing: .`)

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "{\n}", "example.org {\n allow as ns2 net 192.0.2.53 2001:db8::/32 key ns2.example.org.\n}",
		"a.example {\n deny net *\n}\nxfrguard b.example {\n allow key k tls until 2027-01-31T18:00:00+01:00 rate 1/1h burst 2 concurrent 3\n}",
		"*", "example.org *.example.org {\n journal d\n hold shrink 20%\n}",
		"10.0.0.0/23 {\n allow cert *.example.org " + hexPin + " " + base64Pin + " type AXFR IXFR\n allow unsigned\n}",
		"{\n algorithms hmac-sha1\n rate 60/1m burst 10\n concurrent 16 per-client 4 wait 5s\n bandwidth 1KB\n timeout 2h stall 30s\n cache 1GiB\n}",
		"{\n audit stdout\n audit file \"a b\"\n audit journald\n audit syslog tls h:1\n audit_failure serve\n audit_key k\n}",
		"{\n mode observe\n elsewhere pass\n findings fail\n journal d\n notify 192.0.2.1 [::2]:5 key k tls\n notify fe80::2%eth0 2001:db8::1:53 source fe80::1%eth0\n allow net ::1 key k notify\n}",
		"{\n allow as a net ::1 key k\n expect allow type IXFR from ::1 key k algorithm hmac-sha512 tls san a.example at 2027-01-31 by a\n expect deny zone example.org from 192.0.2.1 pin " + base64Pin + "\n}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		configs, err := parseText("xfrguard "+text, "dns://example.org.:53", ".")
		if err != nil {
			if len(Mistakes(err)) == 0 {
				t.Fatalf("an error that is no mistake: %v", err)
			}
			for _, m := range Mistakes(err) {
				if !hasPosition.MatchString(m.Error()) {
					t.Fatalf("without a position: %v", m)
				}
				if strings.ContainsFunc(m.Error(), func(r rune) bool { return r == '\n' || r == 0 }) {
					t.Fatalf("not one line: %q", m)
				}
			}
			return
		}
		zones := map[string]bool{}
		for _, c := range configs {
			checkConfig(t, c, zones)
			again, err := parseText(c.String(), ".")
			if err != nil {
				if strings.ContainsAny(c.AuditKey+c.Journal+c.Control+fmt.Sprint(c.Audit, c.Names()), "\\\"\n") {
					continue // not everything can be quoted in a Corefile
				}
				t.Fatalf("%v\n%s", err, c.String())
			}
			if diff := cmp.Diff([]*Config{c}, again, sameConfig); diff != "" &&
				!strings.ContainsAny(c.AuditKey+c.Journal+c.Control+fmt.Sprint(c.Audit, c.Names()), "\\\"\n") {
				t.Fatalf("written and read again (-want +got):\n%s", diff)
			}
		}
	})
}

// checkConfig holds a directive against what the rest of the guard relies on.
func checkConfig(t *testing.T, c *Config, zones map[string]bool) {
	t.Helper()
	for _, z := range c.Zones {
		if zones[z] || canonicalName(z) != z {
			t.Fatalf("zone %q twice, or not canonical", z)
		}
		zones[z] = true
	}
	l := c.Limits
	if l.Rate.Count < 1 || l.Rate.Period <= 0 || l.Rate.Burst < 1 || l.PerClient < 1 || l.PerClient > l.Total || l.Wait < 0 ||
		l.Bandwidth < 0 || l.Pace < 0 || l.Bandwidth > 0 && l.Pace > l.Bandwidth/2 || l.Stall <= 0 || l.Stall > l.Timeout || c.Cache <= 0 || len(c.Audit) == 0 || len(c.Algorithms) == 0 {
		t.Fatalf("out of bounds: %+v", c)
	}
	names := map[string]bool{}
	for _, r := range c.Rules {
		if names[r.Name] || r.Name == "" {
			t.Fatalf("rule %q twice, or without a name", r.Name)
		}
		names[r.Name] = true
		if r.TLSUntil.Location() != time.UTC || r.Expires.Location() != time.UTC {
			t.Fatalf("%v is not in UTC", r.TLSUntil)
		}
		if !r.Deny && len(r.Keys) == 0 && len(r.Certs) == 0 && !r.Unsigned || r.Deny && r.Nets.Empty() {
			t.Fatalf("asks for nothing: %+v", r)
		}
		for _, k := range r.Keys {
			if k != dns.CanonicalName(k) || !dns.IsFqdn(k) {
				t.Fatalf("key %q is not canonical", k)
			}
		}
	}
	if len(c.RulePos) != len(c.Rules) {
		t.Fatalf("%d positions of %d rules", len(c.RulePos), len(c.Rules))
	}
}

// TestParseSize compares with arithmetic that cannot overflow.
func TestParseSize(t *testing.T) {
	units := map[string]int64{"B": 1, "KB": 1000, "MB": 1000 * 1000, "GB": 1000 * 1000 * 1000, "KiB": 1024, "MiB": 1024 * 1024, "GiB": 1024 * 1024 * 1024}
	names := []string{"B", "KB", "MB", "GB", "KiB", "MiB", "GiB"}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.OneOf(rapid.Uint64(), rapid.Uint64Range(0, 1<<34)).Draw(t, "n")
		unit := rapid.SampledFrom(names).Draw(t, "unit")
		want := new(big.Int).Mul(new(big.Int).SetUint64(n), big.NewInt(units[unit]))
		got, err := parseSize(fmt.Sprintf("%d%s", n, unit))
		if fits := want.IsInt64() && n > 0; fits != (err == nil) || fits && got != want.Int64() {
			t.Fatalf("%d%s is %v, %v, want %v", n, unit, got, err, want)
		}
	})
	for _, bad := range []string{"", "1", "B", "1b", "1kB", "1TB", "-1B", "+1B", "1 B", " 1B", "1.0B", "1e3B", "0x1B", "1BB", "99999999999999999999B", "1B\n"} {
		if n, err := parseSize(bad); err == nil {
			t.Errorf("%q is %d", bad, n)
		}
	}
}

func TestEdits(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		n    int
	}{
		{"", "", 0},
		{"rate", "rate", 0},
		{"rat", "rate", 1},
		{"rates", "rate", 1},
		{"rote", "rate", 1},
		{"arte", "rate", 1},
		{"cert", "rate", 4},
	} {
		if got := edits(tt.a, tt.b); got != tt.n {
			t.Errorf("edits(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.n)
		}
	}
}

// TestManyRules bounds what looking for shadowed rules costs at start.
func TestManyRules(t *testing.T) {
	b := &strings.Builder{}
	b.WriteString("xfrguard example.org {\n")
	for i := range 500 {
		fmt.Fprintf(b, "allow net 10.%d.%d.0/24 2001:db8:%x::/48 key k%d\n", i/256, i%256, i, i)
	}
	b.WriteString("allow as many key last net")
	for i := range 20_000 {
		fmt.Fprintf(b, " 172.%d.%d.%d", 16+i>>16, i>>8&255, i&255)
	}
	b.WriteString("\n}\n")
	start := time.Now()
	configs, err := parseText(b.String(), "example.org")
	if err != nil {
		t.Fatal(err)
	}
	if n := len(configs[0].Rules); n != 501 {
		t.Errorf("%d rules", n)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("parsing took %v", took)
	}
}
