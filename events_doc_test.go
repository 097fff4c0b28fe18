// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/xfrguard/xfrguard/internal/notify"
	"github.com/xfrguard/xfrguard/internal/policy"
)

// docTable returns the rows of the first table under a heading of docs/EVENTS.md,
// without its head, and the cells without their backquotes.
func docTable(t *testing.T, heading string) [][]string {
	t.Helper()
	text, err := os.ReadFile("docs/EVENTS.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("docs/EVENTS.md has no section %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var rows [][]string
	for line := range strings.Lines(section) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.Trim(strings.TrimSpace(cells[i]), "`")
		}
		rows = append(rows, cells)
	}
	if len(rows) < 3 {
		t.Fatalf("section %q has no table", heading)
	}
	return rows[2:]
}

func column(rows [][]string, i int) []string {
	var out []string
	for _, r := range rows {
		out = append(out, r[i])
	}
	slices.Sort(out)
	return out
}

func TestEventsDocument(t *testing.T) {
	same := func(what string, got, want []string) {
		t.Helper()
		if slices.Sort(want); !slices.Equal(got, want) {
			t.Errorf("%s: the document has\n%q, the code\n%q", what, got, want)
		}
	}
	var rows []string
	for _, s := range eventSpecs {
		rows = append(rows, fmt.Sprint(s.action, s.code, s.category))
	}
	var documented []string
	for _, r := range docTable(t, "Actions and codes") {
		documented = append(documented, fmt.Sprint(r[0], r[1], r[2]))
	}
	slices.Sort(documented)
	same("actions", documented, rows)

	schema := readSchema(t)
	same("fields", column(docTable(t, "Fields"), 0), sortedKeys(schema.Properties))
	for _, r := range docTable(t, "Fields") {
		kind := map[string]string{"list of strings": "array"}[r[1]]
		if kind == "" {
			kind = r[1]
		}
		p := schema.Properties[r[0]]
		if p.Type != kind || p.Description != r[3] {
			t.Errorf("%s: the document says %s, %q, the schema %s, %q", r[0], r[1], r[3], p.Type, p.Description)
		}
	}
	same("reasons", column(docTable(t, "Reasons of a decision"), 0), texts(policy.Reasons))
	same("ends", column(docTable(t, "How a transfer ended"), 0), texts(EndReasons))
	same("served", column(docTable(t, "What was served"), 0), texts(Serveds))
	same("notify", column(docTable(t, "NOTIFY"), 0), texts(notify.Outcomes()))
	for _, r := range docTable(t, "NOTIFY") {
		if again := r[1] == "yes"; again != notify.Outcome(r[0]).Again() {
			t.Errorf("the document says of %s that it is asked again: %v", r[0], again)
		}
	}
	same("failed reloads", column(docTable(t, "Failed reloads"), 0), texts(ReloadFailures))
	same("tsig", column(docTable(t, "TSIG status"), 0), texts(policy.TSIGStatuses))

	var budgets, want []string
	for _, r := range docTable(t, "Floods") {
		budgets = append(budgets, strings.Join(r, " "))
	}
	for c, b := range defaultFold.class {
		want = append(want, fmt.Sprintf("%s %v %d %d %v %d %v %d", foldClassNames[c], b.perSecond, b.burst, b.windows,
			b.identity.perSecond, b.identity.burst, b.first.perSecond, b.first.burst))
	}
	slices.Sort(budgets)
	same("budgets", budgets, want)
}
