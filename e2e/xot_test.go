// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/evidence/catest"
	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/miekg/dns"
)

// TestALPN: dot for those that offer it, nothing for those that offer nothing, and no
// connection for those that offer only what this is not (RFC 7301 §3.2). It does not
// matter where in its block the tls:// key stands, nor which block of the listener
// has the guard.
func TestALPN(t *testing.T) {
	ca := catest.New(t)
	files := xfrtest.XoTFiles(t, ca)
	files["net"] = strings.ReplaceAll(xfrtest.ZoneOrg, "example.org", "example.net")
	both := xfrtest.XoTBlock("allow net 127.0.0.1 key a.example.net. tls", "", "")
	turned := strings.Replace(both, "dns://example.org:0 tls://example.org:0", "tls://example.org:0 dns://example.org:0", 1)
	only := strings.Replace(both, "dns://example.org:0 ", "", 1)
	stranger := "tls://example.net:0 {\n\tbind 127.0.0.1\n\ttls DIR/cert.pem DIR/key.pem\n\tfile DIR/net\n}\n"
	for name, corefile := range map[string]string{
		"tls second": both, "tls first": turned, "tls alone": only,
		"shared, guard first": only + stranger, "shared, guard last": stranger + only, "shared, guard last, two keys": stranger + both,
	} {
		t.Run(name, func(t *testing.T) {
			s := xfrtest.Serve(t, corefile, files)
			addr := s.ListenerAddr(t, "tls")
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				for _, c := range []struct {
					offers []string
					want   string
				}{{nil, ""}, {[]string{"dot"}, "dot"}, {[]string{"h2", "dot"}, "dot"}, {[]string{"h2"}, "-"}, {[]string{"DOT"}, "-"}, {[]string{"http/1.1"}, "-"}} {
					config := xfrtest.ClientTLS(c.offers...)
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
					if m := xfrtest.Over(t, conn, xfrtest.Packed(t, new(dns.Msg).SetQuestion("www.example.org.", dns.TypeA))); m == nil || len(m.Answer) != 1 {
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
	files := xfrtest.XoTFiles(t, catest.New(t))
	corefile := strings.Replace(xfrtest.XoTBlock(xfrtest.KeyRule, "", ""), "dns://example.org:0 tls://example.org:0", "tls://example.org:PORT https://example.org:0 grpc://example.org:0", 1)
	port := xfrtest.FreePort(t)
	s := xfrtest.Serve(t, strings.ReplaceAll(corefile, "PORT", port), files)
	others := 0
	for _, l := range s.Inst.Servers() {
		if l.Addr() == nil || strings.HasSuffix(l.Addr().String(), ":"+port) {
			continue
		}
		others++
		if conn, err := tls.Dial("tcp", l.Addr().String(), xfrtest.ClientTLS("dot")); err == nil {
			t.Errorf("%v speaks dot: %q", l.Addr(), conn.ConnectionState().NegotiatedProtocol)
			conn.Close()
		}
	}
	if others != 2 {
		t.Fatalf("%d other listeners, want 2", others)
	}
}

// TestXoTEvent: the record says what the session was.
func TestXoTEvent(t *testing.T) {
	ca := catest.New(t)
	id := ca.Client(t, "ns2.example.net", catest.Sans("ns2.example.net", "backup.example.net"))
	s := xfrtest.Serve(t, xfrtest.XoTBlock(xfrtest.CertRule, xfrtest.ClientAuth("request"), ""), xfrtest.XoTFiles(t, ca))
	config := xfrtest.XoTClient(id, "dot")
	config.ServerName = "ns1.example.org"
	if m := xfrtest.XoT(t, s.ListenerAddr(t, "tls"), "", config, xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR))); !xfrtest.IsZone(m) {
		t.Fatalf("got %v", m)
	}
	for _, e := range s.Events(t, 2) { // the decision and the end
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

// TestTLSWithoutTLS: CoreDNS makes a tls:// listener plain when its block has no tls
// plugin. Nobody gets a zone there.
func TestTLSWithoutTLS(t *testing.T) {
	corefile := strings.Replace(xfrtest.XoTBlock("allow as open net 127.0.0.1 unsigned", "", ""), "tls DIR/cert.pem DIR/key.pem", "", 1)
	s := xfrtest.Serve(t, corefile, map[string]string{"db": xfrtest.ZoneOrg})
	if m := xfrtest.Ask1(t, "tcp", s.ListenerAddr(t, "tls"), "", xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR, xfrtest.WithEDNS))); m.Rcode != dns.RcodeRefused || xfrtest.EDEOf(m) != 18 {
		t.Errorf("got %v", m)
	}
	if e := s.Events(t, 1)[0]; e["event.reason"] != "tls-required" || e["tls.established"] != nil {
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
				xfrtest.CertRule + "\n\t\tallow as pinned net 127.0.0.1 cert " + pinned.Pin
			ids := map[string]*catest.Identity{"leaf": leaf, "chained": chained}
			if mode == "request" {
				ids["pinned"] = pinned
			}
			s := xfrtest.Serve(t, xfrtest.XoTBlock(rules, xfrtest.ClientAuth(mode), ""), xfrtest.XoTFiles(t, ca))
			addr := s.ListenerAddr(t, "tls")
			conns, configs := map[string]net.Conn{}, map[string]*tls.Config{}
			for name, id := range ids {
				config := xfrtest.XoTClient(id, "dot")
				config.ClientSessionCache, config.ServerName = tls.NewLRUClientSessionCache(8), "ns1.example.org"
				configs[name] = config
				if m := xfrtest.XoT(t, addr, "", config, xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR))); !xfrtest.IsZone(m) {
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
				if m := xfrtest.Over(t, conn, xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR))); !xfrtest.IsZone(m) {
					t.Errorf("%s: a resumed session lost the certificate: %v", name, m)
				}
			}
			wantResumed(t, s, len(ids))
			plain := s.ListenerAddr(t, "dns")
			if m := xfrtest.Ask1(t, "tcp", plain, "", xfrtest.Signed(t, xfrtest.Question(dns.TypeAXFR), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA)); !xfrtest.IsZone(m) {
				t.Errorf("before the end of tls until: %v", m)
			}
			time.Sleep(time.Until(end.Add(1100 * time.Millisecond)))
			for name, conn := range conns {
				if m := xfrtest.Over(t, conn, xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR))); m == nil || m.Rcode != dns.RcodeRefused {
					t.Errorf("%s: on the connection that outlived it: %v", name, m)
				}
				m := xfrtest.XoT(t, addr, "", configs[name], xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR)))
				if mode == "request" && (m == nil || m.Rcode != dns.RcodeRefused) || mode != "request" && xfrtest.IsZone(m) {
					t.Errorf("%s: in a new connection, with its old session: %v", name, m)
				}
			}
			q := xfrtest.Question(dns.TypeAXFR, xfrtest.WithEDNS)
			if m := xfrtest.Ask1(t, "tcp", plain, "", xfrtest.Signed(t, q, xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA)); m.Rcode != dns.RcodeRefused {
				t.Errorf("after the end of tls until: %v", m)
			}
			wantLast(t, s, "tls-required", "moving", end)
			if n := countReason(t, s, "cert-not-allowed"); n == 0 {
				t.Error("no cert-not-allowed on record")
			}
		})
	}
}

