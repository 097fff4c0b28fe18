// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/tls"
	"fmt"
	"testing"

	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/internal/evidence/catest"
	"github.com/xfrguard/xfrguard/internal/xfrtest"
)

// secondaryCase is a request of which every event has to name the secondary.
type secondaryCase struct {
	name, rules string
	from        string // source address
	key, secret string
	id          *catest.Identity // nil: over plain TCP
	ixfr        bool             // up to date: the SOA alone
	want, rule  string           // "": none is named
}

func (c *secondaryCase) ask(t *testing.T, s *xfrtest.Server) *dns.Msg {
	t.Helper()
	q := xfrtest.Question(dns.TypeAXFR)
	if c.ixfr {
		q = xfrtest.Question(dns.TypeIXFR, xfrtest.WithSerial(7))
	}
	query := xfrtest.Packed(t, q)
	if c.key != "" {
		query = xfrtest.Signed(t, q, c.key, dns.HmacSHA256, c.secret)
	}
	var config *tls.Config
	scheme := "dns"
	if c.id != nil {
		config, scheme = xfrtest.XoTClient(c.id, "dot"), "tls"
	}
	return xfrtest.XoT(t, s.ListenerAddr(t, scheme), c.from, config, query)
}

// TestSecondaryOnRecord: the decision, the end and the single line of an answer name the
// secondary: by the address that the rule names, else by the key or certificate that
// proved it, else by the rule. A refusal names it when its rule had allowed it.
func TestSecondaryOnRecord(t *testing.T) {
	ca := catest.New(t)
	ns2, ns7 := ca.Client(t, "ns2.example.net"), ca.Client(t, "ns7.example.net")
	star := ca.Client(t, "*", catest.Sans("*.example.net"))
	const wide = "allow as lan net 127.0.0.0/8 "
	for _, c := range []secondaryCase{
		{name: "single address", rules: "allow as ns2 net 127.0.0.9 key a.example.net.", from: "127.0.0.9", key: xfrtest.KeyA, secret: xfrtest.SecretA, want: "127.0.0.9", rule: "ns2"},
		{name: "single address in a wide net", rules: "allow as ns2 net 127.0.0.9 127.0.0.0/8 key a.example.net.", from: "127.0.0.9", key: xfrtest.KeyA, secret: xfrtest.SecretA, want: "127.0.0.9", rule: "ns2"},
		{name: "key", rules: wide + "key a.example.net.", key: xfrtest.KeyA, secret: xfrtest.SecretA, want: xfrtest.KeyA, rule: "lan"},
		{name: "one of two keys", rules: wide + "key a.example.net. b.example.net.", key: "b.example.net.", secret: xfrtest.SecretB, want: "b.example.net.", rule: "lan"},
		{name: "up to date", rules: wide + "key a.example.net.", key: xfrtest.KeyA, secret: xfrtest.SecretA, ixfr: true, want: xfrtest.KeyA, rule: "lan"},
		{name: "unsigned", rules: wide + "unsigned", want: "lan", rule: "lan"},
		{name: "a key that the rule does not ask for", rules: wide + "unsigned", key: xfrtest.KeyA, secret: xfrtest.SecretA, want: "lan", rule: "lan"},
		{name: "certificate", rules: wide + "cert ns2.example.net", id: ns2, want: "ns2.example.net.", rule: "lan"},
		{name: "certificate and address", rules: "allow as ns2 net 127.0.0.9 cert ns2.example.net", from: "127.0.0.9", id: ns2, want: "127.0.0.9", rule: "ns2"},
		{name: "pin", rules: wide + "cert " + ns2.Pin, id: ns2, want: ns2.Pin, rule: "lan"},
		{name: "wildcard", rules: wide + "cert *.example.net", id: ns7, want: "ns7.example.net.", rule: "lan"},
		{name: "wildcard on both sides", rules: wide + "cert *.example.net", id: star, want: "lan", rule: "lan"},
		{name: "key and certificate", rules: wide + "key a.example.net. cert ns2.example.net", key: xfrtest.KeyA, secret: xfrtest.SecretA, id: ns2, want: xfrtest.KeyA, rule: "lan"},
		{name: "up to date over TLS", rules: wide + "cert ns2.example.net", id: ns2, ixfr: true, want: "ns2.example.net.", rule: "lan"},
		{name: "the second rule", rules: "allow as one net 127.0.0.9 key a.example.net.\n\t\tallow as two net 127.0.0.9 key b.example.net.", from: "127.0.0.9", key: "b.example.net.", secret: xfrtest.SecretB, want: "127.0.0.9", rule: "two"},
		{name: "observed", rules: wide + "key a.example.net.\n\t\tmode observe", key: xfrtest.KeyA, secret: xfrtest.SecretA, want: xfrtest.KeyA, rule: "lan"},
		{name: "denied by address", rules: "deny as stolen net 127.0.0.9\n\t\t" + wide + "key a.example.net.", from: "127.0.0.9", key: xfrtest.KeyA, secret: xfrtest.SecretA, rule: "stolen"},
		{name: "a proof is missing", rules: "allow as ns2 net 127.0.0.9 key a.example.net.", from: "127.0.0.9"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := xfrtest.Serve(t, xfrtest.XoTBlock(c.rules, xfrtest.ClientAuth("request"), ""), xfrtest.XoTFiles(t, ca))
			answer := c.ask(t, s)
			if answer == nil {
				t.Fatal("no answer")
			}
			events := 1
			if xfrtest.IsZone(answer) && c.name != "observed" {
				events = 2 // decision and end
			}
			for _, e := range s.Events(t, events) {
				if got, _ := e["coredns.xfr.secondary"].(string); got != c.want {
					t.Errorf("the secondary is %q, want %q: %v", got, c.want, e)
				}
				if got, _ := e["rule.name"].(string); got != c.rule {
					t.Errorf("the rule is %q, want %q: %v", got, c.rule, e)
				}
			}
		})
	}
}

