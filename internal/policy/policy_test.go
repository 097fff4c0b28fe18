// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"crypto/tls"
	"encoding/binary"
	"go/ast"
	goparser "go/parser"
	"go/token"
	"net/netip"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/policy/policytest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/miekg/dns"
)

func TestDecide(t *testing.T) {
	allowed := func(rule string) policy.Decision {
		return policy.Decision{Allow: true, Rule: rule, Reason: policy.ReasonAllowed, Full: true, Known: true}
	}
	delta := func(rule string) policy.Decision {
		return policy.Decision{Allow: true, Rule: rule, Reason: policy.ReasonAllowed, Known: true}
	}
	whole := func(rule string) policy.Decision {
		return policy.Decision{Allow: true, Rule: rule, Reason: policy.ReasonAllowed, Full: true, FullOnly: true, Known: true}
	}
	denied := func(reason policy.Reason) policy.Decision { return policy.Decision{Reason: reason, Known: true} }
	stranger := func(reason policy.Reason) policy.Decision { return policy.Decision{Reason: reason} }
	by := func(rule string) policy.Decision {
		return policy.Decision{Rule: rule, Reason: policy.ReasonClientNotAllowed}
	}
	near := func(rule string, reason policy.Reason) policy.Decision {
		return policy.Decision{Near: rule, Reason: reason, Known: true}
	}

	keyed := axfr("192.0.2.1", "ns1.")
	tests := []struct {
		name string
		req  policy.Request
		want policy.Decision
	}{
		{"a key of the rule", keyed, allowed("keyed")},
		{"another key of the rule", axfr("192.0.2.1", "ns2."), allowed("keyed")},
		{"IPv6", axfr("2001:db8::5", "ns1."), allowed("keyed")},
		{"IPv4-mapped", axfr("::ffff:192.0.2.1", "ns1."), allowed("keyed")},
		{"IXFR of one who may have it all", with(keyed, ixfr), allowed("keyed")},
		{"IXFR over UDP", with(with(keyed, ixfr), func(r *policy.Request) { r.Transport = policy.TransportUDP }), allowed("keyed")},
		{"more proof than needed", with(keyed, showing(policytest.PinB, "x.example.")), allowed("keyed")},

		{"the zero request", policy.Request{}, stranger(policy.ReasonTransportUnsupported)},
		{"AXFR over UDP", with(keyed, func(r *policy.Request) { r.Transport = policy.TransportUDP }), denied(policy.ReasonTransportUnsupported)},
		{"DoH", with(keyed, func(r *policy.Request) { r.Transport = policy.TransportHTTPS }), denied(policy.ReasonTransportUnsupported)},
		{"DoH3", with(keyed, func(r *policy.Request) { r.Transport = policy.TransportHTTP3 }), denied(policy.ReasonTransportUnsupported)},
		{"DoQ", with(keyed, func(r *policy.Request) { r.Transport = policy.TransportQUIC }), denied(policy.ReasonTransportUnsupported)},
		{"gRPC", with(keyed, func(r *policy.Request) { r.Transport = policy.TransportGRPC }), denied(policy.ReasonTransportUnsupported)},
		{"a transport not known", with(keyed, func(r *policy.Request) { r.Transport = "carrier-pigeon" }), denied(policy.ReasonTransportUnsupported)},
		{"no transfer at all", with(axfr("198.51.100.1", ""), func(r *policy.Request) { r.Type = dns.TypeSOA }), denied(policy.ReasonTransportUnsupported)},

		{"malformed", with(keyed, func(r *policy.Request) { r.Malformed = true }), denied(policy.ReasonMalformed)},
		{"malformed signature", with(keyed, status(policy.TSIGMalformed)), denied(policy.ReasonMalformed)},
		{"malformed, of a stranger", with(axfr("8.8.8.8", ""), func(r *policy.Request) { r.Malformed = true }), stranger(policy.ReasonMalformed)},
		{"malformed over UDP", with(keyed, func(r *policy.Request) { r.Malformed, r.Transport = true, policy.TransportUDP }), denied(policy.ReasonTransportUnsupported)},

		{"no such zone", with(keyed, func(r *policy.Request) { r.Zone = "example.net." }), denied(policy.ReasonNotAZone)},
		{"below the apex", with(keyed, func(r *policy.Request) { r.Zone = "www.example.org." }), denied(policy.ReasonNotAZone)},
		{"above the apex", with(keyed, func(r *policy.Request) { r.Zone = "org." }), denied(policy.ReasonNotAZone)},
		{"no zone", with(keyed, func(r *policy.Request) { r.Zone = "" }), denied(policy.ReasonNotAZone)},
		{"class CH", with(keyed, func(r *policy.Request) { r.Class = dns.ClassCHAOS }), denied(policy.ReasonNotAZone)},
		{"class ANY", with(keyed, func(r *policy.Request) { r.Class = dns.ClassANY }), denied(policy.ReasonNotAZone)},
		{"no such zone, for a stranger", with(axfr("8.8.8.8", ""), func(r *policy.Request) { r.Zone = "example.net." }), stranger(policy.ReasonNotAZone)},

		{"a stranger", axfr("8.8.8.8", ""), stranger(policy.ReasonClientNotAllowed)},
		{"a stranger with a key", axfr("8.8.8.8", "ns1."), stranger(policy.ReasonClientNotAllowed)},
		{"a stranger with a bad key", with(axfr("8.8.8.8", "x."), status(policy.TSIGBadKey)), stranger(policy.ReasonClientNotAllowed)},
		{"no address", with(keyed, func(r *policy.Request) { r.Client = netip.Addr{} }), stranger(policy.ReasonClientNotAllowed)},
		{"an address that anybody may claim", with(keyed, untrusted), policy.Decision{Rule: "banned", Reason: policy.ReasonProxyUntrusted}},
		{"the same in a zone without denials", with(with(axfr("10.0.0.1", ""), untrusted), func(r *policy.Request) { r.Zone = "example.com." }), stranger(policy.ReasonProxyUntrusted)},
		{"known in another zone only", axfr("10.0.0.1", "ns1."), denied(policy.ReasonClientNotAllowed)},
		{"denied first", axfr("192.0.2.66", "ns1."), by("banned")},
		{"denied first, IPv4-mapped", axfr("::ffff:192.0.2.66", "ns1."), by("banned")},
		{"denied first, bad signature", with(axfr("192.0.2.66", "ns1."), status(policy.TSIGBadSignature)), by("banned")},
		{"allowed before a deny rule", axfr("192.0.2.77", "ns1."), allowed("keyed")},
		{
			"denied after an allow rule that lacks its key", axfr("192.0.2.77", ""),
			policy.Decision{Rule: "hole", Reason: policy.ReasonClientNotAllowed, Known: true},
		},

		{"unknown key", with(keyed, status(policy.TSIGBadKey)), denied(policy.ReasonTSIGBadKey)},
		{"unknown key, weak algorithm", with(keyed, func(r *policy.Request) { r.TSIG = policy.TSIGProof{policy.TSIGBadKey, "x.", "hmac-md5"} }), denied(policy.ReasonTSIGBadKey)},
		{"unknown algorithm", with(keyed, status(policy.TSIGBadAlgorithm)), denied(policy.ReasonTSIGWeakAlgorithm)},
		{"algorithm below the floor", with(keyed, func(r *policy.Request) { r.TSIG.Algorithm = "hmac-sha1" }), denied(policy.ReasonTSIGWeakAlgorithm)},
		{"no algorithm", with(keyed, func(r *policy.Request) { r.TSIG.Algorithm = "" }), denied(policy.ReasonTSIGWeakAlgorithm)},
		{"wrong signature", with(keyed, status(policy.TSIGBadSignature)), denied(policy.ReasonTSIGBadSignature)},
		{"status forgotten", with(keyed, status("")), denied(policy.ReasonTSIGBadSignature)},
		{"status not known", with(keyed, status("fine")), denied(policy.ReasonTSIGBadSignature)},
		{"outside the time window", with(keyed, status(policy.TSIGBadTime)), denied(policy.ReasonTSIGBadTime)},
		{"MAC cut short", with(keyed, status(policy.TSIGBadTruncation)), denied(policy.ReasonTSIGBadTruncation)},
		{"MAC of a wrong size", with(keyed, status(policy.TSIGBadSize)), denied(policy.ReasonTSIGBadTruncation)},
		{"bad signature where none is needed", with(axfr("198.51.100.1", "ns1."), status(policy.TSIGBadSignature)), denied(policy.ReasonTSIGBadSignature)},
		{"unknown key where none is needed", with(axfr("198.51.100.1", "x."), status(policy.TSIGBadKey)), denied(policy.ReasonTSIGBadKey)},

		{"key needed, none given", axfr("192.0.2.1", ""), near("keyed", policy.ReasonTSIGRequired)},
		{"another zone's key", axfr("192.0.2.1", "old."), near("keyed", policy.ReasonTSIGKeyNotAllowed)},
		{"no signature where none is needed", axfr("198.51.100.1", ""), allowed("open")},
		{"any good signature where none is needed", axfr("198.51.100.1", "old."), allowed("open")},
		{"replayed", with(keyed, func(r *policy.Request) { r.Replayed = true }), near("keyed", policy.ReasonTSIGReplay)},
		{"replayed where no signature is needed", with(axfr("198.51.100.1", "ns1."), func(r *policy.Request) { r.Replayed = true }), near("open", policy.ReasonTSIGReplay)},
		{"an allow rule that asks for nothing", axfr("100.64.0.1", ""), near("forgotten", policy.ReasonTSIGRequired)},
		{"an allow rule that asks for nothing, with a key", axfr("100.64.0.1", "ns1."), near("forgotten", policy.ReasonTSIGRequired)},

		{"TLS needed", axfr("203.0.113.65", "ns1."), near("tls", policy.ReasonTLSRequired)},
		{"TLS 1.3", with(axfr("203.0.113.65", "ns1."), overTLS), allowed("tls")},
		{"TLS 1.3 for dot", with(with(axfr("203.0.113.65", "ns1."), overTLS), func(r *policy.Request) { r.TLS.ALPN = "dot" }), allowed("tls")},
		{"TLS 1.3 for another protocol", with(with(axfr("203.0.113.65", "ns1."), overTLS), func(r *policy.Request) { r.TLS.ALPN = "acme-tls/1" }), near("tls", policy.ReasonTLSRequired)},
		{"TLS 1.2", with(with(axfr("203.0.113.65", "ns1."), overTLS), func(r *policy.Request) { r.TLS.Version = tls.VersionTLS12 }), near("tls", policy.ReasonTLSRequired)},
		{"TLS without evidence", with(axfr("203.0.113.65", "ns1."), func(r *policy.Request) { r.Transport = policy.TransportTLS }), near("tls", policy.ReasonTLSRequired)},
		{"evidence of TLS on TCP", with(with(axfr("203.0.113.65", "ns1."), overTLS), func(r *policy.Request) { r.Transport = policy.TransportTCP }), near("tls", policy.ReasonTLSRequired)},
		{"TLS 1.2, where the rule asks for none", with(with(axfr("192.0.2.53", "ns1."), overTLS), func(r *policy.Request) { r.TLS.Version = tls.VersionTLS12 }), near("keyed", policy.ReasonTLSRequired)},
		{"TLS without evidence, where the rule asks for none", with(axfr("192.0.2.53", "ns1."), func(r *policy.Request) { r.Transport = policy.TransportTLS }), near("keyed", policy.ReasonTLSRequired)},
		{"TLS, but no key", with(axfr("203.0.113.65", ""), overTLS), near("tls", policy.ReasonTSIGRequired)},
		{"TCP before the migration ends", axfr("203.0.113.129", "ns1."), allowed("soon")},
		{"TCP when the migration ends", with(axfr("203.0.113.129", "ns1."), func(r *policy.Request) { r.Now = policytest.MigrationEnd }), near("soon", policy.ReasonTLSRequired)},
		{"TCP at no known time", with(axfr("203.0.113.129", "ns1."), func(r *policy.Request) { r.Now = time.Time{} }), near("soon", policy.ReasonTLSRequired)},
		{"TLS when the migration ends", with(with(axfr("203.0.113.129", "ns1."), overTLS), func(r *policy.Request) { r.Now = policytest.MigrationEnd }), allowed("soon")},

		{"before its end", axfr("198.51.100.129", "ns1."), allowed("lent")},
		{"at its end", with(axfr("198.51.100.129", "ns1."), atEnd), near("lent", policy.ReasonRuleExpired)},
		{"at its end, another key", with(axfr("198.51.100.129", "ns2."), atEnd), near("lent", policy.ReasonTSIGKeyNotAllowed)},
		{"an end at no known time", with(axfr("198.51.100.129", "ns1."), func(r *policy.Request) { r.Now = time.Time{} }), near("lent", policy.ReasonRuleExpired)},
		{"IXFR at the end of one who may have AXFR alone", with(with(axfr("198.51.100.193", "ns1."), ixfr), atEnd), near("lent-whole", policy.ReasonRuleExpired)},
		{"AXFR at the end of one who may have deltas", with(axfr("198.51.100.225", "ns1."), atEnd), near("lent-deltas", policy.ReasonTypeNotAllowed)},

		{"certificate rule on TCP", axfr("203.0.113.193", ""), near("named", policy.ReasonTLSRequired)},
		{"no certificate", with(axfr("203.0.113.193", ""), overTLS), near("named", policy.ReasonCertRequired)},
		{"certificate by name", with(axfr("203.0.113.193", ""), showing(policytest.PinB, "ns2.example.net.")), allowed("named")},
		{"certificate by a wildcard", with(axfr("203.0.113.193", ""), showing(policytest.PinB, "a.sec.example.net.")), allowed("named")},
		{"certificate two labels below the wildcard", with(axfr("203.0.113.193", ""), showing(policytest.PinB, "b.a.sec.example.net.")), near("named", policy.ReasonCertNotAllowed)},
		{"certificate of another name", with(axfr("203.0.113.193", ""), showing(policytest.PinB, "ns3.example.net.")), near("named", policy.ReasonCertNotAllowed)},
		{"certificate without names", with(axfr("203.0.113.193", ""), showing(policytest.PinB)), near("named", policy.ReasonCertNotAllowed)},
		{"unverified certificate", with(with(axfr("203.0.113.193", ""), showing(policytest.PinB, "ns2.example.net.")), func(r *policy.Request) { r.TLS.Verified = false }), near("named", policy.ReasonCertNotAllowed)},
		{"expired certificate", with(with(axfr("203.0.113.193", ""), showing(policytest.PinB, "ns2.example.net.")), func(r *policy.Request) { r.TLS.Current = false }), near("named", policy.ReasonCertNotAllowed)},
		{"certificate for servers only", with(with(axfr("203.0.113.193", ""), showing(policytest.PinB, "ns2.example.net.")), func(r *policy.Request) { r.TLS.ClientUse = false }), near("named", policy.ReasonCertNotAllowed)},
		{"certificate over TLS 1.2", with(with(axfr("203.0.113.193", ""), showing(policytest.PinB, "ns2.example.net.")), func(r *policy.Request) { r.TLS.Version = tls.VersionTLS12 }), near("named", policy.ReasonTLSRequired)},
		{"pinned certificate", with(axfr("203.0.113.225", ""), showing(policytest.PinA)), allowed("pinned")},
		{"pinned certificate, self-signed", with(with(axfr("203.0.113.225", ""), showing(policytest.PinA)), func(r *policy.Request) { r.TLS.Verified = false }), allowed("pinned")},
		{"pinned certificate, expired", with(with(axfr("203.0.113.225", ""), showing(policytest.PinA)), func(r *policy.Request) { r.TLS.Current = false }), near("pinned", policy.ReasonCertNotAllowed)},
		{"another public key", with(axfr("203.0.113.225", ""), showing(policytest.PinB, "ns2.example.net.")), near("pinned", policy.ReasonCertNotAllowed)},
		{"pinned certificate, for servers only", with(with(axfr("203.0.113.225", ""), showing(policytest.PinA)), func(r *policy.Request) { r.TLS.ClientUse = false }), allowed("pinned")},
		{"a pin without a certificate", with(with(axfr("203.0.113.225", ""), showing(policytest.PinA)), func(r *policy.Request) { r.TLS.HasCert = false }), near("pinned", policy.ReasonCertRequired)},

		{"IXFR of one who may have deltas", with(axfr("203.0.113.5", "ns1."), ixfr), delta("deltas")},
		{"AXFR of one who may have deltas", axfr("203.0.113.5", "ns1."), near("deltas", policy.ReasonTypeNotAllowed)},
		{"IXFR, and AXFR by another rule", with(axfr("203.0.113.2", "ns1."), ixfr), allowed("deltas")},
		{"IXFR, and AXFR by another rule with another key", with(axfr("203.0.113.1", "ns1."), ixfr), delta("deltas")},
		{"IXFR of one who may have AXFR alone", with(axfr("203.0.113.1", "ns2."), ixfr), whole("full")},
		{"IXFR of one who may have AXFR alone, over UDP", with(with(axfr("203.0.113.1", "ns2."), ixfr), func(r *policy.Request) { r.Transport = policy.TransportUDP }), whole("full")},
		{"IXFR of one who may have AXFR alone, denied behind", with(axfr("203.0.113.3", "ns2."), ixfr), whole("full-held")},
		{"IXFR of one who may have neither", with(axfr("203.0.113.1", "ns3."), ixfr), near("deltas", policy.ReasonTSIGKeyNotAllowed)},
		{"IXFR, AXFR denied later", with(axfr("203.0.113.10", "ns1."), ixfr), delta("deltas")},
		{"AXFR denied later", axfr("203.0.113.10", "ns1."), policy.Decision{Rule: "late-deny", Reason: policy.ReasonClientNotAllowed, Known: true}},
		{"the nearest is the one that got furthest", axfr("203.0.113.1", "ns1."), near("deltas", policy.ReasonTypeNotAllowed)},
		{"the nearest of equals is the first", axfr("203.0.113.1", "x."), near("deltas", policy.ReasonTSIGKeyNotAllowed)},
	}
	ps := block()
	reached := map[policy.Reason]bool{}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ps.Decide(&tt.req)
			if diff := cmp.Diff(tt.want, got, cmpopts.IgnoreFields(policy.Decision{}, "By", "FullBy")); diff != "" {
				t.Errorf("Decide (-want +got):\n%s", diff)
			}
			if name := got.Rule + got.Near; (got.By == nil) != (name == "") || got.By != nil && got.By.Name != name {
				t.Errorf("the decision carries rule %v, and names %q", got.By, name)
			}
			reached[got.Reason] = true
		})
	}
	later := []policy.Reason{policy.ReasonZoneHeld, policy.ReasonBlockNotGuarded, policy.ReasonZoneNotGuarded, policy.ReasonRewritten, policy.ReasonFrozen, policy.ReasonRateLimited, policy.ReasonConcurrencyLimited, policy.ReasonShutdown, policy.ReasonAuditUnavailable, policy.ReasonZoneUnavailable}
	for _, r := range policy.Reasons {
		if !reached[r] && !slices.Contains(later, r) {
			t.Errorf("no request here is decided with %q", r)
		}
	}
}

