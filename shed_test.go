// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"strings"
	"testing"

	_ "github.com/coredns/coredns/plugin/shed"
	"github.com/miekg/dns"
)

// TestShed: shed stands in front and drops requests over UDP under load, without a word.
// That is a finding; transfers over UDP and TCP work behind it.
func TestShed(t *testing.T) {
	const rule = "allow as ns2 net 127.0.0.1 key a.example.net."
	if _, err := tryServe(t, guarded(rule+"\n\t\tfindings fail", "shed"), map[string]string{"db": zoneOrg}); err == nil || !strings.Contains(err.Error(), "shed stands before") {
		t.Errorf("no finding: %v", err)
	}
	s := serve(t, guarded(rule, "shed"), map[string]string{"db": zoneOrg})
	if m := ask1(t, "udp", s.addr(t, "udp", 0), "", signed(t, question(dns.TypeIXFR), keyA, dns.HmacSHA256, secretA)); len(m.Answer) != 1 {
		t.Error(m)
	}
	got, err := transferIn(t, s.addr(t, "tcp", 0), question(dns.TypeAXFR), keyA, secretA)
	if err != nil {
		t.Fatal(err)
	}
	wantZone(t, got, zoneOrg)
}
