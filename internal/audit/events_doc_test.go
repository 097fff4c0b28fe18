// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/xfrguard/xfrguard/internal/audit/audittest"
	"github.com/xfrguard/xfrguard/internal/notify"
	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/zone"
)

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
	for _, r := range audittest.DocTable(t, "Actions and codes") {
		documented = append(documented, fmt.Sprint(r[0], r[1], r[2]))
	}
	slices.Sort(documented)
	same("actions", documented, rows)

	schema := audittest.ReadSchema(t)
	same("fields", audittest.Column(audittest.DocTable(t, "Fields"), 0), audittest.SortedKeys(schema.Properties))
	for _, r := range audittest.DocTable(t, "Fields") {
		kind := map[string]string{"list of strings": "array"}[r[1]]
		if kind == "" {
			kind = r[1]
		}
		p := schema.Properties[r[0]]
		if p.Type != kind || p.Description != r[3] {
			t.Errorf("%s: the document says %s, %q, the schema %s, %q", r[0], r[1], r[3], p.Type, p.Description)
		}
	}
	same("reasons", audittest.Column(audittest.DocTable(t, "Reasons of a decision"), 0), audittest.Texts(policy.Reasons))
	same("ends", audittest.Column(audittest.DocTable(t, "How a transfer ended"), 0), audittest.Texts(EndReasons))
	same("served", audittest.Column(audittest.DocTable(t, "What was served"), 0), audittest.Texts(Serveds))
	same("notify", audittest.Column(audittest.DocTable(t, "NOTIFY"), 0), audittest.Texts(notify.Outcomes()))
	for _, r := range audittest.DocTable(t, "NOTIFY") {
		if again := r[1] == "yes"; again != notify.Outcome(r[0]).Again() {
			t.Errorf("the document says of %s that it is asked again: %v", r[0], again)
		}
	}
	same("corrected zones", audittest.Column(audittest.DocTable(t, "Corrected zones"), 0), audittest.Texts(zone.Corrections))
	same("failed reloads", audittest.Column(audittest.DocTable(t, "Failed reloads"), 0), audittest.Texts(ReloadFailures))
	same("changed files", audittest.Column(audittest.DocTable(t, "Changed files"), 0), audittest.Texts(FilesChanges))
	same("tsig", audittest.Column(audittest.DocTable(t, "TSIG status"), 0), audittest.Texts(policy.TSIGStatuses))

	var budgets, want []string
	for _, r := range audittest.DocTable(t, "Floods") {
		budgets = append(budgets, strings.Join(r, " "))
	}
	for c, b := range DefaultFold.Class {
		want = append(want, fmt.Sprintf("%s %v %d %d %v %d %v %d", foldClassNames[c], b.perSecond, b.Burst, b.windows,
			b.identity.perSecond, b.identity.Burst, b.first.perSecond, b.first.Burst))
	}
	slices.Sort(budgets)
	same("budgets", budgets, want)
}
