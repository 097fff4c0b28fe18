// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/internal/audit/audittest"
	"github.com/xfrguard/xfrguard/internal/xfrtest"
)

// TestRuleExpires: at the moment when a rule ends the transfers that it allowed end, and
// from then on it allows nobody. That it ended is on record once, over reloads, too.
func TestRuleExpires(t *testing.T) {
	const hosts = 50000
	rules := func(end time.Time) string {
		return xfrtest.Guarded("allow as lent net 127.0.0.1 unsigned expires "+end.UTC().Format(time.RFC3339Nano)+
			"\n\t\tallow as other net 127.0.0.2 unsigned expires 2999-01-01", "")
	}
	s := xfrtest.Serve(t, rules(time.Now().Add(time.Hour)), map[string]string{"db": xfrtest.ZoneOfTexts(hosts, 240)})
	c, records := xfrtest.SlowTransfer(t, s, dns.TypeAXFR)
	moment := time.Now().Add(time.Second)
	if err := s.Reload(rules(moment)); err != nil {
		t.Fatal(err)
	}
	live := time.Now()
	if records = xfrtest.Rest(c, records, hosts+6); records == hosts+6 {
		t.Error("the rule has ended, and the client was given the whole zone")
	}
	end := moment
	if live.After(end) {
		end = live
	}
	if late := s.When(t, "zone-transfer-end", "policy-revoked").Sub(end); late > 2*time.Second {
		t.Errorf("the transfer ended %v after the rule", late)
	}
	s.When(t, "rule-expired", "")
	m := xfrtest.Ask1(t, "tcp", s.Addr(t, "tcp", 0), "127.0.0.1", xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR, xfrtest.WithEDNS)))
	if m.Rcode != dns.RcodeRefused || xfrtest.EDEOf(m) != int(dns.ExtendedErrorCodeProhibited) {
		t.Errorf("after the end of the rule: %v", m)
	}
	s.When(t, "zone-transfer-decision", "rule-expired")
	count := func() (told, found int) {
		for _, e := range audittest.Lines(t, s.Dir+"/audit.log") {
			switch e["event.action"] {
			case "rule-expired":
				told++
				if e["rule.name"] != "lent" || e["coredns.zone"] != "example.org." {
					t.Errorf("on record: %v", e)
				}
			case "policy-finding":
				if e["event.reason"] == "rule-expires-soon" && strings.Contains(fmt.Sprint(e["message"]), "has allowed nobody since") {
					found++
				}
			}
		}
		return told, found
	}
	_, before := count() // the reload may have taken until after the end
	if err := s.Reload(rules(moment)); err != nil {
		t.Fatal(err)
	}
	told, found := 0, 0
	audittest.Eventually(t, func() bool {
		told, found = count()
		return found > before
	})
	if told != 1 || found != before+1 {
		t.Errorf("told %d times while it served, found %d times at start", told, found-before)
	}
	if got := xfrtest.Metric(t, "rule_expires_timestamp_seconds", "lent"); got != float64(moment.Unix()) {
		t.Errorf("the metric is %v, want %d", got, moment.Unix())
	}
}
