// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package corefile

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/xfrguard/xfrguard/internal/policy"

	"github.com/miekg/dns"
)

// Expect is one `expect` line: what the policy has to say about a request.
type Expect struct {
	Allow   bool
	Zone    string         // "" for every zone of the directive
	By      string         // the rule that has to decide; "" for any
	Request policy.Request // but for the zone; its moment is zero without `at`
	Pos     Position
	Line    string // as it stands, for errors
}

// expectWords are the words of the line, and how many values each takes; -1 is any number.
var expectWords = map[string]int{
	"zone": 1, "type": 1, "from": 1, "key": 1, "algorithm": 1, "tls": 0, "san": -1, "pin": 1, "at": 1, "by": 1,
}

var expectNames = slices.Sorted(maps.Keys(expectWords))

const expectForm = "allow|deny [zone ZONE] [type AXFR|IXFR] from ADDRESS [key NAME] [algorithm ALG] [tls] [san NAME...] [pin PIN] [at DATE] [by RULE]"

// expect reads `allow|deny [zone ZONE] [type AXFR|IXFR] from ADDRESS [key NAME]
// [algorithm ALG] [tls] [san NAME...] [pin PIN] [at DATE] [by RULE]`.
func (p *parser) expect(args []string) error {
	if len(args) == 0 {
		return errors.New("expected " + expectForm)
	}
	verdict, err := oneOf(args[:1], "allow", "deny")
	if err != nil {
		return err
	}
	e := Expect{Allow: verdict == "allow", Pos: p.here(), Line: strings.Join(args, " ")}
	values, err := splitExpect(args[1:])
	if err != nil {
		return err
	}
	if err := e.read(values); err != nil {
		return err
	}
	p.cfg.Expects = append(p.cfg.Expects, e)
	return nil
}

// splitExpect sorts the values by the words that they stand behind.
func splitExpect(args []string) (map[string][]string, error) {
	values := map[string][]string{}
	for len(args) > 0 {
		word := args[0]
		count, ok := expectWords[word]
		switch {
		case !ok:
			return nil, fmt.Errorf("unexpected %s%s, expected one of %s", quote(word), didYouMean(word, expectNames), strings.Join(expectNames, ", "))
		case values[word] != nil:
			return nil, fmt.Errorf("'%s' is given twice", word)
		}
		end := 1
		for end < len(args) && (count < 0 || end <= count) {
			if _, next := expectWords[args[end]]; next {
				break
			}
			end++
		}
		switch got := end - 1; {
		case count > 0 && got < count:
			return nil, fmt.Errorf("'%s' needs a value", word)
		case count < 0 && got == 0:
			return nil, fmt.Errorf("'%s' needs one or more values", word)
		}
		values[word] = append([]string{}, args[1:end]...)
		args = args[end:]
	}
	return values, nil
}

// read fills the line with the values of its words.
func (e *Expect) read(values map[string][]string) (err error) {
	one := func(word string) string {
		if v := values[word]; len(v) > 0 {
			return v[0]
		}
		return ""
	}
	if values["from"] == nil {
		return errors.New("expected 'from ADDRESS', the address of who asks")
	}
	from, err := netip.ParseAddr(one("from"))
	if err != nil {
		return fmt.Errorf("from: %s is no address, expected one such as 192.0.2.53", quote(one("from")))
	}
	e.Request = policy.Request{Client: from.WithZone("").Unmap(), Class: dns.ClassINET, Type: dns.TypeAXFR, Transport: policy.TransportTCP}
	if zone := one("zone"); zone != "" {
		names, err := parseZone(zone)
		if err != nil || len(names) != 1 || maybeSecret(zone) {
			return fmt.Errorf("zone: %s is no zone, expected one name such as example.org", quote(zone))
		}
		e.Zone = names[0]
	}
	if t := one("type"); t != "" {
		if !strings.EqualFold(t, "AXFR") && !strings.EqualFold(t, "IXFR") {
			return fmt.Errorf("type: unknown value %s, expected AXFR or IXFR", quote(t))
		}
		e.Request.Type = dns.StringToType[strings.ToUpper(t)]
	}
	if err := e.proofs(values, one); err != nil {
		return err
	}
	if at := one("at"); at != "" {
		if e.Request.Now, err = parseDate(at); err != nil {
			return fmt.Errorf("at: %w", err)
		}
	}
	e.By = one("by")
	return nil
}

// proofs reads what the client proves itself with.
func (e *Expect) proofs(values map[string][]string, one func(string) string) error {
	e.Request.TSIG.Status = policy.TSIGAbsent
	switch {
	case values["algorithm"] != nil && values["key"] == nil:
		return errors.New("'algorithm' needs 'key NAME' beside it")
	case values["key"] != nil:
		name, err := parseKeyName(one("key"))
		if err != nil {
			return fmt.Errorf("key: %w", err)
		}
		e.Request.TSIG = policy.TSIGProof{Status: policy.TSIGValid, Key: name, Algorithm: "hmac-sha256"}
	}
	if alg := one("algorithm"); alg != "" {
		name, err := parseAlgorithm(alg)
		if err != nil {
			return fmt.Errorf("algorithm: %w", err)
		}
		e.Request.TSIG.Algorithm = name
	}
	if values["tls"] == nil && values["san"] == nil && values["pin"] == nil {
		return nil
	}
	for _, san := range values["san"] {
		if cert, err := parseCert(san); err != nil || cert.Name == "" {
			return fmt.Errorf("san: %s is no name of a certificate, expected a DNS name", quote(san))
		}
	}
	var spki [32]byte
	if pin := one("pin"); pin != "" {
		var err error
		if spki, err = ParsePin(pin); err != nil {
			return fmt.Errorf("pin: %w", err)
		}
	}
	e.Request.Transport = policy.TransportTLS
	e.Request.TLS = policy.ProofOverTLS(values["san"], spki)
	return nil
}

