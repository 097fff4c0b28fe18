// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/xfrguard/xfrguard/internal/coredns"
	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/notify"
	"github.com/xfrguard/xfrguard/internal/policy"

	"github.com/miekg/dns"
)

// notifyTargets lists whom to notify, by apex: the addresses of `notify`, and those of
// `transfer to` that the rules give one key. What can never arrive is left out.
func (g *guard) notifyTargets() map[string][]*notify.Target {
	targets := make(map[string][]*notify.Target)
	for _, d := range g.directives {
		for _, apex := range append(slices.Clone(d.Zones), g.samplesOf(d)...) {
			targets[apex] = g.targetsOf(d, apex)
		}
	}
	for _, apex := range g.roster.apexes() {
		if m := g.roster.of(apex); m != nil {
			targets[apex] = g.targetsOf(m.directive, apex)
		}
	}
	maps.DeleteFunc(targets, func(_ string, list []*notify.Target) bool { return len(list) == 0 })
	return shareTargets(targets)
}

// targetsOf lists whom to notify of a zone of a directive.
func (g *guard) targetsOf(d *directive, apex string) (targets []*notify.Target) {
	g.noticesOf(d, apex, func(n intended) {
		if !corefile.WithoutLink(n.target.Addr.Addr()) {
			targets = append(targets, n.target)
		}
	})
	return targets
}

