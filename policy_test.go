// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"go/ast"
	goparser "go/parser"
	"go/token"
	"net/netip"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/miekg/dns"
)

func nets(prefixes ...string) *Nets {
	n := &Nets{}
	for _, p := range prefixes {
		n.Add(netip.MustParsePrefix(p))
	}
	return n
}

func anyNet() *Nets {
	n := &Nets{}
	n.AddAny()
	return n
}

var (
	strongAlgorithms = []string{"hmac-sha256", "hmac-sha384", "hmac-sha512"}
	migrationEnd     = time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)
	pinA, pinB       = [32]byte{1}, [32]byte{2}
)

// block is a server block with two zones, whose rules show every condition.
func block() Policies {
	return Policies{
		"example.org.": {
			Zone:       "example.org.",
			Algorithms: strongAlgorithms,
			Rules: []Rule{
				{Name: "banned", Deny: true, Nets: nets("192.0.2.66/32")},
				{Name: "keyed", Nets: nets("192.0.2.0/24", "2001:db8::/32"), Keys: []string{"ns1.", "ns2."}},
				{Name: "open", Nets: nets("198.51.100.0/25"), Unsigned: true},
				{Name: "hole", Deny: true, Nets: nets("203.0.113.9/32", "192.0.2.77/32")},
				{Name: "deltas", Nets: nets("203.0.113.0/26"), Types: []uint16{dns.TypeIXFR}, Keys: []string{"ns1."}},
				{Name: "tls", Nets: nets("203.0.113.64/26"), Keys: []string{"ns1."}, TLS: true},
				{Name: "soon", Nets: nets("203.0.113.128/26"), Keys: []string{"ns1."}, TLS: true, TLSUntil: migrationEnd},
				{Name: "named", Nets: nets("203.0.113.192/27"), TLS: true, Certs: []Cert{{Name: "ns2.example.net."}, {Name: "*.sec.example.net."}}},
				{Name: "pinned", Nets: nets("203.0.113.224/27"), TLS: true, Certs: []Cert{{SPKI: pinA}}},
				{Name: "late-deny", Deny: true, Nets: nets("203.0.113.10/32")},
				{Name: "full", Nets: nets("203.0.113.1/32"), Types: []uint16{dns.TypeAXFR}, Keys: []string{"ns2."}},
				{Name: "full-same", Nets: nets("203.0.113.2/32"), Types: []uint16{dns.TypeAXFR}, Keys: []string{"ns1."}},
				{Name: "forgotten", Nets: nets("100.64.0.0/10")}, // as no Corefile can say it
			},
		},
		"example.com.": {
			Zone:       "example.com.",
			Algorithms: []string{"hmac-sha1"},
			Rules:      []Rule{{Name: "other", Nets: nets("100.65.0.0/16", "10.0.0.0/8"), Keys: []string{"old."}}},
		},
	}
}

// axfr is a good request from the address, signed by the key when there is one.
func axfr(client, key string) Request {
	r := Request{
		Client:    netip.MustParseAddr(client),
		Zone:      "example.org.",
		Type:      dns.TypeAXFR,
		Class:     dns.ClassINET,
		Transport: TransportTCP,
		TSIG:      TSIGProof{Status: TSIGAbsent},
		Now:       migrationEnd.Add(-time.Hour),
	}
	if key != "" {
		r.TSIG = TSIGProof{Status: TSIGValid, Key: key, Algorithm: "hmac-sha256"}
	}
	return r
}

func (r Request) with(change func(*Request)) Request {
	change(&r)
	return r
}

func status(s TSIGStatus) func(*Request) { return func(r *Request) { r.TSIG.Status = s } }

func untrusted(r *Request) { r.ClientUntrusted = true }

func ixfr(r *Request) { r.Type = dns.TypeIXFR }

func overTLS(r *Request) {
	r.Transport = TransportTLS
	r.TLS.Version = tls.VersionTLS13
}

// showing presents a verified, current certificate over TLS 1.3.
func showing(spki [32]byte, names ...string) func(*Request) {
	return func(r *Request) {
		r.Transport = TransportTLS
		r.TLS = TLSProof{Version: tls.VersionTLS13, HasCert: true, Verified: true, Current: true, ClientUse: true, Names: names, SPKI: spki}
	}
}

