// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"regexp"
	"slices"
	"strings"

	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/finding"
	"github.com/xfrguard/xfrguard/internal/lint"

	"github.com/coredns/caddy/caddyfile"
	"github.com/coredns/coredns/plugin"
)

// lintRewrite finds a rule of rewrite that changes answers out of the zones. Where the
// block has other names as well, the rule must look as if it were about one of them.
func (g *guard) lintRewrite(fs *lint.Findings, in *instance, zones []string) {
	others := false
	for _, c := range g.keys {
		others = others || plugin.Zones(zones).Matches(c.Zone) == ""
	}
	for _, rule := range rulesOf("rewrite", in.blockTokens(g.index)["rewrite"]) {
		if !slices.ContainsFunc(rule, func(t caddyfile.Token) bool { return t.Text == "answer" }) || others && !mayMean(rule, zones) {
			continue
		}
		fs.Add(finding.AnswersNotTransferred, corefile.Position{File: rule[0].File, Line: rule[0].Line},
			"rewrite changes names or values in answers, and secondaries answer what is in the zone: write it into the zone")
		return
	}
}

// rulesOf cuts the words of a directive that is written several times in front of each.
func rulesOf(directive string, tokens []caddyfile.Token) (rules [][]caddyfile.Token) {
	for i, t := range tokens {
		if i == 0 || t.Text == directive && (t.Line != tokens[i-1].Line || t.File != tokens[i-1].File) {
			rules = append(rules, nil)
		}
		last := len(rules) - 1
		rules[last] = append(rules[last], t)
	}
	return rules
}

// mayMean reports whether one of the words has the name of a zone in it, or is a pattern
// that a name in the zone matches.
func mayMean(words []caddyfile.Token, zones []string) bool {
	for _, t := range words {
		plain := strings.ToLower(strings.ReplaceAll(t.Text, `\`, ""))
		pattern, err := regexp.Compile("(?i)" + t.Text)
		for _, z := range zones {
			if strings.Contains(plain, strings.TrimSuffix(z, ".")) || err == nil && pattern.MatchString("www."+z) {
				return true
			}
		}
	}
	return false
}
