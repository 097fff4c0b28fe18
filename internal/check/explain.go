// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package check

import (
	"errors"
	"fmt"
	"slices"

	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/policy"
)

// Answer is what one server block would decide about a request, and why.
type Answer struct {
	Block    string // the keys of the server block, with its view
	Request  policy.Request
	Decision policy.Decision
	Verdict  policy.Verdict // of a denial
	Rules    []RuleAnswer   // of the zone's directive, in their order; nil where none is asked
	Notes    []string       // what is not known here
}

// RuleAnswer is what one rule says to the request.
type RuleAnswer struct {
	Name       string
	Deny       bool
	Pos        corefile.Position
	Conditions []policy.Condition
	Decided    bool // this rule, or the nearest of those that do not match
}

// Matches reports whether all conditions of the rule hold.
func (r *RuleAnswer) Matches() bool {
	return !slices.ContainsFunc(r.Conditions, func(c policy.Condition) bool { return !c.Holds })
}

// Explain decides the request in every server block that CoreDNS may give it to. view, when
// it is not "", leaves those outside of it out.
func (c *Corefile) Explain(q policy.Request, view string) ([]Answer, error) {
	if !q.Client.IsValid() {
		return nil, errors.New("the request has no client address")
	}
	found := c.reached(&q, view)
	if len(found) == 0 {
		if c.Worst() == Error {
			return nil, fmt.Errorf("no server block that could be read serves %s, and CoreDNS does not start with the mistakes of %s: run xfrguard check", q.Zone, c.Path)
		}
		if view != "" {
			return nil, fmt.Errorf("no server block with view %s serves %s", view, q.Zone)
		}
		return nil, fmt.Errorf("no server block serves %s: CoreDNS answers REFUSED", q.Zone)
	}
	answers := make([]Answer, len(found))
	for i, s := range found {
		answers[i] = c.explain(*s, q)
	}
	return answers, nil
}

func (c *Corefile) explain(s server, q policy.Request) Answer {
	a := Answer{Request: q}
	if s.guard == nil {
		return c.unguarded(s, a)
	}
	b := s.guard
	a.Block = b.Name()
	if b.Configs == nil {
		a.Notes = append(a.Notes, "the directives of this server block have mistakes, and CoreDNS does not start with them: run xfrguard check")
		return a
	}
	if q.TSIG.Status == policy.TSIGValid && !b.TSIG.Has(q.TSIG.Key) {
		if b.TSIG.Complete {
			a.Request.TSIG.Status = policy.TSIGBadKey
			a.Notes = append(a.Notes, "the tsig plugin of this server block has no key "+q.TSIG.Key)
		} else {
			a.Notes = append(a.Notes, "a file with keys could not be read: it is taken for true that it has "+q.TSIG.Key)
		}
	}
	a.Decision = corefile.PoliciesOf(b.Configs).Decide(&a.Request)
	if !a.Decision.Allow {
		a.Verdict = a.Decision.Verdict(a.Request.TSIG.Status)
	}
	a.Rules = b.rules(&a)
	if b.Configs[0].Mode == corefile.ModeObserve {
		a.Notes = append(a.Notes, "mode observe: this is put on record, and the request goes on to the other plugins whatever it says")
	}
	if a.Decision.Allow {
		a.Notes = append(a.Notes, "rate and concurrent may still make it wait, and audit_failure refuse it")
	}
	return a
}

// unguarded is the answer of a server block without a directive.
func (c *Corefile) unguarded(s server, a Answer) Answer {
	a.Block = (&Block{Keys: s.keys, View: s.view}).Name()
	refuses := false
	for _, b := range c.Blocks {
		for _, cfg := range b.Configs {
			refuses = refuses || cfg.Mode == corefile.ModeEnforce && cfg.Elsewhere == corefile.ElsewhereRefuse
		}
	}
	if !refuses {
		a.Decision = policy.Decision{Allow: true}
		a.Notes = append(a.Notes, "this server block has no xfrguard: its transfer plugin decides")
		return a
	}
	a.Decision.Reason = policy.ReasonBlockNotGuarded
	a.Verdict = a.Decision.Verdict(a.Request.TSIG.Status)
	return a
}

// rules says what each rule of the zone's directive makes of the request, as far as rules
// are asked at all.
func (b *Block) rules(a *Answer) (all []RuleAnswer) {
	cfg, pattern := corefile.Under(b.Configs, a.Request.Zone)
	if pattern != "" {
		a.Notes = append(a.Notes, "the zone comes under "+pattern+": it is taken for true that a backend has it in its list")
	}
	if cfg != nil {
		for i := range cfg.Rules {
			r := &cfg.Rules[i]
			all = append(all, RuleAnswer{
				Name: r.Name, Deny: r.Deny, Pos: cfg.RulePos[i], Conditions: r.Conditions(&a.Request),
				Decided: a.Decision.Rule == r.Name || a.Decision.Near == r.Name,
			})
		}
	}
	return all
}
