// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/gaissmai/bart"
)

// Nets is a set of addresses. The zero Nets is empty and contains nothing. It must not
// be changed while it is used, and a copy shares the set with the original.
type Nets struct {
	any     bool
	implied bool                    // any, because the rule has no `net`
	table   *bart.Lite              // nil: none
	named   map[netip.Addr]struct{} // the single addresses, which table may hold as part of a prefix
	wide    netip.Prefix            // the first that is more than one address; the zero Prefix for none
}

// noPrefixes is never added to.
var noPrefixes bart.Lite

func (n *Nets) prefixes() *bart.Lite {
	if n.table == nil {
		return &noPrefixes
	}
	return n.table
}

// Add puts the prefix into the set, an IPv4-mapped IPv6 prefix as the IPv4 prefix it
// stands for.
func (n *Nets) Add(p netip.Prefix) {
	p = UnmapPrefix(p)
	if n.table == nil {
		n.table = new(bart.Lite)
	}
	n.table.Insert(p)
	if p.IsSingleIP() {
		if n.named == nil {
			n.named = make(map[netip.Addr]struct{})
		}
		n.named[p.Addr()] = struct{}{}
	} else if !n.wide.IsValid() {
		n.wide = p
	}
}

// AddAny makes the set contain every address, as `net *` does.
func (n *Nets) AddAny() { n.any = true }

// ImplyAny makes the set contain every address, because the rule has no `net`.
func (n *Nets) ImplyAny() { n.any, n.implied = true, true }

// Any reports whether the set contains every address.
func (n *Nets) Any() bool { return n.any }

// Empty reports whether the set contains no address.
func (n *Nets) Empty() bool { return !n.any && n.prefixes().Size() == 0 }

// Has reports whether this very prefix was added.
func (n *Nets) Has(p netip.Prefix) bool { return n.prefixes().Get(UnmapPrefix(p)) }

// Contains reports whether the address is in the set, an IPv4-mapped one as the
// IPv4 address it stands for. An invalid address is in none.
func (n *Nets) Contains(a netip.Addr) bool {
	return a.IsValid() && (n.any || n.prefixes().Contains(a.Unmap()))
}

// Names reports whether the set was given this very address, not only a prefix of it.
func (n *Nets) Names(a netip.Addr) bool {
	_, ok := n.named[a.Unmap()]
	return ok
}

// Singles returns how many single addresses the set was given.
func (n *Nets) Singles() int { return len(n.named) }

// Named returns the single addresses that the set was given, in their order.
func (n *Nets) Named() []netip.Addr {
	return slices.SortedFunc(maps.Keys(n.named), netip.Addr.Compare)
}

// Wide returns the first prefix added that is more than one address, or the zero
// Prefix.
func (n *Nets) Wide() netip.Prefix { return n.wide }

// Prefixes returns all prefixes of the set, in no order.
func (n *Nets) Prefixes() (all []netip.Prefix) {
	if n.any {
		return []netip.Prefix{AllIPv4, AllIPv6}
	}
	for p := range n.prefixes().All() {
		all = append(all, p)
	}
	return all
}

// Settle brings the set into its shortest form, so that equal sets look equal
// and one lookup shows whether a prefix is inside.
func (n *Nets) Settle() {
	if n.table != nil {
		n.table.Aggregate()
	}
	if n.any || n.Has(AllIPv4) && n.Has(AllIPv6) {
		n.any, n.table = true, nil
	}
}

// AllIPv4 and AllIPv6 are all addresses of a family.
var (
	AllIPv4 = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	AllIPv6 = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
)

// UnmapPrefix turns a prefix inside ::ffff:0:0/96 into the IPv4 prefix it stands for.
func UnmapPrefix(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}

// Covers reports whether every address of the other set is in n. Both sets are settled.
func (n *Nets) Covers(other *Nets) bool {
	switch {
	case n.any:
		return true
	case other.any:
		return false
	}
	for p := range other.prefixes().All() {
		if !n.prefixes().LookupPrefix(p) {
			return false
		}
	}
	return true
}

// Overlaps reports whether an address may be in both.
func (n *Nets) Overlaps(other *Nets) bool {
	return n.any || other.any || n.prefixes().Overlaps(other.prefixes())
}

// String is the set as the Corefile has it: "net *", "net 192.0.2.0/24
// 2001:db8::1/128", or "" where the rule has no `net`.
func (n *Nets) String() string {
	if n.implied {
		return ""
	}
	return "net" + n.list(-1)
}

// list is " PREFIX PREFIX ..."; the rest is counted.
func (n *Nets) list(limit int) string {
	if n.any {
		return " *"
	}
	var b strings.Builder
	left := limit
	rest := 0
	for p := range n.prefixes().AllSorted() {
		if left == 0 {
			rest++
			continue
		}
		left--
		b.WriteString(" " + p.String())
	}
	if rest > 0 {
		fmt.Fprintf(&b, " and %d more", rest)
	}
	return b.String()
}

// HostOf returns the address that stands for the client: itself in IPv4,
// its /64 in IPv6, where one host has as many addresses as it likes.
func HostOf(a netip.Addr) netip.Addr {
	a = a.Unmap()
	if !a.Is6() {
		return a
	}
	p, err := a.WithZone("").Prefix(64)
	if err != nil {
		return netip.Addr{}
	}
	return p.Addr()
}
