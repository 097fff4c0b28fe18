// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package corefile

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/xfrguard/xfrguard/internal/policy"

	"github.com/miekg/dns"
)

// conditions is the grammar of a rule: each word, and what reads the values up to
// the next word. A name that is one of these words needs a trailing dot.
var conditions = map[string]func(*policy.Rule, []string) error{
	"as":         ruleName,
	"type":       ruleTypes,
	"net":        ruleNets,
	"key":        ruleKeys,
	"cert":       ruleCerts,
	"tls":        ruleTLS,
	"unsigned":   ruleUnsigned,
	"rate":       ruleRate,
	"concurrent": ruleConcurrent,
	"notify":     ruleNotify,
	"expires":    ruleExpires,
}

var conditionNames = slices.Sorted(maps.Keys(conditions))

func (p *parser) allow(args []string) error { return p.rule(args, false) }

func (p *parser) deny(args []string) error { return p.rule(args, true) }

// rule reads one line of the policy and puts it behind the others.
func (p *parser) rule(args []string, deny bool) error {
	r := policy.Rule{Deny: deny}
	if err := readConditions(&r, args); err != nil {
		return err
	}
	if r.Name == "" {
		r.Name = fmt.Sprintf("rule-%d", len(p.cfg.Rules)+1)
	}
	if err := checkRule(&r); err != nil {
		return err
	}
	for i := range p.cfg.Rules {
		switch earlier := &p.cfg.Rules[i]; {
		case earlier.Name == r.Name:
			return fmt.Errorf("the rule at %s is named '%s' too, expected another name behind 'as'", p.cfg.RulePos[i], r.Name)
		case earlier.Shadows(&r):
			return fmt.Errorf("rule '%s' can never match: rule '%s' at %s comes first and decides all that it could; remove it, or move it up",
				r.Name, earlier.Name, p.cfg.RulePos[i])
		}
	}
	if r.Notify {
		if err := p.notifyRule(&r); err != nil {
			return err
		}
	}
	p.cfg.Rules = append(p.cfg.Rules, r)
	p.cfg.RulePos = append(p.cfg.RulePos, p.here())
	return nil
}

// readConditions splits the line at the words that start a condition.
func readConditions(r *policy.Rule, args []string) error {
	seen := map[string]bool{}
	for len(args) > 0 {
		word := args[0]
		read, ok := conditions[word]
		switch {
		case !ok:
			return fmt.Errorf("unknown condition %s%s, expected one of %s",
				quote(word), didYouMean(word, conditionNames), strings.Join(conditionNames, ", "))
		case r.Deny && word != "as" && word != "net":
			return fmt.Errorf("unexpected '%s': a deny rule goes by 'net' alone, for what a client can leave out must not be what denies it", word)
		case seen[word]:
			return fmt.Errorf("'%s' is given twice, expected all its values behind one '%s'", word, word)
		}
		seen[word] = true
		end := 1
		for end < len(args) && conditions[args[end]] == nil {
			end++
		}
		if err := read(r, args[1:end]); err != nil {
			return fmt.Errorf("%s: %w%s", word, err, conditionHint(err, args[1:end]))
		}
		args = args[end:]
	}
	if !r.Deny && !seen["net"] {
		r.Nets.ImplyAny()
	}
	return nil
}

// checkRule refuses what contradicts itself or says less than it should.
func checkRule(r *policy.Rule) error {
	switch {
	case r.Deny && r.Nets.Empty():
		return errors.New("expected 'net' and the addresses to deny, or 'net *' for all")
	case r.Deny:
		return nil
	case r.Unsigned && len(r.Keys) > 0:
		return errors.New("'unsigned' and 'key' contradict each other: one needs no signature, the other does")
	case !r.TLSUntil.IsZero() && len(r.Certs) > 0:
		return errors.New("'tls until' and 'cert' contradict each other: a certificate needs TLS from the start")
	case len(r.Keys) == 0 && len(r.Certs) == 0 && !r.Unsigned:
		return errors.New("no proof of who asks is needed: add 'key NAME' or 'cert NAME', or 'unsigned' if an address alone shall do")
	}
	r.TLS = r.TLS || len(r.Certs) > 0
	return nil
}

var ruleNamePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

func ruleName(r *policy.Rule, args []string) error {
	switch {
	case len(args) != 1:
		return errors.New("expected one NAME, which is none of the words that start a condition")
	case !ruleNamePattern.MatchString(args[0]):
		return fmt.Errorf("%s is no name of a rule, expected up to 63 letters, digits, '.', '_' and '-'", quote(args[0]))
	}
	r.Name = args[0]
	return nil
}

func ruleTypes(r *policy.Rule, args []string) error {
	if len(args) == 0 {
		return errors.New("expected AXFR or IXFR")
	}
	for _, arg := range args {
		var t uint16
		switch strings.ToUpper(arg) {
		case "AXFR":
			t = dns.TypeAXFR
		case "IXFR":
			t = dns.TypeIXFR
		default:
			return fmt.Errorf("%s is not AXFR or IXFR", quote(arg))
		}
		if slices.Contains(r.Types, t) {
			return fmt.Errorf("%s is listed twice", quote(arg))
		}
		r.Types = append(r.Types, t)
	}
	return nil
}

func ruleNets(r *policy.Rule, args []string) error {
	if len(args) == 0 {
		return errors.New("expected addresses or prefixes, or '*' for every address")
	}
	for _, arg := range args {
		if arg == "*" {
			if len(args) > 1 {
				return errors.New("'*' is every address, expected no others beside it")
			}
			r.Nets.AddAny()
			return nil
		}
		prefix, err := parsePrefix(arg)
		if err != nil {
			return err
		}
		if r.Nets.Has(prefix) {
			return fmt.Errorf("%s is listed twice", quote(arg))
		}
		r.Nets.Add(prefix)
	}
	r.Nets.Settle()
	return nil
}

func ruleKeys(r *policy.Rule, args []string) error {
	if len(args) == 0 {
		return errors.New("expected names of TSIG keys")
	}
	for _, arg := range args {
		name, err := parseKeyName(arg)
		if err != nil {
			return err
		}
		if slices.Contains(r.Keys, name) {
			return fmt.Errorf("%s is listed twice", quote(arg))
		}
		r.Keys = append(r.Keys, name)
	}
	return nil
}

func ruleCerts(r *policy.Rule, args []string) error {
	if len(args) == 0 {
		return errors.New("expected DNS names of client certificates, or pins sha256:HEX")
	}
	for _, arg := range args {
		cert, err := parseCert(arg)
		if err != nil {
			return err
		}
		if slices.Contains(r.Certs, cert) {
			return fmt.Errorf("%s is listed twice", quote(arg))
		}
		r.Certs = append(r.Certs, cert)
	}
	return nil
}

func ruleTLS(r *policy.Rule, args []string) (err error) {
	r.TLS = true
	switch {
	case len(args) == 0:
		return nil
	case args[0] != "until":
		return fmt.Errorf("unexpected %s, expected nothing or 'until DATE'", quote(args[0]))
	case len(args) != 2:
		return errors.New("'until' needs one DATE, such as 2027-01-31")
	}
	r.TLSUntil, err = parseDate(args[1])
	return err
}

func ruleExpires(r *policy.Rule, args []string) (err error) {
	if len(args) != 1 {
		return errors.New("expected one DATE, the first moment at which the rule allows nobody any more, such as 2027-03-31")
	}
	r.Expires, err = parseDate(args[0])
	return err
}

func ruleUnsigned(r *policy.Rule, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unexpected %s, expected no value", quote(args[0]))
	}
	r.Unsigned = true
	return nil
}

func ruleRate(r *policy.Rule, args []string) error {
	rate, err := parseRate(args)
	if err != nil {
		return err
	}
	r.Rate = &rate
	return nil
}

func ruleConcurrent(r *policy.Rule, args []string) (err error) {
	if len(args) != 1 {
		return errors.New("expected one COUNT")
	}
	r.Concurrent, err = parseCount(args[0])
	return err
}
