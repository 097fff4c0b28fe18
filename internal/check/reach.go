// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package check

import (
	"slices"

	"github.com/coredns/caddy/caddyfile"
	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/policy"
)

// fit is a server block that has the zone, at one of the places where it listens.
type fit struct {
	server int // its index
	labels int // of its zone
}

// reached returns the server blocks that CoreDNS may give the request to, in the order of
// the text. Each address and port is a server of its own: it takes the longest of its zones
// that fits, and a shorter one where the views of that may all be false.
func (c *Corefile) reached(q *policy.Request, view string) (found []*server) {
	reached := make([]bool, len(c.servers))
	for _, fits := range c.fits(q, view) {
		slices.SortStableFunc(fits, func(a, b fit) int { return b.labels - a.labels })
		least := 0
		for _, f := range fits {
			if f.labels < least {
				break
			}
			reached[f.server] = true
			if view != "" || c.servers[f.server].view == "" {
				least = f.labels
			}
		}
	}
	for i := range c.servers {
		if reached[i] {
			found = append(found, &c.servers[i])
		}
	}
	return found
}

// fits returns the server blocks that have the zone, by the places where they listen: those
// of the request's transport, or all where there is none of it.
func (c *Corefile) fits(q *policy.Request, view string) map[string][]fit {
	same, all := map[string][]fit{}, map[string][]fit{}
	for i := range c.servers {
		s := &c.servers[i]
		if view != "" && s.view != view {
			continue
		}
		for _, key := range s.keys {
			labels := longest(key, q.Zone)
			if labels < 0 {
				continue
			}
			transport, port := corefile.Listens(key)
			for _, host := range s.hosts {
				place := transport + "://" + host + " " + port
				all[place] = append(all[place], fit{i, labels})
				if transport == schemeOf(q.Transport) {
					same[place] = all[place]
				}
			}
		}
	}
	if len(same) > 0 {
		return same
	}
	return all
}

// schemeOf is what the keys of the server blocks begin with that a transport reaches.
func schemeOf(t policy.Transport) string {
	if t == policy.TransportUDP || t == policy.TransportTCP {
		return "dns"
	}
	return string(t)
}

// longest returns how many labels the longest zone of the key has that fits, -1 for none.
func longest(key, zone string) int {
	labels := -1
	for _, origin := range corefile.Origins(key) {
		if dns.IsSubDomain(origin, zone) {
			labels = max(labels, dns.CountLabel(origin))
		}
	}
	return labels
}

// hostsOf are the addresses and interfaces of `bind`, or "" for all.
func hostsOf(tokens []caddyfile.Token) (hosts []string) {
	line := ""
	for i, t := range tokens {
		if i == 0 || t.Line != tokens[i-1].Line || t.File != tokens[i-1].File {
			line = t.Text
		} else if line == "bind" && t.Text != "{" {
			hosts = append(hosts, t.Text)
		}
	}
	if len(hosts) == 0 {
		return []string{""}
	}
	return hosts
}