func TestDecide(t *testing.T) {
	allowed := func(rule string) Decision {
		return Decision{Allow: true, Rule: rule, Reason: ReasonAllowed, Full: true, Known: true}
	}
	delta := func(rule string) Decision {
		return Decision{Allow: true, Rule: rule, Reason: ReasonAllowed, Known: true}
	}
	denied := func(reason Reason) Decision { return Decision{Reason: reason, Known: true} }
	stranger := func(reason Reason) Decision { return Decision{Reason: reason} }
	by := func(rule string) Decision { return Decision{Rule: rule, Reason: ReasonClientNotAllowed} }
	near := func(rule string, reason Reason) Decision {
		return Decision{Near: rule, Reason: reason, Known: true}
	}

	keyed := axfr("192.0.2.1", "ns1.")
	tests := []struct {
		name string
		req  Request
		want Decision
	}{
		{"a key of the rule", keyed, allowed("keyed")},
		{"another key of the rule", axfr("192.0.2.1", "ns2."), allowed("keyed")},
		{"IPv6", axfr("2001:db8::5", "ns1."), allowed("keyed")},
		{"IPv4-mapped", axfr("::ffff:192.0.2.1", "ns1."), allowed("keyed")},
		{"IXFR of one who may have it all", keyed.with(ixfr), allowed("keyed")},
		{"IXFR over UDP", keyed.with(ixfr).with(func(r *Request) { r.Transport = TransportUDP }), allowed("keyed")},
		{"more proof than needed", keyed.with(showing(pinB, "x.example.")), allowed("keyed")},

		{"the zero request", Request{}, stranger(ReasonTransportUnsupported)},
		{"AXFR over UDP", keyed.with(func(r *Request) { r.Transport = TransportUDP }), denied(ReasonTransportUnsupported)},
		{"DoH", keyed.with(func(r *Request) { r.Transport = TransportHTTPS }), denied(ReasonTransportUnsupported)},
		{"DoH3", keyed.with(func(r *Request) { r.Transport = TransportHTTP3 }), denied(ReasonTransportUnsupported)},
		{"DoQ", keyed.with(func(r *Request) { r.Transport = TransportQUIC }), denied(ReasonTransportUnsupported)},
		{"gRPC", keyed.with(func(r *Request) { r.Transport = TransportGRPC }), denied(ReasonTransportUnsupported)},
		{"a transport not known", keyed.with(func(r *Request) { r.Transport = "carrier-pigeon" }), denied(ReasonTransportUnsupported)},
		{"no transfer at all", axfr("198.51.100.1", "").with(func(r *Request) { r.Type = dns.TypeSOA }), denied(ReasonTransportUnsupported)},

		{"malformed", keyed.with(func(r *Request) { r.Malformed = true }), denied(ReasonMalformed)},
		{"malformed signature", keyed.with(status(TSIGMalformed)), denied(ReasonMalformed)},
		{"malformed, of a stranger", axfr("8.8.8.8", "").with(func(r *Request) { r.Malformed = true }), stranger(ReasonMalformed)},
		{"malformed over UDP", keyed.with(func(r *Request) { r.Malformed, r.Transport = true, TransportUDP }), denied(ReasonTransportUnsupported)},

		{"no such zone", keyed.with(func(r *Request) { r.Zone = "example.net." }), denied(ReasonNotAZone)},
		{"below the apex", keyed.with(func(r *Request) { r.Zone = "www.example.org." }), denied(ReasonNotAZone)},
		{"above the apex", keyed.with(func(r *Request) { r.Zone = "org." }), denied(ReasonNotAZone)},
		{"no zone", keyed.with(func(r *Request) { r.Zone = "" }), denied(ReasonNotAZone)},
		{"class CH", keyed.with(func(r *Request) { r.Class = dns.ClassCHAOS }), denied(ReasonNotAZone)},
		{"class ANY", keyed.with(func(r *Request) { r.Class = dns.ClassANY }), denied(ReasonNotAZone)},
		{"no such zone, for a stranger", axfr("8.8.8.8", "").with(func(r *Request) { r.Zone = "example.net." }), stranger(ReasonNotAZone)},

		{"a stranger", axfr("8.8.8.8", ""), stranger(ReasonClientNotAllowed)},
		{"a stranger with a key", axfr("8.8.8.8", "ns1."), stranger(ReasonClientNotAllowed)},
		{"a stranger with a bad key", axfr("8.8.8.8", "x.").with(status(TSIGBadKey)), stranger(ReasonClientNotAllowed)},
		{"no address", keyed.with(func(r *Request) { r.Client = netip.Addr{} }), stranger(ReasonClientNotAllowed)},
		{"an address that anybody may claim", keyed.with(untrusted), Decision{Rule: "banned", Reason: ReasonProxyUntrusted}},
		{"the same in a zone without denials", axfr("10.0.0.1", "").with(untrusted).with(func(r *Request) { r.Zone = "example.com." }), stranger(ReasonProxyUntrusted)},
		{"known in another zone only", axfr("10.0.0.1", "ns1."), denied(ReasonClientNotAllowed)},
		{"denied first", axfr("192.0.2.66", "ns1."), by("banned")},
		{"denied first, IPv4-mapped", axfr("::ffff:192.0.2.66", "ns1."), by("banned")},
		{"denied first, bad signature", axfr("192.0.2.66", "ns1.").with(status(TSIGBadSignature)), by("banned")},
		{"allowed before a deny rule", axfr("192.0.2.77", "ns1."), allowed("keyed")},
		{
			"denied after an allow rule that lacks its key", axfr("192.0.2.77", ""),
			Decision{Rule: "hole", Reason: ReasonClientNotAllowed, Known: true},
		},

		{"unknown key", keyed.with(status(TSIGBadKey)), denied(ReasonTSIGBadKey)},
		{"unknown key, weak algorithm", keyed.with(func(r *Request) { r.TSIG = TSIGProof{TSIGBadKey, "x.", "hmac-md5"} }), denied(ReasonTSIGBadKey)},
		{"unknown algorithm", keyed.with(status(TSIGBadAlgorithm)), denied(ReasonTSIGWeakAlgorithm)},
		{"algorithm below the floor", keyed.with(func(r *Request) { r.TSIG.Algorithm = "hmac-sha1" }), denied(ReasonTSIGWeakAlgorithm)},
		{"no algorithm", keyed.with(func(r *Request) { r.TSIG.Algorithm = "" }), denied(ReasonTSIGWeakAlgorithm)},
		{"wrong signature", keyed.with(status(TSIGBadSignature)), denied(ReasonTSIGBadSignature)},
		{"status forgotten", keyed.with(status("")), denied(ReasonTSIGBadSignature)},
		{"status not known", keyed.with(status("fine")), denied(ReasonTSIGBadSignature)},
		{"outside the time window", keyed.with(status(TSIGBadTime)), denied(ReasonTSIGBadTime)},
		{"MAC cut short", keyed.with(status(TSIGBadTruncation)), denied(ReasonTSIGBadTruncation)},
		{"MAC of a wrong size", keyed.with(status(TSIGBadSize)), denied(ReasonTSIGBadTruncation)},
		{"bad signature where none is needed", axfr("198.51.100.1", "ns1.").with(status(TSIGBadSignature)), denied(ReasonTSIGBadSignature)},
		{"unknown key where none is needed", axfr("198.51.100.1", "x.").with(status(TSIGBadKey)), denied(ReasonTSIGBadKey)},

		{"key needed, none given", axfr("192.0.2.1", ""), near("keyed", ReasonTSIGRequired)},
		{"another zone's key", axfr("192.0.2.1", "old."), near("keyed", ReasonTSIGKeyNotAllowed)},
		{"no signature where none is needed", axfr("198.51.100.1", ""), allowed("open")},
		{"any good signature where none is needed", axfr("198.51.100.1", "old."), allowed("open")},
		{"replayed", keyed.with(func(r *Request) { r.Replayed = true }), near("keyed", ReasonTSIGReplay)},
		{"replayed where no signature is needed", axfr("198.51.100.1", "ns1.").with(func(r *Request) { r.Replayed = true }), near("open", ReasonTSIGReplay)},
		{"an allow rule that asks for nothing", axfr("100.64.0.1", ""), near("forgotten", ReasonTSIGRequired)},
		{"an allow rule that asks for nothing, with a key", axfr("100.64.0.1", "ns1."), near("forgotten", ReasonTSIGRequired)},

		{"TLS needed", axfr("203.0.113.65", "ns1."), near("tls", ReasonTLSRequired)},
		{"TLS 1.3", axfr("203.0.113.65", "ns1.").with(overTLS), allowed("tls")},
		{"TLS 1.3 for dot", axfr("203.0.113.65", "ns1.").with(overTLS).with(func(r *Request) { r.TLS.ALPN = "dot" }), allowed("tls")},
		{"TLS 1.3 for another protocol", axfr("203.0.113.65", "ns1.").with(overTLS).with(func(r *Request) { r.TLS.ALPN = "acme-tls/1" }), near("tls", ReasonTLSRequired)},
		{"TLS 1.2", axfr("203.0.113.65", "ns1.").with(overTLS).with(func(r *Request) { r.TLS.Version = tls.VersionTLS12 }), near("tls", ReasonTLSRequired)},
		{"TLS without evidence", axfr("203.0.113.65", "ns1.").with(func(r *Request) { r.Transport = TransportTLS }), near("tls", ReasonTLSRequired)},
		{"evidence of TLS on TCP", axfr("203.0.113.65", "ns1.").with(overTLS).with(func(r *Request) { r.Transport = TransportTCP }), near("tls", ReasonTLSRequired)},
		{"TLS 1.2, where the rule asks for none", axfr("192.0.2.53", "ns1.").with(overTLS).with(func(r *Request) { r.TLS.Version = tls.VersionTLS12 }), near("keyed", ReasonTLSRequired)},
		{"TLS without evidence, where the rule asks for none", axfr("192.0.2.53", "ns1.").with(func(r *Request) { r.Transport = TransportTLS }), near("keyed", ReasonTLSRequired)},
		{"TLS, but no key", axfr("203.0.113.65", "").with(overTLS), near("tls", ReasonTSIGRequired)},
		{"TCP before the migration ends", axfr("203.0.113.129", "ns1."), allowed("soon")},
		{"TCP when the migration ends", axfr("203.0.113.129", "ns1.").with(func(r *Request) { r.Now = migrationEnd }), near("soon", ReasonTLSRequired)},
		{"TCP at no known time", axfr("203.0.113.129", "ns1.").with(func(r *Request) { r.Now = time.Time{} }), near("soon", ReasonTLSRequired)},
		{"TLS when the migration ends", axfr("203.0.113.129", "ns1.").with(overTLS).with(func(r *Request) { r.Now = migrationEnd }), allowed("soon")},

		{"certificate rule on TCP", axfr("203.0.113.193", ""), near("named", ReasonTLSRequired)},
		{"no certificate", axfr("203.0.113.193", "").with(overTLS), near("named", ReasonCertRequired)},
		{"certificate by name", axfr("203.0.113.193", "").with(showing(pinB, "ns2.example.net.")), allowed("named")},
		{"certificate by a wildcard", axfr("203.0.113.193", "").with(showing(pinB, "a.sec.example.net.")), allowed("named")},
		{"certificate two labels below the wildcard", axfr("203.0.113.193", "").with(showing(pinB, "b.a.sec.example.net.")), near("named", ReasonCertNotAllowed)},
		{"certificate of another name", axfr("203.0.113.193", "").with(showing(pinB, "ns3.example.net.")), near("named", ReasonCertNotAllowed)},
		{"certificate without names", axfr("203.0.113.193", "").with(showing(pinB)), near("named", ReasonCertNotAllowed)},
		{"unverified certificate", axfr("203.0.113.193", "").with(showing(pinB, "ns2.example.net.")).with(func(r *Request) { r.TLS.Verified = false }), near("named", ReasonCertNotAllowed)},
		{"expired certificate", axfr("203.0.113.193", "").with(showing(pinB, "ns2.example.net.")).with(func(r *Request) { r.TLS.Current = false }), near("named", ReasonCertNotAllowed)},
		{"certificate for servers only", axfr("203.0.113.193", "").with(showing(pinB, "ns2.example.net.")).with(func(r *Request) { r.TLS.ClientUse = false }), near("named", ReasonCertNotAllowed)},
		{"certificate over TLS 1.2", axfr("203.0.113.193", "").with(showing(pinB, "ns2.example.net.")).with(func(r *Request) { r.TLS.Version = tls.VersionTLS12 }), near("named", ReasonTLSRequired)},
		{"pinned certificate", axfr("203.0.113.225", "").with(showing(pinA)), allowed("pinned")},
		{"pinned certificate, self-signed", axfr("203.0.113.225", "").with(showing(pinA)).with(func(r *Request) { r.TLS.Verified = false }), allowed("pinned")},
		{"pinned certificate, expired", axfr("203.0.113.225", "").with(showing(pinA)).with(func(r *Request) { r.TLS.Current = false }), near("pinned", ReasonCertNotAllowed)},
		{"another public key", axfr("203.0.113.225", "").with(showing(pinB, "ns2.example.net.")), near("pinned", ReasonCertNotAllowed)},
		{"pinned certificate, for servers only", axfr("203.0.113.225", "").with(showing(pinA)).with(func(r *Request) { r.TLS.ClientUse = false }), near("pinned", ReasonCertNotAllowed)},
		{"a pin without a certificate", axfr("203.0.113.225", "").with(showing(pinA)).with(func(r *Request) { r.TLS.HasCert = false }), near("pinned", ReasonCertRequired)},

		{"IXFR of one who may have deltas", axfr("203.0.113.5", "ns1.").with(ixfr), delta("deltas")},
		{"AXFR of one who may have deltas", axfr("203.0.113.5", "ns1."), near("deltas", ReasonTypeNotAllowed)},
		{"IXFR, and AXFR by another rule", axfr("203.0.113.2", "ns1.").with(ixfr), allowed("deltas")},
		{"IXFR, and AXFR by another rule with another key", axfr("203.0.113.1", "ns1.").with(ixfr), delta("deltas")},
		{"IXFR, AXFR denied later", axfr("203.0.113.10", "ns1.").with(ixfr), delta("deltas")},
		{"AXFR denied later", axfr("203.0.113.10", "ns1."), Decision{Rule: "late-deny", Reason: ReasonClientNotAllowed, Known: true}},
		{"the nearest is the one that got furthest", axfr("203.0.113.1", "ns1."), near("deltas", ReasonTypeNotAllowed)},
		{"the nearest of equals is the first", axfr("203.0.113.1", "x."), near("deltas", ReasonTSIGKeyNotAllowed)},
	}
	ps := block()
	reached := map[Reason]bool{}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ps.Decide(&tt.req)
			if diff := cmp.Diff(tt.want, got, cmpopts.IgnoreUnexported(Decision{})); diff != "" {
				t.Errorf("Decide (-want +got):\n%s", diff)
			}
			if name := got.Rule + got.Near; (got.rule == nil) != (name == "") || got.rule != nil && got.rule.Name != name {
				t.Errorf("the decision carries rule %v, and names %q", got.rule, name)
			}
			reached[got.Reason] = true
		})
	}
	later := []Reason{ReasonRewritten, ReasonRateLimited, ReasonConcurrencyLimited, ReasonShutdown, ReasonAuditUnavailable, ReasonZoneUnavailable}
	for _, r := range Reasons {
		if !reached[r] && !slices.Contains(later, r) {
			t.Errorf("no request here is decided with %q", r)
		}
	}
}