// TestZeroValues shows that whatever was forgotten denies.
func TestZeroValues(t *testing.T) {
	good := with(axfr("192.0.2.1", "ns1."), showing(policytest.PinA, "ns2.example.net."))
	one := func(p policy.Policy) policy.Policies {
		p.Zone = "example.org."
		return policy.NewPolicies(&p)
	}
	for name, ps := range map[string]policy.Policies{
		"no policies":         {},
		"a nil policy":        policy.NewPolicies(nil),
		"the zero policy":     one(policy.Policy{}),
		"no rules":            one(policy.Policy{Algorithms: strongAlgorithms}),
		"the zero rule":       one(policy.Policy{Algorithms: strongAlgorithms, Rules: []policy.Rule{{}}}),
		"an empty net":        one(policy.Policy{Algorithms: strongAlgorithms, Rules: []policy.Rule{{Nets: policy.Nets{}, Unsigned: true}}}),
		"no algorithms":       one(policy.Policy{Rules: []policy.Rule{{Keys: []string{"ns1."}}}}),
		"the zero cert":       one(policy.Policy{Algorithms: strongAlgorithms, Rules: []policy.Rule{{Certs: []policy.Cert{{}}}}}),
		"the zero deny, then": one(policy.Policy{Algorithms: strongAlgorithms, Rules: []policy.Rule{{Deny: true}, {Unsigned: true}}}),
	} {
		t.Run(name, func(t *testing.T) {
			req := good
			if d := ps.Decide(&req); d.Allow || d.Full {
				t.Errorf("allowed: %+v", d)
			}
			req.TLS.SPKI = [32]byte{}
			if d := ps.Decide(&req); d.Allow || d.Full {
				t.Errorf("allowed with a public key of zeros: %+v", d)
			}
		})
	}
}