// wantResumed looks for that many transfers in resumed sessions.
func wantResumed(t *testing.T, s *xfrtest.Server, n int) {
	t.Helper()
	resumed := 0
	for _, e := range s.Events(t, 4*n) {
		if e["event.action"] == "zone-transfer-decision" && e["tls.resumed"] == true && e["event.reason"] == "policy-allow" && e["coredns.xfr.tls.spki"] != nil {
			resumed++
		}
	}
	if resumed != n {
		t.Errorf("%d allowed decisions in resumed sessions are on record, want %d", resumed, n)
	}
}

func wantLast(t *testing.T, s *xfrtest.Server, reason, near string, until time.Time) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		for _, e := range xfrtest.TransferEvents(t, s.Dir+"/audit.log") {
			if e["event.reason"] == reason && e["coredns.xfr.rule.nearest"] == near &&
				e["coredns.xfr.rule.tls_until"] == until.UTC().Format(audit.TimeLayout) {
				return
			}
		}
	}
	t.Errorf("no %s near %s until %v on record", reason, near, until)
}

func countReason(t *testing.T, s *xfrtest.Server, reason string) (n int) {
	t.Helper()
	for _, e := range xfrtest.TransferEvents(t, s.Dir+"/audit.log") {
		if e["event.reason"] == reason {
			n++
		}
	}
	return n
}
