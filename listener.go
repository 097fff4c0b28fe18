// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"github.com/xfrguard/xfrguard/internal/coredns"
	"github.com/xfrguard/xfrguard/internal/finding"
	"github.com/xfrguard/xfrguard/internal/lint"
)

// sharedListener is what the server blocks that share an address have in common, whichever of
// them says it.
type sharedListener struct {
	open   bool   // anybody may send a PROXY header, and is then believed
	opener string // the zone of the block that says so
}

// listenersIn returns the listeners of the blocks, by the names that CoreDNS's servers
// have. It is for a start, when every block has its addresses.
func listenersIn(blocks []coredns.Block) (map[string]*sharedListener, error) {
	all := make(map[string]*sharedListener)
	for _, b := range blocks {
		for _, c := range b.Configs {
			names, err := coredns.ListenerNames(c)
			if err != nil {
				return nil, err
			}
			for _, name := range names {
				if all[name] == nil {
					all[name] = &sharedListener{}
				}
				// As in dnsserver.NewServer: the last policy is that of all.
				if c.ProxyProtoConnPolicy != nil {
					all[name].open, all[name].opener = coredns.BelievesAnybody(c.ProxyProtoConnPolicy), c.Zone
				}
			}
		}
	}
	return all, nil
}

// anybodyMaySend reports whether the listener believes PROXY headers of anybody. Of one
// that is not known here that is assumed.
func (g *guard) anybodyMaySend(name string) bool {
	l := g.listeners[name]
	return l == nil || l.open
}

// lintProxy finds the listeners of the block that believe anybody's PROXY header.
func (g *guard) lintProxy(fs *lint.Findings) {
	said := make(map[string]bool)
	for _, c := range g.keys {
		names, err := coredns.ListenerNames(c)
		if err != nil {
			continue // the start has failed with it
		}
		for _, name := range names {
			l := g.listeners[name]
			if l == nil || !l.open || said[name] {
				continue
			}
			said[name] = true
			fs.Add(finding.ProxyOpen, g.pos, "proxyproto of server block %s believes anybody who speaks it on %s: "+
				"an address out of its header proves nothing, and rules with net match nobody who sends one; name your proxies with its allow",
				l.opener, name)
		}
	}
}
