// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"fmt"
	"net"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/pires/go-proxyproto"
)

// sharedListener is what the server blocks that share an address have in common, whichever of
// them says it.
type sharedListener struct {
	open   bool   // anybody may send a PROXY header, and is then believed
	opener string // the zone of the block that says so
}

// listenersIn returns the listeners of the blocks, by the names that CoreDNS's servers
// have. It is for a start, when every block has its addresses.
func listenersIn(blocks []serverBlock) (map[string]*sharedListener, error) {
	all := make(map[string]*sharedListener)
	for _, b := range blocks {
		for _, c := range b.configs {
			names, err := listenerNames(c)
			if err != nil {
				return nil, err
			}
			for _, name := range names {
				if all[name] == nil {
					all[name] = &sharedListener{}
				}
				// As in dnsserver.NewServer: the last policy is that of all.
				if c.ProxyProtoConnPolicy != nil {
					all[name].open, all[name].opener = believesAnybody(c.ProxyProtoConnPolicy), c.Zone
				}
			}
		}
	}
	return all, nil
}

// listenerNames returns the names of the servers that serve a key of a block.
func listenerNames(c *dnsserver.Config) ([]string, error) {
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

// strangers are addresses that are nobody's (RFC 5737, RFC 3849), in two networks, so that
// a policy for one of them is not taken for one for everybody.
var strangers = [][]string{{"192.0.2.1", "203.0.113.1"}, {"2001:db8::1", "3fff::1"}}

// believesAnybody reports whether a policy takes PROXY headers from addresses that it
// cannot know, in IPv4 or in IPv6. One that panics is not relied upon.
func believesAnybody(policy proxyproto.ConnPolicyFunc) (open bool) {
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

// anybodyMaySend reports whether the listener believes PROXY headers of anybody. Of one
// that is not known here that is assumed.
func (g *guard) anybodyMaySend(name string) bool {
	l := g.listeners[name]
	return l == nil || l.open
}

// lintProxy lists the listeners of the block that believe anybody's PROXY header.
func (g *guard) lintProxy() []string {
	var findings []string
	said := make(map[string]bool)
	for _, c := range g.keys {
		names, err := listenerNames(c)
		if err != nil {
			continue // the start has failed with it
		}
		for _, name := range names {
			l := g.listeners[name]
			if l == nil || !l.open || said[name] {
				continue
			}
			said[name] = true
			findings = append(findings, fmt.Sprintf("%s: proxyproto of server block %s believes anybody who speaks it on %s: "+
				"an address out of its header proves nothing, and rules with net match nobody who sends one; name your proxies with its allow",
				g.pos, l.opener, name))
		}
	}
	return findings
}
