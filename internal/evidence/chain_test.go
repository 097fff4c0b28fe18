// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/evidence/catest"
	"github.com/xfrguard/xfrguard/internal/policy"

	"github.com/coredns/coredns/core/dnsserver"
)

// TestChainsRemembered: what certificates lead to is found out once, good or bad, and
// again at each moment at which it may be something else.
func TestChainsRemembered(t *testing.T) {
	now := time.Now()
	soon, end := now.Add(3*time.Second), now.Add(5*time.Second)
	lasting := func(raw string) *x509.Certificate {
		return &x509.Certificate{Raw: []byte(raw), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(48 * time.Hour)}
	}
	two := []*x509.Certificate{lasting("ab"), lasting("c")}
	early := []*x509.Certificate{{Raw: []byte("d"), NotBefore: soon, NotAfter: end}}
	var b chains
	asked := func(presented []*x509.Certificate, at time.Time, good bool) int {
		n := 0
		for range 100 {
			o := b.result(presented, at, func() chainResult {
				n++
				o, most := chainResult{ok: good}, badChainTime
				if good {
					most = goodChainTime
				}
				o.lasts(at, most, presented...)
				return o
			})
			if o.ok != good {
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
		{"bad", two, now, false, 1},
		{"the same octets, cut elsewhere", []*x509.Certificate{lasting("a"), lasting("bc")}, now, false, 1},
		{"in another order", []*x509.Certificate{two[1], two[0]}, now, true, 1},
		{"still bad", two, now.Add(badChainTime - 1), false, 0},
		{"a little later", two, now.Add(badChainTime), true, 1},
		{"still good", two, now.Add(badChainTime + goodChainTime - 1), true, 0},
		{"an hour later", two, now.Add(badChainTime + goodChainTime), false, 1},
		{"the clock goes back a day", two, now.Add(-24 * time.Hour), false, 1},
		{"not yet valid", early, now, false, 1},
		{"the last moment before", early, soon.Add(-1), false, 0},
		{"valid now", early, soon, true, 1},
		{"the last moment of it", early, end, true, 0},
		{"over", early, end.Add(1), false, 1},
		{"the clock goes back into it", early, end, true, 1},
		{"and before it", early, soon.Add(-1), false, 1},
	} {
		if n := asked(step.presented, step.at, step.good); n != step.want {
			t.Errorf("%s: looked at %d times of 100, want %d", step.name, n, step.want)
		}
	}
	for i := range 3 * maxChains {
		asked([]*x509.Certificate{{Raw: []byte{byte(i), byte(i >> 8), 0}}}, now, i%2 == 0)
		if len(b.known) > maxChains {
			t.Fatalf("remembers %d", len(b.known))
		}
	}
}

// guardFor is a guard whose one rule has these addresses, with the CAs of its listener.
func guardFor(net string, auth tls.ClientAuthType, cas ...*catest.CA) *Reader {
	var nets policy.Nets
	nets.Add(netip.MustParsePrefix(net))
	conf := &tls.Config{ClientAuth: auth, ClientCAs: x509.NewCertPool()}
	for _, ca := range cas {
		conf.ClientCAs.AddCert(ca.Cert)
	}
	return &Reader{
		Config: &dnsserver.Config{TLSConfig: conf}, sessions: newSessions(),
		Policies: policy.NewPolicies(&policy.Policy{Zone: "example.org.", Rules: []policy.Rule{{Nets: nets, TLS: true, Unsigned: true}}}),
	}
}

// sessionOf is a TLS session in which a client has shown its certificates. Each call is
// another connection, for which crypto/tls parses them anew.
func sessionOf(t *testing.T, id *catest.Identity) *tls.ConnectionState {
	t.Helper()
	cs := &tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256, HandshakeComplete: true, NegotiatedProtocol: "dot"}
	for _, der := range id.Certificate.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		cs.PeerCertificates = append(cs.PeerCertificates, c)
	}
	return cs
}

