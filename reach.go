// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"github.com/xfrguard/xfrguard/internal/coredns"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/miekg/dns"
)

// reach says which server block a query comes to: on each listener the one with the
// longest key, unless that one has a view, which may let it go on to a shorter one.
type reach map[reachKey]bool

type reachKey struct{ listener, zone string }

// reachOf reads the keys of all blocks that have no view.
func reachOf(blocks []coredns.Block) reach {
	r := make(reach)
	for _, b := range blocks {
		for _, c := range b.Configs {
			if b.Configs[0].ViewName == "" {
				r[reachKey{listenerOf(c), dns.CanonicalName(c.Zone)}] = true
			}
		}
	}
	return r
}

// comesTo reports whether a query for a zone may come to a block with these keys.
func (r reach) comesTo(keys []*dnsserver.Config, apex string) bool {
	for _, c := range keys {
		if zone := dns.CanonicalName(c.Zone); dns.IsSubDomain(zone, apex) && !r.nearer(listenerOf(c), zone, apex) {
			return true
		}
	}
	return false
}

// nearer reports whether a listener has a longer key than zone for a name below it.
func (r reach) nearer(listener, zone, apex string) bool {
	for off, end := 0, false; !end; off, end = dns.NextLabel(apex, off) {
		if apex[off:] == zone {
			return false
		}
		if r[reachKey{listener, apex[off:]}] {
			return true
		}
	}
	return false // zone is the root
}