// TestSecondaryOfFoldedLines: a line for many answers names the secondary when it is one,
// and a line for refusals by a limit too.
func TestSecondaryOfFoldedLines(t *testing.T) {
	corefile := xfrtest.Guarded("allow as lan net 127.0.0.0/8 key a.example.net. rate 100000/1s burst 100000\n"+
		"\t\tallow as slow net 127.0.0.0/8 key b.example.net. rate 1/1h burst 1\n\t\tconcurrent 16 per-client 4 wait 1ms", "")
	s := xfrtest.Serve(t, corefile, map[string]string{"db": xfrtest.ZoneOrg})
	ask := func(from, key, secret string, n int) {
		first := dns.Id()
		for i := range n {
			q := xfrtest.Question(dns.TypeIXFR, xfrtest.WithSerial(7))
			q.Id = first + uint16(i)
			xfrtest.Ask1(t, "tcp", s.Addr(t, "tcp", 0), from, xfrtest.Signed(t, q, key, dns.HmacSHA256, secret))
		}
	}
	ask("127.0.0.1", xfrtest.KeyA, xfrtest.SecretA, 60)
	ask("127.0.0.1", "b.example.net.", xfrtest.SecretB, 160)
	s.Restart(t, corefile) // what is counted is written
	want := map[any]string{"zone-transfer-answered": xfrtest.KeyA + " lan", "zone-transfer-denied": "b.example.net. slow"}
	s.Await(t, "zone-transfer-answered", 1)
	s.Await(t, "zone-transfer-denied", 1)
	for _, e := range s.Events(t, 1) {
		whose := fmt.Sprint(e["coredns.xfr.secondary"], " ", e["rule.name"])
		if w := want[e["event.action"]]; w != "" && whose != w {
			t.Errorf("%s is of %s, want %s: %v", e["event.action"], whose, w, e)
		}
	}
}