// samplesOf are names that stand for the patterns of a directive where no zone is needed:
// who is told of a zone may depend on its name, but that is not known before it is there.
// No zone has such a name.
func (g *guard) samplesOf(d *directive) (names []string) {
	for _, text := range d.Patterns {
		if text != corefile.Everything {
			names = append(names, text)
			continue
		}
		for _, c := range g.keys {
			if name := dns.Fqdn("*." + strings.TrimPrefix(dns.CanonicalName(c.Zone), ".")); !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// intended is one address to notify, as the Corefile has it.
type intended struct {
	target *notify.Target
	from   []netip.Addr     // of bind, when there are several and nothing says which one to send from
	spec   *corefile.Notify // nil: it is of `transfer to`
	pos    corefile.Position
}

// eachNotice visits the addresses that each zone is to be told to, in their order.
func (g *guard) eachNotice(visit func(apex string, n intended)) {
	for _, d := range g.directives {
		for _, apex := range append(slices.Clone(d.Zones), g.samplesOf(d)...) {
			g.noticesOf(d, apex, func(n intended) { visit(apex, n) })
		}
	}
}

// noticesOf visits the addresses that a zone of a directive is to be told to.
func (g *guard) noticesOf(d *directive, apex string, visit func(n intended)) {
	cfg := d.Config
	to := coredns.NotifyToOf(g.Config.Handler("transfer"), apex)
	told := make(map[netip.Addr]bool)
	for i := range cfg.Notify {
		spec := &cfg.Notify[i]
		for _, addr := range spec.Addrs {
			told[addr.Addr()] = true
			n := intended{target: &notify.Target{Addr: addr, Key: g.notifyKey(cfg, spec.Key), TLS: spec.TLS}, spec: spec, pos: spec.Pos}
			n.target.Source, n.from = g.sourceFor(addr.Addr(), spec.Source, to.Source)
			visit(n)
		}
	}
	for _, addr := range to.Addrs {
		if key := onlyKeyOf(cfg, addr.Addr()); key != "" && !told[addr.Addr()] {
			n := intended{target: &notify.Target{Addr: addr, Key: g.notifyKey(cfg, key)}, pos: cfg.Pos}
			n.target.Source, n.from = g.sourceFor(addr.Addr(), to.Source)
			visit(n)
		}
	}
}

// sourceFor returns the address to reach `to` from: the first that is given and of its
// family, or else the one of bind that can; with several of them, all instead.
func (g *guard) sourceFor(to netip.Addr, given ...netip.Addr) (netip.Addr, []netip.Addr) {
	for _, a := range given {
		if a.IsValid() && a.Is4() == to.Is4() {
			return a, nil
		}
	}
	switch from := g.bindsFor(to); len(from) {
	case 0:
		return netip.Addr{}, nil
	case 1:
		return from[0], nil
	default:
		return netip.Addr{}, from
	}
}

// bindsFor are the addresses of bind from which `to` can be reached, those of its scope
// where there are any (RFC 6724 §5, rule 2). None where the block listens on all addresses.
func (g *guard) bindsFor(to netip.Addr) []netip.Addr {
	var same, other []netip.Addr
	for _, host := range g.Config.ListenHosts {
		a, err := netip.ParseAddr(host)
		a = a.Unmap()
		switch {
		case err != nil, a.IsUnspecified() && (a.Is6() || to.Is4()):
			return nil
		case a.Is4() != to.Is4() || slices.Contains(same, a) || slices.Contains(other, a):
		case a.IsLinkLocalUnicast() && a.Zone() != to.Zone(): // on another link
		case scopeOf(a) == scopeOf(to):
			same = append(same, a)
		case scopeOf(a) == scopeGlobal:
			other = append(other, a)
		}
	}
	if len(same) > 0 {
		return same
	}
	return other
}

// The scopes of addresses, as far as they say who can be reached from where.
const (
	scopeHost = iota
	scopeLink
	scopeGlobal
)

func scopeOf(a netip.Addr) int {
	switch {
	case a.IsLoopback():
		return scopeHost
	case a.IsLinkLocalUnicast() && a.Is6():
		return scopeLink
	}
	return scopeGlobal
}

// shareTargets has the zones that notify the same server share its Target, so that the
// limits of one server hold for all of them.
func shareTargets(byApex map[string][]*notify.Target) map[string][]*notify.Target {
	shared := make(map[noticeKey]*notify.Target)
	for _, apex := range slices.Sorted(maps.Keys(byApex)) {
		shareWith(shared, byApex[apex])
	}
	return byApex
}

// shareWith puts the Targets that are known of the same servers in the place of others.
func shareWith(shared map[noticeKey]*notify.Target, targets []*notify.Target) {
	for i, t := range targets {
		k := keyOfServer(t)
		if shared[k] == nil {
			shared[k] = t
		}
		targets[i] = shared[k]
	}
}

// keyOfServer is the same for zones that notify the same server.
func keyOfServer(t *notify.Target) noticeKey {
	k := keyOfNotice("", t)
	if t.Key != nil {
		k.apex = strings.Join(t.Key.Algorithms, " ") // two directives may want other ones
	}
	return k
}

// notifyKey returns the key to sign with, nil for none. check has seen that it exists.
func (g *guard) notifyKey(cfg *corefile.Config, name string) *notify.Key {
	if name == "" {
		return nil
	}
	return &notify.Key{Name: name, Secret: g.Secrets[name].Raw, Algorithms: cfg.Algorithms}
}

// onlyKeyOf returns the one key under which the rules let an address have the zone, ""
// when there is none or a choice, or when a rule for every address says so: that does
// not tell whose key it is.
func onlyKeyOf(c *corefile.Config, addr netip.Addr) string {
	only := ""
	for i := range c.Rules {
		r := &c.Rules[i]
		switch {
		case r.Nets.Any() || !r.Nets.Contains(addr):
		case r.Deny:
			return only
		case len(r.Keys) != 1 || (only != "" && only != r.Keys[0]):
			return ""
		default:
			only = r.Keys[0]
		}
	}
	return only
}

// secondaryOf names the secondary behind an address that is notified with a key, "" for
// none, as its transfers are named, and the rule that these are to come under: by the
// address where the rule has it as a single one, else by the one key or certificate that
// the rule wants, else by the rule. It has no name and no rule when the rules deny it.
func secondaryOf(c *corefile.Config, addr netip.Addr, key string) (name, rule string) {
	addr = addr.WithZone("")
	var under *policy.Rule
	for i := range c.Rules {
		r := &c.Rules[i]
		if !r.Nets.Contains(addr) {
			continue
		}
		if r.Deny {
			break
		}
		if key == "" || slices.Contains(r.Keys, key) {
			under = r
			break
		}
		if under == nil {
			under = r // it takes other keys, but the address is its own
		}
	}
	switch {
	case under == nil:
		return "", ""
	case under.Nets.Names(addr):
		name = addr.String()
	case slices.Contains(under.Keys, key):
		name = key
	case len(under.Keys) == 1:
		name = under.Keys[0]
	case len(under.Keys) == 0 && len(under.Certs) == 1 && !strings.HasPrefix(under.Certs[0].Name, "*"):
		name = under.Certs[0].String()
	default:
		name = under.Name
	}
	return name, under.Name
}
