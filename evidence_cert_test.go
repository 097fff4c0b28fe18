// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/evidence"
	"github.com/xfrguard/xfrguard/internal/evidence/catest"

	"github.com/miekg/dns"
)

// TestCertificateFlood: a certificate is not rendered, looked through or verified for each
// request of its connection, neither for strangers nor for those whose address a rule
// knows; and what stands in the record is short, and says that there was more.
func TestCertificateFlood(t *testing.T) {
	ca := catest.New(t)
	s := serve(t, xotBlock(certRule, auth("request"), ""), xotFiles(t, ca))
	addr := s.listenerAddr(t, "tls")
	for name, id := range catest.Floods(t, ca) {
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
		if len(subject) > audit.CapSubject || len(fmt.Sprint(names)) > audit.CapSANs {
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
	ca := catest.New(t)
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
		"a key usage of nothing":       {extension(asn1.ObjectIdentifier{2, 5, 29, 15}, true, 3, 1, 0), "ns2.example.net", false, false},
		"an unknown extension":         {extension(unknown, false, 5, 0), "ns2.example.net", false, true},
		"an unknown critical one":      {extension(unknown, true, 5, 0), "ns2.example.net", false, false},
		"a label of 63":                {catest.Sans(strings.Repeat("a", 63) + ".example.net"), "*.example.net", true, true},
		"a label of 64":                {catest.Sans(strings.Repeat("a", 64) + ".example.net"), "*.example.net", true, false},
		"a long name":                  {catest.Sans(strings.Repeat("a23456789.", 25) + "example.net"), "*." + strings.Repeat("a23456789.", 24) + "example.net", true, false},
		"a name among a hundred":       {catest.Sans(catest.ManySANs(evidence.MaxNames)...), "h99.example.net", true, true},
		"a name behind a hundred more": {catest.Sans(catest.ManySANs(evidence.MaxNames + 1)...), "h100.example.net", true, false},
	} {
		t.Run(name, func(t *testing.T) {
			named := ca.Client(t, "ns2.example.net", c.cert)
			pinned := catest.SelfSignedClient(t, "ns2.example.net", c.cert)
			tries := map[string]*catest.Identity{c.rule: named}
			if !c.only {
				tries[named.Pin], tries[pinned.Pin] = named, pinned
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
	weak := catest.WeakClient(t, 1024)
	strong := catest.SelfSignedClient(t, "x.invalid")
	out := captureLog(t)
	rules := "allow as old net 127.0.0.1 cert " + weak.Pin + "\n\t\tallow as new net 127.0.0.1 cert " + strong.Pin
	s := serve(t, xotBlock(rules, auth("request"), ""), xotFiles(t, catest.New(t)))
	for range 3 {
		for name, id := range map[string]*catest.Identity{"weak": weak, "strong": strong} {
			if m := xot(t, s.listenerAddr(t, "tls"), "", xotClient(id, "dot"), packed(t, question(dns.TypeAXFR))); !isZone(m) {
				t.Fatalf("%s: %v", name, m)
			}
		}
		// A stranger's is none of the operator's business.
		if m := xot(t, s.listenerAddr(t, "tls"), "127.0.0.2", xotClient(catest.WeakClient(t, 1024), "dot"), packed(t, question(dns.TypeAXFR))); m == nil || isZone(m) {
			t.Fatalf("a stranger got %v", m)
		}
	}
	if n := strings.Count(out(), "rests on an RSA key of 1024 bits"); n != 1 {
		t.Errorf("%d lines about it:\n%s", n, out())
	}
	if !strings.Contains(out(), "The certificate "+weak.Pin+`, which rule "old" accepts`) {
		t.Errorf("not named in\n%s", out())
	}
}