func TestSameHost(t *testing.T) {
	for _, tt := range []struct {
		want, san string
		same      bool
	}{
		{"ns1.example.org.", "ns1.example.org.", true},
		{"ns1.example.org.", "ns2.example.org.", false},
		{"ns1.example.org.", "example.org.", false},
		{"ns1.example.org.", "*.example.org.", true},
		{"*.example.org.", "ns1.example.org.", true},
		{"*.example.org.", "*.example.org.", true},
		{"*.example.org.", "a.b.example.org.", false},
		{"a.b.example.org.", "*.example.org.", false},
		{"*.example.org.", "example.org.", false},
		{"*.example.org.", ".example.org.", false},
		{"n*.example.org.", "ns1.example.org.", false},
		{"ns1.example.org.", "n*.example.org.", false},
		{"ns1.example.org.", "ns1.*.org.", false},
		{"example.org.", "*.org.", false}, // a wildcard right below a top-level domain
		{"*.org.", "example.org.", false},
		{"org.", "*.", false},
		{"ns1.example.org.", "*", false},
		{"ns1.example.org.", "", false},
		{"ns1.example.org.", "*.example.com.", false},
	} {
		proof := policy.TLSProof{HasCert: true, Verified: true, Current: true, ClientUse: true, Names: []string{tt.san}}
		if got := proof.Shows(policy.Cert{Name: tt.want}); got != tt.same {
			t.Errorf("a certificate for %q shows %q: %v", tt.san, tt.want, got)
		}
	}
}

