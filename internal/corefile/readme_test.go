// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package corefile

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestGrammarIsInTheReadme: each property has a line of the syntax and a row of the table,
// each condition a place among those of allow and a row, and nothing else has.
func TestGrammarIsInTheReadme(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, syntax, _ := strings.Cut(string(text), "xfrguard [ZONE... | *.NAME... | *] {\n")
	syntax, rest, ok := strings.Cut(syntax, "\n}\n")
	if !ok {
		t.Fatal("the README has no syntax")
	}
	var lines []string
	for _, m := range regexp.MustCompile(`(?m)^    ([a-z_]+) `).FindAllStringSubmatch(syntax, -1) {
		lines = append(lines, m[1])
	}
	slices.Sort(lines)
	if lines = slices.Compact(lines); !slices.Equal(lines, propertyNames) {
		t.Errorf("the syntax has %v, want %v", lines, propertyNames)
	}
	_, allow, _ := strings.Cut(syntax, "    allow ")
	allow, _, _ = strings.Cut(allow, "    algorithms ")
	properties, rules, _ := strings.Cut(rest, "\n### Rules\n")
	for _, name := range propertyNames {
		if !regexp.MustCompile("(?m)^\\| (`[a-z_]+`, )*`" + name + "`").MatchString(properties) {
			t.Errorf("the table of properties has no %s", name)
		}
	}
	for _, word := range conditionNames {
		if !regexp.MustCompile(`\[` + word + `\b`).MatchString(allow) {
			t.Errorf("the syntax of allow has no %s", word)
		}
		if word != "as" && !regexp.MustCompile("(?m)^\\| (`[a-z_]+`, )*`"+word+"\\b").MatchString(rules) { // a name is no condition
			t.Errorf("the table of conditions has no %s", word)
		}
	}
}
