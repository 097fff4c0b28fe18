// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/xfrguard/xfrguard/internal/finding"
)

// TestFindingsDocument holds docs/FINDINGS.md and the README against the table of codes:
// every code is there with its level and title, and has a chapter; no other is.
func TestFindingsDocument(t *testing.T) {
	b, err := os.ReadFile("docs/FINDINGS.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var want, chapters []string
	for _, c := range finding.Codes() {
		want = append(want, fmt.Sprintf("| [`%s`](#%s) | %s | %s |", c, c, c.Level(), c.Title()))
		chapters = append(chapters, "## "+string(c))
		if !strings.Contains(string(readme), "`"+string(c)+"`") {
			t.Errorf("the README has no %s", c)
		}
	}
	if got := regexp.MustCompile("(?m)^\\| \\[`.*$").FindAllString(text, -1); !slices.Equal(got, want) {
		t.Errorf("the table is\n%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got := regexp.MustCompile("(?m)^## .*$").FindAllString(text, -1); !slices.Equal(got, chapters) {
		t.Errorf("the chapters are\n%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(chapters, "\n"))
	}
	for _, chapter := range strings.Split(text, "\n## ")[1:] {
		if !strings.Contains(chapter, "\nMend it: ") {
			t.Errorf("no way to mend it: %.60s", chapter)
		}
	}
}
