// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"crypto/tls"
	"slices"
	"testing"

	"github.com/xfrguard/xfrguard/internal/evidence/catest"
	"github.com/xfrguard/xfrguard/internal/limit"
	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/miekg/dns"
)

// verifyChain checks the signatures of all messages of an answer (RFC 8945 §5.3.1).
func verifyChain(t *testing.T, query []byte, messages [][]byte, secret string) {
	t.Helper()
	mac := xfrtest.Unpack(t, query).IsTsig().MAC
	for i, b := range messages {
		sig := xfrtest.Unpack(t, b).IsTsig()
		if sig == nil {
			t.Fatalf("message %d of %d is not signed", i+1, len(messages))
		}
		if err := dns.TsigVerify(slices.Clone(b), secret, mac, i > 0); err != nil {
			t.Fatalf("message %d of %d: %v", i+1, len(messages), err)
		}
		mac = sig.MAC
	}
}

const bigHosts = 3000

// bigZone is a zone of several messages.
func bigZone() string { return xfrtest.ZoneOfTexts(bigHosts, 60) }

// TestMixedConnection: transfers, refusals and ordinary queries on one connection, all
// asked at once, are each answered whole, with their IDs, their signatures, and an OPT
// in each message for those that sent one and in none for the others (RFC 5936 §2.2.1,
// RFC 9103 §6.3).
func TestMixedConnection(t *testing.T) {
	ca := catest.New(t)
	files := xfrtest.XoTFiles(t, ca)
	files["db"] = bigZone()
	rules := "allow as keyed net 127.0.0.1 key a.example.net."
	s := xfrtest.Serve(t, xfrtest.XoTBlock(rules, xfrtest.ClientAuth("request"), ""), files)
	for _, scheme := range []string{"dns", "tls"} {
		t.Run(scheme, func(t *testing.T) {
			var config *tls.Config
			if scheme == "tls" {
				config = xfrtest.XoTClient(nil, "dot")
			}
			conn, err := xfrtest.DialFrom(t, "", s.ListenerAddr(t, scheme), config)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			a := new(dns.Msg).SetQuestion("www.example.org.", dns.TypeA)
			base := map[string]uint16{"dns": 100, "tls": 200}[scheme]
			key := func(q *dns.Msg) []byte { return xfrtest.Signed(t, q, xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA) }
			queries := [][]byte{
				0: xfrtest.Packed(t, withChange(a, xfrtest.WithID(base))),
				1: key(xfrtest.Question(dns.TypeAXFR, xfrtest.WithID(base+1), xfrtest.WithEDNS)),
				2: xfrtest.Packed(t, xfrtest.Question(dns.TypeSOA, xfrtest.WithID(base+2))),
				3: key(xfrtest.Question(dns.TypeIXFR, xfrtest.WithID(base+3), xfrtest.WithSerial(7), xfrtest.WithEDNS)),
				4: xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR, xfrtest.WithID(base+4), xfrtest.WithEDNS)),
				5: key(xfrtest.Question(dns.TypeAXFR, xfrtest.WithID(base+5))),
				6: key(xfrtest.Question(dns.TypeIXFR, xfrtest.WithID(base+6), xfrtest.WithEDNS)),
				7: xfrtest.Packed(t, withChange(a, xfrtest.WithID(base+7))),
			}
			for range 2 { // and once more, when the first answers are in
				got := xfrtest.Pipeline(t, conn, queries)
				wantMixed(t, queries, got, base)
				for i, q := range queries { // no message twice: it would be a replay
					m := xfrtest.Unpack(t, q)
					m.Id += 10
					if m.IsTsig() != nil {
						m.Extra = m.Extra[:len(m.Extra)-1]
						queries[i] = key(m)
					} else {
						queries[i] = xfrtest.Packed(t, m)
					}
				}
				base += 10
			}
		})
	}
}

func withChange(m *dns.Msg, change func(*dns.Msg)) *dns.Msg {
	c := m.Copy()
	change(c)
	return c
}

