// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package coredns

import (
	"maps"
	"slices"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/file"
	"github.com/coredns/coredns/plugin/file/tree"
	"github.com/coredns/coredns/plugin/pkg/catalog"
	"github.com/coredns/coredns/plugin/secondary"

	"github.com/miekg/dns"
)

// Statics are the zones that secondaries have of the Corefile.
type Statics map[*secondary.Secondary]map[string]*file.Zone

// Note copies the zones of the secondaries in a chain. It must be called before any
// plugin's startup: from the first transfer on, members of catalogs come and go in the
// same lists, under a lock that is secondary's own.
func (s Statics) Note(chain []plugin.Handler) {
	for _, h := range chain {
		if b, ok := h.(*secondary.Secondary); ok && s[b] == nil {
			s[b] = maps.Clone(b.Z)
		}
	}
}

// settling is how many looks behind a change of a catalog its members are looked for once
// more: secondary takes them up right after it has taken up the catalog.
const settling = 8

// catalogList reads the zones of a secondary: those of the Corefile, and the members of the
// catalogs among them.
type catalogList struct {
	b        *secondary.Secondary
	static   []string // canonical apexes
	catalogs []*catalogZone
	left     int // looks at the members before the next change
	apexes   []string
	read     bool
}

// catalogZone is a zone that may be a catalog, and what was read of it last.
type catalogZone struct {
	name    string
	zone    *file.Zone
	soa     *dns.SOA
	tree    *tree.Tree
	members []string
}

func newSecondaryList(b *secondary.Secondary, static map[string]*file.Zone) *catalogList {
	l := &catalogList{b: b}
	for _, name := range slices.Sorted(maps.Keys(static)) {
		apex, ok := apexOf(name)
		if !ok || static[name] == nil {
			continue
		}
		l.static = append(l.static, apex)
		l.catalogs = append(l.catalogs, &catalogZone{name: apex, zone: static[name]})
	}
	return l
}

func (l *catalogList) entries() ([]string, bool) {
	for _, c := range l.catalogs {
		if c.look() {
			l.left = settling
		}
	}
	if l.read && l.left == 0 {
		return l.apexes, true
	}
	if l.left > 0 {
		l.left--
	}
	apexes := slices.Clone(l.static)
	for _, c := range l.catalogs {
		for _, m := range c.members {
			if l.has(m) && !slices.Contains(l.static, m) {
				apexes = append(apexes, m)
			}
		}
	}
	slices.Sort(apexes)
	apexes = slices.Compact(apexes)
	same := l.read && slices.Equal(apexes, l.apexes)
	l.read, l.apexes = true, apexes
	return apexes, same
}

// has reports whether secondary serves a member, which it need not do: another catalog may
// have it, or it is outside of the names that the Corefile allows.
func (l *catalogList) has(apex string) bool {
	if l.b.ZoneLookupFunc == nil {
		return false
	}
	name, z, ok := l.b.ZoneLookupFunc(apex) // under its lock
	return ok && z != nil && name == apex
}

// look reads the catalog when it is another one than before. One that is none, or has
// faults, has no members: secondary would not have taken it up.
func (c *catalogZone) look() (changed bool) {
	c.zone.RLock()
	apex, t := c.zone.Apex, c.zone.Tree // secondary puts others in their place, and changes neither
	c.zone.RUnlock()
	if apex.SOA == c.soa && t == c.tree {
		return false
	}
	c.soa, c.tree, c.members = apex.SOA, t, nil
	if apex.SOA == nil || t == nil {
		return true
	}
	if _, is := t.Search("version." + c.name); !is { // most zones are no catalogs, and may be large
		return true
	}
	rrs := append([]dns.RR{apex.SOA}, apex.NS...)
	err := t.Walk(func(e *tree.Elem, _ map[uint16][]dns.RR) error {
		rrs = append(rrs, e.All()...)
		return nil
	})
	if err != nil {
		return true
	}
	parsed, err := catalog.Parse(c.name, rrs)
	if err != nil {
		return true
	}
	for _, m := range parsed.Members {
		if name, ok := apexOf(m.Zone); ok {
			c.members = append(c.members, name)
		}
	}
	return true
}
