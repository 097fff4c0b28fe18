// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/xfrguard/xfrguard/interop/lab"
	"github.com/xfrguard/xfrguard/interop/peer"
)

// The guard's own limits are lifted: what it can do is measured, not what it permits.
const guardLimits = `rate 1000000/1s burst 1000000
		concurrent 1000 per-client 1000
		cache 1GiB`

var (
	ours = software{name: "ours", ours: true, configure: func(t *lab.Lifetime, s *server) []string {
		return s.guarded(t, "audit file "+s.path("audit.log"))
	}}
	// oursNoAudit is ours without the audit; see buildUnrecorded.
	oursNoAudit = software{name: "ours-noaudit", ours: true, unrecorded: true, configure: func(t *lab.Lifetime, s *server) []string {
		return s.guarded(t, "audit file "+s.path("audit.log"))
	}}
	// soaOnly is ours-noaudit asked for the zone's SOA by an ordinary query, which the guard
	// lets pass: what CoreDNS takes for any answer over a new connection.
	soaOnly = software{name: "coredns-soa"}
	stock   = software{
		name: "coredns", peer: true, noIXFR: "its transfer plugin has no deltas",
		configure: func(t *lab.Lifetime, s *server) []string {
			return s.corefile(t, "transfer {\n\t\tto *\n\t}")
		},
	}
)

func (s *server) guarded(t *lab.Lifetime, audit string) []string {
	return s.corefile(t, fmt.Sprintf(`xfrguard {
		allow as signed net 127.0.0.1 key %s
		allow as plain net 127.0.0.1 unsigned
		%s
		%s
	}`, keyName, guardLimits, audit))
}

func (s *server) corefile(t *lab.Lifetime, transfer string) []string {
	if s.pprof != 0 {
		transfer += "\n\tpprof " + peer.Loopback(s.pprof)
	}
	s.write(t, "Corefile", fmt.Sprintf(`%s:%d {
	bind 127.0.0.1
	errors
	tsig {
		secret %s %s
	}
	%s
	file %s {
		reload 1s
	}
}
`, origin, s.port, keyName, keySecret, transfer, s.zoneFile()))
	return []string{s.coredns, "-conf", s.path("Corefile")}
}