func wantMixed(t *testing.T, queries [][]byte, got xfrtest.Exchanges, base uint16) {
	t.Helper()
	for i, q := range queries {
		messages := got[base+uint16(i)]
		asked := xfrtest.Unpack(t, q)
		records := 0
		for _, b := range messages {
			m := xfrtest.Unpack(t, b)
			records += len(m.Answer)
			if (m.IsEdns0() != nil) != (asked.IsEdns0() != nil) {
				t.Errorf("question %d: OPT %v in an answer to OPT %v", i, m.IsEdns0(), asked.IsEdns0())
			}
		}
		rcode := xfrtest.Unpack(t, messages[0]).Rcode
		wantRecords := map[int]int{0: 1, 1: bigHosts + 6, 2: 1, 3: 1, 4: 0, 5: bigHosts + 6, 6: bigHosts + 6, 7: 1}[i]
		if wantRcode := map[bool]int{true: dns.RcodeRefused}[i == 4]; rcode != wantRcode || records != wantRecords {
			t.Errorf("question %d: %s with %d records, want %d", i, dns.RcodeToString[rcode], records, wantRecords)
		}
		if wantRecords > 1 && len(messages) < 3 {
			t.Errorf("question %d: %d messages are too few to show much", i, len(messages))
		}
		if asked.IsTsig() != nil {
			verifyChain(t, q, messages, xfrtest.SecretA)
		}
	}
}

func withPadding(m *dns.Msg) { xfrtest.WithOption(&dns.EDNS0_PADDING{Padding: make([]byte, 20)})(m) }

// optionOf returns the options of that code in the message.
func optionOf(m *dns.Msg, code uint16) (found []dns.EDNS0) {
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if o.Option() == code {
				found = append(found, o)
			}
		}
	}
	return found
}

// edgeCase is one kind of answer of the guard's own.
type edgeCase struct {
	name string
	from string
	ask  func(t *testing.T, options ...func(*dns.Msg)) []byte
	tsig bool // the answer's signature is good
}

var edgeCases = []edgeCase{
	{"a stranger", "127.0.0.9", asking(dns.TypeAXFR, "", ""), false},
	{"a key needed", "", asking(dns.TypeAXFR, "", ""), false},
	{"a wrong signature", "", asking(dns.TypeAXFR, xfrtest.KeyA, xfrtest.SecretB), false},
	{"another key", "", asking(dns.TypeAXFR, xfrtest.KeyB, xfrtest.SecretB), true},
	{"below the apex, signed", "", asking(dns.TypeAXFR, xfrtest.KeyA, xfrtest.SecretA, xfrtest.WithName("www.example.org.")), true},
	{"up to date", "", asking(dns.TypeIXFR, xfrtest.KeyA, xfrtest.SecretA, xfrtest.WithSerial(7)), true},
	{"a whole zone", "", asking(dns.TypeAXFR, xfrtest.KeyA, xfrtest.SecretA), true},
	{"a whole zone for an IXFR", "", asking(dns.TypeIXFR, xfrtest.KeyA, xfrtest.SecretA), true},
}

func asking(qtype uint16, key, secret string, first ...func(*dns.Msg)) func(*testing.T, ...func(*dns.Msg)) []byte {
	return func(t *testing.T, options ...func(*dns.Msg)) []byte {
		m := xfrtest.Question(qtype, append(slices.Clone(first), options...)...)
		if key == "" {
			return xfrtest.Packed(t, m)
		}
		return xfrtest.Signed(t, m, key, dns.HmacSHA256, secret)
	}
}

// each asks for every edge case over a transport and calls check with each message.
func eachEdge(t *testing.T, s *xfrtest.Server, scheme string, options []func(*dns.Msg), check func(t *testing.T, c *edgeCase, raw []byte, m *dns.Msg)) {
	t.Helper()
	for _, c := range edgeCases {
		var config *tls.Config
		if scheme == "tls" {
			config = xfrtest.XoTClient(nil, "dot")
		}
		conn, err := xfrtest.DialFrom(t, c.from, s.ListenerAddr(t, scheme), config)
		if err != nil {
			t.Fatal(err)
		}
		q := c.ask(t, options...)
		for _, messages := range xfrtest.Pipeline(t, conn, [][]byte{q}) {
			if c.tsig {
				verifyChain(t, q, messages, map[bool]string{true: xfrtest.SecretB, false: xfrtest.SecretA}[c.name == "another key"])
			}
			for _, b := range messages {
				check(t, &c, b, xfrtest.Unpack(t, b))
			}
		}
		conn.Close()
	}
}

