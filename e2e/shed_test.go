// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"strings"
	"testing"

	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/miekg/dns"
)

// TestShed: shed stands in front and drops requests over UDP under load, without a word.
// That is a finding; transfers over UDP and TCP work behind it.
func TestShed(t *testing.T) {
	const rule = "allow as ns2 net 127.0.0.1 key a.example.net."
	if _, err := xfrtest.TryServe(t, xfrtest.Guarded(rule+"\n\t\tfindings fail", "shed"), map[string]string{"db": xfrtest.ZoneOrg}); err == nil || !strings.Contains(err.Error(), "shed stands before") {
		t.Errorf("no finding: %v", err)
	}
	s := xfrtest.Serve(t, xfrtest.Guarded(rule, "shed"), map[string]string{"db": xfrtest.ZoneOrg})
	if m := xfrtest.Ask1(t, "udp", s.Addr(t, "udp", 0), "", xfrtest.Signed(t, xfrtest.Question(dns.TypeIXFR), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA)); len(m.Answer) != 1 {
		t.Error(m)
	}
	got, err := xfrtest.TransferIn(t, s.Addr(t, "tcp", 0), xfrtest.Question(dns.TypeAXFR), xfrtest.KeyA, xfrtest.SecretA)
	if err != nil {
		t.Fatal(err)
	}
	xfrtest.WantZone(t, got, xfrtest.ZoneOrg)
}
