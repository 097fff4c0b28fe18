// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/policy/policytest"
	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/policy"

	"github.com/miekg/dns"
)

// manyKeys is a block in which each of n keys has a rule of its own for one address.
func manyKeys(n int, more string) string {
	var keys, rules strings.Builder
	for i := range n {
		fmt.Fprintf(&keys, "\t\tsecret k%d.example.org. %s\n", i, xfrtest.SecretA)
		fmt.Fprintf(&rules, "\t\tallow as ns%d net 127.0.0.1 key k%d.example.org.\n", i, i)
	}
	return "example.org:0 {\n\tbind 127.0.0.1\n\ttsig {\n" + keys.String() + "\t}\n\txfrguard {\n" + rules.String() +
		"\t\taudit file DIR/audit.log\n" + more + "\t}\n\tfile DIR/db\n}\n"
}

// A hundred secondaries behind one address, each with its key, come at once: all have the
// zone within the time in which they would give up, and none is refused.
func TestManySecondariesBehindOneAddress(t *testing.T) {
	for _, n := range []int{20, 100} {
		s := xfrtest.Serve(t, manyKeys(n, ""), map[string]string{"db": xfrtest.ZoneOrg})
		addr := s.Addr(t, "tcp", 0)
		begin := time.Now()
		var all sync.WaitGroup
		for i := range n {
			all.Go(func() {
				m := xfrtest.Ask1(t, "tcp", addr, "", xfrtest.Signed(t, xfrtest.Question(dns.TypeAXFR), fmt.Sprintf("k%d.example.org.", i), dns.HmacSHA256, xfrtest.SecretA))
				if m.Rcode != dns.RcodeSuccess || len(m.Answer) < 3 {
					t.Errorf("secondary %d of %d: %s with %d records", i, n, dns.RcodeToString[m.Rcode], len(m.Answer))
				}
			})
		}
		all.Wait()
		t.Logf("%d secondaries in %v", n, time.Since(begin))
	}
}

// Who a client is, and which place of its own it has.
func TestWhoAClientIs(t *testing.T) {
	single, wide := policytest.Nets("192.0.2.53/32", "192.0.2.52/32"), policytest.Nets("192.0.2.0/24")
	signed := policy.TSIGProof{Status: policy.TSIGValid, Key: "k."}
	shown := policy.TLSProof{HasCert: true, Verified: true, Current: true, ClientUse: true, Names: []string{"a.example.net."}, SPKI: [32]byte{1}}
	pin := "cert sha256:01" + strings.Repeat("00", 31)
	for name, tt := range map[string]struct {
		rule         policy.Rule
		req          policy.Request
		proof, place string
	}{
		"a key":                     {policy.Rule{Name: "r", Nets: wide, Keys: []string{"k."}}, policy.Request{TSIG: signed}, "key k.", "key k."},
		"a key and its address":     {policy.Rule{Name: "r", Nets: single, Keys: []string{"k."}}, policy.Request{TSIG: signed}, "key k.", "key k. net 192.0.2.53"},
		"an address":                {policy.Rule{Name: "r", Nets: single, Unsigned: true}, policy.Request{}, "", "rule r net 192.0.2.53"},
		"a network":                 {policy.Rule{Name: "r", Nets: wide, Unsigned: true}, policy.Request{}, "", "rule r"},
		"a key that nobody needs":   {policy.Rule{Name: "r", Nets: wide, Unsigned: true}, policy.Request{TSIG: signed}, "key k.", "rule r"},
		"a key that is not good":    {policy.Rule{Name: "r", Nets: wide, Unsigned: true}, policy.Request{TSIG: policy.TSIGProof{Status: policy.TSIGBadSignature, Key: "k."}}, "", "rule r"},
		"a certificate's name":      {policy.Rule{Name: "r", Certs: []policy.Cert{{Name: "a.example.net."}}}, policy.Request{TLS: shown}, "cert a.example.net.", "cert a.example.net."},
		"a pin":                     {policy.Rule{Name: "r", Certs: []policy.Cert{{SPKI: [32]byte{1}}}}, policy.Request{TLS: shown}, pin, pin},
		"a wildcard":                {policy.Rule{Name: "r", Certs: []policy.Cert{{Name: "*.example.net."}}}, policy.Request{TLS: shown}, pin, "rule r"},
		"a certificate and a key":   {policy.Rule{Name: "r", Keys: []string{"k."}, Certs: []policy.Cert{{Name: "a.example.net."}}}, policy.Request{TSIG: signed, TLS: shown}, "key k. cert a.example.net.", "key k. cert a.example.net."},
		"a certificate not asked":   {policy.Rule{Name: "r", Nets: wide, Unsigned: true}, policy.Request{TLS: shown}, "", "rule r"},
		"the whole world, unsigned": {policy.Rule{Name: "r", Unsigned: true}, policy.Request{}, "", "rule r"},
	} {
		tt.req.Client = netip.MustParseAddr("192.0.2.53")
		if proof, place := tt.rule.Proof(&tt.req), tt.rule.Place(&tt.req); proof != tt.proof || place != tt.place {
			t.Errorf("%s: proof %q, place %q; want %q and %q", name, proof, place, tt.proof, tt.place)
		}
	}
	if single.Singles() != 2 || wide.Singles() != 0 {
		t.Errorf("%d and %d single addresses, want 2 and 0", single.Singles(), wide.Singles())
	}
}

