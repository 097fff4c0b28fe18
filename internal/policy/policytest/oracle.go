// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

// Package policytest draws random policies and requests, and decides them by a second,
// naive reading of the design: rules as flat lists, conditions as a list of questions.
// It shares nothing with the policy but Request and Reason. For tests only.
package policytest

import (
	"crypto/tls"
	"net/netip"
	"slices"
	"time"

	"github.com/xfrguard/xfrguard/internal/policy"

	"github.com/miekg/dns"
)

// Rule is a rule as a flat list of conditions.
type Rule struct {
	Name     string
	Deny     bool
	Nets     []netip.Prefix // nil: no condition
	Types    []uint16
	Keys     []string
	Names    []string
	Pins     [][32]byte
	TLS      bool
	Until    time.Time
	Unsigned bool
	Expires  time.Time
}

// Policy is the rules of a zone, in order.
type Policy struct {
	Rules      []Rule
	algorithms []string
}

// Decision is what the naive reading says.
type Decision struct {
	Allow      bool
	Reason     policy.Reason
	Rule, Near string
	Full       bool
	FullOnly   bool
	Known      bool
}

// Decide follows the order of checks: transport, shape, apex, address, TSIG, then
// the rules, in each of them key, TLS, certificate, replay, type, end.
func Decide(block map[string]Policy, r *policy.Request) (d Decision) {
	for _, p := range block {
		if i := p.FirstByAddress(r); i >= 0 && !p.Rules[i].Deny {
			d.Known = true
		}
	}
	stream := r.Transport == policy.TransportTCP || r.Transport == policy.TransportTLS
	isAXFR, isIXFR := r.Type == dns.TypeAXFR, r.Type == dns.TypeIXFR
	if !(stream && (isAXFR || isIXFR) || r.Transport == policy.TransportUDP && isIXFR) {
		d.Reason = policy.ReasonTransportUnsupported
		return d
	}
	if r.Malformed || r.TSIG.Status == policy.TSIGMalformed {
		d.Reason = policy.ReasonMalformed
		return d
	}
	p, served := block[r.Zone]
	if !served || r.Class != dns.ClassINET {
		d.Reason = policy.ReasonNotAZone
		return d
	}
	first := p.FirstByAddress(r)
	if first < 0 || p.Rules[first].Deny {
		d.Reason = policy.ReasonClientNotAllowed
		if first >= 0 {
			d.Rule = p.Rules[first].Name
		}
		if r.ClientUntrusted && (first < 0 || !p.Rules[first].everybody()) {
			d.Reason = policy.ReasonProxyUntrusted
		}
		return d
	}
	if d.Reason = p.signature(r); d.Reason != "" {
		return d
	}
	w := p.walk(r)
	axfr := *r
	axfr.Type = dns.TypeAXFR
	full := p.walk(&axfr)
	d.Full = full.allow
	switch {
	case full.allow && !w.allow: // an IXFR that is allowed as the AXFR that it may become
		w, d.FullOnly = full, true
	case !w.allow && (full.stage > w.stage || full.stage == w.stage && full.at < w.at):
		w = full // nearer as the AXFR than as the IXFR
	}
	d.Allow, d.Rule, d.Near, d.Reason = w.allow, w.rule, w.near, w.reason
	return d
}

func (p Policy) FirstByAddress(q *policy.Request) int {
	return slices.IndexFunc(p.Rules, func(r Rule) bool { return r.HasAddress(q) })
}

// signature is the table of answers: what a present signature that is not proven
// under an accepted algorithm means.
func (p Policy) signature(r *policy.Request) policy.Reason {
	if r.TSIG.Status == policy.TSIGAbsent {
		return ""
	}
	if r.TSIG.Status == policy.TSIGBadKey {
		return policy.ReasonTSIGBadKey
	}
	accepted := false
	for _, a := range p.algorithms {
		accepted = accepted || a == r.TSIG.Algorithm
	}
	if !accepted {
		return policy.ReasonTSIGWeakAlgorithm
	}
	reason, ok := map[policy.TSIGStatus]policy.Reason{
		policy.TSIGValid:         "",
		policy.TSIGBadAlgorithm:  policy.ReasonTSIGWeakAlgorithm,
		policy.TSIGBadSize:       policy.ReasonTSIGBadTruncation,
		policy.TSIGBadTruncation: policy.ReasonTSIGBadTruncation,
		policy.TSIGBadTime:       policy.ReasonTSIGBadTime,
	}[r.TSIG.Status]
	if !ok {
		reason = policy.ReasonTSIGBadSignature
	}
	return reason
}

// walked is what a walk through the rules comes to. A denial has the stage and the place
// of the nearest miss.
type walked struct {
	allow      bool
	rule, near string
	reason     policy.Reason
	stage, at  int
}

