// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package coredns

import (
	"fmt"
	"net"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/pires/go-proxyproto"
)

// ListenerNames returns the names of the servers that serve a key of a block.
func ListenerNames(c *dnsserver.Config) ([]string, error) {
	var names []string
	for _, host := range c.ListenHosts {
		addr, err := net.ResolveTCPAddr("tcp", net.JoinHostPort(host, c.Port))
		if err != nil {
			return nil, fmt.Errorf("the address of %s: %w", c.Zone, err)
		}
		names = append(names, c.Transport+"://"+addr.String())
	}
	return names, nil
}

// strangers are addresses that are nobody's (RFC 5737, RFC 3849), in two networks, so
// that a policy for one of them is not taken for one for everybody.
var strangers = [][]string{{"192.0.2.1", "203.0.113.1"}, {"2001:db8::1", "3fff::1"}}

// BelievesAnybody reports whether a policy takes PROXY headers from addresses that it
// cannot know, in IPv4 or in IPv6. One that panics is not relied upon.
func BelievesAnybody(policy proxyproto.ConnPolicyFunc) (open bool) {
	defer func() {
		if recover() != nil {
			open = true
		}
	}()
	for _, family := range strangers {
		all := true
		for _, s := range family {
			upstream := &net.TCPAddr{IP: net.ParseIP(s), Port: 1024}
			p, err := policy(proxyproto.ConnPolicyOptions{Upstream: upstream, Downstream: &net.TCPAddr{IP: upstream.IP, Port: 53}})
			all = all && err == nil && (p == proxyproto.USE || p == proxyproto.REQUIRE)
		}
		if all {
			return true
		}
	}
	return false
}
