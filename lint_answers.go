// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/xfrguard/xfrguard/internal/coredns"
	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/finding"
	"github.com/xfrguard/xfrguard/internal/lint"
	"github.com/xfrguard/xfrguard/internal/policy"

	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"
)

// maxNamed is how many zones or addresses a finding names; the others are counted.
const maxNamed = 3

// fewOf is "a, b, c and 7 more".
func fewOf(list []string) string {
	if len(list) <= maxNamed {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:maxNamed], ", "), len(list)-maxNamed)
}

// maxSample is of how many zones of a pattern the self-check looks at each: they are much
// the same.
const maxSample = 100

// lintBackends finds zones that nothing in the block can hand out.
func (g *guard) lintBackends(fs *lint.Findings) {
	_, sources := g.chain()
	handlers := make([]plugin.Handler, 0, len(sources))
	for _, s := range sources {
		if h, ok := s.(plugin.Handler); ok {
			handlers = append(handlers, h)
		}
	}
	for _, d := range g.directives {
		if len(d.Patterns) > 0 && !g.roster.canList() {
			fs.Add(finding.ZoneNoBackend, d.Pos, "no plugin of this server block has a list of zones, so that %s stands for none: write the names of the zones", d.Patterns[0])
		}
		var without []string
		for _, apex := range d.Zones {
			if !slices.ContainsFunc(handlers, func(h plugin.Handler) bool { return coredns.MayTransfer(h, apex) }) {
				without = append(without, apex)
			}
		}
		if len(without) > 0 {
			fs.Add(finding.ZoneNoBackend, d.Pos, "no plugin of this server block has the zone %s to hand out: name it as file, auto, secondary or dynupdate has it, or take it out here",
				fewOf(without))
		}
	}
}

// lintAnswers finds plugins that answer in a zone what its secondaries will not have.
func (g *guard) lintAnswers(fs *lint.Findings, in *instance) {
	var zones []string
	for _, d := range g.directives {
		zones = append(zones, g.apexesOf(d, maxSample)...)
	}
	for _, h := range g.Config.Handlers() {
		name := coredns.Answers(h, zones)
		switch {
		case h.Name() == "kubernetes":
			own, _ := coredns.ZonesOf(h)
			for _, z := range own {
				if apex := dns.CanonicalName(z); slices.Contains(zones, apex) && dns.IsSubDomain("arpa.", apex) {
					fs.Add(finding.ReverseKubernetes, g.pos, "kubernetes transfers services under the name of its reverse zone %s, and not a single PTR record: take that zone out of xfrguard", apex)
				}
			}
		case name == "":
		case h.Name() == "dnssec":
			fs.Add(finding.DNSSECOnTheFly, g.pos, "dnssec signs answers of %s as they go out, and secondaries get the zone unsigned: with a DS in the parent their answers are taken for forged; sign the zone itself", name)
		default:
			fs.Add(finding.AnswersNotTransferred, g.pos, "%s answers for %s out of what is no part of the zone, and secondaries do not: write it into the zone", h.Name(), name)
		}
	}
	g.lintRewrite(fs, in, zones)
}

// maxAsked bounds how often acl is asked for one block.
const maxAsked = 20_000

// lintACL finds secondaries whose transfer a rule allows and whose SOA query acl refuses.
func (g *guard) lintACL(fs *lint.Findings) {
	h := g.Config.Handler("acl")
	if h == nil {
		return
	}
	left := maxAsked
	for _, d := range g.directives {
		for i := range d.Rules {
			rule := &d.Rules[i]
			if rule.Deny {
				continue
			}
			var refused []string
			for _, from := range askers(d.Rules[:i], rule) {
				for _, apex := range g.apexesOf(d, maxSample) {
					if left--; left < 0 {
						return
					}
					if !coredns.LetsThrough(h, from, apex) {
						refused = append(refused, fmt.Sprintf("%s for %s", from, apex))
					}
				}
			}
			if len(refused) > 0 {
				fs.Add(finding.ACLBlocksSOA, d.RulePos[i], "acl refuses the SOA query of %s, whose transfer rule %q allows: Knot, PowerDNS, Unbound and CoreDNS's secondary ask for it first and never refresh; "+
					"write 'allow type SOA net ...' in front of what blocks them", fewOf(refused), rule.Name)
			}
		}
	}
}

