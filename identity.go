// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/google/uuid"
	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/internal/coredns"
	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/zone/journal"
)

// What counts as the same after a reload. Six questions, six answers, side by side:
//
//	limits of a directive     scopeNames     the block's view and listeners, and a zone in common: a zone that
//	                                         joins or leaves must neither fill a bucket nor free a place
//	past of a zone            identityOf     what clients see of the zone, by the keys that lead to it: split
//	                                         horizon has other content under one name
//	serials told              sameListener   one listener in common and the view: another key in front must not
//	                                         tell every secondary again
//	transfers under way       nearest        the resolved address that the connection came to, the longest key, and
//	                                         the view: the block that would get the request again decides
//	this very instance        successor      whether another instance has taken over, wherever the block went
//	who may read differences  identity       the rule's conditions, the client's proof and address, and the CA where
//	                                         a name rests on one

// scope is what the limits of a directive's requests are counted under. It is the same
// for the same directive after a reload. UDP, whose source can be forged, has a count of
// its own: it must not be able to use up that of a secondary.
type scope struct{ stream, udp string }

// scopeOf returns the name under which requests over this transport are counted.
func (d *directive) scopeOf(via policy.Transport) string {
	if d == nil {
		return ""
	}
	if via.Forgeable() {
		return d.scope.udp
	}
	return d.scope.stream
}

// scopeNames gives a directive the name that it had before a reload. It belongs to the
// process: an instance names its scopes before the one that it replaces is gone.
type scopeNames struct {
	mu    sync.Mutex
	known []scoped // of the instance that went live last
	last  int
}

// scoped is a directive by what its name depends on.
type scoped struct {
	view      string
	listeners []string
	zones     []string
	name      string
}

// give names directives. One keeps the name of the directive with most of its zones, in a
// block with a listener in common and the same view, if no other has more of them. That
// was one that went live: an instance that fails to start leaves nothing behind.
func (s *scopeNames) give(list []scoped) {
	s.mu.Lock()
	defer s.mu.Unlock()
	type heir struct{ common, of, from int }
	var heirs []heir
	byZone := make(map[string][]int)
	for i, old := range s.known {
		for _, z := range old.zones {
			byZone[old.view+" "+z] = append(byZone[old.view+" "+z], i)
		}
	}
	for i, d := range list {
		common := make(map[int]int)
		for _, z := range d.zones {
			for _, from := range byZone[d.view+" "+z] {
				if slices.ContainsFunc(d.listeners, func(l string) bool { return slices.Contains(s.known[from].listeners, l) }) {
					common[from]++
				}
			}
		}
		for from, n := range common {
			heirs = append(heirs, heir{n, i, from})
		}
	}
	slices.SortFunc(heirs, func(a, b heir) int {
		return cmp.Or(cmp.Compare(b.common, a.common), cmp.Compare(a.of, b.of), cmp.Compare(a.from, b.from))
	})
	taken := make(map[int]bool)
	for _, h := range heirs {
		if list[h.of].name == "" && !taken[h.from] {
			list[h.of].name, taken[h.from] = s.known[h.from].name, true
		}
	}
	for i := range list {
		if list[i].name == "" {
			s.last++
			list[i].name = strconv.Itoa(s.last)
		}
	}
}

// keep makes these the directives that the next ones are compared with.
func (s *scopeNames) keep(list []scoped) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known = list
}

// nameScopes names what the limits of all directives are counted under.
func nameScopes(guards []*guard) (list []scoped) {
	var directives []*directive
	for _, g := range guards {
		if g.auditOf != nil { // nobody gets as far as a limit
			continue
		}
		var listeners []string
		for _, c := range g.keys {
			listeners = append(listeners, listenerOf(c))
		}
		for _, d := range g.directives {
			directives = append(directives, d)
			list = append(list, scoped{view: g.Config.ViewName, listeners: listeners, zones: d.Names()})
		}
	}
	scopes.give(list)
	for i, d := range directives {
		d.scope = scope{stream: list[i].name, udp: list[i].name + " udp"}
	}
	return list
}

// identityOf names a zone of this block so that the next instance finds its past: by
// what clients see of the block, never by the zone alone (split horizon). Of the block's
// keys those count that lead to the zone, so that others may come and go.
func (g *guard) identityOf(apex string) string {
	var parts []string
	for _, c := range g.keys {
		if dns.IsSubDomain(c.Zone, apex) {
			parts = append(parts, c.Transport+"://"+c.Zone+":"+c.Port)
		}
	}
	slices.Sort(parts)
	parts = append(slices.Compact(parts), strings.Join(g.Config.ListenHosts, ","), g.Config.ViewName, apex)
	if g.double {
		parts = append(parts, g.pos.String(), uuid.NewString())
	}
	return journalName(strings.Join(parts, " "), apex)
}

