// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"crypto/tls"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"
	"pgregory.net/rapid"
)

// A second, naive reading of the design: rules as flat lists, conditions as a
// list of questions, nothing shared with the policy but Request and Reason.

type specRule struct {
	name     string
	deny     bool
	nets     []netip.Prefix // nil: no condition
	types    []uint16
	keys     []string
	names    []string
	pins     [][32]byte
	tls      bool
	until    time.Time
	unsigned bool
}

type specPolicy struct {
	rules      []specRule
	algorithms []string
}

type specDecision struct {
	allow      bool
	reason     Reason
	rule, near string
	full       bool
	known      bool
}

// decide follows the order of checks: transport, shape, apex, address, TSIG, then
// the rules, in each of them key, TLS, certificate, replay, type.
func specDecide(block map[string]specPolicy, r *Request) (d specDecision) {
	for _, p := range block {
		if i := p.firstByAddress(r); i >= 0 && !p.rules[i].deny {
			d.known = true
		}
	}
	stream := r.Transport == TransportTCP || r.Transport == TransportTLS
	isAXFR, isIXFR := r.Type == dns.TypeAXFR, r.Type == dns.TypeIXFR
	if !(stream && (isAXFR || isIXFR) || r.Transport == TransportUDP && isIXFR) {
		d.reason = ReasonTransportUnsupported
		return d
	}
	if r.Malformed || r.TSIG.Status == TSIGMalformed {
		d.reason = ReasonMalformed
		return d
	}
	p, served := block[r.Zone]
	if !served || r.Class != dns.ClassINET {
		d.reason = ReasonNotAZone
		return d
	}
	first := p.firstByAddress(r)
	if first < 0 || p.rules[first].deny {
		d.reason = ReasonClientNotAllowed
		if first >= 0 {
			d.rule = p.rules[first].name
		}
		if r.ClientUntrusted && (first < 0 || !p.rules[first].everybody()) {
			d.reason = ReasonProxyUntrusted
		}
		return d
	}
	if d.reason = p.signature(r); d.reason != "" {
		return d
	}
	d.allow, d.rule, d.near, d.reason = p.walk(r)
	if d.allow {
		axfr := *r
		axfr.Type = dns.TypeAXFR
		d.full, _, _, _ = p.walk(&axfr)
	}
	return d
}

func (p specPolicy) firstByAddress(q *Request) int {
	return slices.IndexFunc(p.rules, func(r specRule) bool { return r.hasAddress(q) })
}

// signature is the table of answers: what a present signature that is not proven
// under an accepted algorithm means.
func (p specPolicy) signature(r *Request) Reason {
	if r.TSIG.Status == TSIGAbsent {
		return ""
	}
	if r.TSIG.Status == TSIGBadKey {
		return ReasonTSIGBadKey
	}
	accepted := false
	for _, a := range p.algorithms {
		accepted = accepted || a == r.TSIG.Algorithm
	}
	if !accepted {
		return ReasonTSIGWeakAlgorithm
	}
	reason, ok := map[TSIGStatus]Reason{
		TSIGValid:         "",
		TSIGBadAlgorithm:  ReasonTSIGWeakAlgorithm,
		TSIGBadSize:       ReasonTSIGBadTruncation,
		TSIGBadTruncation: ReasonTSIGBadTruncation,
		TSIGBadTime:       ReasonTSIGBadTime,
	}[r.TSIG.Status]
	if !ok {
		reason = ReasonTSIGBadSignature
	}
	return reason
}

// walk is the sentence "the first rule whose conditions all hold decides, none
// holds: denied", and the nearest miss: the rule that fails last in the order of checks.
func (p specPolicy) walk(r *Request) (allow bool, rule, near string, reason Reason) {
	missed := make([]string, 5)
	reasons := make([]Reason, 5)
	for _, rule := range p.rules {
		if !rule.hasAddress(r) {
			continue
		}
		if rule.deny && r.ClientUntrusted && !rule.everybody() {
			return false, rule.name, "", ReasonProxyUntrusted
		}
		if rule.deny {
			return false, rule.name, "", ReasonClientNotAllowed
		}
		stage, why := rule.miss(r)
		if stage < 0 {
			return true, rule.name, "", ReasonAllowed
		}
		if missed[stage] == "" {
			missed[stage], reasons[stage] = rule.name, why
		}
	}
	for stage := 4; stage >= 0; stage-- {
		if missed[stage] != "" {
			return false, "", missed[stage], reasons[stage]
		}
	}
	panic("the address gate let in one that no rule knows")
}

// everybody reports whether the rule asks for no address, however that is written.
func (s specRule) everybody() bool {
	has := func(text string) bool { return slices.Contains(s.nets, netip.MustParsePrefix(text)) }
	return s.nets == nil || has("::/0") && (has("0.0.0.0/0") || has("0.0.0.0/1") && has("128.0.0.0/1"))
}

