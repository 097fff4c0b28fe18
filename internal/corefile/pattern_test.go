// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package corefile

import (
	"fmt"
	"slices"
	"testing"
)

// noPattern is the error of a token that is meant as a pattern and is none.
func noPattern(token string) string {
	return fmt.Sprintf("1 - Error during parsing: '%s' is no pattern, expected '*' for all zones of the server block, or one such as *.example.org for those below a name", token)
}

// TestPatterns: a pattern is an entry of ZONES beside exact names, and may be at the
// block's zone or below it.
func TestPatterns(t *testing.T) {
	for text, want := range map[string][2][]string{
		"xfrguard":                                            {{"example.com.", "example.org."}, nil},
		"xfrguard *":                                          {nil, {"*"}},
		"xfrguard *.Example.ORG":                              {nil, {"*.example.org."}},
		"xfrguard example.org *.a.example.org":                {{"example.org."}, {"*.a.example.org."}},
		"xfrguard *.example.org *.sub.example.org":            {nil, {"*.example.org.", "*.sub.example.org."}},
		"xfrguard *.example.org example.com *.a.example.com.": {{"example.com."}, {"*.example.org.", "*.a.example.com."}},
	} {
		configs, err := parseText(text, "example.org", "example.com")
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := configs[0]; !slices.Equal(got.Zones, want[0]) || !slices.Equal(got.Patterns, want[1]) {
			t.Errorf("%s: zones %q and patterns %q", text, got.Zones, got.Patterns)
		}
	}
}

// TestCovers: a pattern stands for names strictly below its own, whole labels of them.
func TestCovers(t *testing.T) {
	for _, c := range []struct {
		pattern, apex string
		want          bool
	}{
		{"*", "example.org.", true},
		{"*", ".", true},
		{"*.example.org.", "a.example.org.", true},
		{"*.example.org.", "b.a.example.org.", true},
		{"*.example.org.", "example.org.", false},
		{"*.example.org.", "aexample.org.", false},
		{"*.example.org.", "org.", false},
		{"*.example.org.", "a.example.net.", false},
	} {
		if got := Covers(c.pattern, c.apex); got != c.want {
			t.Errorf("%s covers %s: %v", c.pattern, c.apex, got)
		}
	}
}