// An IXFR that becomes a whole zone pays under the rule that allows whole zones, and is on
// record and granted under it.
func TestFallbackPaysAsAWholeZone(t *testing.T) {
	const rules = "allow as deltas type IXFR net 127.0.0.1 unsigned rate 1000/1s burst 1000\n" +
		"\t\tallow as whole type AXFR net 127.0.0.1 unsigned rate 1/1h"
	s := xfrtest.Serve(t, xfrtest.Guarded(rules, ""), map[string]string{"db": xfrtest.ZoneOrg})
	addr := s.Addr(t, "tcp", 0)
	whole, refused := 0, 0
	for range 5 {
		switch m := xfrtest.Ask1(t, "tcp", addr, "", xfrtest.Packed(t, xfrtest.Question(dns.TypeIXFR))); {
		case m.Rcode == dns.RcodeServerFailure:
			refused++
		case len(m.Answer) > 1:
			whole++
		}
	}
	if whole != 1 || refused != 4 {
		t.Errorf("%d whole zones and %d refusals of five IXFRs from an old serial, want 1 and 4", whole, refused)
	}
	for _, e := range s.EventsOf(t, "127.0.0.1") {
		if e["event.action"] == string(audit.ActionDecision) && e["event.reason"] != string(policy.ReasonShutdown) && e["rule.name"] != "whole" {
			t.Errorf("on record under rule %v: %v", e["rule.name"], e["event.reason"])
		}
	}
}

// An IXFR that only a rule for AXFR allows gets the whole zone, though the differences are
// known, under that rule's limits; one that is up to date, the SOA.
func TestIncrementUnderAWholeZonesRule(t *testing.T) {
	const rules = "allow as whole type AXFR net 127.0.0.2 unsigned rate 2/1h burst 2\n" +
		"\t\tallow as both net 127.0.0.1 unsigned\n\t\tconcurrent 16 wait 100ms"
	db, block := xfrtest.ManyHosts(50), xfrtest.Guarded(rules, "")
	s := xfrtest.Serve(t, block, map[string]string{"db": db})
	addr := s.Addr(t, "tcp", 0)
	records := func(from string, m *dns.Msg) int {
		return len(xfrtest.Ask1(t, "tcp", addr, from, xfrtest.Packed(t, m)).Answer)
	}
	whole := records("127.0.0.1", xfrtest.Question(dns.TypeAXFR))
	if got := records("127.0.0.2", xfrtest.Question(dns.TypeIXFR, xfrtest.WithSerial(7))); got != 1 {
		t.Errorf("%d records for who is up to date, want the SOA", got)
	}
	s.Events(t, 3)
	if err := os.WriteFile(filepath.Join(s.Dir, "db"), []byte(strings.Replace(db, " 7 7200", " 8 7200", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(block); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		from string
		want int
	}{{"127.0.0.1", 4}, {"127.0.0.2", whole}, {"127.0.0.2", 0}} {
		if got := records(c.from, xfrtest.Question(dns.TypeIXFR, xfrtest.WithSerial(7))); got != c.want {
			t.Errorf("%s got %d records, want %d", c.from, got, c.want)
		}
	}
	rated := 0
	for _, e := range s.Events(t, 8) {
		if e["event.reason"] == string(policy.ReasonRateLimited) {
			rated++
		}
		if e["client.ip"] == "127.0.0.2" && e["rule.name"] != "whole" {
			t.Errorf("on record under rule %v: %v", e["rule.name"], e["event.reason"])
		}
	}
	if rated != 1 {
		t.Errorf("%d requests over the rate of the rule, want 1", rated)
	}
}
