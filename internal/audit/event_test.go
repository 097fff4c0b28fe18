// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"slices"
	"strings"
	"testing"

	"github.com/xfrguard/xfrguard/internal/audit/audittest"
	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/finding"
	"github.com/xfrguard/xfrguard/internal/notify"
	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/verify"
	"github.com/xfrguard/xfrguard/internal/zone"
)

func TestSchemaEnums(t *testing.T) {
	s := audittest.ReadSchema(t)
	same := func(what string, got []string, want []string) {
		t.Helper()
		got = slices.Sorted(slices.Values(got))
		want = slices.Sorted(slices.Values(want))
		if !slices.Equal(got, want) {
			t.Errorf("%s: the schema has\n%q, the code\n%q", what, got, want)
		}
	}
	var actions, codes []string
	for _, spec := range eventSpecs {
		actions = append(actions, string(spec.action))
		codes = append(codes, string(spec.code))
	}
	if got := slices.Compact(slices.Sorted(slices.Values(codes))); len(got) != len(eventSpecs) {
		t.Error("a code is used twice")
	}
	same("event.action", s.Properties["event.action"].Enum, actions)
	same("event.code", s.Properties["event.code"].Enum, codes)
	same("served", s.Properties["coredns.xfr.served"].Enum, audittest.Texts(Serveds))
	same("tsig.status", s.Properties["coredns.xfr.tsig.status"].Enum, audittest.Texts(policy.TSIGStatuses))
	same("transport", s.Properties["coredns.xfr.transport"].Enum, audittest.Texts(policy.Transports))
	same("failure", s.Properties[extraFailure].Enum, []string{string(corefile.AuditRefuse), string(corefile.AuditServe)})
	same("class", s.Properties["coredns.xfr.suppressed.class"].Enum, foldClassNames[:])

	denied := slices.DeleteFunc(audittest.Texts(policy.Reasons), func(r string) bool { return r == string(policy.ReasonAllowed) })
	byAction := map[string][]string{
		string(ActionDecision):     audittest.Texts(policy.Reasons),
		string(ActionEnd):          audittest.Texts(EndReasons),
		string(ActionFinding):      audittest.Texts(finding.Codes()),
		string(ActionCorrected):    audittest.Texts(zone.Corrections),
		string(ActionVerifyFailed): audittest.Texts(verify.Reasons),
		string(ActionDenied):       append(slices.Clone(denied), reasonSeveral),
		string(ActionAnswered):     {string(ServedUpToDate), string(ServedUseTCP), string(policy.ReasonAllowed), reasonSeveral},
	}
	for _, o := range notify.Outcomes() {
		switch {
		case o == notify.Accepted:
			byAction[string(ActionNotified)] = []string{string(o)}
		case o.Failed():
			byAction[string(ActionNotifyFailed)] = append(byAction[string(ActionNotifyFailed)], string(o))
		}
	}
	for _, rule := range s.AllOf {
		action, _ := rule.If.Properties["event.action"].Const.(string)
		if _, split := rule.If.Properties["event.type"]; split {
			continue
		}
		spec := specOf(Action(action))
		if got := rule.Then.Properties["event.code"].Const; got != string(spec.code) {
			t.Errorf("%s: the schema has code %s, the table %s", action, got, spec.code)
		}
		if want := byAction[action]; want != nil {
			same("event.reason of "+action, rule.Then.Properties["event.reason"].Enum, want)
		}
		for _, field := range rule.Then.Required {
			if _, ok := s.Properties[field]; !ok {
				t.Errorf("%s requires %s, which is no property", action, field)
			}
		}
	}
	for _, f := range extraFields {
		if _, ok := s.Properties[f]; !ok {
			t.Errorf("Extra field %s is not in the schema", f)
		}
	}
}

// A log store makes objects of dotted names: none may be a value and an object at once.
func TestSchemaNamesDoNotNest(t *testing.T) {
	s := audittest.ReadSchema(t)
	for name, p := range s.Properties {
		if p.Description == "" {
			t.Errorf("%s has no description", name)
		}
		for other := range s.Properties {
			if strings.HasPrefix(other, name+".") {
				t.Errorf("%s is a value and, in %s, an object", name, other)
			}
		}
	}
}

func TestEventTableActions(t *testing.T) {
	for _, spec := range eventSpecs {
		transfers := strings.HasPrefix(string(spec.action), "zone-") && spec.action != ActionApproved // which is the operator's
		if strings.HasPrefix(string(spec.code), "XFR1") != transfers {
			t.Errorf("%s has code %s", spec.action, spec.code)
		}
		if spec.message == "" || len(spec.types) == 0 {
			t.Errorf("%s has no message or type", spec.action)
		}
	}
	for kind, action := range trailActions {
		if specOf(action).code == "" {
			t.Errorf("%s of the audit file has no action", kind)
		}
	}
}
