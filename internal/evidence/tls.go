// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/policy"

	"github.com/miekg/dns"
)

// readTLS takes what the session shows. cs is nil when nothing is known of it,
// which no rule accepts. Of a certificate nothing is rendered here: see settle.
func (g *Reader) readTLS(e *Evidence, cs *tls.ConnectionState) {
	if cs == nil || !cs.HandshakeComplete {
		return
	}
	e.Peer = cs
	e.Session = audit.TLSFacts{
		Established: true,
		Version:     strings.TrimPrefix(tls.VersionName(cs.Version), "TLS "),
		Cipher:      cipherName(cs.CipherSuite),
		ALPN:        cs.NegotiatedProtocol,
		ServerName:  cs.ServerName,
		Resumed:     cs.DidResume,
	}
	if len(cs.PeerCertificates) > 0 {
		e.Cert = &sessionLeaf{g.sessions.of(cs.PeerCertificates), cs.PeerCertificates[0]}
		e.Session.Leaf = e.Cert
	}
	e.Req.TLS = g.ProofOf(cs, e.Req.Client, e.Req.Now)
	if e.Req.TLS.Verified {
		e.Session.Verified = true
		e.Session.SPKI = e.Cert.session.facts(e.Cert.leaf).pin
	}
}

// cipherNames has the names of all cipher suites; crypto/tls makes its lists anew
// whenever it is asked for one.
var cipherNames = func() map[uint16]string {
	names := make(map[uint16]string)
	for _, s := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		names[s.ID] = s.Name
	}
	return names
}()

func cipherName(id uint16) string {
	if name, ok := cipherNames[id]; ok {
		return name
	}
	return tls.CipherSuiteName(id)
}

// ProofOf is what the session proves at this moment. The handshake may have been long
// ago, in this connection or in the one that it resumes, and under another CA when a
// reload came in between: nothing is taken over from it. Of a client whose address no
// rule knows the certificate is not looked at, for what it says would change nothing.
func (g *Reader) ProofOf(cs *tls.ConnectionState, client netip.Addr, now time.Time) policy.TLSProof {
	p := policy.TLSProof{Version: cs.Version, ALPN: cs.NegotiatedProtocol, HasCert: len(cs.PeerCertificates) > 0}
	if !p.HasCert || !g.Policies.Knows(&policy.Request{Client: client}) {
		return p
	}
	leaf := cs.PeerCertificates[0]
	s := g.sessions.of(cs.PeerCertificates)
	facts := s.facts(leaf)
	p.SPKI, p.ClientUse, p.Current = facts.spki, facts.unfit == "", within(leaf, now)
	if found := g.chainOf(s, cs.PeerCertificates, now); found.ok {
		p.Root, p.Verified, p.Names = found.root, true, facts.names
	}
	return p
}

// MaxNames bounds the DNS SANs that count as names: as many as public CAs put into one
// certificate.
const MaxNames = 100

// hostNames are the DNS SANs that are names of hosts. Others are none: an escape in a
// name would move the border of its labels, and no host has a label of more than 63
// octets or a name of more than 253 (RFC 1035 §2.3.4).
func hostNames(c *x509.Certificate) (names []string) {
	for _, san := range c.DNSNames[:min(len(c.DNSNames), MaxNames)] {
		if isHostName(san) {
			names = append(names, dns.CanonicalName(san))
		}
	}
	return names
}

// isHostName reports whether the name is one of a host, or a wildcard for some.
func isHostName(name string) bool {
	bare := strings.TrimSuffix(name, ".")
	if len(bare) > 253 || !policy.HostPattern.MatchString(name) {
		return false
	}
	for label := range strings.SplitSeq(bare, ".") {
		if len(label) > 63 {
			return false
		}
	}
	return true
}

// MaxPresented bounds the certificates that a client may send: a leaf, the
// intermediates of any real hierarchy, and its root. With each more there are many more
// ways to try.
const MaxPresented = 5

// VerifiesClients reports whether the handshake fails for a certificate that does
// not lead to the CA.
func VerifiesClients(a tls.ClientAuthType) bool { return a >= tls.VerifyClientCertIfGiven }

func within(c *x509.Certificate, now time.Time) bool {
	return !now.Before(c.NotBefore) && !now.After(c.NotAfter)
}

// unfit says why the certificate may not be used for client authentication, "" if it may:
// an extended key usage must say so where there is one (RFC 5280 §4.2.1.12), a key usage
// must let its key sign (§4.2.1.3; RFC 8446 §4.4.2.2), and what it calls critical must be
// understood (§4.2).
func unfit(c *x509.Certificate) string {
	limited := len(c.ExtKeyUsage) > 0 || len(c.UnknownExtKeyUsage) > 0
	allowed := slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny)
	switch {
	case limited && !allowed:
		return "the certificate's extended key usage (EKU) has no clientAuth: issue one that has, or pin its key"
	case !signs(c):
		return "the certificate's key usage has no digitalSignature: issue one that has, or pin its key"
	case len(c.UnhandledCriticalExtensions) > 0:
		return "the certificate has a critical extension that is not understood: issue one without, or pin its key"
	}
	return ""
}

var oidKeyUsage = asn1.ObjectIdentifier{2, 5, 29, 15}

// signs reports whether the certificate's key may sign something else than
// certificates. A key usage that allows nothing allows no signatures either.
func signs(c *x509.Certificate) bool {
	if c.KeyUsage != 0 {
		return c.KeyUsage&x509.KeyUsageDigitalSignature != 0
	}
	return !slices.ContainsFunc(c.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(oidKeyUsage) })
}

// CertFault says what is wrong with the client's certificate in the eyes of a rule that
// asks for one, in words of ours only; "" when nothing is, or there is none.
func (e *Evidence) CertFault(r *policy.Rule) string {
	if e.Cert == nil || r == nil || len(r.Certs) == 0 || slices.ContainsFunc(r.Certs, e.Req.TLS.Shows) {
		return ""
	}
	facts := e.Cert.session.facts(e.Cert.leaf)
	if !e.Req.TLS.Current {
		if e.Req.Now.Before(e.Cert.leaf.NotBefore) {
			return "the certificate is not valid yet"
		}
		return "the certificate has expired"
	}
	fit := e.Req.TLS
	fit.Verified, fit.ClientUse, fit.Names = true, true, facts.names
	switch {
	case !slices.ContainsFunc(r.Certs, fit.Shows):
		return "neither the certificate's key nor a DNS name in it is the rule's"
	case facts.unfit != "":
		return facts.unfit
	}
	return "no chain from the certificate, for client authentication, leads to the CA of the listener"
}
