// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrtest

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/evidence/catest"

	"github.com/miekg/dns"
)

// ClientTLS believes any server: its identity is not what these tests are about.
func ClientTLS(protos ...string) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, NextProtos: protos} //nolint:gosec // see above
}

// XoTClient is a client's TLS configuration. The certificate is sent whatever CAs the
// server says it knows, as OpenSSL does.
func XoTClient(id *catest.Identity, protos ...string) *tls.Config {
	c := ClientTLS(protos...)
	if id != nil {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &id.Certificate, nil }
	}
	return c
}

// ListenerAddr returns the address of the server of that transport: "dns" has a packet
// connection, "tls" has none.
func (s *Server) ListenerAddr(t *testing.T, scheme string) string {
	t.Helper()
	for _, l := range s.Inst.Servers() {
		if l.Addr() != nil && (l.LocalAddr() == nil) == (scheme == "tls") {
			return l.Addr().String()
		}
	}
	t.Fatalf("no %s server", scheme)
	return ""
}

// DialFrom connects from a source address, over TLS when there is a configuration.
func DialFrom(t *testing.T, from, addr string, c *tls.Config) (net.Conn, error) {
	t.Helper()
	d := &net.Dialer{Timeout: 5 * time.Second}
	if from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	if c == nil {
		return d.Dial("tcp", addr)
	}
	return tls.DialWithDialer(d, "tcp", addr, c)
}

// XoT asks one question over a TLS connection of its own. It returns nil when the
// handshake or what follows it fails.
func XoT(t *testing.T, addr, from string, c *tls.Config, query []byte) *dns.Msg {
	t.Helper()
	conn, err := DialFrom(t, from, addr, c)
	if err != nil {
		t.Logf("handshake: %v", err)
		return nil
	}
	defer conn.Close()
	return Over(t, conn, query)
}

// Over asks one question over a connection, whose answer is one message.
func Over(t *testing.T, conn net.Conn, query []byte) *dns.Msg {
	t.Helper()
	c := &dns.Conn{Conn: conn}
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := c.Write(query); err != nil {
		t.Logf("writing: %v", err)
		return nil
	}
	m, err := c.ReadMsg()
	if m == nil {
		t.Logf("reading: %v", err) // of a message, a TSIG that nobody verifies here
	}
	return m
}

// IsZone reports whether the answer is a whole zone.
func IsZone(m *dns.Msg) bool {
	return m != nil && m.Rcode == dns.RcodeSuccess && len(m.Answer) > 2 &&
		m.Answer[0].Header().Rrtype == dns.TypeSOA && m.Answer[len(m.Answer)-1].Header().Rrtype == dns.TypeSOA
}

// XoTBlock is a Corefile with one block for example.org on plain TCP and TLS. auth is
// what stands in the tls plugin's block, with a CA when it starts with one. The file
// plugin is told its zone: with two keys for one it would not stop (coredns/plugin/file
// sends on a channel once a key, which is read once).
func XoTBlock(rules, tlsArgs, extra string) string {
	return `dns://example.org:0 tls://example.org:0 {
	bind 127.0.0.1
	tls DIR/cert.pem DIR/key.pem ` + tlsArgs + `
	tsig {
		secret a.example.net. ` + SecretA + `
		secret b.example.net. ` + SecretB + `
	}
	xfrguard {
		` + rules + `
		rate 100000/1s burst 100000
		audit file DIR/audit.log
	}
	file DIR/db example.org
	` + extra + `
}
`
}

// ClientAuth is the arguments of the tls plugin for a mode, with the test's CA.
func ClientAuth(mode string) string { return "DIR/ca.pem {\n\t\tclient_auth " + mode + "\n\t}" }

// XoTFiles are the files of XoTBlock.
func XoTFiles(t *testing.T, ca *catest.CA) map[string]string {
	t.Helper()
	cert, key := ca.Issue(t, "ns1.example.org")
	return map[string]string{"db": ZoneOrg, "cert.pem": cert, "key.pem": key, "ca.pem": ca.Pem}
}
