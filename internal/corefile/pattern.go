// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package corefile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/xfrguard/xfrguard/internal/policy"

	"github.com/miekg/dns"
)

// Everything is the pattern of all zones at or below those of the server block.
const Everything = "*"

// Below returns the name that a pattern stands below: "example.org." for
// "*.example.org.", and "" for [Everything].
func Below(pattern string) string { return strings.TrimPrefix(strings.TrimPrefix(pattern, "*"), ".") }

// Covers reports whether a pattern stands for a zone of its server block.
func Covers(pattern, apex string) bool {
	below := Below(pattern)
	return below == "" || apex != below && dns.IsSubDomain(below, apex)
}

// Names returns the directive's zones and patterns, as metrics and events call them.
func (c *Config) Names() []string { return append(append([]string(nil), c.Zones...), c.Patterns...) }

// Under returns the directive of a server block that a zone of this name comes under, and
// the pattern that covers it where it is not named; nil for none. An exact name beats a
// pattern, a longer pattern a shorter one.
func Under(configs []*Config, apex string) (found *Config, pattern string) {
	for _, c := range configs {
		if slices.Contains(c.Zones, apex) {
			return c, ""
		}
		for _, p := range c.Patterns {
			if Covers(p, apex) && len(p) > len(pattern) {
				found, pattern = c, p
			}
		}
	}
	return found, pattern
}

// PoliciesOf are the policies of a server block by its text alone: whatever name a pattern
// covers is taken for a zone that is there.
func PoliciesOf(configs []*Config) policy.Policies {
	var exact, patterned []*policy.Policy
	byPattern := make(map[string]*policy.Policy)
	for _, c := range configs {
		for _, zone := range c.Zones {
			exact = append(exact, &policy.Policy{Zone: zone, Rules: c.Rules, Algorithms: c.Algorithms})
		}
		for _, text := range c.Patterns {
			p := &policy.Policy{Zone: text, Rules: c.Rules, Algorithms: c.Algorithms}
			patterned, byPattern[text] = append(patterned, p), p
		}
	}
	find := func(apex string) *policy.Policy {
		_, pattern := Under(configs, apex)
		return byPattern[pattern]
	}
	return policy.NewPatterned(find, patterned, exact...)
}

// parsePattern reads "*" or "*.NAME"; ok says whether it is meant as a pattern.
func parsePattern(s string) (pattern string, ok bool, err error) {
	if s == Everything {
		return Everything, true, nil
	}
	name, ok := strings.CutPrefix(s, "*.")
	if !ok {
		return "", false, nil
	}
	bad := fmt.Errorf("%s is no pattern, expected '*' for all zones of the server block, or one such as *.example.org for those below a name", quote(s))
	if strings.ContainsAny(name, "/*") {
		return "", true, bad
	}
	zones, err := parseZone(name)
	if err != nil || len(zones) != 1 || zones[0] == "." {
		return "", true, bad
	}
	return "*." + zones[0], true, nil
}