// journalName is the identity as a journal can keep it. One that is too long, of a block
// with many keys, becomes its hash and the apex; the others stay as they are, so that
// journals on disk are found again.
func journalName(identity, apex string) string {
	if len(identity) <= journal.MaxZone {
		return identity
	}
	sum := sha256.Sum256([]byte(identity))
	return "sha256:" + hex.EncodeToString(sum[:]) + " " + apex
}

// tellApart finds blocks that cannot be told apart by what clients see of them, which
// views of one name are. None of them may take another's past for its own, so each has
// one of its own, which ends with the instance.
func tellApart(guards []*guard) {
	seen := make(map[string]*guard)
	for _, g := range guards {
		for apex := range g.Policies.All() {
			id := g.identityOf(apex)
			if other := seen[id]; other != nil {
				g.double, other.double = true, true
				g.alike, other.alike = other, g
			}
			seen[id] = g
		}
	}
	for i, g := range guards {
		for _, other := range guards[:i] {
			if (g.roster.any() || other.roster.any()) && g.shares(other) {
				g.double, other.double = true, true
				g.alike, other.alike = other, g
			}
		}
	}
}

// shares reports whether two blocks have a key and the view in common, so that a zone which
// comes in one of them could be taken for one of the other.
func (g *guard) shares(other *guard) bool {
	if g.Config.ViewName != other.Config.ViewName {
		return false
	}
	keys := make(map[string]bool)
	for _, c := range g.keys {
		keys[listenerOf(c)+" "+dns.CanonicalName(c.Zone)] = true
	}
	return slices.ContainsFunc(other.keys, func(c *dnsserver.Config) bool { return keys[listenerOf(c)+" "+dns.CanonicalName(c.Zone)] })
}

// sameListener reports whether two blocks have a listener in common, and the view.
func (g *guard) sameListener(other *guard) bool {
	if g.Config.ViewName != other.Config.ViewName {
		return false
	}
	for _, c := range g.keys {
		if slices.ContainsFunc(other.keys, func(o *dnsserver.Config) bool { return listenerOf(o) == listenerOf(c) }) {
			return true
		}
	}
	return false
}

// server names the block's first listener, as its metrics and events do.
func (g *guard) server() string {
	if len(g.keys) == 0 {
		return ""
	}
	return listenerOf(g.keys[0])
}

func listenerOf(c *dnsserver.Config) string {
	return c.Transport + "://" + strings.Join(c.ListenHosts, ",") + ":" + c.Port
}

// reach says how near a key of the guard's block comes to what a request asks for: the
// labels of the longest one on its listener that leads to its zone, -1 where none does. A
// block with another view would not get the request, one without a view might.
func (g *guard) reach(x *exchange) int {
	best := -1
	if g.Config.ViewName != "" && g.Config.ViewName != x.View {
		return best
	}
	for _, c := range g.keys {
		if !dns.IsSubDomain(c.Zone, x.Req.Zone) {
			continue
		}
		if names, err := coredns.ListenerNames(c); err == nil && slices.Contains(names, x.Listener) {
			best = max(best, dns.CountLabel(c.Zone))
		}
	}
	return best
}

// nearest returns the guards of the blocks that may get the request again: CoreDNS gives it
// to the one with the longest key. There are several where views share a key.
func nearest(x *exchange, guards []*guard) (found []*guard) {
	best := -1
	for _, g := range guards {
		switch n := g.reach(x); {
		case n > best:
			best, found = n, []*guard{g}
		case n >= 0 && n == best:
			found = append(found, g)
		}
	}
	return found
}

// successor returns the instance that has taken over from the guard's, or nil.
func (g *guard) successor() *instance {
	if latest := latestInstance(); latest != nil && latest.guards[g.index] != g {
		return latest
	}
	return nil
}

// ruleID returns the identity of a rule of the zone.
func (g *guard) ruleID(apex string, r *policy.Rule) string {
	if z := g.covering(apex); z != nil {
		return z.ruleIDs[r]
	}
	return ""
}

// identity names the client under a rule that allows it: by what it proved and by its
// address. Another client of the rule may have another content under the same serial, from
// a server before this one. Where a certificate's name allows it, the CA that says so
// belongs to it: under another one the name may be another's.
func (x *exchange) identity(r *policy.Rule) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%s\n", x.guard.ruleID(x.Req.Zone, r), r.Proof(&x.Req), x.Req.Client.Unmap())
	named := slices.ContainsFunc(r.Certs, func(c policy.Cert) bool { return c.Name != "" })
	if named && x.Req.TLS.Verified {
		h.Write(x.Req.TLS.Root[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}
