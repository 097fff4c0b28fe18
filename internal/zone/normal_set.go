// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"cmp"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/internal/wire"
)

func unsorted(types []uint16) bool {
	for i := 1; i < len(types); i++ {
		if types[i] <= types[i-1] {
			return true
		}
	}
	return false
}

func sorted(types []uint16) []uint16 {
	types = slices.Clone(types)
	slices.Sort(types)
	return slices.Compact(types)
}

// compareSets orders an owner's records by set: the SOA first, then by type, signatures by
// the type that they cover.
func compareSets(a, b dns.RR) int {
	return cmp.Or(cmp.Compare(typeOrder(a), typeOrder(b)), cmp.Compare(covered(a), covered(b)))
}

func typeOrder(rr dns.RR) uint16 {
	if t := rr.Header().Rrtype; t != dns.TypeSOA {
		return t
	}
	return 0
}

func covered(rr dns.RR) uint16 {
	if sig, ok := rr.(*dns.RRSIG); ok {
		return sig.TypeCovered
	}
	return 0
}

// originalTTL is the lowest original TTL in the signatures of a set, which may be one of
// signatures itself.
func originalTTL(of dns.RR, all []dns.RR) uint32 {
	t := of.Header().Rrtype
	if t == dns.TypeRRSIG {
		t = covered(of)
	}
	ttl := uint32(maxTTL)
	for _, rr := range all {
		if sig, ok := rr.(*dns.RRSIG); ok && sig.TypeCovered == t {
			ttl = min(ttl, sig.OrigTtl)
		}
	}
	return ttl
}

// once leaves one of each of a set's records that are the same in canonical form, the one
// with the lowest TTL.
func (n *normalizer) once(set []dns.RR) []dns.RR {
	if len(set) == 1 || distinct(set) {
		return set
	}
	n.keys, n.extents = n.keys[:0], n.extents[:0]
	for _, rr := range set {
		start := len(n.keys)
		b, err := n.encoder.Append(n.keys, rr)
		if err != nil {
			return set // it cannot be sent: whoever packs it says why
		}
		r, _, err := wire.ParseRecord(b[start:])
		if err != nil {
			return set
		}
		r.SetTTL(0)
		r.Canonical()
		n.keys = b
		n.extents = append(n.extents, extent{start, len(b)})
	}
	at := make(map[string]int, len(set))
	kept := set[:0]
	for i, rr := range set {
		key := n.keys[n.extents[i].start:n.extents[i].end]
		before, twice := at[string(key)]
		if !twice {
			at[string(key)] = len(kept)
			kept = append(kept, rr)
			continue
		}
		n.note(CorrectedDuplicate, rr)
		if rr.Header().Ttl < kept[before].Header().Ttl {
			kept[before] = rr
		}
	}
	return kept
}

// distinct reports whether the records of a small set of a common type are certainly not
// the same. It may be wrong to the other side.
func distinct(set []dns.RR) bool {
	if len(set) > 8 {
		return false
	}
	for i, rr := range set {
		for _, other := range set[:i] {
			if !differ(rr, other) {
				return false
			}
		}
	}
	return true
}

// differ reports whether two records of one type are told apart at a glance.
func differ(a, b dns.RR) bool {
	switch a := a.(type) {
	case *dns.A:
		b, ok := b.(*dns.A)
		return ok && len(a.A) == len(b.A) && !a.A.Equal(b.A)
	case *dns.AAAA:
		b, ok := b.(*dns.AAAA)
		return ok && len(a.AAAA) == len(b.AAAA) && !a.AAAA.Equal(b.AAAA)
	case *dns.NS:
		b, ok := b.(*dns.NS)
		return ok && plain(a.Ns) && plain(b.Ns) && !equalFold(a.Ns, b.Ns)
	case *dns.MX:
		b, ok := b.(*dns.MX)
		return ok && (a.Preference != b.Preference || plain(a.Mx) && plain(b.Mx) && !equalFold(a.Mx, b.Mx))
	}
	return false
}

// plain reports whether a name has no escapes, so that there is one way to write it but for
// the case of its letters.
func plain(name string) bool { return strings.IndexByte(name, '\\') < 0 }

// sameName reports whether two names are the same, however they are written.
func sameName(a, b string) bool {
	if a == b {
		return true
	}
	if plain(a) && plain(b) {
		return equalFold(a, b)
	}
	return nameKey(a) == nameKey(b)
}

// nameKey is the same for names that are the same.
func nameKey(name string) string {
	if plain(name) {
		return dns.CanonicalName(name)
	}
	b, err := wire.AppendName(nil, name)
	if err != nil {
		return name
	}
	for i, c := range b {
		b[i] = lower(c)
	}
	return "\x00" + string(b)
}

// equalFold compares names without escapes: ASCII alone has case in DNS (RFC 4343).
func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if a[i] != b[i] && lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