// TestZeroValues shows that whatever was forgotten denies.
func TestZeroValues(t *testing.T) {
	good := axfr("192.0.2.1", "ns1.").with(showing(pinA, "ns2.example.net."))
	for name, ps := range map[string]Policies{
		"no policies":         nil,
		"a nil policy":        {"example.org.": nil},
		"the zero policy":     {"example.org.": {}},
		"no rules":            {"example.org.": {Algorithms: strongAlgorithms}},
		"the zero rule":       {"example.org.": {Algorithms: strongAlgorithms, Rules: []Rule{{}}}},
		"an empty net":        {"example.org.": {Algorithms: strongAlgorithms, Rules: []Rule{{Nets: &Nets{}, Unsigned: true}}}},
		"no algorithms":       {"example.org.": {Rules: []Rule{{Keys: []string{"ns1."}}}}},
		"the zero cert":       {"example.org.": {Algorithms: strongAlgorithms, Rules: []Rule{{Certs: []Cert{{}}}}}},
		"the zero deny, then": {"example.org.": {Algorithms: strongAlgorithms, Rules: []Rule{{Deny: true}, {Unsigned: true}}}},
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
		if got := sameHost(tt.want, tt.san); got != tt.same {
			t.Errorf("sameHost(%q, %q) = %v", tt.want, tt.san, got)
		}
	}
}

