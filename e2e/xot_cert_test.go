// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/xfrguard/xfrguard/internal/audit/audittest"
	"github.com/xfrguard/xfrguard/internal/evidence"
	"github.com/xfrguard/xfrguard/internal/evidence/catest"
	"github.com/xfrguard/xfrguard/internal/xfrtest"
)

// TestAnotherCA: after a reload with another CA a transfer by a certificate of the old
// one ends, though its handshake was good.
func TestAnotherCA(t *testing.T) {
	ca, other := catest.New(t), catest.New(t)
	files := xfrtest.XoTFiles(t, ca)
	files["other.pem"] = other.Pem
	files["db"] = xfrtest.ZoneOrg
	for i := range 400 {
		files["db"] += fmt.Sprintf("h%d IN TXT \"%s\"\n", i, strings.Repeat("x", 200))
	}
	corefile := xfrtest.XoTBlock(xfrtest.CertRule+"\n\t\tbandwidth 20KB", xfrtest.ClientAuth("require_and_verify"), "")
	s := xfrtest.Serve(t, corefile, files)
	conn, err := tls.Dial("tcp", s.ListenerAddr(t, "tls"), xfrtest.XoTClient(ca.Client(t, "ns2.example.net"), "dot"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := &dns.Conn{Conn: conn}
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write(xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR))); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReadMsg(); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(strings.Replace(corefile, "ca.pem", "other.pem", 1)); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = c.ReadMsg()
	}
	if d := s.When(t, "zone-transfer-end", "policy-revoked").Sub(s.When(t, "policy-reload", "")); d > time.Second {
		t.Errorf("closed %v after the reload", d)
	}
}

// TestForeignTicket: a session of a listener that believes any certificate is none of
// one that verifies.
func TestForeignTicket(t *testing.T) {
	ca := catest.New(t)
	files := xfrtest.XoTFiles(t, ca)
	lax, strict := xfrtest.FreePort(t), xfrtest.FreePort(t)
	block := func(port, args string) string {
		return strings.Replace(xfrtest.XoTBlock(xfrtest.CertRule, args, ""), "dns://example.org:0 tls://example.org:0", "tls://example.org:"+port, 1)
	}
	xfrtest.Serve(t, block(lax, "{\n\t\tclient_auth request\n\t}")+block(strict, xfrtest.ClientAuth("verify_if_given")), files)
	for _, id := range []*catest.Identity{catest.SelfSignedClient(t, "ns2.example.net"), catest.New(t).Client(t, "ns2.example.net")} {
		config := xfrtest.XoTClient(id, "dot")
		config.ClientSessionCache, config.ServerName = tls.NewLRUClientSessionCache(8), "ns1.example.org"
		for range 2 {
			if m := xfrtest.XoT(t, "127.0.0.1:"+lax, "", config, xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR))); m == nil || m.Rcode != dns.RcodeRefused {
				t.Errorf("without a CA: %v", m)
			}
		}
		conn, err := tls.Dial("tcp", "127.0.0.1:"+strict, config)
		if err != nil {
			continue // the certificate was asked for again
		}
		if m := xfrtest.Over(t, conn, xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR))); conn.ConnectionState().DidResume || xfrtest.IsZone(m) {
			t.Errorf("a session of the other listener: resumed %v, %v", conn.ConnectionState().DidResume, m)
		}
		conn.Close()
	}
}