// TestChainOnceAConnection: who gets past an address gate makes the server build the
// chain of its certificates once, good or bad, and not with each request or connection;
// and of those who do not get past it none is built, whatever the handshake has found.
func TestChainOnceAConnection(t *testing.T) {
	ca, now := catest.New(t), time.Now()
	good, bad := ca.Client(t, "ns2.example.net"), catest.New(t).Client(t, "ns2.example.net")
	for _, mode := range []tls.ClientAuthType{tls.RequestClientCert, tls.RequireAndVerifyClientCert} {
		for _, c := range []struct {
			name string
			id   *catest.Identity
			ok   bool
		}{{"good", good, true}, {"bad", bad, false}} {
			g := guardFor("192.0.2.0/24", mode, ca)
			cs := sessionOf(t, c.id)
			if p := g.ProofOf(cs, netip.MustParseAddr("198.51.100.1"), now); p.Verified || len(g.chains.known) != 0 {
				t.Errorf("mode %d, %s: a chain was built for a stranger", mode, c.name)
			}
			cs.VerifiedChains = [][]*x509.Certificate{cs.PeerCertificates} // as a handshake that verifies leaves it
			if p := g.ProofOf(cs, netip.MustParseAddr("198.51.100.1"), now); p.Verified || p.SPKI != [32]byte{} || len(g.chains.known) != 0 {
				t.Errorf("mode %d, %s: a chain was built for a stranger whose handshake had one", mode, c.name)
			}
			client := netip.MustParseAddr("192.0.2.1")
			if p := g.ProofOf(cs, client, now); p.Verified != c.ok {
				t.Fatalf("mode %d, %s: verified %t", mode, c.name, p.Verified)
			}
			g.Config.TLSConfig.ClientCAs = x509.NewCertPool() // no reload does that: it makes visible who looks again
			if p := g.ProofOf(cs, client, now.Add(time.Second)); p.Verified != c.ok {
				t.Errorf("mode %d, %s: looked at again", mode, c.name)
			}
			if p := g.ProofOf(sessionOf(t, c.id), client, now.Add(time.Second)); p.Verified != c.ok {
				t.Errorf("mode %d, %s: looked at again in another connection", mode, c.name)
			}
			if p := g.ProofOf(cs, client, now.Add(2*time.Hour)); p.Verified || p.Current {
				t.Errorf("mode %d, %s: not looked at again when it was over", mode, c.name)
			}
		}
	}
}

// TestSessionsGo: what is kept of a connection's certificates goes with them.
func TestSessionsGo(t *testing.T) {
	g := guardFor("192.0.2.0/24", tls.RequestClientCert)
	id := catest.SelfSignedClient(t, "ns2.example.net")
	first := sessionOf(t, id)
	for range 50 {
		cs := sessionOf(t, id)
		if s := g.sessions.of(cs.PeerCertificates); s == nil || s != g.sessions.of(slices.Clone(cs.PeerCertificates)) {
			t.Fatal("not the session of the connection")
		}
		cs.PeerCertificates = append(cs.PeerCertificates, first.PeerCertificates...)
		if g.sessions.of(cs.PeerCertificates) == g.sessions.of(cs.PeerCertificates[:1]) {
			t.Fatal("more certificates are another session")
		}
	}
	kept := g.sessions.of(first.PeerCertificates)
	count := func() int {
		g.sessions.mu.Lock()
		defer g.sessions.mu.Unlock()
		return len(g.sessions.open)
	}
	for deadline := time.Now().Add(time.Minute); count() > 1; time.Sleep(time.Millisecond) {
		runtime.GC()
		if time.Now().After(deadline) {
			t.Fatalf("%d sessions are kept", count())
		}
	}
	if g.sessions.of(first.PeerCertificates) != kept {
		t.Error("the session of the open connection is gone")
	}
	runtime.KeepAlive(first)
}

// TestIntermediatesBounded: of the certificates that a client sends along, those that
// may stand in a chain and no more than two of a name cost a look; the right one is
// found in whatever place it stands.
func TestIntermediatesBounded(t *testing.T) {
	ca, now := catest.New(t), time.Now()
	direct := ca.Client(t, "ns2.example.net")
	chained := catest.ChainedClient(t, ca, "ns2.example.net")
	var fakes [][]byte
	for range 4 { // named like the root, of keys whose signatures take longest
		fakes = append(fakes, selfMade(t, elliptic.P521(), ca.Cert.RawSubject))
	}
	middle := chained.Certificate.Certificate[1]
	for name, c := range map[string]struct {
		chain [][]byte
		ok    bool
		most  int
	}{
		"none":                     {direct.Certificate.Certificate, true, 0},
		"four named like the root": {slices.Concat(direct.Certificate.Certificate, fakes), true, 2},
		"behind three of them":     {slices.Concat(chained.Certificate.Certificate[:1], fakes[:3], [][]byte{middle}), true, 3},
		"the same four times":      {slices.Concat(chained.Certificate.Certificate[:1], slices.Repeat([][]byte{middle}, 4)), true, 1},
		"leaves":                   {slices.Concat(direct.Certificate.Certificate, slices.Repeat(direct.Certificate.Certificate, 4)), true, 0},
		"missing":                  {slices.Concat(chained.Certificate.Certificate[:1], fakes), false, 2},
	} {
		cs := sessionOf(t, &catest.Identity{Certificate: tls.Certificate{Certificate: c.chain}})
		if n := len(intermediates(cs.PeerCertificates[1:], now)); n > c.most {
			t.Errorf("%s: %d are looked at, want %d", name, n, c.most)
		}
		g := guardFor("192.0.2.0/24", tls.RequestClientCert, ca)
		if p := g.ProofOf(cs, netip.MustParseAddr("192.0.2.1"), now); p.Verified != c.ok {
			t.Errorf("%s: verified %t", name, p.Verified)
		}
	}
}

