// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/audit/audittest"
	"github.com/xfrguard/xfrguard/internal/evidence"
	"github.com/xfrguard/xfrguard/internal/evidence/catest"
)

const certRule = "allow as ns2 net 127.0.0.1 cert ns2.example.net"

// TestALPN: dot for those that offer it, nothing for those that offer nothing, and no
// connection for those that offer only what this is not (RFC 7301 §3.2). It does not
// matter where in its block the tls:// key stands, nor which block of the listener
// has the guard.
func TestALPN(t *testing.T) {
	ca := catest.New(t)
	files := xotFiles(t, ca)
	files["net"] = strings.ReplaceAll(zoneOrg, "example.org", "example.net")
	both := xotBlock("allow net 127.0.0.1 key a.example.net. tls", "", "")
	turned := strings.Replace(both, "dns://example.org:0 tls://example.org:0", "tls://example.org:0 dns://example.org:0", 1)
	only := strings.Replace(both, "dns://example.org:0 ", "", 1)
	stranger := "tls://example.net:0 {\n\tbind 127.0.0.1\n\ttls DIR/cert.pem DIR/key.pem\n\tfile DIR/net\n}\n"
	for name, corefile := range map[string]string{
		"tls second": both, "tls first": turned, "tls alone": only,
		"shared, guard first": only + stranger, "shared, guard last": stranger + only, "shared, guard last, two keys": stranger + both,
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, corefile, files)
			addr := s.listenerAddr(t, "tls")
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				for _, c := range []struct {
					offers []string
					want   string
				}{{nil, ""}, {[]string{"dot"}, "dot"}, {[]string{"h2", "dot"}, "dot"}, {[]string{"h2"}, "-"}, {[]string{"DOT"}, "-"}, {[]string{"http/1.1"}, "-"}} {
					config := clientTLS(c.offers...)
					config.MaxVersion = version
					conn, err := tls.Dial("tcp", addr, config)
					if c.want == "-" {
						if err == nil || !strings.HasSuffix(err.Error(), "no application protocol") {
							t.Errorf("%s, %v: %v, want the alert no_application_protocol", tls.VersionName(version), c.offers, err)
						}
						continue
					}
					if err != nil {
						t.Errorf("%s, %v: %v", tls.VersionName(version), c.offers, err)
						continue
					}
					if got := conn.ConnectionState().NegotiatedProtocol; got != c.want {
						t.Errorf("%s, %v: negotiated %q", tls.VersionName(version), c.offers, got)
					}
					// An ordinary query is nobody's business here, also over TLS 1.2.
					if m := over(t, conn, packed(t, new(dns.Msg).SetQuestion("www.example.org.", dns.TypeA))); m == nil || len(m.Answer) != 1 {
						t.Errorf("%s, %v: an ordinary query got %v", tls.VersionName(version), c.offers, m)
					}
					conn.Close()
				}
			}
		})
	}
}