// walk is the sentence "the first rule whose conditions all hold decides, none holds:
// denied", and the nearest miss: the rule that fails last in the order of checks.
func (p Policy) walk(r *policy.Request) walked {
	missed := make([]*walked, 6)
	for i, rule := range p.Rules {
		if !rule.HasAddress(r) {
			continue
		}
		if rule.Deny && r.ClientUntrusted && !rule.everybody() {
			return walked{rule: rule.Name, reason: policy.ReasonProxyUntrusted}
		}
		if rule.Deny {
			return walked{rule: rule.Name, reason: policy.ReasonClientNotAllowed}
		}
		stage, why := rule.miss(r)
		if stage < 0 {
			return walked{allow: true, rule: rule.Name, reason: policy.ReasonAllowed}
		}
		if missed[stage] == nil {
			missed[stage] = &walked{near: rule.Name, reason: why, stage: stage, at: i}
		}
	}
	for stage := 5; stage >= 0; stage-- {
		if missed[stage] != nil {
			return *missed[stage]
		}
	}
	panic("the address gate let in one that no rule knows")
}

// everybody reports whether the rule asks for no address, however that is written.
func (s Rule) everybody() bool {
	has := func(text string) bool { return slices.Contains(s.Nets, netip.MustParsePrefix(text)) }
	return s.Nets == nil || has("::/0") && (has("0.0.0.0/0") || has("0.0.0.0/1") && has("128.0.0.0/1"))
}

func (s Rule) HasAddress(q *policy.Request) bool {
	a := q.Client
	if !a.IsValid() {
		return false
	}
	if s.everybody() {
		return true
	}
	if q.ClientUntrusted {
		return s.Deny // an address that proves nothing is no way past a denial
	}
	a = a.Unmap().WithZone("")
	for _, p := range s.Nets {
		if p.Addr().Is4In6() {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// miss returns the first of the six conditions that does not hold, or -1.
func (s Rule) miss(r *policy.Request) (int, policy.Reason) {
	proven := r.TSIG.Status == policy.TSIGValid
	certs := len(s.Names)+len(s.Pins) > 0
	if len(s.Keys) > 0 {
		if !proven {
			return 0, policy.ReasonTSIGRequired
		}
		if !slices.Contains(s.Keys, r.TSIG.Key) {
			return 0, policy.ReasonTSIGKeyNotAllowed
		}
	}
	if len(s.Keys) == 0 && !certs && !s.Unsigned {
		return 0, policy.ReasonTSIGRequired
	}
	plainToday := !s.Until.IsZero() && !r.Now.IsZero() && r.Now.Before(s.Until)
	if certs || s.TLS && !plainToday || r.Transport == policy.TransportTLS { // RFC 9103 §7.2
		if r.Transport != policy.TransportTLS || r.TLS.Version < tls.VersionTLS13 || r.TLS.ALPN == "h2" {
			return 1, policy.ReasonTLSRequired
		}
	}
	if certs {
		if !r.TLS.HasCert {
			return 2, policy.ReasonCertRequired
		}
		if !s.certShown(&r.TLS) {
			return 2, policy.ReasonCertNotAllowed
		}
	}
	if proven && r.Replayed {
		return 3, policy.ReasonTSIGReplay
	}
	if len(s.Types) > 0 && !slices.Contains(s.Types, r.Type) {
		return 4, policy.ReasonTypeNotAllowed
	}
	if !s.Expires.IsZero() && (r.Now.IsZero() || !r.Now.Before(s.Expires)) {
		return 5, policy.ReasonRuleExpired
	}
	return -1, ""
}

func (s Rule) certShown(t *policy.TLSProof) bool {
	if !t.Current {
		return false
	}
	for _, pin := range s.Pins {
		if pin == t.SPKI {
			return true
		}
	}
	for _, want := range s.Names {
		for _, san := range t.Names {
			if t.Verified && t.ClientUse && specSameHost(want, san) {
				return true
			}
		}
	}
	return false
}

func specSameHost(want, san string) bool {
	w, s := dns.SplitDomainName(want), dns.SplitDomainName(san)
	if want == san {
		return true
	}
	if len(w) != len(s) || len(w) < 3 || !slices.Equal(w[1:], s[1:]) {
		return false
	}
	return w[0] == "*" || s[0] == "*"
}

// Matches reports whether the rule, alone, decides this request.
func (s Rule) Matches(r *policy.Request) bool {
	if !s.HasAddress(r) {
		return false
	}
	stage, _ := s.miss(r)
	return s.Deny || stage < 0
}

// Build turns the flat rule into the one under test.
func (s Rule) Build() policy.Rule {
	r := policy.Rule{
		Name: s.Name, Deny: s.Deny, Types: s.Types, Keys: s.Keys,
		TLS: s.TLS, TLSUntil: s.Until, Unsigned: s.Unsigned, Expires: s.Expires,
	}
	if s.Nets == nil {
		r.Nets.ImplyAny()
	} else {
		for _, p := range s.Nets {
			r.Nets.Add(p)
		}
		r.Nets.Settle()
	}
	for _, n := range s.Names {
		r.Certs = append(r.Certs, policy.Cert{Name: n})
	}
	for _, p := range s.Pins {
		r.Certs = append(r.Certs, policy.Cert{SPKI: p})
	}
	return r
}

func Build(spec map[string]Policy) policy.Policies {
	var all []*policy.Policy
	for zone, p := range spec {
		built := &policy.Policy{Zone: zone, Algorithms: p.algorithms}
		for _, r := range p.Rules {
			built.Rules = append(built.Rules, r.Build())
		}
		all = append(all, built)
	}
	return policy.NewPolicies(all...)
}