func TestNets(t *testing.T) {
	n := nets("10.0.0.0/8", "::ffff:192.0.2.0/120", "2001:db8::/32")
	for addr, in := range map[string]bool{
		"10.255.0.1": true, "::ffff:10.0.0.1": true, "192.0.2.255": true, "::ffff:192.0.2.1": true,
		"2001:db8::1": true, "2001:db8::1%eth0": true,
		"11.0.0.1": false, "192.0.3.0": false, "::ffff:11.0.0.1": false, "2001:db9::": false, "::10.0.0.1": false,
	} {
		if got := n.Contains(netip.MustParseAddr(addr)); got != in {
			t.Errorf("Contains(%s) = %v", addr, got)
		}
	}
	if n.Contains(netip.Addr{}) || anyNet().Contains(netip.Addr{}) {
		t.Error("an invalid address is in a set")
	}
	if !anyNet().Contains(netip.MustParseAddr("::1")) || (&Nets{}).Contains(netip.MustParseAddr("::1")) {
		t.Error("the set of all is not all, or the zero set not empty")
	}
	if all := nets("::/0"); all.Contains(netip.MustParseAddr("::ffff:10.0.0.1")) {
		t.Error("::/0 holds an IPv4 address")
	}
}

// TestEnumsComplete holds the lists of facts.go against its constants, so that
// what is documented and labelled from the lists misses nothing.
func TestEnumsComplete(t *testing.T) {
	declared := constantsOf(t, "facts.go")
	for typ, list := range map[string][]string{
		"Reason":     strs(Reasons),
		"Transport":  strs(Transports),
		"TSIGStatus": strs(TSIGStatuses),
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
func largeBlock() (Policies, Request) {
	n := &Nets{}
	for i := range uint32(50_000) {
		var v4 [4]byte
		binary.BigEndian.PutUint32(v4[:], 10<<24+i<<4)
		n.Add(netip.PrefixFrom(netip.AddrFrom4(v4), 28+int(i%5)))
		v6 := [16]byte{0x20, 0x01, 0x0d, 0xb8}
		binary.BigEndian.PutUint32(v6[4:], i)
		n.Add(netip.PrefixFrom(netip.AddrFrom16(v6), 64-int(i%3)))
	}
	ps := Policies{"example.org.": {
		Zone: "example.org.", Algorithms: strongAlgorithms,
		Rules: []Rule{{Name: "many", Nets: n, Keys: []string{"ns1."}, Certs: []Cert{{Name: "ns2.example.net."}}}},
	}}
	req := axfr("10.12.52.240", "ns1.").with(showing(pinA, "ns1.example.net.", "*.example.net."))
	return ps, req
}

func TestDecideAllocatesNothing(t *testing.T) {
	ps, req := largeBlock()
	if d := ps.Decide(&req); !d.Allow {
		t.Fatalf("not allowed: %+v", d)
	}
	stranger := req.with(func(r *Request) { r.Client = netip.MustParseAddr("192.0.2.1") })
	nearMiss := req.with(func(r *Request) { r.TSIG.Key = "ns9." }).with(ixfr)
	for name, r := range map[string]*Request{"allowed": &req, "stranger": &stranger, "near miss": &nearMiss} {
		if n := testing.AllocsPerRun(100, func() { ps.Decide(r) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	ps, req := largeBlock()
	stranger := req.with(func(r *Request) { r.Client = netip.MustParseAddr("192.0.2.1") })
	for name, r := range map[string]*Request{"allowed": &req, "stranger": &stranger} {
		b.Run("100000-prefixes/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				ps.Decide(r)
			}
		})
	}
	many := Policies{}
	for i := range 1000 {
		many[fmt.Sprintf("zone%d.example.org.", i)] = ps["example.org."]
	}
	b.Run("1000-zones/stranger", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			many.Decide(&stranger)
		}
	})
}
