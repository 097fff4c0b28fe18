// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"slices"

	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/control"
	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/verify"
	"github.com/xfrguard/xfrguard/internal/zone/journal"

	"github.com/miekg/dns"
)

// directive is one xfrguard directive of a server block: what answers for its zones.
type directive struct {
	*corefile.Config
	policy  *policy.Policy          // of any of its zones: they differ in their names
	digest  string                  // of its policy, the same for all of its zones
	scope   scope                   // what the limits of its requests are counted under
	ruleIDs map[*policy.Rule]string // see policy.Identity

	audit   *audit.Auditor   // set when the instance is prepared
	journal *journal.Journal // nil for memory only
	anchor  *verify.Anchor   // nil for the zone's own word; set by check
	control *control.Dir     // nil for none
}

// serve gives the block its zones: those of these directives.
func (g *guard) serve(configs ...*corefile.Config) (directives []*directive) {
	var policies, patterned []*policy.Policy
	var patterns []pattern
	for _, cfg := range configs {
		of := policy.Policy{Rules: cfg.Rules, Algorithms: cfg.Algorithms}
		d := &directive{Config: cfg, digest: of.Digest(), ruleIDs: make(map[*policy.Rule]string)}
		directives = append(directives, d)
		for _, apex := range cfg.Zones {
			p := of
			p.Zone = apex
			policies = append(policies, &p)
			g.zones[apex] = d
			d.policy = &p
		}
		for _, text := range cfg.Patterns {
			p := of
			p.Zone = text
			patterned = append(patterned, &p)
			patterns = append(patterns, pattern{text: text, directive: d, policy: &p})
			d.policy = &p
		}
	}
	g.roster = newRoster(g, patterns)
	g.Policies = policy.NewPatterned(g.roster.policyOf, patterned, policies...)
	return directives
}

// covering returns what answers for a zone of this name, whether it is there or not. It is
// for names of zones that are or were there, never for those that a client makes up.
func (g *guard) covering(apex string) *directive {
	if d := g.zones[apex]; d != nil {
		return d
	}
	if p := g.roster.covering(apex); p != nil {
		return p.directive
	}
	return nil
}

// entryOf returns the entry of ZONES that stands for a zone, as metrics have it.
func (g *guard) entryOf(apex string) string {
	if g.zones[apex] == nil {
		if p := g.roster.covering(apex); p != nil {
			return p.text
		}
	}
	return apex
}

// apexesOf are the zones of a directive that are there, at most so many of its patterns.
func (g *guard) apexesOf(d *directive, most int) []string {
	apexes := slices.Clone(d.Zones)
	if len(d.Patterns) == 0 {
		return apexes
	}
	for _, apex := range g.roster.apexes() {
		if m := g.roster.of(apex); m != nil && m.directive == d && most > 0 {
			apexes = append(apexes, apex)
			most--
		}
	}
	return apexes
}

// policyDigest is the digest of the policy, "" where there is no zone.
func (d *directive) policyDigest() string {
	if d == nil {
		return ""
	}
	return d.digest
}

// decide asks the block's policies. In a block without xfrguard nobody is allowed anything.
func (g *guard) decide(x *exchange) policy.Decision {
	if g.auditOf != nil {
		return policy.Decision{Reason: policy.ReasonBlockNotGuarded}
	}
	d := g.Decide(x.Evidence)
	switch {
	case d.Allow && (x.cfg == nil || x.member != nil && x.member.gone.Load()): // it came or went this very moment
		d.Refuse(policy.ReasonZoneUnavailable)
	case d.Reason == policy.ReasonNotAZone && x.Req.Class == dns.ClassINET && x.cfg == nil && g.roster.lists(x.Req.Zone):
		d.Reason = policy.ReasonClientNotAllowed
		if d.Known {
			d.Reason = policy.ReasonZoneNotGuarded
		}
	}
	return d
}

// place finds what answers for the name asked for: its directive, and the audit log.
func (x *exchange) place() {
	g, name := x.guard, x.Req.Zone
	x.audit, x.entry = g.audit, "-"
	d := g.zones[name]
	if d == nil && g.roster.any() {
		if g.Policies.Knows(&x.Req) {
			g.roster.seek(name)
		}
		if x.member = g.roster.of(name); x.member != nil {
			d, x.entry = x.member.directive, x.member.text
		}
	} else if d != nil {
		x.entry = name
	}
	if d == nil {
		return
	}
	x.directive, x.cfg = d, d.Config
	if d.audit != nil { // a block without xfrguard records where another one does
		x.audit = d.audit
	}
}
