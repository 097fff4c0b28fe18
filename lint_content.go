// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
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
	zone.FaultText:       "has no string, and BIND and Knot refuse the zone: write \"\" for an empty one",
	zone.FaultKey:        "has no key, and BIND and Knot refuse the zone: write the whole record",
	zone.FaultMandatory:  "lacks a parameter that it says is mandatory, and BIND refuses the zone: add the parameter, or take it out of mandatory",
}

// faulty tells what other servers refuse a version for. It is served all the same.
func (g *guard) faulty(apex string, serial uint32, f zone.Fault) {
	code := finding.PeersRefuse
	if f.Kind == zone.FaultNoNS {
		code = finding.ApexNoNS
	}
	g.tell(&lint.Finding{Code: code, Zone: apex, Text: fmt.Sprintf("zone %s, serial %d: %s %s %s",
		apex, serial, f.Owner, dns.Type(f.Type), faultTexts[f.Kind])}, serial)
}
