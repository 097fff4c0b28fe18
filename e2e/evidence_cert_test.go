// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

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
	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/miekg/dns"
)

// TestCertificateFlood: a certificate is not rendered, looked through or verified for each
// request of its connection, neither for strangers nor for those whose address a rule
// knows; and what stands in the record is short, and says that there was more.
func TestCertificateFlood(t *testing.T) {
	ca := catest.New(t)
	s := xfrtest.Serve(t, xfrtest.XoTBlock(xfrtest.CertRule, xfrtest.ClientAuth("request"), ""), xfrtest.XoTFiles(t, ca))
	addr := s.ListenerAddr(t, "tls")
	for name, id := range catest.Floods(t, ca) {
		for _, from := range []string{"127.0.0.1", "127.0.0.2"} {
			t.Run(name+" from "+from, func(t *testing.T) {
				conn, err := xfrtest.DialFrom(t, from, addr, xfrtest.XoTClient(id, "dot"))
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				var queries [][]byte
				for i := range 400 {
					queries = append(queries, xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR, xfrtest.WithID(uint16(i)))))
				}
				begin := time.Now() // pipeline gives up after 20 s: 50 ms a request
				for id, messages := range xfrtest.Pipeline(t, conn, queries) {
					if m := xfrtest.Unpack(t, messages[0]); m.Rcode != dns.RcodeRefused {
						t.Fatalf("request %d: %v", id, m)
					}
				}
				t.Logf("%v a request", time.Since(begin)/time.Duration(len(queries)))
			})
		}
	}
	cut := 0
	for _, e := range s.Events(t, 2) {
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

// TestCertificateUse: what a certificate has been made for counts where it is known by its
// name: its usages, what it calls critical, and that its names are names of hosts; the
// record says what is wrong. A pin names the key, whatever its certificate is for.
func TestCertificateUse(t *testing.T) {
	ca := catest.New(t)
	unknown := asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}
	for name, c := range map[string]struct {
		cert  func(*x509.Certificate)
		rule  string // a name; the pin is tried too, unless name only
		only  bool
		allow bool   // by name; by pin always
		fault string // in the record
	}{
		"no key usage":                 {func(*x509.Certificate) {}, "ns2.example.net", false, true, ""},
		"for servers only":             {catest.ForServers, "ns2.example.net", false, false, "(EKU) has no clientAuth"},
		"for something unknown":        {func(c *x509.Certificate) { c.ExtKeyUsage, c.UnknownExtKeyUsage = nil, []asn1.ObjectIdentifier{unknown} }, "ns2.example.net", false, false, "(EKU) has no clientAuth"},
		"for anything":                 {func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }, "ns2.example.net", false, true, ""},
		"for servers, another name":    {catest.ForServers, "ns3.example.net", true, false, "neither the certificate's key nor a DNS name in it"},
		"digitalSignature":             {keyUsage(x509.KeyUsageDigitalSignature), "ns2.example.net", false, true, ""},
		"and others":                   {keyUsage(x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment), "ns2.example.net", false, true, ""},
		"keyCertSign only":             {keyUsage(x509.KeyUsageCertSign), "ns2.example.net", false, false, "key usage has no digitalSignature"},
		"keyEncipherment only":         {keyUsage(x509.KeyUsageKeyEncipherment), "ns2.example.net", false, false, "key usage has no digitalSignature"},
		"a key usage of nothing":       {extension(asn1.ObjectIdentifier{2, 5, 29, 15}, true, 3, 1, 0), "ns2.example.net", false, false, "key usage has no digitalSignature"},
		"an unknown extension":         {extension(unknown, false, 5, 0), "ns2.example.net", false, true, ""},
		"an unknown critical one":      {extension(unknown, true, 5, 0), "ns2.example.net", false, false, "critical extension"},
		"a label of 63":                {catest.Sans(strings.Repeat("a", 63) + ".example.net"), "*.example.net", true, true, ""},
		"a label of 64":                {catest.Sans(strings.Repeat("a", 64) + ".example.net"), "*.example.net", true, false, "a DNS name in it"},
		"a long name":                  {catest.Sans(strings.Repeat("a23456789.", 25) + "example.net"), "*." + strings.Repeat("a23456789.", 24) + "example.net", true, false, "a DNS name in it"},
		"a name among a hundred":       {catest.Sans(catest.ManySANs(evidence.MaxNames)...), "h99.example.net", true, true, ""},
		"a name behind a hundred more": {catest.Sans(catest.ManySANs(evidence.MaxNames + 1)...), "h100.example.net", true, false, "a DNS name in it"},
	} {
		t.Run(name, func(t *testing.T) {
			named := ca.Client(t, "ns2.example.net", c.cert)
			pinned := catest.SelfSignedClient(t, "ns2.example.net", c.cert)
			tries := map[string]*catest.Identity{c.rule: named}
			if !c.only {
				tries[named.Pin], tries[pinned.Pin] = named, pinned
			}
			for cert, id := range tries {
				allow := c.allow || cert != c.rule
				s := xfrtest.Serve(t, xfrtest.XoTBlock("allow as ns2 net 127.0.0.1 cert "+cert, xfrtest.ClientAuth("request"), ""), xfrtest.XoTFiles(t, ca))
				m := xfrtest.XoT(t, s.ListenerAddr(t, "tls"), "", xfrtest.XoTClient(id, "dot"), xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR)))
				if m == nil || xfrtest.IsZone(m) != allow {
					t.Errorf("%.40s: %v", cert, m)
				}
				e := s.Events(t, 1)[0]
				said, _ := e["error.message"].(string)
				want := map[bool]string{true: "policy-allow", false: "cert-not-allowed"}[allow]
				if e["event.reason"] != want || !allow && !strings.Contains(said, c.fault) || allow && said != "" {
					t.Errorf("%.40s: on record as %v", cert, e)
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
	out := xfrtest.CaptureLog(t)
	rules := "allow as old net 127.0.0.1 cert " + weak.Pin + "\n\t\tallow as new net 127.0.0.1 cert " + strong.Pin
	s := xfrtest.Serve(t, xfrtest.XoTBlock(rules, xfrtest.ClientAuth("request"), ""), xfrtest.XoTFiles(t, catest.New(t)))
	for range 3 {
		for name, id := range map[string]*catest.Identity{"weak": weak, "strong": strong} {
			if m := xfrtest.XoT(t, s.ListenerAddr(t, "tls"), "", xfrtest.XoTClient(id, "dot"), xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR))); !xfrtest.IsZone(m) {
				t.Fatalf("%s: %v", name, m)
			}
		}
		// A stranger's is none of the operator's business.
		if m := xfrtest.XoT(t, s.ListenerAddr(t, "tls"), "127.0.0.2", xfrtest.XoTClient(catest.WeakClient(t, 1024), "dot"), xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR))); m == nil || xfrtest.IsZone(m) {
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

// TestCertificateFaultOnRecord: the record of a certificate that is refused says why: when
// it is out of its dates, and when no chain leads to the CA.
func TestCertificateFaultOnRecord(t *testing.T) {
	ca, other := catest.New(t), catest.New(t)
	expired, early := catest.SelfSignedClient(t, "x.invalid", catest.Expired), catest.SelfSignedClient(t, "x.invalid", catest.NotYetValid)
	for name, c := range map[string]struct {
		cert string
		id   *catest.Identity
		said string
	}{
		"expired":       {expired.Pin, expired, "the certificate has expired"},
		"not yet valid": {early.Pin, early, "the certificate is not valid yet"},
		"another CA":    {"ns2.example.net", other.Client(t, "ns2.example.net"), "no chain from the certificate"},
		"another key":   {expired.Pin, other.Client(t, "x.invalid"), "neither the certificate's key"},
	} {
		t.Run(name, func(t *testing.T) {
			s := xfrtest.Serve(t, xfrtest.XoTBlock("allow as ns2 net 127.0.0.1 cert "+c.cert, xfrtest.ClientAuth("request"), ""), xfrtest.XoTFiles(t, ca))
			xfrtest.XoT(t, s.ListenerAddr(t, "tls"), "", xfrtest.XoTClient(c.id, "dot"), xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR)))
			e := s.Events(t, 1)[0]
			if said, _ := e["error.message"].(string); e["event.reason"] != "cert-not-allowed" || !strings.Contains(said, c.said) {
				t.Errorf("on record as %v", e)
			}
		})
	}
}
