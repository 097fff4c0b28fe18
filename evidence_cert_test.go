// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/policy"

	"github.com/miekg/dns"
)

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

func manySANs(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("h%d.example.net", i)
	}
	return names
}

// floods are certificates that take long to render, to look through, or to verify.
func floods(t *testing.T, ca *testCA) map[string]*identity {
	t.Helper()
	subject, other := manyAttributes(t, 17000), newTestCA(t)
	chained := selfSignedClient(t, "ns3.example.net")
	chained.Certificate.Certificate = append(chained.Certificate.Certificate, chainedClient(t, ca, "x.example.net").Certificate.Certificate[1])
	return map[string]*identity{
		"17,000 attributes": other.client(t, "ns3.example.net", func(c *x509.Certificate) { c.RawSubject = subject }),
		"one long attribute": other.client(t, "ns3.example.net", func(c *x509.Certificate) {
			c.Subject.CommonName = strings.Repeat("\\", 200000)
		}),
		"a long type": other.client(t, "ns3.example.net", func(c *x509.Certificate) {
			c.Subject.ExtraNames = []pkix.AttributeTypeAndValue{{Type: append(asn1.ObjectIdentifier{1, 2}, make([]int, 200000)...), Value: "a"}}
		}),
		"12,000 SANs of the CA": ca.client(t, "ns3.example.net", sans(manySANs(12000)...)),
		"long SANs":             selfSignedClient(t, "ns3.example.net", sans(strings.Repeat("a", 100000), strings.Repeat("a.", 50000)+"a")),
		"of no chain":           chained,
	}
}

// TestCertificateFlood: a certificate is not rendered, looked through or verified for each
// request of its connection, neither for strangers nor for those whose address a rule
// knows; and what stands in the record is short, and says that there was more.
func TestCertificateFlood(t *testing.T) {
	ca := newTestCA(t)
	s := serve(t, xotBlock(certRule, auth("request"), ""), xotFiles(t, ca))
	addr := s.listenerAddr(t, "tls")
	for name, id := range floods(t, ca) {
		for _, from := range []string{"127.0.0.1", "127.0.0.2"} {
			t.Run(name+" from "+from, func(t *testing.T) {
				conn, err := dialFrom(t, from, addr, xotClient(id, "dot"))
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				var queries [][]byte
				for i := range 400 {
					queries = append(queries, packed(t, question(dns.TypeAXFR, withID(uint16(i)))))
				}
				begin := time.Now() // pipeline gives up after 20 s: 50 ms a request
				for id, messages := range pipeline(t, conn, queries) {
					if m := unpack(t, messages[0]); m.Rcode != dns.RcodeRefused {
						t.Fatalf("request %d: %v", id, m)
					}
				}
				t.Logf("%v a request", time.Since(begin)/time.Duration(len(queries)))
			})
		}
	}
	cut := 0
	for _, e := range s.events(t, 2) {
		subject, _ := e["tls.client.subject"].(string)
		names, _ := e["tls.client.x509.alternative_names"].([]any)
		if len(subject) > capSubject || len(fmt.Sprint(names)) > capSANs {
			t.Errorf("subject of %d octets, names of %d", len(subject), len(fmt.Sprint(names)))
		}
		if e["coredns.xfr.truncated"] == true {
			cut++
		}
		if e["coredns.xfr.tls.spki"] == nil {
			t.Errorf("no key on record: %v", e)
		}
	}
	if cut == 0 {
		t.Error("no record says that there was more")
	}
}

// TestCertificateWork: one more request of a connection allocates next to nothing for its
// certificates, whatever they are.
func TestCertificateWork(t *testing.T) {
	ca := newTestCA(t)
	g := guardFor("192.0.2.0/24", tls.RequestClientCert, ca)
	now := time.Now()
	for name, id := range floods(t, ca) {
		cs := sessionOf(t, id)
		for what, client := range map[string]netip.Addr{"known": netip.MustParseAddr("192.0.2.1"), "a stranger": netip.MustParseAddr("198.51.100.1")} {
			read := func() {
				e := &evidence{req: policy.Request{Client: client, Now: now}}
				g.readTLS(e, cs)
			}
			if n := testing.AllocsPerRun(100, read); n > 2 {
				t.Errorf("%s, %s: %v allocations", name, what, n)
			}
			e := &evidence{req: policy.Request{Client: client, Now: now}}
			g.readTLS(e, cs)
			e.tls.settle()
			if n := len(e.tls.Subject); n > 4*capSubject*maxAttributes {
				t.Errorf("%s: a subject of %d octets", name, n)
			}
			if n := testing.AllocsPerRun(100, func() { e.tls.settle() }); n != 0 {
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
		leaf := selfSignedClient(t, "x.example.net", func(c *x509.Certificate) { c.Subject = subject }).Leaf
		if got, cut := subjectOf(&leaf.Subject); got != leaf.Subject.String() || cut {
			t.Errorf("%s: %q, cut %t, want %q", name, got, cut, leaf.Subject.String())
		}
	}
}

// keyUsage limits the key of a certificate.
func keyUsage(u x509.KeyUsage) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.KeyUsage = u }
}