// checkExpects looks that the lines are about zones and rules of their directive.
func (p *parser) checkExpects() {
	for _, e := range p.cfg.Expects {
		switch {
		case e.Zone == "" && len(p.cfg.Zones) == 0:
			p.note(errAt(e.Pos, "expect: this directive has patterns alone, expected 'zone ZONE' with a name that one of them stands for"))
		case e.Zone != "" && !p.cfg.guards(e.Zone):
			p.note(errAt(e.Pos, "expect: zone '%s' is none of this directive, which guards %s", e.Zone, strings.Join(p.cfg.Names(), ", ")))
		case e.By != "" && !slices.ContainsFunc(p.cfg.Rules, func(r policy.Rule) bool { return r.Name == e.By }):
			p.note(errAt(e.Pos, "expect: this directive has no rule %s", quote(e.By)))
		}
	}
}

// guards reports whether the directive names the zone, or has a pattern that covers it.
func (c *Config) guards(zone string) bool {
	return slices.Contains(c.Zones, zone) || slices.ContainsFunc(c.Patterns, func(p string) bool { return Covers(p, zone) })
}

// Unmet is an `expect` line that does not hold.
type Unmet struct {
	Mistake

	// Over says that it would hold, had not a date passed that a rule has: that must not
	// keep a server from starting.
	Over bool
}

// TryExpects tries every `expect` line of the directives of a server block, at a moment. has
// reports whether the block has a TSIG key.
func TryExpects(configs []*Config, now time.Time, has func(key string) bool) (all []Unmet) {
	if !slices.ContainsFunc(configs, func(c *Config) bool { return len(c.Expects) > 0 }) {
		return nil
	}
	ps := PoliciesOf(configs)
	for _, c := range configs {
		for i := range c.Expects {
			zones := c.Zones
			if zone := c.Expects[i].Zone; zone != "" {
				zones = []string{zone}
			}
			for _, zone := range zones {
				if u := c.try(&c.Expects[i], zone, ps, now, has); u != nil {
					all = append(all, *u)
					break // for the other zones it is the same policy
				}
			}
		}
	}
	return all
}

// try returns why the line does not hold for a zone, nil when it does.
func (c *Config) try(e *Expect, zone string, ps policy.Policies, now time.Time, has func(string) bool) *Unmet {
	q := e.request(zone, now, has)
	d := ps.Decide(&q)
	if e.met(&d) {
		return nil
	}
	u := &Unmet{Mistake: Mistake{Pos: e.Pos, Text: fmt.Sprintf("expect %s: for %s it is %s", e.Line, zone, inWords(&d))}}
	if !e.Request.Now.IsZero() {
		return u
	}
	for i := range c.Rules {
		for _, date := range c.Rules[i].Dates() {
			if q.Now = date.Add(-1); date.After(now) {
				continue
			}
			if before := ps.Decide(&q); e.met(&before) {
				u.Over = true
			}
		}
	}
	return u
}

// request is the request of the line for a zone, at a moment unless the line has its own.
func (e *Expect) request(zone string, now time.Time, has func(key string) bool) policy.Request {
	q := e.Request
	q.Zone = zone
	if q.Now.IsZero() {
		q.Now = now
	}
	if q.TSIG.Status == policy.TSIGValid && !has(q.TSIG.Key) {
		q.TSIG.Status = policy.TSIGBadKey
	}
	return q
}

func (e *Expect) met(d *policy.Decision) bool {
	decided := d.Rule
	if !d.Allow && decided == "" {
		decided = d.Near
	}
	return d.Allow == e.Allow && (e.By == "" || e.By == decided)
}

func inWords(d *policy.Decision) string {
	switch {
	case d.Allow:
		return "allowed by rule " + d.Rule
	case d.Near != "":
		return fmt.Sprintf("denied: %s, rule %s came closest", d.Reason, d.Near)
	case d.Rule != "":
		return fmt.Sprintf("denied: %s, by rule %s", d.Reason, d.Rule)
	}
	return fmt.Sprintf("denied: %s", d.Reason)
}

// Touches reports whether one of the directive's `expect` lines is decided by rule i: it
// matches, or came closest.
func (c *Config) Touches(i int, ps policy.Policies, now time.Time, has func(key string) bool) bool {
	for _, e := range c.Expects {
		zones := c.Zones
		if e.Zone != "" {
			zones = []string{e.Zone}
		}
		for _, zone := range zones {
			q := e.request(zone, now, has)
			if d := ps.Decide(&q); d.Rule == c.Rules[i].Name || d.Near == c.Rules[i].Name {
				return true
			}
			break // the other zones have the same policy
		}
	}
	return false
}