// TestALPNElsewhere: dot stands on no listener that is not DNS over TLS, whatever
// else its block has.
func TestALPNElsewhere(t *testing.T) {
	files := xotFiles(t, catest.New(t))
	corefile := strings.Replace(xotBlock(keyRule, "", ""), "dns://example.org:0 tls://example.org:0", "tls://example.org:PORT https://example.org:0 grpc://example.org:0", 1)
	port := freePort(t)
	s := serve(t, strings.ReplaceAll(corefile, "PORT", port), files)
	others := 0
	for _, l := range s.inst.Servers() {
		if l.Addr() == nil || strings.HasSuffix(l.Addr().String(), ":"+port) {
			continue
		}
		others++
		if conn, err := tls.Dial("tcp", l.Addr().String(), clientTLS("dot")); err == nil {
			t.Errorf("%v speaks dot: %q", l.Addr(), conn.ConnectionState().NegotiatedProtocol)
			conn.Close()
		}
	}
	if others != 2 {
		t.Fatalf("%d other listeners, want 2", others)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// TestXoTEvent: the record says what the session was.
func TestXoTEvent(t *testing.T) {
	ca := catest.New(t)
	id := ca.Client(t, "ns2.example.net", catest.Sans("ns2.example.net", "backup.example.net"))
	s := serve(t, xotBlock(certRule, auth("request"), ""), xotFiles(t, ca))
	config := xotClient(id, "dot")
	config.ServerName = "ns1.example.org"
	if m := xot(t, s.listenerAddr(t, "tls"), "", config, packed(t, question(dns.TypeAXFR))); !isZone(m) {
		t.Fatalf("got %v", m)
	}
	for _, e := range s.events(t, 2) { // the decision and the end
		for field, want := range map[string]any{
			"tls.established": true, "tls.version": "1.3", "tls.next_protocol": "dot", "tls.client.server_name": "ns1.example.org",
			"tls.resumed": nil, "coredns.xfr.tls.verified": true, "tls.client.subject": "CN=ns2.example.net",
			"coredns.xfr.tls.spki": strings.TrimPrefix(id.Pin, "sha256:"), "rule.name": "ns2", "coredns.xfr.transport": "tls",
		} {
			if e[field] != want {
				t.Errorf("%s is %v, want %v", field, e[field], want)
			}
		}
		if cipher, _ := e["tls.cipher"].(string); !strings.HasPrefix(cipher, "TLS_") {
			t.Errorf("tls.cipher is %q", cipher)
		}
		if names := fmt.Sprint(e["tls.client.x509.alternative_names"]); names != "[ns2.example.net backup.example.net]" {
			t.Errorf("the names are %s", names)
		}
	}
}

// TestNoEvidenceOfTLS: where a request came in over TLS and nothing is known of the
// session, nobody gets a zone, also by a rule that asks for no TLS. What a writer in front
// says about a session is not known of it.
func TestNoEvidenceOfTLS(t *testing.T) {
	ca := catest.New(t)
	serve(t, xotBlock("allow as open net 127.0.0.1 unsigned", "", ""), xotFiles(t, ca))
	g := latestInstance().guards[0]
	ask := func(listener string, c *caller, wrap func(dns.ResponseWriter) dns.ResponseWriter) *dns.Msg {
		ctx := context.WithValue(t.Context(), dnsserver.Key{}, &dnsserver.Server{Addr: listener})
		if _, err := g.answer(ctx, wrap(c.ResponseWriter), question(dns.TypeAXFR)); err != nil {
			t.Fatal(err)
		}
		return c.got(t)
	}
	as := func(w dns.ResponseWriter) dns.ResponseWriter { return w }
	pretend := func(w dns.ResponseWriter) dns.ResponseWriter {
		state := &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true}
		return &pretender{ResponseWriter: w, state: state}
	}
	cert, key := ca.Issue(t, "ns1.example.org")
	conf, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	over := func() *caller {
		return newCaller(t, "127.0.0.1", &tls.Config{Certificates: []tls.Certificate{conf}, MinVersion: tls.VersionTLS13})
	}
	if m := ask("dns://127.0.0.1:53", newCaller(t, "127.0.0.1", nil), as); !isZone(m) {
		t.Fatalf("the rule allows nobody, so this shows nothing: %v", m)
	}
	if m := ask("tls://127.0.0.1:853", over(), as); !isZone(m) {
		t.Errorf("with evidence: %v", m)
	}
	for name, m := range map[string]*dns.Msg{
		"no session":          ask("tls://127.0.0.1:853", newCaller(t, "127.0.0.1", nil), as),
		"a plugin's word":     ask("tls://127.0.0.1:853", newCaller(t, "127.0.0.1", nil), pretend),
		"TLS on a plain port": ask("dns://127.0.0.1:53", over(), as),
	} {
		if m == nil || m.Rcode == dns.RcodeSuccess || len(m.Answer) > 0 {
			t.Errorf("%s: %v", name, m)
		}
	}
}

// pretender is a writer of another plugin that tells of a TLS session.
type pretender struct {
	dns.ResponseWriter
	state *tls.ConnectionState
}

func (w *pretender) ConnectionState() *tls.ConnectionState { return w.state }

// TestTLSWithoutTLS: CoreDNS makes a tls:// listener plain when its block has no tls
// plugin. Nobody gets a zone there.
func TestTLSWithoutTLS(t *testing.T) {
	corefile := strings.Replace(xotBlock("allow as open net 127.0.0.1 unsigned", "", ""), "tls DIR/cert.pem DIR/key.pem", "", 1)
	s := serve(t, corefile, map[string]string{"db": zoneOrg})
	if m := ask1(t, "tcp", s.listenerAddr(t, "tls"), "", packed(t, question(dns.TypeAXFR, withEDNS))); m.Rcode != dns.RcodeRefused || edeOf(m) != 18 {
		t.Errorf("got %v", m)
	}
	if e := s.events(t, 1)[0]; e["event.reason"] != "tls-required" || e["tls.established"] != nil {
		t.Errorf("on record as %v", e)
	}
}

// shortLived makes a certificate end a little after now; x509 counts in seconds.
func shortLived(end time.Time) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.NotAfter = end }
}