func TestNets(t *testing.T) {
	all, none := policytest.AnyNet(), policytest.Nets()
	n := policytest.Nets("10.0.0.0/8", "::ffff:192.0.2.0/120", "2001:db8::/32")
	for addr, in := range map[string]bool{
		"10.255.0.1": true, "::ffff:10.0.0.1": true, "192.0.2.255": true, "::ffff:192.0.2.1": true,
		"2001:db8::1": true, "2001:db8::1%eth0": true,
		"11.0.0.1": false, "192.0.3.0": false, "::ffff:11.0.0.1": false, "2001:db9::": false, "::10.0.0.1": false,
	} {
		if got := n.Contains(netip.MustParseAddr(addr)); got != in {
			t.Errorf("Contains(%s) = %v", addr, got)
		}
	}
	if n.Contains(netip.Addr{}) || all.Contains(netip.Addr{}) {
		t.Error("an invalid address is in a set")
	}
	if !all.Contains(netip.MustParseAddr("::1")) || none.Contains(netip.MustParseAddr("::1")) {
		t.Error("the set of all is not all, or the zero set not empty")
	}
	if six := policytest.Nets("::/0"); six.Contains(netip.MustParseAddr("::ffff:10.0.0.1")) {
		t.Error("::/0 holds an IPv4 address")
	}
}

