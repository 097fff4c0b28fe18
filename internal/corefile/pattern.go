// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package corefile

import (
	"fmt"
	"strings"

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
