// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"slices"
	"testing"

	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/policy/policytest"

	"pgregory.net/rapid"
)

// TestConditionsLikeTheDecision: what is said of a rule's conditions, each for itself, is
// what the decision under that rule alone comes to.
func TestConditionsLikeTheDecision(t *testing.T) {
	before := []policy.Reason{ // checked before any rule
		policy.ReasonTransportUnsupported, policy.ReasonMalformed, policy.ReasonNotAZone,
		policy.ReasonTSIGBadKey, policy.ReasonTSIGWeakAlgorithm, policy.ReasonTSIGBadSignature, policy.ReasonTSIGBadTime, policy.ReasonTSIGBadTruncation,
	}
	told := make(map[policy.Reason]int)
	rapid.Check(t, func(t *rapid.T) {
		for _, zone := range policytest.DrawBlock(t) {
			for _, rule := range zone.Rules {
				zone.Rules = []policytest.Rule{rule}
				ps := policytest.Build(map[string]policytest.Policy{"example.org.": zone})
				for range 25 {
					req := policytest.DrawRequest(t)
					req.Zone = "example.org."
					d := ps.Decide(&req)
					if slices.Contains(before, d.Reason) {
						continue
					}
					r := &ps.Of(req.Zone).Rules[0]
					all := r.Conditions(&req)
					i := slices.IndexFunc(all, func(c policy.Condition) bool { return !c.Holds })
					switch {
					case (i < 0) != (d.Allow || rule.Deny && d.Rule == r.Name):
						t.Fatalf("decided %+v, the conditions are %+v", d, all)
					case i >= 0 && all[i].Lack != d.Reason:
						t.Fatalf("refused for %s, the first condition that does not hold is %+v", d.Reason, all[i])
					}
					told[d.Reason]++
				}
			}
		}
	})
	for _, r := range []policy.Reason{
		policy.ReasonAllowed, policy.ReasonClientNotAllowed, policy.ReasonProxyUntrusted, policy.ReasonTSIGRequired, policy.ReasonTSIGKeyNotAllowed,
		policy.ReasonTLSRequired, policy.ReasonCertRequired, policy.ReasonCertNotAllowed, policy.ReasonTSIGReplay, policy.ReasonTypeNotAllowed, policy.ReasonRuleExpired,
	} {
		if told[r] == 0 {
			t.Errorf("no request was decided as %s", r)
		}
	}
}