// TestEnumsComplete holds the lists of facts.go against its constants, so that
// what is documented and labelled from the lists misses nothing.
func TestEnumsComplete(t *testing.T) {
	declared := constantsOf(t, "facts.go")
	for typ, list := range map[string][]string{
		"Reason":     strs(policy.Reasons),
		"Transport":  strs(policy.Transports),
		"TSIGStatus": strs(policy.TSIGStatuses),
	} {
		want := declared[typ]
		if len(want) == 0 {
			t.Errorf("no constants of type %s found", typ)
		}
		slices.Sort(want)
		slices.Sort(list)
		if diff := cmp.Diff(want, list); diff != "" {
			t.Errorf("%ss (-constants +list):\n%s", typ, diff)
		}
		if len(slices.Compact(list)) != len(want) {
			t.Errorf("a %s has two names: %v", typ, want)
		}
	}
}

func strs[T ~string](list []T) (out []string) {
	for _, v := range list {
		out = append(out, string(v))
	}
	return out
}

// constantsOf returns the values of a file's typed string constants, by type.
func constantsOf(t *testing.T, file string) map[string][]string {
	t.Helper()
	f, err := goparser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for _, decl := range f.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok || gen.Tok != token.CONST {
			continue
		}
		for _, spec := range gen.Specs {
			vs := spec.(*ast.ValueSpec)
			typ, ok := vs.Type.(*ast.Ident)
			if !ok {
				continue
			}
			for _, v := range vs.Values {
				if lit, ok := v.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					s, err := strconv.Unquote(lit.Value)
					if err != nil {
						t.Fatal(err)
					}
					out[typ.Name] = append(out[typ.Name], s)
				}
			}
		}
	}
	return out
}