// TestCertificateNames: what is no DNS SAN is no name, and a name is one whatever its
// case or form.
func TestCertificateNames(t *testing.T) {
	ca := catest.New(t)
	ip := func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = nil, []net.IP{net.IPv4(127, 0, 0, 1)} }
	mail := func(c *x509.Certificate) { c.DNSNames, c.EmailAddresses = nil, []string{"ns2.example.net"} }
	for _, c := range []struct {
		name  string
		rule  string
		cert  func(*x509.Certificate)
		allow bool
	}{
		{"plain", "ns2.example.net", catest.Sans("ns2.example.net"), true},
		{"one of several", "ns2.example.net", catest.Sans("x.example.net", "ns2.example.net"), true},
		{"upper case in the certificate", "ns2.example.net", catest.Sans("NS2.EXAMPLE.net"), true},
		{"upper case in the rule", "NS2.Example.Net.", catest.Sans("ns2.example.net"), true},
		{"IDN as A-label", "xn--bcher-kva.example.net", catest.Sans("XN--BCHER-KVA.example.net"), true},
		{"another IDN", "xn--bcher-kva.example.net", catest.Sans("xn--bcher-kvb.example.net"), false},
		{"CN only", "ns2.example.net", func(c *x509.Certificate) { c.DNSNames, c.Subject.CommonName = nil, "ns2.example.net" }, false},
		{"IP SAN", "ns2.example.net", ip, false},
		{"address as a DNS SAN", "ns2.example.net", catest.Sans("127.0.0.1"), false},
		{"mail SAN", "ns2.example.net", mail, false},
		{"wildcard SAN", "ns2.example.net", catest.Sans("*.example.net"), true},
		{"wildcard SAN, two labels up", "ns2.example.net", catest.Sans("*.net"), false},
		{"wildcard SAN of a top level domain", "example.net", catest.Sans("*.net"), false},
		{"wildcard SAN, everything", "ns2.example.net", catest.Sans("*"), false},
		{"wildcard SAN, two labels down", "a.ns2.example.net", catest.Sans("*.example.net"), false},
		{"wildcard SAN in a label", "ns2.example.net", catest.Sans("ns*.example.net"), false},
		{"wildcard SAN inside", "ns2.example.net", catest.Sans("ns2.*.net"), false},
		{"wildcard rule", "*.example.net", catest.Sans("ns7.example.net"), true},
		{"wildcard rule, below", "*.example.net", catest.Sans("a.ns7.example.net"), false},
		{"wildcard rule, apex", "*.example.net", catest.Sans("example.net"), false},
		{"escaped dot", "*.example.net", catest.Sans(`a\.example.net`), false},
		{"escaped digits", "ns2.example.net", catest.Sans(`n\115\050.example.net`), false},
		{"a prefix of the name", "ns2.example.net", catest.Sans("ns2.example"), false},
		{"the name with more behind it", "ns2.example.net", catest.Sans("ns2.example.net.evil.example"), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, mode := range []string{"request", "require_and_verify"} {
				s := xfrtest.Serve(t, xfrtest.XoTBlock("allow as ns2 net 127.0.0.1 cert "+c.rule, xfrtest.ClientAuth(mode), ""), xfrtest.XoTFiles(t, ca))
				m := xfrtest.XoT(t, s.ListenerAddr(t, "tls"), "", xfrtest.XoTClient(ca.Client(t, "no matter", c.cert), "dot"), xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR)))
				if m == nil {
					if c.allow || mode == "request" {
						t.Errorf("%s: no answer", mode)
					}
					continue // crypto/x509 does not like such a SAN
				}
				if xfrtest.IsZone(m) != c.allow {
					t.Errorf("%s: got %v", mode, m)
				}
				if want := map[bool]string{true: "policy-allow", false: "cert-not-allowed"}[c.allow]; s.Events(t, 1)[0]["event.reason"] != want {
					t.Errorf("%s: on record as %v", mode, s.Events(t, 1)[0])
				}
			}
		})
	}
}

