// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/xfrguard/xfrguard/internal/evidence/catest"
	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/miekg/dns"
)

// TestRevocationBehindProxy: a transfer that is no longer allowed ends with a reset on
// every kind of connection, and what the client has not read yet is gone.
func TestRevocationBehindProxy(t *testing.T) {
	files := xfrtest.XoTFiles(t, catest.New(t))
	files["db"] = xfrtest.SlowZone()
	v2 := xfrtest.ProxyHeader(t, 2, &net.TCPAddr{IP: net.ParseIP(xfrtest.BehindProxy), Port: 4711}, &net.TCPAddr{IP: net.ParseIP("192.0.2.1"), Port: 53}, xfrtest.WithTLV)
	for _, c := range []struct {
		scheme, proxy string
		header        []byte
		client        string
	}{
		{"tcp", "", nil, "127.0.0.1"},
		{"tls", "", nil, "127.0.0.1"},
		{"tcp", xfrtest.NamedProxy, v2, xfrtest.BehindProxy},
		{"tcp", xfrtest.FancyProxy, v2, xfrtest.BehindProxy},
		{"tls", xfrtest.NamedProxy, v2, xfrtest.BehindProxy},
		{"tls", xfrtest.FancyProxy, v2, xfrtest.BehindProxy},
	} {
		t.Run(c.scheme+" "+strings.Join(strings.Fields(c.proxy), "_"), func(t *testing.T) {
			s := xfrtest.Serve(t, xfrtest.ProxyBlock(c.scheme, "allow as one net "+c.client+" unsigned", c.proxy), files)
			var config *tls.Config
			if c.scheme == "tls" {
				config = xfrtest.ClientTLS("dot")
			}
			conn := xfrtest.Proxied(t, s.Addr(t, "tcp", 0), c.header, config)
			if m := xfrtest.FirstOver(t, conn, xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR))); m == nil || m.Rcode != dns.RcodeSuccess {
				t.Fatalf("got %v", m)
			}
			if err := s.Reload(xfrtest.ProxyBlock(c.scheme, "allow as another net 192.0.2.77 unsigned", c.proxy)); err != nil {
				t.Fatal(err)
			}
			s.When(t, "zone-transfer-end", "policy-revoked")
			var left bytes.Buffer
			if _, err := io.Copy(&left, conn); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("after %d octets more the client sees %v", left.Len(), err)
			}
		})
	}
}