func extension(oid asn1.ObjectIdentifier, critical bool, value ...byte) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: oid, Critical: critical, Value: value})
	}
}

// TestCertificateUse: what a certificate has been made for counts, by name and by pin: its
// key usage, what it calls critical, and that its names are names of hosts.
func TestCertificateUse(t *testing.T) {
	ca := newTestCA(t)
	unknown := asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}
	for name, c := range map[string]struct {
		cert  func(*x509.Certificate)
		rule  string // a name; the pin is tried too, unless name only
		only  bool
		allow bool
	}{
		"no key usage":                 {func(*x509.Certificate) {}, "ns2.example.net", false, true},
		"digitalSignature":             {keyUsage(x509.KeyUsageDigitalSignature), "ns2.example.net", false, true},
		"and others":                   {keyUsage(x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment), "ns2.example.net", false, true},
		"keyCertSign only":             {keyUsage(x509.KeyUsageCertSign), "ns2.example.net", false, false},
		"keyEncipherment only":         {keyUsage(x509.KeyUsageKeyEncipherment), "ns2.example.net", false, false},
		"a key usage of nothing":       {extension(oidKeyUsage, true, 3, 1, 0), "ns2.example.net", false, false},
		"an unknown extension":         {extension(unknown, false, 5, 0), "ns2.example.net", false, true},
		"an unknown critical one":      {extension(unknown, true, 5, 0), "ns2.example.net", false, false},
		"a label of 63":                {sans(strings.Repeat("a", 63) + ".example.net"), "*.example.net", true, true},
		"a label of 64":                {sans(strings.Repeat("a", 64) + ".example.net"), "*.example.net", true, false},
		"a long name":                  {sans(strings.Repeat("a23456789.", 25) + "example.net"), "*." + strings.Repeat("a23456789.", 24) + "example.net", true, false},
		"a name among a hundred":       {sans(manySANs(maxNames)...), "h99.example.net", true, true},
		"a name behind a hundred more": {sans(manySANs(maxNames + 1)...), "h100.example.net", true, false},
	} {
		t.Run(name, func(t *testing.T) {
			named := ca.client(t, "ns2.example.net", c.cert)
			pinned := selfSignedClient(t, "ns2.example.net", c.cert)
			tries := map[string]*identity{c.rule: named}
			if !c.only {
				tries[named.pin], tries[pinned.pin] = named, pinned
			}
			for cert, id := range tries {
				s := serve(t, xotBlock("allow as ns2 net 127.0.0.1 cert "+cert, auth("request"), ""), xotFiles(t, ca))
				m := xot(t, s.listenerAddr(t, "tls"), "", xotClient(id, "dot"), packed(t, question(dns.TypeAXFR)))
				if m == nil || isZone(m) != c.allow {
					t.Errorf("%.40s: %v", cert, m)
				}
				if want := map[bool]string{true: "policy-allow", false: "cert-not-allowed"}[c.allow]; s.events(t, 1)[0]["event.reason"] != want {
					t.Errorf("%.40s: on record as %v", cert, s.events(t, 1)[0])
				}
			}
		})
	}
}

// TestWeakCertificate: a client certificate with a weak key does what its rule says, and
// the log says once that it should not be.
func TestWeakCertificate(t *testing.T) {
	weak := weakClient(t, 1024)
	strong := selfSignedClient(t, "x.invalid")
	out := captureLog(t)
	rules := "allow as old net 127.0.0.1 cert " + weak.pin + "\n\t\tallow as new net 127.0.0.1 cert " + strong.pin
	s := serve(t, xotBlock(rules, auth("request"), ""), xotFiles(t, newTestCA(t)))
	for range 3 {
		for name, id := range map[string]*identity{"weak": weak, "strong": strong} {
			if m := xot(t, s.listenerAddr(t, "tls"), "", xotClient(id, "dot"), packed(t, question(dns.TypeAXFR))); !isZone(m) {
				t.Fatalf("%s: %v", name, m)
			}
		}
		// A stranger's is none of the operator's business.
		if m := xot(t, s.listenerAddr(t, "tls"), "127.0.0.2", xotClient(weakClient(t, 1024), "dot"), packed(t, question(dns.TypeAXFR))); m == nil || isZone(m) {
			t.Fatalf("a stranger got %v", m)
		}
	}
	if n := strings.Count(out(), "rests on an RSA key of 1024 bits"); n != 1 {
		t.Errorf("%d lines about it:\n%s", n, out())
	}
	if !strings.Contains(out(), "The certificate "+weak.pin+`, which rule "old" accepts`) {
		t.Errorf("not named in\n%s", out())
	}
}

// weakClient is a certificate of an RSA key of that many bits.
func weakClient(t *testing.T, bits int) *identity {
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
	return newIdentity(t, pemBlock("CERTIFICATE", der), pemBlock("PRIVATE KEY", k))
}
