// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"strings"
	"testing"

	"github.com/coredns/coredns/core/dnsserver"
)

// TestIdentity: the past of a zone belongs to what clients see of the block: two views, two
// addresses, two ports or two transports are never one, and the same block is the same
// again after a reload.
func TestIdentity(t *testing.T) {
	block := func(view, host, transport, port string) *guard {
		c := &dnsserver.Config{ViewName: view, ListenHosts: []string{host}, Transport: transport, Port: port, Zone: "example.org."}
		return &guard{config: c, keys: []*dnsserver.Config{c}, policies: Policies{"example.org.": {}}}
	}
	guards := []*guard{
		block("", "", "dns", "53"), block("inside", "", "dns", "53"), block("outside", "", "dns", "53"),
		block("", "127.0.0.1", "dns", "53"), block("", "", "tls", "853"), block("", "", "dns", "5353"),
	}
	seen := make(map[string]int)
	for i, g := range guards {
		id := g.identityOf("example.org.")
		if other, ok := seen[id]; ok {
			t.Errorf("blocks %d and %d are both %q", other, i, id)
		}
		seen[id] = i
		if again := block(g.config.ViewName, g.config.ListenHosts[0], g.config.Transport, g.config.Port).identityOf("example.org."); again != id {
			t.Errorf("block %d is %q after a reload, and was %q", i, again, id)
		}
	}
	tellApart(guards)
	for i, g := range guards {
		if g.double {
			t.Errorf("block %d is taken for another", i)
		}
	}
}

// TestObserveHasNoEngine: what has no effect in observe mode is a finding.
func TestObserveHasNoEngine(t *testing.T) {
	const rule = "allow as ns2 net 192.0.2.53 key a.example.net.\n\t\tfindings fail\n\t\t"
	for _, line := range []string{"journal DIR/journal", "notify 127.0.0.53:9 key a.example.net."} {
		_, err := tryServe(t, guarded(rule+"mode observe\n\t\t"+line, ""), map[string]string{"db": zoneOrg})
		if err == nil || !strings.Contains(err.Error(), "Corefile:7: journal and notify have no effect in mode observe") {
			t.Errorf("%s: %v", line, err)
		}
	}
	serve(t, guarded(rule+"mode observe", ""), map[string]string{"db": zoneOrg})
	serve(t, guarded(rule+"journal DIR/journal", ""), map[string]string{"db": zoneOrg})
}