// TestIdentityEnds: a certificate, an intermediate, a session that was resumed and a
// `tls until` are over when they are over, in the middle of a connection too.
func TestIdentityEnds(t *testing.T) {
	ca := catest.New(t)
	for _, mode := range []string{"request", "verify_if_given"} {
		t.Run(mode, func(t *testing.T) {
			end := time.Now().Add(4 * time.Second).Truncate(time.Second)
			leaf := ca.Client(t, "ns2.example.net", shortLived(end))
			pinned := catest.SelfSignedClient(t, "x.invalid", shortLived(end))
			chained := catest.ChainedClient(t, ca, "ns2.example.net", shortLived(end))
			rules := "allow as moving net 127.0.0.1 key a.example.net. tls until " + end.UTC().Format(time.RFC3339) + "\n\t\t" +
				certRule + "\n\t\tallow as pinned net 127.0.0.1 cert " + pinned.Pin
			ids := map[string]*catest.Identity{"leaf": leaf, "chained": chained}
			if mode == "request" {
				ids["pinned"] = pinned
			}
			s := serve(t, xotBlock(rules, auth(mode), ""), xotFiles(t, ca))
			addr := s.listenerAddr(t, "tls")
			conns, configs := map[string]net.Conn{}, map[string]*tls.Config{}
			for name, id := range ids {
				config := xotClient(id, "dot")
				config.ClientSessionCache, config.ServerName = tls.NewLRUClientSessionCache(8), "ns1.example.org"
				configs[name] = config
				if m := xot(t, addr, "", config, packed(t, question(dns.TypeAXFR))); !isZone(m) {
					t.Fatalf("%s: got %v", name, m)
				}
				conn, err := tls.Dial("tcp", addr, config)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if conns[name] = conn; !conn.ConnectionState().DidResume {
					t.Errorf("%s: the session was not resumed, so this shows less", name)
				}
				if m := over(t, conn, packed(t, question(dns.TypeAXFR))); !isZone(m) {
					t.Errorf("%s: a resumed session lost the certificate: %v", name, m)
				}
			}
			s.wantResumed(t, len(ids))
			plain := s.listenerAddr(t, "dns")
			if m := ask1(t, "tcp", plain, "", signed(t, question(dns.TypeAXFR), keyA, dns.HmacSHA256, secretA)); !isZone(m) {
				t.Errorf("before the end of tls until: %v", m)
			}
			time.Sleep(time.Until(end.Add(1100 * time.Millisecond)))
			for name, conn := range conns {
				if m := over(t, conn, packed(t, question(dns.TypeAXFR))); m == nil || m.Rcode != dns.RcodeRefused {
					t.Errorf("%s: on the connection that outlived it: %v", name, m)
				}
				m := xot(t, addr, "", configs[name], packed(t, question(dns.TypeAXFR)))
				if mode == "request" && (m == nil || m.Rcode != dns.RcodeRefused) || mode != "request" && isZone(m) {
					t.Errorf("%s: in a new connection, with its old session: %v", name, m)
				}
			}
			q := question(dns.TypeAXFR, withEDNS)
			if m := ask1(t, "tcp", plain, "", signed(t, q, keyA, dns.HmacSHA256, secretA)); m.Rcode != dns.RcodeRefused {
				t.Errorf("after the end of tls until: %v", m)
			}
			s.wantLast(t, "tls-required", "moving", end)
			if n := s.countReason(t, "cert-not-allowed"); n == 0 {
				t.Error("no cert-not-allowed on record")
			}
		})
	}
}

