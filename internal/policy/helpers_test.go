// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"crypto/tls"
	"net/netip"
	"time"

	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/policy/policytest"

	"github.com/miekg/dns"
)

var strongAlgorithms = []string{"hmac-sha256", "hmac-sha384", "hmac-sha512"}

// block is a server block with two zones, whose rules show every condition.
func block() policy.Policies {
	return policy.NewPolicies(
		&policy.Policy{
			Zone:       "example.org.",
			Algorithms: strongAlgorithms,
			Rules: []policy.Rule{
				{Name: "banned", Deny: true, Nets: policytest.Nets("192.0.2.66/32")},
				{Name: "keyed", Nets: policytest.Nets("192.0.2.0/24", "2001:db8::/32"), Keys: []string{"ns1.", "ns2."}},
				{Name: "open", Nets: policytest.Nets("198.51.100.0/25"), Unsigned: true},
				{Name: "hole", Deny: true, Nets: policytest.Nets("203.0.113.9/32", "192.0.2.77/32")},
				{Name: "deltas", Nets: policytest.Nets("203.0.113.0/26"), Types: []uint16{dns.TypeIXFR}, Keys: []string{"ns1."}},
				{Name: "tls", Nets: policytest.Nets("203.0.113.64/26"), Keys: []string{"ns1."}, TLS: true},
				{Name: "soon", Nets: policytest.Nets("203.0.113.128/26"), Keys: []string{"ns1."}, TLS: true, TLSUntil: policytest.MigrationEnd},
				{Name: "lent", Nets: policytest.Nets("198.51.100.128/26"), Keys: []string{"ns1."}, Expires: policytest.MigrationEnd},
				{Name: "lent-whole", Nets: policytest.Nets("198.51.100.192/27"), Types: []uint16{dns.TypeAXFR}, Keys: []string{"ns1."}, Expires: policytest.MigrationEnd},
				{Name: "lent-deltas", Nets: policytest.Nets("198.51.100.224/27"), Types: []uint16{dns.TypeIXFR}, Keys: []string{"ns1."}, Expires: policytest.MigrationEnd},
				{Name: "named", Nets: policytest.Nets("203.0.113.192/27"), TLS: true, Certs: []policy.Cert{{Name: "ns2.example.net."}, {Name: "*.sec.example.net."}}},
				{Name: "pinned", Nets: policytest.Nets("203.0.113.224/27"), TLS: true, Certs: []policy.Cert{{SPKI: policytest.PinA}}},
				{Name: "late-deny", Deny: true, Nets: policytest.Nets("203.0.113.10/32")},
				{Name: "full", Nets: policytest.Nets("203.0.113.1/32"), Types: []uint16{dns.TypeAXFR}, Keys: []string{"ns2."}},
				{Name: "full-same", Nets: policytest.Nets("203.0.113.2/32"), Types: []uint16{dns.TypeAXFR}, Keys: []string{"ns1."}},
				{Name: "full-held", Nets: policytest.Nets("203.0.113.3/32"), Types: []uint16{dns.TypeAXFR}, Keys: []string{"ns2."}},
				{Name: "held", Deny: true, Nets: policytest.Nets("203.0.113.3/32")},
				{Name: "forgotten", Nets: policytest.Nets("100.64.0.0/10")}, // as no Corefile can say it
			},
		},
		&policy.Policy{
			Zone:       "example.com.",
			Algorithms: []string{"hmac-sha1"},
			Rules:      []policy.Rule{{Name: "other", Nets: policytest.Nets("100.65.0.0/16", "10.0.0.0/8"), Keys: []string{"old."}}},
		},
	)
}

// axfr is a good request from the address, signed by the key when there is one.
func axfr(client, key string) policy.Request {
	r := policy.Request{
		Client:    netip.MustParseAddr(client),
		Zone:      "example.org.",
		Type:      dns.TypeAXFR,
		Class:     dns.ClassINET,
		Transport: policy.TransportTCP,
		TSIG:      policy.TSIGProof{Status: policy.TSIGAbsent},
		Now:       policytest.MigrationEnd.Add(-time.Hour),
	}
	if key != "" {
		r.TSIG = policy.TSIGProof{Status: policy.TSIGValid, Key: key, Algorithm: "hmac-sha256"}
	}
	return r
}

func with(r policy.Request, change func(*policy.Request)) policy.Request {
	change(&r)
	return r
}

func status(s policy.TSIGStatus) func(*policy.Request) {
	return func(r *policy.Request) { r.TSIG.Status = s }
}

func untrusted(r *policy.Request) { r.ClientUntrusted = true }

func ixfr(r *policy.Request) { r.Type = dns.TypeIXFR }

func overTLS(r *policy.Request) {
	r.Transport = policy.TransportTLS
	r.TLS.Version = tls.VersionTLS13
}

// showing presents a verified, current certificate over TLS 1.3.
func showing(spki [32]byte, names ...string) func(*policy.Request) {
	return func(r *policy.Request) {
		r.Transport = policy.TransportTLS
		r.TLS = policy.TLSProof{Version: tls.VersionTLS13, HasCert: true, Verified: true, Current: true, ClientUse: true, Names: names, SPKI: spki}
	}
}

// atEnd has a request come in at the moment when rules with an end have ended.
func atEnd(r *policy.Request) { r.Now = policytest.MigrationEnd }
