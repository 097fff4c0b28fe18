// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"strconv"
	"strings"
	"testing"

	"github.com/xfrguard/xfrguard/internal/evidence"
	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/xfrtest"
	"github.com/xfrguard/xfrguard/internal/zone/journal"

	"github.com/coredns/coredns/core/dnsserver"
)

// TestIdentity: the past of a zone belongs to what clients see of the block: two views, two
// addresses, two ports or two transports are never one, and the same block is the same
// again after a reload.
func TestIdentity(t *testing.T) {
	block := func(view, host, transport, port string) *guard {
		c := &dnsserver.Config{ViewName: view, ListenHosts: []string{host}, Transport: transport, Port: port, Zone: "example.org."}
		return &guard{Reader: evidence.Reader{Config: c, Policies: policy.NewPolicies(&policy.Policy{Zone: "example.org."})}, keys: []*dnsserver.Config{c}}
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
		if again := block(g.Config.ViewName, g.Config.ListenHosts[0], g.Config.Transport, g.Config.Port).identityOf("example.org."); again != id {
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

// TestIdentityFitsJournal: a block with many keys has a past that the journal can name,
// by what every key says; and what was short enough stays as it is on disk.
func TestIdentityFitsJournal(t *testing.T) {
	const apex = "example.org."
	block := func(keys int) *guard {
		g := &guard{Reader: evidence.Reader{Policies: policy.NewPolicies(&policy.Policy{Zone: apex})}}
		for i := range keys {
			c := &dnsserver.Config{Transport: "dns", Port: strconv.Itoa(1000 + i), Zone: "org."}
			g.keys = append(g.keys, c)
		}
		g.Config = g.keys[0]
		return g
	}
	for _, keys := range []int{1, 20, 62, 63, 64, 65, 500} {
		id := block(keys).identityOf(apex)
		if len(id) > journal.MaxZone || !strings.HasSuffix(id, " "+apex) {
			t.Errorf("%d keys: the journal cannot keep %q for %s", keys, id, apex)
		}
		if short := 16*keys+14 <= journal.MaxZone; short != strings.HasPrefix(id, "dns://") {
			t.Errorf("%d keys are named %q", keys, id)
		}
		if other := block(keys + 1).identityOf(apex); other == id {
			t.Errorf("%d keys and %d are both %q", keys, keys+1, id)
		}
		if again := block(keys).identityOf(apex); again != id {
			t.Errorf("%d keys are %q after a reload, and were %q", keys, again, id)
		}
	}
}

// TestObserveHasNoEngine: what has no effect in observe mode is a finding.
func TestObserveHasNoEngine(t *testing.T) {
	const rule = "allow as ns2 net 192.0.2.53 key a.example.net.\n\t\tfindings fail\n\t\t"
	for _, line := range []string{"journal DIR/journal", "notify 127.0.0.53:9 key a.example.net."} {
		word, _, _ := strings.Cut(line, " ")
		_, err := xfrtest.TryServe(t, xfrtest.Guarded(rule+"mode observe\n\t\t"+line, ""), map[string]string{"db": xfrtest.ZoneOrg})
		if err == nil || !strings.Contains(err.Error(), "property-ignored: Corefile:11: "+word+" has no effect in mode observe") {
			t.Errorf("%s: %v", line, err)
		}
	}
	xfrtest.Serve(t, xfrtest.Guarded(rule+"mode observe", ""), map[string]string{"db": xfrtest.ZoneOrg})
	xfrtest.Serve(t, xfrtest.Guarded(rule+"journal DIR/journal", ""), map[string]string{"db": xfrtest.ZoneOrg})
}
