// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"testing"

	"github.com/xfrguard/xfrguard/internal/policy"
)

// TestScopesOfTransports: what comes over UDP, whose source can be forged, does not count
// against those who come over TCP and TLS.
func TestScopesOfTransports(t *testing.T) {
	serve(t, guarded(unsignedRule, ""), map[string]string{"db": zoneOrg})
	g := latestInstance().sorted()[0]
	udp, tcp, tls := g.scopeOf(g.all[0], policy.TransportUDP), g.scopeOf(g.all[0], policy.TransportTCP), g.scopeOf(g.all[0], policy.TransportTLS)
	if udp == tcp || tcp != tls || tcp == "" {
		t.Errorf("UDP counts under %q, TCP under %q, TLS under %q", udp, tcp, tls)
	}
}
