// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/evidence"
	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/verify"
	"github.com/xfrguard/xfrguard/internal/zone/journal"
)

// directive is one xfrguard directive of a server block: what answers for its zones.
type directive struct {
	*corefile.Config
	digest  string                  // of its policy, the same for all of its zones
	scope   scope                   // what the limits of its requests are counted under
	ruleIDs map[*policy.Rule]string // see policy.Identity

	audit   *audit.Auditor   // set when the instance is prepared
	journal *journal.Journal // nil for memory only
	anchor  *verify.Anchor   // nil for the zone's own word; set by check
}

// serve gives the block its zones: those of these directives.
func (g *guard) serve(configs ...*corefile.Config) (directives []*directive) {
	var policies []*policy.Policy
	for _, cfg := range configs {
		of := policy.Policy{Rules: cfg.Rules, Algorithms: cfg.Algorithms}
		d := &directive{Config: cfg, digest: of.Digest(), ruleIDs: make(map[*policy.Rule]string)}
		directives = append(directives, d)
		for _, apex := range cfg.Zones {
			p := of
			p.Zone = apex
			policies = append(policies, &p)
			g.zones[apex] = d
		}
	}
	g.Policies = policy.NewPolicies(policies...)
	return directives
}

// zone returns what answers for a name, nil when the block guards no zone of that name.
func (g *guard) zone(name string) *directive { return g.zones[name] }

// policyDigest is the digest of the policy, "" where there is no zone.
func (d *directive) policyDigest() string {
	if d == nil {
		return ""
	}
	return d.digest
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
	d := g.zone(name)
	switch {
	case d == nil:
		return nil, g.audit
	case d.audit == nil: // a block without xfrguard records where another one does
		return d.Config, g.audit
	}
	return d.Config, d.audit
}
