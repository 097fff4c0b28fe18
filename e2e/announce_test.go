// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/audit/audittest"
	"github.com/xfrguard/xfrguard/internal/trail"
	"github.com/xfrguard/xfrguard/internal/xfrtest"
)

// TestOnePolicyLoadForAllZones: 3,001 zones of one directive have one line a listener,
// which tells how many there are, and its digest is that of their decisions. Nothing is
// lost on the way to the file.
func TestOnePolicyLoadForAllZones(t *testing.T) {
	const many = 3000
	path := filepath.Join(t.TempDir(), "audit.log")
	names := []string{"example.org."}
	for i := range many {
		names = append(names, fmt.Sprintf("z%04d.example.", i))
	}
	block := func(action string) string {
		return fmt.Sprintf(`%[1]s {
	bind 127.0.0.1 127.0.0.2
	xfrguard %[2]s {
		allow as %[3]s net 127.0.0.1 unsigned
		audit file %[4]s
	}
	xfrguard z0000.example. {
		allow as other net 127.0.0.1 unsigned
		audit file %[4]s
	}
	file DIR/db example.org
}
`, strings.Join(names, ":0 ")+":0", strings.Join(append([]string{names[0]}, names[2:]...), " "), action, path)
	}
	var decision map[string]any
	t.Run("server", func(t *testing.T) {
		s := xfrtest.Serve(t, block("one"), map[string]string{"db": xfrtest.ZoneOrg})
		if rrs, err := xfrtest.TransferIn(t, s.Addr(t, "tcp", 0), xfrtest.Question(dns.TypeAXFR), "", ""); err != nil || len(rrs) != 6 {
			t.Fatalf("%d records: %v", len(rrs), err)
		}
		audittest.Eventually(t, func() bool { return len(xfrtest.TransferEvents(t, path)) > 0 })
		decision = xfrtest.TransferEvents(t, path)[0]
		if err := s.Reload(block("two")); err != nil {
			t.Fatal(err)
		}
	})

	lines := map[string]int{}
	for _, e := range audittest.Lines(t, path) {
		if e["event.action"] == string(audit.ActionGap) {
			t.Errorf("lost: %v", e)
		}
		reload := e["event.action"] == string(audit.ActionReload)
		if e["event.action"] != string(audit.ActionPolicyLoaded) && !reload {
			continue
		}
		zones, _ := e[audit.ExtraZones].([]any)
		lines[fmt.Sprint(e["event.action"], " ", e["coredns.server"], " ", e["coredns.zone"], " ", len(zones), " ", e[audit.ExtraZonesTotal])]++
		if all := e["coredns.zone"] == "-"; !reload && all != (e["rule.version"] == decision["rule.version"]) {
			t.Errorf("the decision has digest %v, the policy of %v: %v", decision["rule.version"], zones, e["rule.version"])
		}
		if zones[0] != "example.org." && zones[0] != "z0000.example." {
			t.Errorf("the zones are %v", zones)
		}
		if e["coredns.xfr.truncated"] != nil {
			t.Errorf("cut: %v", e)
		}
	}
	want := map[string]int{}
	for _, host := range []string{"127.0.0.1", "127.0.0.2"} {
		for _, action := range []audit.Action{audit.ActionPolicyLoaded, audit.ActionReload} {
			want[fmt.Sprintf("%s dns://%s:0 - %d %d", action, host, audit.ZonesListed, many)] = 1
			want[fmt.Sprintf("%s dns://%s:0 z0000.example. 1 1", action, host)] = 1
		}
	}
	if fmt.Sprint(lines) != fmt.Sprint(want) {
		t.Errorf("on record: %v, want %v", lines, want)
	}
	if r, err := trail.Verify([]trail.Source{trail.FileSource(path)}, trail.VerifyOptions{}); err != nil || !r.OK() {
		t.Errorf("%v %v", err, r.Findings)
	}
}