// wantResumed looks for that many transfers in resumed sessions.
func (s *server) wantResumed(t *testing.T, n int) {
	t.Helper()
	resumed := 0
	for _, e := range s.events(t, 4*n) {
		if e["event.action"] == "zone-transfer-decision" && e["tls.resumed"] == true && e["event.reason"] == "policy-allow" && e["coredns.xfr.tls.spki"] != nil {
			resumed++
		}
	}
	if resumed != n {
		t.Errorf("%d allowed decisions in resumed sessions are on record, want %d", resumed, n)
	}
}

func (s *server) wantLast(t *testing.T, reason, near string, until time.Time) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		for _, e := range transferEvents(t, s.dir+"/audit.log") {
			if e["event.reason"] == reason && e["coredns.xfr.rule.nearest"] == near &&
				e["coredns.xfr.rule.tls_until"] == until.UTC().Format(audit.TimeLayout) {
				return
			}
		}
	}
	t.Errorf("no %s near %s until %v on record", reason, near, until)
}

func (s *server) countReason(t *testing.T, reason string) (n int) {
	t.Helper()
	for _, e := range transferEvents(t, s.dir+"/audit.log") {
		if e["event.reason"] == reason {
			n++
		}
	}
	return n
}

// TestAnotherCA: after a reload with another CA a transfer by a certificate of the old
// one ends, though its handshake was good.
func TestAnotherCA(t *testing.T) {
	ca, other := catest.New(t), catest.New(t)
	files := xotFiles(t, ca)
	files["other.pem"] = other.Pem
	files["db"] = zoneOrg
	for i := range 400 {
		files["db"] += fmt.Sprintf("h%d IN TXT \"%s\"\n", i, strings.Repeat("x", 200))
	}
	corefile := xotBlock(certRule+"\n\t\tbandwidth 20KB", auth("require_and_verify"), "")
	s := serve(t, corefile, files)
	conn, err := tls.Dial("tcp", s.listenerAddr(t, "tls"), xotClient(ca.Client(t, "ns2.example.net"), "dot"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := &dns.Conn{Conn: conn}
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write(packed(t, question(dns.TypeAXFR))); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReadMsg(); err != nil {
		t.Fatal(err)
	}
	if err := s.reload(strings.Replace(corefile, "ca.pem", "other.pem", 1)); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = c.ReadMsg()
	}
	if d := s.when(t, "zone-transfer-end", "policy-revoked").Sub(s.when(t, "policy-reload", "")); d > time.Second {
		t.Errorf("closed %v after the reload", d)
	}
}

// TestForeignTicket: a session of a listener that believes any certificate is none of
// one that verifies.
func TestForeignTicket(t *testing.T) {
	ca := catest.New(t)
	files := xotFiles(t, ca)
	lax, strict := freePort(t), freePort(t)
	block := func(port, args string) string {
		return strings.Replace(xotBlock(certRule, args, ""), "dns://example.org:0 tls://example.org:0", "tls://example.org:"+port, 1)
	}
	serve(t, block(lax, "{\n\t\tclient_auth request\n\t}")+block(strict, auth("verify_if_given")), files)
	for _, id := range []*catest.Identity{catest.SelfSignedClient(t, "ns2.example.net"), catest.New(t).Client(t, "ns2.example.net")} {
		config := xotClient(id, "dot")
		config.ClientSessionCache, config.ServerName = tls.NewLRUClientSessionCache(8), "ns1.example.org"
		for range 2 {
			if m := xot(t, "127.0.0.1:"+lax, "", config, packed(t, question(dns.TypeAXFR))); m == nil || m.Rcode != dns.RcodeRefused {
				t.Errorf("without a CA: %v", m)
			}
		}
		conn, err := tls.Dial("tcp", "127.0.0.1:"+strict, config)
		if err != nil {
			continue // the certificate was asked for again
		}
		if m := over(t, conn, packed(t, question(dns.TypeAXFR))); conn.ConnectionState().DidResume || isZone(m) {
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
				s := serve(t, xotBlock("allow as ns2 net 127.0.0.1 cert "+c.rule, auth(mode), ""), xotFiles(t, ca))
				m := xot(t, s.listenerAddr(t, "tls"), "", xotClient(ca.Client(t, "no matter", c.cert), "dot"), packed(t, question(dns.TypeAXFR)))
				if m == nil {
					if c.allow || mode == "request" {
						t.Errorf("%s: no answer", mode)
					}
					continue // crypto/x509 does not like such a SAN
				}
				if isZone(m) != c.allow {
					t.Errorf("%s: got %v", mode, m)
				}
				if want := map[bool]string{true: "policy-allow", false: "cert-not-allowed"}[c.allow]; s.events(t, 1)[0]["event.reason"] != want {
					t.Errorf("%s: on record as %v", mode, s.events(t, 1)[0])
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
	files := xotFiles(t, ca)
	a, b, c := freePort(t), freePort(t), freePort(t)
	keys := "tls://example.org:" + a + " dns://example.org:" + b + " tls://example.org:" + c
	serve(t, strings.Replace(xotBlock(certRule, auth("request"), ""), "dns://example.org:0 tls://example.org:0", keys, 1), files)
	right := ca.Client(t, "ns2.example.net")
	for _, port := range []string{a, c} {
		for _, sni := range []string{"", "ns1.example.org", "ns2.example.net", "other.example"} {
			for _, id := range []*catest.Identity{nil, catest.SelfSignedClient(t, "ns2.example.net"), right} {
				config := xotClient(id, "dot")
				config.ServerName = sni
				if m := xot(t, "127.0.0.1:"+port, "", config, packed(t, question(dns.TypeAXFR))); isZone(m) != (id == right) {
					t.Errorf("port %s, SNI %q: %v", port, sni, m)
				}
			}
		}
	}
	for _, q := range [][]byte{packed(t, question(dns.TypeAXFR)), signed(t, question(dns.TypeAXFR), keyA, dns.HmacSHA256, secretA)} {
		if m := ask1(t, "tcp", "127.0.0.1:"+b, "", q); m.Rcode != dns.RcodeRefused {
			t.Errorf("over plain TCP: %v", m)
		}
	}
	if m := ask1(t, "udp", "127.0.0.1:"+b, "", packed(t, question(dns.TypeIXFR))); m.Rcode != dns.RcodeRefused {
		t.Errorf("over UDP: %v", m)
	}
}

// TestTooManyCertificates: a client cannot make the server build chains without end.
func TestTooManyCertificates(t *testing.T) {
	ca := catest.New(t)
	s := serve(t, xotBlock(certRule, auth("request"), ""), xotFiles(t, ca))
	for n, allow := range map[int]bool{evidence.MaxPresented: true, evidence.MaxPresented + 1: false} {
		id := catest.ChainedClient(t, ca, "ns2.example.net")
		id.Certificate.Certificate = append(id.Certificate.Certificate, slices.Repeat(id.Certificate.Certificate[1:], n-2)...)
		if m := xot(t, s.listenerAddr(t, "tls"), "", xotClient(id, "dot"), packed(t, question(dns.TypeAXFR))); isZone(m) != allow {
			t.Errorf("%d certificates: %v", n, m)
		}
	}
}

// TestUntilMetric: the end of a migration is in the metrics while its policy is in force.
func TestUntilMetric(t *testing.T) {
	rules := "allow as moving net 127.0.0.1 key a.example.net. tls until 2999-01-01\n\t\tallow as moved net 127.0.0.2 key a.example.net. tls"
	s := serve(t, guarded(rules, ""), map[string]string{"db": zoneOrg})
	want := "label:{name:\"rule\" value:\"moving\"} label:{name:\"server\" value:\"dns://127.0.0.1:0\"} label:{name:\"view\" value:\"\"} " +
		"label:{name:\"zone\" value:\"example.org.\"} gauge:{value:3.2472144e+10}" // 2999-01-01T00:00:00Z
	if got := gathered(t, "coredns_xfrguard_tls_until_timestamp_seconds"); len(got) != 1 || got[0] != want {
		t.Errorf("the metric is %q, want %q", got, want)
	}
	if err := s.reload(guarded("allow as moved net 127.0.0.2 key a.example.net. tls", "")); err != nil {
		t.Fatal(err)
	}
	if got := gathered(t, "coredns_xfrguard_tls_until_timestamp_seconds"); len(got) != 0 {
		t.Errorf("after the reload the metric is %q", got)
	}
	for _, e := range audittest.Lines(t, s.dir+"/audit.log") {
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