// selfMade is the certificate of an authority that has made it itself, under any name.
func selfMade(t *testing.T, curve elliptic.Curve, subject []byte) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(3), RawSubject: subject, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// TestNoSystemCAs: where the listener has no CA and verifies nobody, x509 is not asked,
// which would believe every CA that the system trusts.
func TestNoSystemCAs(t *testing.T) {
	leaf := catest.New(t).Client(t, "ns2.example.net").Leaf
	for auth, want := range map[tls.ClientAuthType]int{tls.RequestClientCert: 0, tls.RequireAnyClientCert: 0, tls.VerifyClientCertIfGiven: 1} {
		g := &Reader{Config: &dnsserver.Config{TLSConfig: &tls.Config{ClientAuth: auth}}}
		presented := []*x509.Certificate{leaf}
		if o := g.chainOf(&session{}, presented, time.Now()); o.ok || len(g.chains.known) != want {
			t.Errorf("client_auth %d: x509 was asked about %d chains, want %d", auth, len(g.chains.known), want)
		}
	}
}

// TestCertificateWork: one more request of a connection allocates next to nothing for
// its certificates, whatever they are.
func TestCertificateWork(t *testing.T) {
	ca := catest.New(t)
	g := guardFor("192.0.2.0/24", tls.RequestClientCert, ca)
	now := time.Now()
	for name, id := range catest.Floods(t, ca) {
		cs := sessionOf(t, id)
		for what, client := range map[string]netip.Addr{"known": netip.MustParseAddr("192.0.2.1"), "a stranger": netip.MustParseAddr("198.51.100.1")} {
			read := func() {
				e := &Evidence{Req: policy.Request{Client: client, Now: now}}
				g.readTLS(e, cs)
			}
			if n := testing.AllocsPerRun(100, read); n > 2 {
				t.Errorf("%s, %s: %v allocations", name, what, n)
			}
			e := &Evidence{Req: policy.Request{Client: client, Now: now}}
			g.readTLS(e, cs)
			e.Session.Settle()
			if n := len(e.Session.Subject); n > 4*audit.CapSubject*maxAttributes {
				t.Errorf("%s: a subject of %d octets", name, n)
			}
			if n := testing.AllocsPerRun(100, func() { e.Session.Settle() }); n != 0 {
				t.Errorf("%s, %s: %v allocations to render it again", name, what, n)
			}
		}
	}
}

// TestSubject: a subject of ordinary size is rendered as crypto/x509 does.
func TestSubject(t *testing.T) {
	for name, subject := range map[string]pkix.Name{
		"empty": {},
		"CN":    {CommonName: "ns2.example.net"},
		"all": {
			Country: []string{"DE"}, Organization: []string{"An, Example", "Two"}, OrganizationalUnit: []string{"DNS"}, Locality: []string{"Köln"},
			Province: []string{"NRW"}, StreetAddress: []string{"#1"}, PostalCode: []string{"50667"}, SerialNumber: "7", CommonName: " ns2 ",
			ExtraNames: []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}, Value: "a@example.net"}},
		},
	} {
		leaf := catest.SelfSignedClient(t, "x.example.net", func(c *x509.Certificate) { c.Subject = subject }).Leaf
		if got, cut := subjectOf(&leaf.Subject); got != leaf.Subject.String() || cut {
			t.Errorf("%s: %q, cut %t, want %q", name, got, cut, leaf.Subject.String())
		}
	}
}

// TestUnfinishedHandshake: a handshake that is not over yet is none.
func TestUnfinishedHandshake(t *testing.T) {
	g := NewReader(nil, nil)
	var e Evidence
	g.readTLS(&e, &tls.ConnectionState{Version: tls.VersionTLS13})
	if e.Session.Established || e.Req.TLS.Version != 0 {
		t.Errorf("of a handshake that is not over: %+v", e.Session)
	}
}
