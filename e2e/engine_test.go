// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"strings"
	"testing"

	"github.com/xfrguard/xfrguard/internal/xfrtest"
)

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
