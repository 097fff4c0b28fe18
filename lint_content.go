// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"cmp"
	"fmt"

	"github.com/xfrguard/xfrguard/internal/finding"
	"github.com/xfrguard/xfrguard/internal/lint"
	"github.com/xfrguard/xfrguard/internal/zone"

	"github.com/miekg/dns"
)

// faultTexts say what a fault is and what to write instead, behind owner and type.
var faultTexts = map[zone.FaultKind]string{
	zone.FaultNoNS:       "is missing, and BIND refuses a zone without NS records at its apex: add them",
	zone.FaultCNAME:      "stands beside a CNAME, and BIND and Knot refuse the zone: a CNAME stands alone",
	zone.FaultCNAMEs:     "is there twice, and BIND and Knot refuse the zone: leave one",
	zone.FaultWildcardNS: "is at a wildcard, and BIND refuses the zone: name what is delegated",
	zone.FaultDNAMEs:     "is there twice, and BIND and Knot refuse the zone: leave one",
	zone.FaultDNAME:      "stands beside a DNAME, and Knot refuses the zone: leave one of them",
	zone.FaultBelowDNAME: "stands below a DNAME, and Knot refuses the zone: remove it, or the DNAME",
	zone.FaultText:       "has no string, and BIND and Knot refuse the zone: write \"\" for an empty one",
	zone.FaultKey:        "has no key, and BIND refuses the zone, PowerDNS and Knot for most types: write the whole record",
	zone.FaultEmpty:      "lacks what it is there for, and BIND refuses the zone, others too for most types: write the whole record",
	zone.FaultDigest:     "has a digest that is not as long as those of its kind are, and BIND refuses the zone: write the whole digest",
	zone.FaultMandatory:  "lacks a parameter that it says is mandatory, and BIND refuses the zone: add the parameter, or take it out of mandatory",
	zone.FaultParameters: "has parameters that BIND or PowerDNS refuse the zone for: alpn without a value, no-default-alpn without alpn, dohpath without dns, or any with priority 0",
	zone.FaultBitmap:     "is for no type, and BIND refuses the zone: sign the zone again",
	zone.FaultTag:        "has a tag that is not made of letters and digits, and BIND refuses the zone: correct the tag",
	zone.FaultMeta:       "is of a type that no zone has, and BIND or Knot refuse the zone: remove it",
	zone.FaultCase:       "has letters outside ASCII as they are, which CoreDNS lowers and other servers do not: write them as \\DDD, or as xn--",
	zone.FaultSerialZero: "has serial 0, and CoreDNS does not start with such a file: give it another one",
	zone.FaultSOATTL:     "has a TTL of 0, as with CoreDNS all records have that stand in front of the first TTL, so that no negative answer is kept: write $TTL at the top",
}

// faultCodes are the codes of those faults that are not for peers-refuse.
var faultCodes = map[zone.FaultKind]finding.Code{
	zone.FaultNoNS: finding.ApexNoNS, zone.FaultCase: finding.CaseChanged,
	zone.FaultSerialZero: finding.SerialZero, zone.FaultSOATTL: finding.SOATTLZero,
}

// faulty tells what other servers refuse a version for, or would have read in another way.
// It is served all the same.
func (g *guard) faulty(apex string, serial uint32, f zone.Fault) {
	g.tell(&lint.Finding{Code: cmp.Or(faultCodes[f.Kind], finding.PeersRefuse), Zone: apex, Text: fmt.Sprintf("zone %s, serial %d: %s %s %s",
		apex, serial, f.Owner, dns.Type(f.Type), faultTexts[f.Kind])}, serial)
}