// TestCertRuleOnEveryDoor: the certificate counts wherever the zone is asked for: on
// another port, without TLS, on another listener of the block or under another name
// of the server (NSD's CVE-2026-12490 was a condition that one port skipped).
func TestCertRuleOnEveryDoor(t *testing.T) {
	ca := catest.New(t)
	files := xfrtest.XoTFiles(t, ca)
	a, b, c := xfrtest.FreePort(t), xfrtest.FreePort(t), xfrtest.FreePort(t)
	keys := "tls://example.org:" + a + " dns://example.org:" + b + " tls://example.org:" + c
	xfrtest.Serve(t, strings.Replace(xfrtest.XoTBlock(xfrtest.CertRule, xfrtest.ClientAuth("request"), ""), "dns://example.org:0 tls://example.org:0", keys, 1), files)
	right := ca.Client(t, "ns2.example.net")
	for _, port := range []string{a, c} {
		for _, sni := range []string{"", "ns1.example.org", "ns2.example.net", "other.example"} {
			for _, id := range []*catest.Identity{nil, catest.SelfSignedClient(t, "ns2.example.net"), right} {
				config := xfrtest.XoTClient(id, "dot")
				config.ServerName = sni
				if m := xfrtest.XoT(t, "127.0.0.1:"+port, "", config, xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR))); xfrtest.IsZone(m) != (id == right) {
					t.Errorf("port %s, SNI %q: %v", port, sni, m)
				}
			}
		}
	}
	for _, q := range [][]byte{xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR)), xfrtest.Signed(t, xfrtest.Question(dns.TypeAXFR), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA)} {
		if m := xfrtest.Ask1(t, "tcp", "127.0.0.1:"+b, "", q); m.Rcode != dns.RcodeRefused {
			t.Errorf("over plain TCP: %v", m)
		}
	}
	if m := xfrtest.Ask1(t, "udp", "127.0.0.1:"+b, "", xfrtest.Packed(t, xfrtest.Question(dns.TypeIXFR))); m.Rcode != dns.RcodeRefused {
		t.Errorf("over UDP: %v", m)
	}
}

// TestTooManyCertificates: a client cannot make the server build chains without end.
func TestTooManyCertificates(t *testing.T) {
	ca := catest.New(t)
	s := xfrtest.Serve(t, xfrtest.XoTBlock(xfrtest.CertRule, xfrtest.ClientAuth("request"), ""), xfrtest.XoTFiles(t, ca))
	for n, allow := range map[int]bool{evidence.MaxPresented: true, evidence.MaxPresented + 1: false} {
		id := catest.ChainedClient(t, ca, "ns2.example.net")
		id.Certificate.Certificate = append(id.Certificate.Certificate, slices.Repeat(id.Certificate.Certificate[1:], n-2)...)
		if m := xfrtest.XoT(t, s.ListenerAddr(t, "tls"), "", xfrtest.XoTClient(id, "dot"), xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR))); xfrtest.IsZone(m) != allow {
			t.Errorf("%d certificates: %v", n, m)
		}
	}
}

// TestUntilMetric: the end of a migration is in the metrics while its policy is in force.
func TestUntilMetric(t *testing.T) {
	rules := "allow as moving net 127.0.0.1 key a.example.net. tls until 2999-01-01\n\t\tallow as moved net 127.0.0.2 key a.example.net. tls"
	s := xfrtest.Serve(t, xfrtest.Guarded(rules, ""), map[string]string{"db": xfrtest.ZoneOrg})
	want := "label:{name:\"rule\" value:\"moving\"} label:{name:\"server\" value:\"dns://127.0.0.1:0\"} label:{name:\"view\" value:\"\"} " +
		"label:{name:\"zone\" value:\"example.org.\"} gauge:{value:3.2472144e+10}" // 2999-01-01T00:00:00Z
	if got := gathered(t, "coredns_xfrguard_tls_until_timestamp_seconds"); len(got) != 1 || got[0] != want {
		t.Errorf("the metric is %q, want %q", got, want)
	}
	if err := s.Reload(xfrtest.Guarded("allow as moved net 127.0.0.2 key a.example.net. tls", "")); err != nil {
		t.Fatal(err)
	}
	if got := gathered(t, "coredns_xfrguard_tls_until_timestamp_seconds"); len(got) != 0 {
		t.Errorf("after the reload the metric is %q", got)
	}
	for _, e := range audittest.Lines(t, s.Dir+"/audit.log") {
		if e["event.action"] == "policy-load" && !strings.Contains(e["coredns.xfr.policy"].(string), "tls until 2999-01-01T00:00:00Z") {
			t.Errorf("the policy on record: %v", e["coredns.xfr.policy"])
		}
	}
}

// gathered returns the samples of a metric as text.
func gathered(t *testing.T, name string) (samples []string) {
	t.Helper()
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				samples = append(samples, strings.Join(strings.Fields(m.String()), " "))
			}
		}
	}
	return samples
}