// askers are addresses of a rule: the single ones, and the first of each prefix. Those that
// a deny in front of it takes are none.
func askers(before []policy.Rule, rule *policy.Rule) (from []netip.Addr) {
	if rule.Nets.Any() {
		return nil // everybody is nobody in particular
	}
	for _, p := range rule.Nets.Prefixes() {
		from = append(from, p.Addr())
	}
	from = append(from, rule.Nets.Named()...)
	slices.SortFunc(from, netip.Addr.Compare)
	return slices.DeleteFunc(slices.Compact(from), func(a netip.Addr) bool {
		return slices.ContainsFunc(before, func(r policy.Rule) bool { return r.Deny && r.Nets.Contains(a) })
	})
}

// lintRequire finds rules that let in without the signature that tsig requires.
func (g *guard) lintRequire(fs *lint.Findings) {
	h := g.Config.Handler("tsig")
	if h == nil || !coredns.RequiresTSIG(h) {
		return
	}
	for _, d := range g.directives {
		for i := range d.Rules {
			if rule := &d.Rules[i]; !rule.Deny && len(rule.Keys) == 0 {
				fs.Add(finding.TSIGRequireIgnored, d.RulePos[i], "tsig require no longer decides about transfers in this server block, and rule %q lets in without a signature: name its keys", rule.Name)
			}
		}
	}
}

// lintTransferTo finds addresses that transfer notifies and no rule allows.
func (g *guard) lintTransferTo(fs *lint.Findings) {
	h := g.Config.Handler("transfer")
	if h == nil {
		return
	}
	said := make(map[string]bool)
	for _, d := range g.directives {
		for _, apex := range g.apexesOf(d, maxSample) {
			to := coredns.NotifyToOf(h, apex)
			if to.Everybody && !said["*"] {
				said["*"] = true
				fs.Add(finding.TransferToRefused, d.Pos, "transfer to no longer decides about transfers in this server block: 'to *' lets nobody in whom no rule allows; name the addresses that are to be notified")
			}
			for _, ap := range to.Addrs {
				if text := ap.Addr().String(); !said[text] && !allowsFrom(d.Rules, ap.Addr()) {
					said[text] = true
					fs.Add(finding.TransferToRefused, d.Pos, "transfer to no longer decides about transfers in this server block: %s is notified of %s, and no rule allows it; write an allow rule for it", text, apex)
				}
			}
		}
	}
}

// allowsFrom reports whether a rule may allow a transfer to an address.
func allowsFrom(rules []policy.Rule, from netip.Addr) bool {
	for i := range rules {
		if rules[i].Nets.Contains(from.WithZone("")) {
			return !rules[i].Deny
		}
	}
	return false
}

// lintUnguarded finds server blocks that hand out zones by transfer, and where everything
// is refused now. This is the first directive of all, which says so.
func (g *guard) lintUnguarded(fs *lint.Findings, in *instance) {
	for _, other := range in.sorted() {
		if other.auditOf != g {
			continue
		}
		switch {
		case other.mode == corefile.ModeObserve:
			if pos, ok := in.elsewhereAt(); ok {
				fs.Add(finding.PropertyIgnored, pos, "elsewhere refuse only records while every directive observes: it refuses from the day of enforce")
			}
			return
		case other.Config.Handler("transfer") != nil:
			fs.Add(finding.BlockTransferUnguarded, g.pos, "the server block of %s (%s) has transfer and no xfrguard: every transfer there is refused; "+
				"write an xfrguard with an allow rule for each secondary into it, or 'elsewhere pass' here", other.Config.Zone, other.server())
		}
	}
}
