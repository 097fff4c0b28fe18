// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/miekg/dns"
	"github.com/pires/go-proxyproto"

	"github.com/xfrguard/xfrguard/internal/coredns"
	"github.com/xfrguard/xfrguard/internal/evidence/catest"
	"github.com/xfrguard/xfrguard/internal/xfrtest"
)

// TestBelievesAnybody: policies that no Corefile of CoreDNS's own plugin can say.
func TestBelievesAnybody(t *testing.T) {
	only := func(cidr string, p proxyproto.Policy) proxyproto.ConnPolicyFunc {
		_, ipnet, err := net.ParseCIDR(cidr)
		if err != nil {
			t.Fatal(err)
		}
		return func(o proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) {
			if ipnet.Contains(o.Upstream.(*net.TCPAddr).IP) {
				return p, nil
			}
			return proxyproto.IGNORE, nil
		}
	}
	always := func(p proxyproto.Policy, err error) proxyproto.ConnPolicyFunc {
		return func(proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) { return p, err }
	}
	for name, c := range map[string]struct {
		policy proxyproto.ConnPolicyFunc
		open   bool
	}{
		"use":            {always(proxyproto.USE, nil), true},
		"require":        {always(proxyproto.REQUIRE, nil), true},
		"reject":         {always(proxyproto.REJECT, nil), false},
		"ignore":         {always(proxyproto.IGNORE, nil), false},
		"skip":           {always(proxyproto.SKIP, nil), false},
		"an error":       {always(proxyproto.USE, errors.New("unknown")), false},
		"IPv4 only":      {only("0.0.0.0/0", proxyproto.USE), true},
		"IPv6 only":      {only("::/0", proxyproto.REQUIRE), true},
		"one network":    {only("192.0.2.0/24", proxyproto.USE), false},
		"one network v6": {only("2001:db8::/32", proxyproto.USE), false},
		"a panic":        {func(proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) { panic("no") }, true},
	} {
		if got := coredns.BelievesAnybody(c.policy); got != c.open {
			t.Errorf("%s: open %t", name, got)
		}
	}
	g := &guard{listeners: map[string]*sharedListener{"dns://:53": {}}}
	if g.anybodyMaySend("dns://:53") || !g.anybodyMaySend("dns://:54") {
		t.Error("what is not known of a listener is taken for good")
	}
}

// TestListenersIn: the listener of each address has the last policy that a block names.
func TestListenersIn(t *testing.T) {
	use := func(proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) { return proxyproto.USE, nil }
	ignore := func(proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) { return proxyproto.IGNORE, nil }
	on := func(port string, policy proxyproto.ConnPolicyFunc, hosts ...string) coredns.Block {
		return coredns.Block{Configs: []*dnsserver.Config{{Zone: "a.", Transport: "dns", Port: port, ListenHosts: hosts, ProxyProtoConnPolicy: policy}}}
	}
	got, err := listenersIn([]coredns.Block{
		on("53", use, "127.0.0.1", "::1"), on("53", nil, "127.0.0.1"), on("54", ignore, ""), on("54", use, ""), on("53", ignore, "::1"),
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, open := range map[string]bool{"dns://127.0.0.1:53": true, "dns://[::1]:53": false, "dns://:54": true} {
		if got[name] == nil || got[name].open != open {
			t.Errorf("%s: %+v", name, got[name])
		}
	}
	if _, err := listenersIn([]coredns.Block{on("none", use, "127.0.0.1")}); err == nil {
		t.Error("an address that is none has a name")
	}
}

// TestRevocationBehindProxy: a transfer that is no longer allowed ends with a reset on
// every kind of connection, and what the client has not read yet is gone.
func TestRevocationBehindProxy(t *testing.T) {
	files := xfrtest.XoTFiles(t, catest.New(t))
	files["db"] = slowZone()
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
