// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"

	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/finding"
)

// The addresses that hosts of the internet have, and the share of them from which on a
// rule is open to everybody in all but name: nobody's secondaries need a quarter.
var unicast = [...]struct {
	family   string
	prefixes []netip.Prefix
}{
	{"IPv4", []netip.Prefix{ // below 224.0.0.0
		netip.MustParsePrefix("0.0.0.0/1"), netip.MustParsePrefix("128.0.0.0/2"), netip.MustParsePrefix("192.0.0.0/3"),
	}},
	{"IPv6", []netip.Prefix{netip.MustParsePrefix("2000::/3")}},
}

const wideShare = 0.25

// nets looks for rules that let nearly everybody past the address gate, however that
// is written: each by itself, and all of a directive together.
func (fs *Findings) nets(c *corefile.Config) {
	var denied, allowed []netip.Prefix
	said := false
	for i := range c.Rules {
		rule := &c.Rules[i]
		if rule.Deny {
			denied = disjoint(append(denied, rule.Nets.Prefixes()...))
			continue
		}
		asks := "anyone may try its other conditions"
		if len(rule.Keys) == 0 && len(rule.Certs) == 0 {
			asks = "whoever asks gets the zone"
		}
		nets := disjoint(rule.Nets.Prefixes())
		wide := wideness(nets, denied)
		switch {
		case rule.Nets.Any():
			fs.Add(finding.RuleAnyNet, c.RulePos[i], "rule %q has no net, or every address: %s", rule.Name, asks)
		case wide != "":
			fs.Add(finding.RuleAnyNet, c.RulePos[i], "rule %q lets in %s: %s; name the addresses of the secondaries", rule.Name, wide, asks)
		default:
			allowed = append(allowed, without(nets, denied)...)
			continue
		}
		said = true
	}
	if wide := wideness(disjoint(allowed), nil); wide != "" && !said {
		fs.Add(finding.RuleAnyNet, c.Pos, "the rules together let in %s: name the addresses of the secondaries", wide)
	}
}

// wideness says how much of a family the prefixes hold that are not denied before, "" when
// that is little. Both are disjoint.
func wideness(nets, denied []netip.Prefix) string {
	text := ""
	for _, u := range unicast {
		share := (overlap(nets, u.prefixes) - overlap(inBoth(nets, denied), u.prefixes)) / overlap(u.prefixes, u.prefixes)
		switch {
		case share < wideShare:
			continue
		case text != "":
			text += " and "
		}
		if share > 0.995 {
			text += "all of " + u.family
		} else {
			text += fmt.Sprintf("%.0f %% of %s", 100*share, u.family)
		}
	}
	return text
}

// disjoint sorts the prefixes and leaves out those inside another.
func disjoint(prefixes []netip.Prefix) (sorted []netip.Prefix) {
	prefixes = slices.SortedFunc(slices.Values(prefixes), func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), a.Bits()-b.Bits())
	})
	for _, p := range prefixes {
		if n := len(sorted); n == 0 || !sorted[n-1].Overlaps(p) {
			sorted = append(sorted, p)
		}
	}
	return sorted
}

// inBoth is what is in both of two disjoint lists.
func inBoth(a, b []netip.Prefix) (both []netip.Prefix) {
	for len(a) > 0 && len(b) > 0 {
		first, other := a[0], b[0]
		switch {
		case first.Overlaps(other) && first.Bits() >= other.Bits():
			both, a = append(both, first), a[1:]
		case first.Overlaps(other):
			both, b = append(both, other), b[1:]
		case first.Addr().Less(other.Addr()):
			a = a[1:]
		default:
			b = b[1:]
		}
	}
	return both
}

// without is what is in a and not in b, both disjoint: of a prefix that holds a denied one
// the parts beside it.
func without(a, b []netip.Prefix) (rest []netip.Prefix) {
	for _, p := range a {
		rest = append(rest, apart(p, inBoth([]netip.Prefix{p}, b))...)
	}
	return rest
}

// apart is a prefix without the holes, which lie inside.
func apart(p netip.Prefix, holes []netip.Prefix) []netip.Prefix {
	switch {
	case len(holes) == 0:
		return []netip.Prefix{p}
	case holes[0].Bits() <= p.Bits():
		return nil
	}
	low, high := halves(p)
	split := 0
	for split < len(holes) && low.Contains(holes[split].Addr()) {
		split++
	}
	return append(apart(low, holes[:split]), apart(high, holes[split:])...)
}

func halves(p netip.Prefix) (low, high netip.Prefix) {
	bits := p.Bits()
	raw := p.Masked().Addr().AsSlice()
	raw[bits/8] |= 0x80 >> (bits % 8)
	second, _ := netip.AddrFromSlice(raw)
	return netip.PrefixFrom(p.Masked().Addr(), bits+1), netip.PrefixFrom(second, bits+1)
}

// overlap is how much is in both of two disjoint lists, as a share of the whole family.
func overlap(a, b []netip.Prefix) (share float64) {
	for _, p := range inBoth(a, b) {
		share += math.Ldexp(1, -p.Bits())
	}
	return share
}