// TestKeepalive: the option answers those that have it, over TCP and TLS, in every
// message, with the time that the listener really waits; and says 0 when the server
// is going (RFC 7828).
func TestKeepalive(t *testing.T) {
	files := xfrtest.XoTFiles(t, catest.New(t))
	files["db"] = bigZone()
	rules := "allow as keyed net 127.0.0.1 key a.example.net."
	// In units of 100 ms: CoreDNS's default of 10 s, and another.
	for extra, want := range map[string][]byte{"": {0, 11, 0, 2, 0, 100}, "timeouts {\n\t\tidle 90s\n\t}": {0, 11, 0, 2, 3, 132}} {
		s := xfrtest.Serve(t, xfrtest.XoTBlock(rules, "", extra), files)
		for _, scheme := range []string{"dns", "tls"} {
			eachEdge(t, s, scheme, []func(*dns.Msg){xfrtest.WithKeepalive}, func(t *testing.T, c *edgeCase, raw []byte, m *dns.Msg) {
				if n := len(optionOf(m, dns.EDNS0TCPKEEPALIVE)); n != 1 || !bytes.Contains(raw, want) {
					t.Errorf("%s, %s: %d options, want one of % x: % x", scheme, c.name, n, want, raw[max(0, len(raw)-160):])
				}
			})
			eachEdge(t, s, scheme, []func(*dns.Msg){xfrtest.WithEDNS}, func(t *testing.T, c *edgeCase, _ []byte, m *dns.Msg) {
				if len(optionOf(m, dns.EDNS0TCPKEEPALIVE)) > 0 {
					t.Errorf("%s, %s: for a client without the option", scheme, c.name)
				}
			})
		}
		udp := s.Addr(t, "udp", 0)
		m := xfrtest.Ask1(t, "udp", udp, "", asking(dns.TypeIXFR, xfrtest.KeyA, xfrtest.SecretA)(t, xfrtest.WithKeepalive))
		if len(m.Answer) != 1 || len(optionOf(m, dns.EDNS0TCPKEEPALIVE)) > 0 {
			t.Errorf("over UDP: %v", m)
		}
		limit.OfProcess.Shutdown()
		raw := xfrtest.Ask(t, "tcp", s.ListenerAddr(t, "dns"), "", asking(dns.TypeAXFR, xfrtest.KeyA, xfrtest.SecretA)(t, xfrtest.WithKeepalive, xfrtest.WithID(4712)), 1)
		if m := xfrtest.Unpack(t, raw[0]); m.Rcode != dns.RcodeServerFailure || !bytes.Contains(raw[0], []byte{0, 11, 0, 2, 0, 0}) {
			t.Errorf("when shutting down: %v % x", m, raw[0])
		}
		limit.OfProcess.Resume()
	}
}

// TestPadding: over TLS everything the guard sends to a client that pads is a multiple
// of 468 octets, signature included (RFC 8467 §4.1); nothing is padded over plain TCP
// and UDP, nor for a client that does not pad (RFC 7830 §4, §6).
func TestPadding(t *testing.T) {
	files := xfrtest.XoTFiles(t, catest.New(t))
	files["db"] = bigZone()
	s := xfrtest.Serve(t, xfrtest.XoTBlock("allow as keyed net 127.0.0.1 key a.example.net.", "", ""), files)
	eachEdge(t, s, "tls", []func(*dns.Msg){withPadding}, func(t *testing.T, c *edgeCase, raw []byte, m *dns.Msg) {
		if n := len(optionOf(m, dns.EDNS0PADDING)); n != 1 || len(raw)%468 != 0 {
			t.Errorf("%s: %d options, %d octets", c.name, n, len(raw))
		}
	})
	unpadded := func(what string) func(*testing.T, *edgeCase, []byte, *dns.Msg) {
		return func(t *testing.T, c *edgeCase, _ []byte, m *dns.Msg) {
			if len(optionOf(m, dns.EDNS0PADDING)) > 0 {
				t.Errorf("%s, %s: padded", what, c.name)
			}
		}
	}
	eachEdge(t, s, "tls", []func(*dns.Msg){xfrtest.WithEDNS}, unpadded("a client that does not pad"))
	eachEdge(t, s, "tls", nil, unpadded("a client without EDNS"))
	eachEdge(t, s, "dns", []func(*dns.Msg){withPadding}, unpadded("plain TCP"))
	m := xfrtest.Ask1(t, "udp", s.Addr(t, "udp", 0), "", asking(dns.TypeIXFR, xfrtest.KeyA, xfrtest.SecretA)(t, withPadding))
	if len(m.Answer) != 1 || len(optionOf(m, dns.EDNS0PADDING)) > 0 {
		t.Errorf("over UDP: %v", m)
	}
}
