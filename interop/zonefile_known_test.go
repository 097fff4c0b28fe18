// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"strings"

	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/interop/zonegen"
)

// mending makes our records of one owner those of another server, where they differ in one
// way and no other. Where they do not it leaves them.
type mending func(ours, theirs []dns.RR)

// knownDifferences are the ways in which a zone file that CoreDNS reads is another zone than
// for another server, by name. Each has its line in docs/COMPATIBILITY.md.
var knownDifferences = map[zonegen.Quirk]map[string]mending{
	zonegen.MixedTTL:     {"named": lowestTTL, "knotd": lowestTTL},
	zonegen.HugeTTL:      {"knotd": hugeTTL},
	zonegen.GenerateTTL:  {"named": generateTTL},
	zonegen.GenerateText: {"named": generateText},
	zonegen.LOCSeconds:   {"named": shortLOC, "knotd": shortLOC},
	zonegen.RawOctets:    {"named": loweredOwner},
	zonegen.GluedStrings: {"named": gluedStrings, "knotd": gluedStrings},
	zonegen.ShortSigned:  {"named": lowestTTL, "knotd": lowestTTL},
	zonegen.NoTTL:        {"named": otherTTL, "knotd": otherTTL},
	zonegen.IncludedTTL:  {"named": otherTTL},
}

// pairs calls each with every pair of records that have one type, in the order in which
// both have them.
func pairs(ours, theirs []dns.RR, each func(our, their dns.RR)) {
	if len(ours) != len(theirs) {
		return
	}
	for i, our := range ours {
		if their := theirs[i]; our.Header().Rrtype == their.Header().Rrtype {
			each(our, their)
		}
	}
}

// lowestTTL: we send the lowest TTL of a set, or of the original TTL of its signature; BIND
// has the first, Knot DNS the last.
func lowestTTL(ours, theirs []dns.RR) {
	pairs(ours, theirs, func(our, their dns.RR) {
		if our.Header().Ttl < their.Header().Ttl {
			our.Header().Ttl = their.Header().Ttl
		}
	})
}

// hugeTTL: 2^31 and more are 0 (RFC 2181 §8); Knot DNS sends them as they are.
func hugeTTL(ours, theirs []dns.RR) {
	pairs(ours, theirs, func(our, their dns.RR) {
		if our.Header().Ttl == 0 && their.Header().Ttl >= 1<<31 {
			our.Header().Ttl = their.Header().Ttl
		}
	})
}

// generateTTL: what $GENERATE makes has a TTL of an hour, whatever $TTL says.
func generateTTL(ours, theirs []dns.RR) {
	pairs(ours, theirs, func(our, their dns.RR) {
		if our.Header().Ttl == 3600 {
			our.Header().Ttl = their.Header().Ttl
		}
	})
}

// generateText: BIND reads a string in quotes in $GENERATE as several.
func generateText(ours, theirs []dns.RR) {
	pairs(ours, theirs, func(our, their dns.RR) {
		if a, ok := our.(*dns.TXT); ok && len(a.Txt) == 1 && strings.Join(their.(*dns.TXT).Txt, " ") == a.Txt[0] {
			a.Txt = their.(*dns.TXT).Txt
		}
	})
}

// shortLOC: seconds may be a thousandth short.
func shortLOC(ours, theirs []dns.RR) {
	pairs(ours, theirs, func(our, their dns.RR) {
		a, ok := our.(*dns.LOC)
		if !ok {
			return
		}
		b := their.(*dns.LOC)
		short := func(a, b uint32) bool { return b-a <= 1 || a-b <= 1 } // south and west count down
		if short(a.Latitude, b.Latitude) && short(a.Longitude, b.Longitude) {
			a.Latitude, a.Longitude = b.Latitude, b.Longitude
		}
	})
}

// loweredOwner: letters outside ASCII are lowered as such.
func loweredOwner(ours, theirs []dns.RR) {
	pairs(ours, theirs, func(our, their dns.RR) { our.Header().Name = their.Header().Name })
}

// gluedStrings: two bare strings over two lines become one.
func gluedStrings(ours, theirs []dns.RR) {
	pairs(ours, theirs, func(our, their dns.RR) {
		if a, ok := our.(*dns.TXT); ok && len(a.Txt) == 1 && strings.Join(their.(*dns.TXT).Txt, "") == a.Txt[0] {
			a.Txt = their.(*dns.TXT).Txt
		}
	})
}

// otherTTL: without $TTL a record has the TTL of the one before, and 0 where no record has
// one; BIND begins with the minimum of the SOA, Knot DNS has an hour. The $TTL of a file that
// is included ends with it; with BIND it goes on.
func otherTTL(ours, theirs []dns.RR) {
	pairs(ours, theirs, func(our, their dns.RR) { our.Header().Ttl = their.Header().Ttl })
}