// largeBlock is one allow rule with 100,000 prefixes, and a request inside the last.
func largeBlock() (policy.Policies, policy.Request) {
	n := policy.Nets{}
	for i := range uint32(50_000) {
		var v4 [4]byte
		binary.BigEndian.PutUint32(v4[:], 10<<24+i<<4)
		n.Add(netip.PrefixFrom(netip.AddrFrom4(v4), 28+int(i%5)))
		v6 := [16]byte{0x20, 0x01, 0x0d, 0xb8}
		binary.BigEndian.PutUint32(v6[4:], i)
		n.Add(netip.PrefixFrom(netip.AddrFrom16(v6), 64-int(i%3)))
	}
	ps := policy.NewPolicies(&policy.Policy{
		Zone: "example.org.", Algorithms: strongAlgorithms,
		Rules: []policy.Rule{{Name: "many", Nets: n, Keys: []string{"ns1."}, Certs: []policy.Cert{{Name: "ns2.example.net."}}}},
	})
	req := with(axfr("10.12.52.240", "ns1."), showing(policytest.PinA, "ns1.example.net.", "*.example.net."))
	return ps, req
}

func TestDecideAllocatesNothing(t *testing.T) {
	ps, req := largeBlock()
	if d := ps.Decide(&req); !d.Allow {
		t.Fatalf("not allowed: %+v", d)
	}
	stranger := with(req, func(r *policy.Request) { r.Client = netip.MustParseAddr("192.0.2.1") })
	nearMiss := with(with(req, func(r *policy.Request) { r.TSIG.Key = "ns9." }), ixfr)
	for name, r := range map[string]*policy.Request{"allowed": &req, "stranger": &stranger, "near miss": &nearMiss} {
		if n := testing.AllocsPerRun(100, func() { ps.Decide(r) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
