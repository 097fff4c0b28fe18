// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"testing"
	"time"

	"github.com/coredns/coredns/core/dnsserver"
)

// TestBadChains: certificates that lead nowhere are looked at once in a while, however
// often they are shown; good ones every time, for they may end at any moment.
func TestBadChains(t *testing.T) {
	now := time.Now()
	soon := now.Add(3 * time.Second)
	bad := []*x509.Certificate{{Raw: []byte("ab")}, {Raw: []byte("c")}}
	early := []*x509.Certificate{{Raw: []byte("d"), NotBefore: soon}}
	var b badChains
	asked := func(presented []*x509.Certificate, at time.Time, good bool) int {
		n := 0
		for range 100 {
			if b.verify(presented, at, func() bool { n++; return good }) != good {
				t.Fatalf("%v is said to be good: %t", presented, !good)
			}
		}
		return n
	}
	for _, step := range []struct {
		name      string
		presented []*x509.Certificate
		at        time.Time
		good      bool
		want      int
	}{
		{"bad", bad, now, false, 1},
		{"the same octets, cut elsewhere", []*x509.Certificate{{Raw: []byte("a")}, {Raw: []byte("bc")}}, now, false, 1},
		{"in another order", []*x509.Certificate{bad[1], bad[0]}, now, true, 100},
		{"still bad", bad, now.Add(badChainTime - 1), false, 0},
		{"a little later", bad, now.Add(badChainTime), true, 100},
		{"not yet valid", early, now, false, 1},
		{"valid now", early, soon, true, 100},
	} {
		if n := asked(step.presented, step.at, step.good); n != step.want {
			t.Errorf("%s: looked at %d times of 100, want %d", step.name, n, step.want)
		}
	}
	for i := range 3 * maxBadChains {
		asked([]*x509.Certificate{{Raw: []byte{byte(i), byte(i >> 8), 0}}}, now, false)
		if len(b.until) > maxBadChains {
			t.Fatalf("remembers %d", len(b.until))
		}
	}
}

// TestBadChainsOfGuard: who gets past an address gate makes the server try the chain of
// a certificate once, not with each request.
func TestBadChainsOfGuard(t *testing.T) {
	ca, now := newTestCA(t), time.Now()
	leaf := ca.client(t, "ns2.example.net").Leaf
	nets := &Nets{}
	nets.AddAny()
	conf := &tls.Config{ClientCAs: x509.NewCertPool(), ClientAuth: tls.RequestClientCert}
	g := &guard{
		config:   &dnsserver.Config{TLSConfig: conf},
		policies: Policies{"example.org.": &Policy{Rules: []Rule{{Nets: nets, TLS: true, Unsigned: true}}}},
	}
	verified := func(at time.Time) bool {
		cs := &tls.ConnectionState{Version: tls.VersionTLS13, PeerCertificates: []*x509.Certificate{leaf}}
		return g.proofOf(cs, netip.MustParseAddr("192.0.2.1"), at).Verified
	}
	if verified(now) {
		t.Fatal("verified without a CA")
	}
	conf.ClientCAs.AddCert(ca.cert) // no reload does that: it makes visible who has looked
	if verified(now.Add(time.Second)) {
		t.Error("looked at a second time")
	}
	if !verified(now.Add(badChainTime)) {
		t.Error("not looked at again")
	}
}

// TestNoSystemCAs: where the listener has no CA and verifies nobody, x509 is not asked,
// which would believe every CA that the system trusts.
func TestNoSystemCAs(t *testing.T) {
	leaf := newTestCA(t).client(t, "ns2.example.net").Leaf
	for auth, want := range map[tls.ClientAuthType]int{tls.RequestClientCert: 0, tls.RequireAnyClientCert: 0, tls.VerifyClientCertIfGiven: 1} {
		g := &guard{config: &dnsserver.Config{TLSConfig: &tls.Config{ClientAuth: auth}}}
		if _, ok := g.verifies([]*x509.Certificate{leaf}, time.Now()); ok || len(g.badChains.until) != want {
			t.Errorf("client_auth %d: x509 was asked about %d chains, want %d", auth, len(g.badChains.until), want)
		}
	}
}
