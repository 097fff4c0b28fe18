// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrtest

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/pires/go-proxyproto"
)

// ProxyHeader is a PROXY header as dnsdist, HAProxy or somebody else sends it.
func ProxyHeader(t *testing.T, version byte, source, destination net.Addr, change ...func(*proxyproto.Header)) []byte {
	t.Helper()
	h := proxyproto.HeaderProxyFromAddrs(version, source, destination)
	for _, c := range change {
		c(h)
	}
	b, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// WithTLV adds a TLV that tells of a tenant.
func WithTLV(h *proxyproto.Header) {
	if err := h.SetTLVs([]proxyproto.TLV{{Type: 0xE0, Value: []byte("a tenant")}}); err != nil {
		panic(err)
	}
}

// Proxied connects, sends the header, and goes on as the client: over TLS with a
// configuration.
func Proxied(t *testing.T, addr string, header []byte, c *tls.Config) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(60 * time.Second))
	if _, err := conn.Write(header); err != nil {
		t.Fatal(err)
	}
	if c != nil {
		conn = tls.Client(conn, c)
	}
	return conn
}

// FirstOver asks over a connection and returns the first message, nil when there is none.
func FirstOver(t *testing.T, conn net.Conn, query []byte) *dns.Msg {
	t.Helper()
	c := &dns.Conn{Conn: conn}
	if _, err := c.Write(query); err != nil {
		return nil
	}
	b, err := c.ReadMsgHeader(nil)
	if err != nil {
		return nil
	}
	return Unpack(t, b)
}
