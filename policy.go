// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/evidence"
	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/zone/journal"
)

// directive is one xfrguard directive of a server block, with what its zones share.
type directive struct {
	*corefile.Config
	scope   scope                   // what the limits of its requests are counted under
	ruleIDs map[*policy.Rule]string // see policy.Identity

	audit   *audit.Auditor   // set when the instance is prepared
	journal *journal.Journal // nil for memory only
}

// served is one zone that the block guards.
type served struct {
	*directive
	policy *policy.Policy
	digest string // of the policy
}

// serve gives the block its zones: those of these directives.
func (g *guard) serve(configs ...*corefile.Config) (directives []*directive) {
	var policies []*policy.Policy
	for _, cfg := range configs {
		d := &directive{Config: cfg, ruleIDs: make(map[*policy.Rule]string)}
		directives = append(directives, d)
		for _, apex := range cfg.Zones {
			p := &policy.Policy{Zone: apex, Rules: cfg.Rules, Algorithms: cfg.Algorithms}
			policies = append(policies, p)
			g.zones[apex] = &served{directive: d, policy: p, digest: p.Digest()}
		}
	}
	g.Policies = policy.NewPolicies(policies...)
	return directives
}

// zone returns what answers for a name, nil when the block guards no zone of that name.
func (g *guard) zone(name string) *served { return g.zones[name] }

// policyDigest is the digest of the zone's policy, "" where there is no zone.
func (z *served) policyDigest() string {
	if z == nil {
		return ""
	}
	return z.digest
}

// decide asks the block's policies. In a block without xfrguard nobody is allowed anything.
func (g *guard) decide(e *evidence.Evidence) policy.Decision {
	if g.auditOf != nil {
		return policy.Decision{Reason: policy.ReasonBlockNotGuarded}
	}
	return g.Decide(e)
}

// place returns what answers for a name: its directive, and the audit log.
func (g *guard) place(name string) (*corefile.Config, *audit.Auditor) {
	z := g.zone(name)
	switch {
	case z == nil:
		return nil, g.audit
	case z.audit == nil: // a block without xfrguard records where another one does
		return z.Config, g.audit
	}
	return z.Config, z.audit
}
