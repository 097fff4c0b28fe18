// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/xfrguard/xfrguard/internal/xfrtest"
)

// manyNets is every /8 from first to last, written as 16 smaller ones each.
func manyNets(first, last int) string {
	var b strings.Builder
	for i := first; i <= last; i++ {
		for j := range 16 {
			fmt.Fprintf(&b, " %d.%d.0.0/12", i, 16*j)
		}
	}
	return b.String()
}

// TestLintNets: a rule that lets nearly everybody in is a finding, however it is written,
// and one that does not is none.
func TestLintNets(t *testing.T) {
	const all, most = "lets in all of IPv4", "whoever asks gets the zone"
	for name, c := range map[string]struct {
		rules string
		want  string // "" is no finding
	}{
		"no net":                    {"allow as r key a.example.net.", "has no net, or every address: anyone may try its other conditions"},
		"no net, unsigned":          {"allow as r unsigned", "has no net, or every address: " + most},
		"every address":             {"allow as r net * unsigned", "has no net, or every address: " + most},
		"every IPv4":                {"allow as r net 0.0.0.0/0 unsigned", all + ": " + most},
		"every IPv4, with a key":    {"allow as r net 0.0.0.0/0 key a.example.net.", all + ": anyone may try its other conditions"},
		"every IPv4, mapped":        {"allow as r net ::ffff:0:0/96 unsigned", all},
		"every IPv6":                {"allow as r net ::/0 unsigned", "lets in all of IPv6: " + most},
		"the IPv6 of hosts":         {"allow as r net 2000::/3 unsigned", "lets in all of IPv6"},
		"two halves":                {"allow as r net 0.0.0.0/1 128.0.0.0/1 unsigned", all},
		"both families in halves":   {"allow as r net 0.0.0.0/1 128.0.0.0/1 ::/1 8000::/1 unsigned", "has no net, or every address: " + most},
		"half":                      {"allow as r net 0.0.0.0/1 unsigned", "lets in 57 % of IPv4"},
		"many small ones":           {"allow as r net" + manyNets(1, 223) + " unsigned", all},
		"many small ones, a third":  {"allow as r net" + manyNets(100, 180) + " unsigned", "lets in 36 % of IPv4"},
		"all but a few":             {"deny as d net 10.0.0.0/8 192.0.2.1\n\t\tallow as r net 0.0.0.0/0 unsigned", "of IPv4"},
		"two rules, a half each":    {"allow as r net 32.0.0.0/3 unsigned\n\t\tallow as s net 64.0.0.0/3 unsigned", "the rules together let in 29 % of IPv4"},
		"beside an open one":        {"allow as r net 10.0.0.0/8 unsigned\n\t\tallow as s net 0.0.0.0/0 key a.example.net.", `rule "s" ` + all},
		"good: one address":         {"allow as r net 192.0.2.1 unsigned", ""},
		"good: a large network":     {"allow as r net 10.0.0.0/8 2001:db8::/32 unsigned", ""},
		"good: what is not denied":  {"deny as d net 0.0.0.0/1 128.0.0.0/2\n\t\tallow as r net 0.0.0.0/0 unsigned", ""},
		"good: denied, in halves":   {"deny as d net 0.0.0.0/1 128.0.0.0/1\n\t\tallow as r net 0.0.0.0/0 ::1 key a.example.net.", ""},
		"good: denied, but one":     {"deny as d net 0.0.0.0/1\n\t\tallow as r net 0.0.0.0/3 192.0.2.1 unsigned\n\t\tallow as s net 64.0.0.0/3 192.0.2.2 unsigned", ""},
		"good: denied, but a piece": {"deny as d net 128.0.0.0/2 192.0.0.0/3\n\t\tallow as r net 160.0.0.0/3 192.0.2.0/24 10.0.0.1 unsigned\n\t\tallow as s net 64.0.0.0/3 unsigned", ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := xfrtest.TryServe(t, xfrtest.Guarded("findings fail\n\t\t"+c.rules, ""), map[string]string{"db": xfrtest.ZoneOrg})
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %s", err, c.want)
			}
			if err != nil && strings.Count(err.Error(), "Corefile:") != 1 {
				t.Errorf("more than one finding: %v", err)
			}
		})
	}
}
