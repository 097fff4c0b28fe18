// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package catest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
)

// CA is a certificate authority for one test.
type CA struct {
	Cert *x509.Certificate
	key  *ecdsa.PrivateKey
	Pem  string
}

func New(t *testing.T) *CA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &CA{Cert: cert, key: key, Pem: PEM("CERTIFICATE", der)}
}

// Issue returns certificate and key, in PEM, for a server and client of that name.
// Options change the template first.
func (ca *CA) Issue(t *testing.T, name string, options ...func(*x509.Certificate)) (certPEM, keyPEM string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, o := range options {
		o(tmpl)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, ca.Cert, key.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	k, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return PEM("CERTIFICATE", der), PEM("PRIVATE KEY", k)
}

func PEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// Identity is the certificate of a client.
type Identity struct {
	tls.Certificate
	Pin string // as a rule has it
}

// Client issues a certificate for a client of that name.
func (ca *CA) Client(t *testing.T, name string, options ...func(*x509.Certificate)) *Identity {
	t.Helper()
	cert, key := ca.Issue(t, name, options...)
	return NewIdentity(t, cert, key)
}

func NewIdentity(t *testing.T, certPEM, keyPEM string) *Identity {
	t.Helper()
	pair, err := tls.X509KeyPair([]byte(certPEM), []byte(keyPEM))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(pair.Leaf.RawSubjectPublicKeyInfo)
	return &Identity{Certificate: pair, Pin: "sha256:" + hex.EncodeToString(sum[:])}
}

// SelfSignedClient is what openssl req -x509 makes: a certificate without any
// extended key usage, signed by its own key.
func SelfSignedClient(t *testing.T, name string, options ...func(*x509.Certificate)) *Identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	for _, o := range options {
		o(tmpl)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	k, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return NewIdentity(t, PEM("CERTIFICATE", der), PEM("PRIVATE KEY", k))
}

// Changes of a certificate.
func Expired(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }

func NotYetValid(c *x509.Certificate) { c.NotBefore = time.Now().Add(30 * time.Minute) }

func ForServers(c *x509.Certificate) {
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
}

func Sans(names ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.DNSNames = names }
}

// ChainedClient issues a certificate under an intermediate, which the options change.
func ChainedClient(t *testing.T, ca *CA, name string, options ...func(*x509.Certificate)) *Identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(5), Subject: pkix.Name{CommonName: "an intermediate"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	for _, o := range options {
		o(tmpl)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, ca.Cert, key.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	id := (&CA{Cert: cert, key: key}).Client(t, name)
	id.Certificate.Certificate = append(id.Certificate.Certificate, der)
	return id
}

// WeakClient is a certificate of an RSA key of that many bits.
func WeakClient(t *testing.T, bits int) *Identity {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(9), Subject: pkix.Name{CommonName: "old"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	k, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return NewIdentity(t, PEM("CERTIFICATE", der), PEM("PRIVATE KEY", k))
}

// manyAttributes is a subject of that many attributes, 11 octets each.
func manyAttributes(t *testing.T, n int) []byte {
	t.Helper()
	var name pkix.RDNSequence
	for range n {
		name = append(name, pkix.RelativeDistinguishedNameSET{{Type: asn1.ObjectIdentifier{1, 2, 3}, Value: "a"}})
	}
	der, err := asn1.Marshal(name)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// ManySANs returns so many names.
func ManySANs(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("h%d.example.net", i)
	}
	return names
}

// Floods are certificates that take long to render, to look through, or to verify.
func Floods(t *testing.T, ca *CA) map[string]*Identity {
	t.Helper()
	subject, other := manyAttributes(t, 17000), New(t)
	chained := SelfSignedClient(t, "ns3.example.net")
	chained.Certificate.Certificate = append(chained.Certificate.Certificate, ChainedClient(t, ca, "x.example.net").Certificate.Certificate[1])
	return map[string]*Identity{
		"17,000 attributes": other.Client(t, "ns3.example.net", func(c *x509.Certificate) { c.RawSubject = subject }),
		"one long attribute": other.Client(t, "ns3.example.net", func(c *x509.Certificate) {
			c.Subject.CommonName = strings.Repeat("\\", 200000)
		}),
		"a long type": other.Client(t, "ns3.example.net", func(c *x509.Certificate) {
			c.Subject.ExtraNames = []pkix.AttributeTypeAndValue{{Type: append(asn1.ObjectIdentifier{1, 2}, make([]int, 200000)...), Value: "a"}}
		}),
		"12,000 SANs of the CA": ca.Client(t, "ns3.example.net", Sans(ManySANs(12000)...)),
		"long SANs":             SelfSignedClient(t, "ns3.example.net", Sans(strings.Repeat("a", 100000), strings.Repeat("a.", 50000)+"a")),
		"of no chain":           chained,
	}
}