func (s specRule) hasAddress(q *Request) bool {
	a := q.Client
	if !a.IsValid() {
		return false
	}
	if s.everybody() {
		return true
	}
	if q.ClientUntrusted {
		return s.deny // an address that proves nothing is no way past a denial
	}
	a = a.Unmap().WithZone("")
	for _, p := range s.nets {
		if p.Addr().Is4In6() {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// miss returns the first of the five conditions that does not hold, or -1.
func (s specRule) miss(r *Request) (int, Reason) {
	proven := r.TSIG.Status == TSIGValid
	certs := len(s.names)+len(s.pins) > 0
	if len(s.keys) > 0 {
		if !proven {
			return 0, ReasonTSIGRequired
		}
		if !slices.Contains(s.keys, r.TSIG.Key) {
			return 0, ReasonTSIGKeyNotAllowed
		}
	}
	if len(s.keys) == 0 && !certs && !s.unsigned {
		return 0, ReasonTSIGRequired
	}
	plainToday := !s.until.IsZero() && !r.Now.IsZero() && r.Now.Before(s.until)
	if certs || s.tls && !plainToday || r.Transport == TransportTLS { // RFC 9103 §7.2
		if r.Transport != TransportTLS || r.TLS.Version < tls.VersionTLS13 || r.TLS.ALPN == "h2" {
			return 1, ReasonTLSRequired
		}
	}
	if certs {
		if !r.TLS.HasCert {
			return 2, ReasonCertRequired
		}
		if !s.certShown(&r.TLS) {
			return 2, ReasonCertNotAllowed
		}
	}
	if proven && r.Replayed {
		return 3, ReasonTSIGReplay
	}
	if len(s.types) > 0 && !slices.Contains(s.types, r.Type) {
		return 4, ReasonTypeNotAllowed
	}
	return -1, ""
}

func (s specRule) certShown(t *TLSProof) bool {
	if !t.Current || !t.ClientUse {
		return false
	}
	for _, pin := range s.pins {
		if pin == t.SPKI {
			return true
		}
	}
	for _, want := range s.names {
		for _, san := range t.Names {
			if t.Verified && specSameHost(want, san) {
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

// matches reports whether the rule, alone, decides this request.
func (s specRule) matches(r *Request) bool {
	if !s.hasAddress(r) {
		return false
	}
	stage, _ := s.miss(r)
	return s.deny || stage < 0
}

// build turns the flat rule into the one under test.
func (s specRule) build() Rule {
	r := Rule{
		Name: s.name, Deny: s.deny, Types: s.types, Keys: s.keys,
		TLS: s.tls, TLSUntil: s.until, Unsigned: s.unsigned,
	}
	if s.nets != nil {
		r.Nets = nets()
		for _, p := range s.nets {
			r.Nets.Add(p)
		}
		r.Nets.settle()
	}
	for _, n := range s.names {
		r.Certs = append(r.Certs, Cert{Name: n})
	}
	for _, p := range s.pins {
		r.Certs = append(r.Certs, Cert{SPKI: p})
	}
	return r
}

func buildBlock(spec map[string]specPolicy) Policies {
	ps := Policies{}
	for zone, p := range spec {
		policy := &Policy{Zone: zone, Algorithms: p.algorithms}
		for _, r := range p.rules {
			policy.Rules = append(policy.Rules, r.build())
		}
		ps[zone] = policy
	}
	return ps
}

// The universe is small, so that random requests and random rules meet often.
var (
	someNets = prefixes("10.0.0.0/8", "10.0.0.0/30", "10.0.0.0/31", "10.0.0.2/31", "10.0.0.0/32", "10.0.0.1/32", "10.0.0.2/32",
		"0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "2001:db8::/127", "2001:db8::/128", "2001:db8::1/128", "::/0", "::ffff:10.0.0.0/104")
	someAddrs = addrs("10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.9.9.9", "11.0.0.1", "200.0.0.1",
		"2001:db8::", "2001:db8::1", "2001:db8::2", "fe80::1")
	someZones  = []string{"example.org.", "sub.example.org.", "."}
	everywhere = prefixes("0.0.0.0/0", "::/0")
	someKeys   = []string{"k1.", "k2.", "k3."}
	someNames  = []string{"ns1.example.org.", "ns2.example.org.", "*.example.org.", "*.b.example.org.", "ns1.b.example.org."}
	somePins   = [][32]byte{pinA, pinB}
	someTimes  = []time.Time{migrationEnd, migrationEnd.Add(time.Hour)}
)

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func addrs(list ...string) (out []netip.Addr) {
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// chance is true so many times in a hundred. Integers of rapid lean to the small ones.
func chance(t *rapid.T, label string, percent int) bool {
	return rapid.SampledFrom(hundred).Draw(t, label) >= 100-percent
}

var hundred = func() (list []int) {
	for i := range 100 {
		list = append(list, i)
	}
	return list
}()

// few draws up to three different values of the list, often none.
func few[T comparable](t *rapid.T, label string, list []T) []T {
	if chance(t, label+"?", 50) {
		return nil
	}
	return rapid.SliceOfNDistinct(rapid.SampledFrom(list), 1, min(3, len(list)), rapid.ID[T]).Draw(t, label)
}

// drawRule draws a rule as parse lets it through, or any rule that a Go program could build.
func drawRule(t *rapid.T, name string, parseable bool) specRule {
	s := specRule{name: name, deny: chance(t, "deny", 20), nets: few(t, "nets", someNets)}
	if chance(t, "all nets", 5) {
		s.nets = everywhere
	}
	if s.deny {
		if parseable && s.nets == nil {
			s.nets = everywhere
		}
		return s
	}
	s.types = few(t, "types", []uint16{dns.TypeAXFR, dns.TypeIXFR})
	s.keys = few(t, "keys", someKeys)
	s.names = few(t, "names", someNames)
	s.pins = few(t, "pins", somePins)
	s.tls = rapid.Bool().Draw(t, "tls")
	if s.tls {
		s.until = rapid.SampledFrom([]time.Time{{}, someTimes[0], someTimes[1]}).Draw(t, "until")
	}
	s.unsigned = rapid.Bool().Draw(t, "unsigned")
	if parseable {
		certs := len(s.names)+len(s.pins) > 0
		s.unsigned = len(s.keys) == 0 && (s.unsigned || !certs)
		if certs {
			s.tls, s.until = true, time.Time{}
		}
	}
	return s
}

func drawBlock(t *rapid.T) map[string]specPolicy {
	block := map[string]specPolicy{}
	for _, zone := range someZones {
		if chance(t, "no "+zone, 20) {
			continue
		}
		p := specPolicy{algorithms: mostly(t, "algorithms", []string{"hmac-sha256"}, [][]string{nil, {"hmac-sha1"}, {"hmac-sha1", "hmac-sha256"}})}
		for i := range rapid.SampledFrom([]int{0, 1, 2, 3, 4, 5}).Draw(t, "rules") {
			p.rules = append(p.rules, drawRule(t, string(rune('a'+i)), false))
		}
		block[zone] = p
	}
	return block
}

func mostly[T any](t *rapid.T, label string, usual T, list []T) T {
	if !chance(t, label+"?", 15) {
		return usual
	}
	return rapid.SampledFrom(list).Draw(t, label)
}

func drawRequest(t *rapid.T) Request {
	client := rapid.SampledFrom(someAddrs).Draw(t, "client")
	switch {
	case chance(t, "mapped", 10):
		client = netip.AddrFrom16(client.As16()) // an IPv4 address becomes IPv4-mapped
	case chance(t, "no address", 5):
		client = netip.Addr{}
	}
	r := Request{
		Client:    client,
		Zone:      mostly(t, "zone", rapid.SampledFrom(someZones).Draw(t, "a zone"), []string{"www.example.org.", ""}),
		Type:      mostly(t, "type", rapid.SampledFrom([]uint16{dns.TypeAXFR, dns.TypeIXFR}).Draw(t, "a type"), []uint16{dns.TypeSOA, 0}),
		Class:     mostly(t, "class", uint16(dns.ClassINET), []uint16{dns.ClassCHAOS, dns.ClassANY, 0}),
		Serial:    rapid.Uint32().Draw(t, "serial"),
		Transport: mostly(t, "transport", rapid.SampledFrom([]Transport{TransportTCP, TransportTLS, TransportTLS}).Draw(t, "a transport"), append([]Transport{""}, Transports...)),
		Malformed: chance(t, "malformed", 3),

		ClientUntrusted: chance(t, "untrusted", 10),

		Replayed: chance(t, "replayed", 10),
		Now:      rapid.SampledFrom([]time.Time{{}, migrationEnd.Add(-1), migrationEnd, migrationEnd.Add(time.Minute), migrationEnd.Add(2 * time.Hour)}).Draw(t, "now"),
	}
	r.TSIG.Status = mostly(t, "status", rapid.SampledFrom([]TSIGStatus{TSIGValid, TSIGValid, TSIGAbsent}).Draw(t, "a status"),
		append([]TSIGStatus{"", "new"}, TSIGStatuses...))
	if r.TSIG.Status != TSIGAbsent {
		r.TSIG.Key = mostly(t, "key", rapid.SampledFrom(someKeys).Draw(t, "a key"), []string{"", "k9."})
		r.TSIG.Algorithm = mostly(t, "algorithm", "hmac-sha256", []string{"hmac-sha1", "hmac-md5", ""})
	}
	r.TLS = drawTLS(t)
	return r
}

func drawTLS(t *rapid.T) TLSProof {
	p := TLSProof{
		Version: mostly(t, "version", uint16(tls.VersionTLS13), []uint16{0, tls.VersionTLS12}),
		HasCert: mostly(t, "cert", true, []bool{false}),
		ALPN:    mostly(t, "alpn", "dot", []string{"", "h2"}),
	}
	if p.HasCert {
		p.Verified = mostly(t, "verified", true, []bool{false})
		p.Current = mostly(t, "current", true, []bool{false})
		p.ClientUse = mostly(t, "client use", true, []bool{false})
		p.Names = few(t, "sans", someNames)
		p.SPKI = rapid.SampledFrom([][32]byte{pinA, pinB, {3}}).Draw(t, "spki")
	}
	return p
}
