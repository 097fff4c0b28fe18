// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// readTLS takes what the session shows. cs is nil when nothing is known of it,
// which no rule accepts.
func (g *guard) readTLS(e *evidence, cs *tls.ConnectionState) {
	if cs == nil || !cs.HandshakeComplete {
		return
	}
	e.peer = cs
	e.req.TLS = g.proofOf(cs, e.req.Client, e.req.Now)
	e.tls = TLSFacts{
		Established: true,
		Version:     strings.TrimPrefix(tls.VersionName(cs.Version), "TLS "),
		Cipher:      tls.CipherSuiteName(cs.CipherSuite),
		ALPN:        cs.NegotiatedProtocol,
		ServerName:  cs.ServerName,
		Resumed:     cs.DidResume,
	}
	if len(cs.PeerCertificates) == 0 {
		return
	}
	leaf := cs.PeerCertificates[0]
	e.tls.Subject = leaf.Subject.String()
	e.tls.Names = leaf.DNSNames
	e.tls.SPKI = hex.EncodeToString(e.req.TLS.SPKI[:])
	e.tls.Verified = e.req.TLS.Verified
}

// proofOf is what the session proves at this moment. The handshake may have been
// long ago, in this connection or in the one that it resumes, and under another CA
// when a reload came in between: nothing is taken over from it.
func (g *guard) proofOf(cs *tls.ConnectionState, client netip.Addr, now time.Time) TLSProof {
	p := TLSProof{Version: cs.Version, ALPN: cs.NegotiatedProtocol}
	if len(cs.PeerCertificates) == 0 {
		return p
	}
	leaf := cs.PeerCertificates[0]
	p.HasCert = true
	p.SPKI = sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	p.Current = within(leaf, now)
	p.ClientUse = forClients(leaf)
	// Building a chain costs signatures, which a stranger cannot make the server
	// check: it does so for those that the handshake has verified, and for clients
	// whose address some rule knows.
	if len(cs.VerifiedChains) > 0 || g.policies.knows(client) {
		p.Root, p.Verified = g.verifies(cs.PeerCertificates, now)
	}
	if p.Verified {
		p.Names = hostNames(leaf)
	}
	return p
}

// hostNames are the DNS SANs that are names of hosts. Others are none: an escape in a
// name would move the border of its labels.
func hostNames(c *x509.Certificate) (names []string) {
	for _, san := range c.DNSNames {
		if hostPattern.MatchString(san) {
			names = append(names, dns.CanonicalName(san))
		}
	}
	return names
}

// maxPresented bounds the certificates that a client may send: a leaf, the intermediates
// of any real hierarchy, and its root. With each more there are many more ways to try.
const maxPresented = 5

// verifies reports whether a chain leads from the client's certificate to the CA of
// the listener, at this moment and for client authentication, and to which root. It does
// not depend on what client_auth made of it in the handshake: under request and require
// nobody has looked yet.
func (g *guard) verifies(presented []*x509.Certificate, now time.Time) (root [32]byte, ok bool) {
	if g.config == nil || g.config.TLSConfig == nil || len(presented) > maxPresented {
		return root, false
	}
	listener := g.config.TLSConfig // CoreDNS lets no two blocks of a listener disagree about its CA
	if listener.ClientCAs == nil && !verifiesClients(listener.ClientAuth) {
		return root, false // x509 would ask the CAs of the system, which nobody has chosen
	}
	ok = g.badChains.verify(presented, now, func() (leading bool) {
		root, leading = leads(presented, listener.ClientCAs, now)
		return leading
	})
	return root, ok
}

// leads reports whether a chain for client authentication leads from the first of the
// certificates to one of the roots, and the SHA-256 of that one's public key; the smallest
// when there are several.
func leads(presented []*x509.Certificate, roots *x509.CertPool, now time.Time) (root [32]byte, ok bool) {
	o := x509.VerifyOptions{
		Roots: roots, Intermediates: x509.NewCertPool(), CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, c := range presented[1:] {
		o.Intermediates.AddCert(c)
	}
	chains, err := presented[0].Verify(o)
	if err != nil {
		return root, false
	}
	for i, chain := range chains {
		sum := sha256.Sum256(chain[len(chain)-1].RawSubjectPublicKeyInfo)
		if i == 0 || bytes.Compare(sum[:], root[:]) < 0 {
			root = sum
		}
	}
	return root, true
}

// verifiesClients reports whether the handshake fails for a certificate that does
// not lead to the CA.
func verifiesClients(a tls.ClientAuthType) bool { return a >= tls.VerifyClientCertIfGiven }

func within(c *x509.Certificate, now time.Time) bool {
	return !now.Before(c.NotBefore) && !now.After(c.NotAfter)
}

// forClients reports whether the certificate may be used for client authentication:
// an extended key usage, when there is one, must say so (RFC 5280 §4.2.1.12).
func forClients(c *x509.Certificate) bool {
	if len(c.ExtKeyUsage) == 0 && len(c.UnknownExtKeyUsage) == 0 {
		return true
	}
	return slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny)
}
