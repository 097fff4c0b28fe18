// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/evidence/catest"

	_ "github.com/coredns/coredns/plugin/timeouts"
	"github.com/miekg/dns"
)

// exchanges is what one connection carried: for each question, by ID, its messages.
type exchanges map[uint16][][]byte

// pipeline writes all queries at once and reads until every one is answered whole.
func pipeline(t *testing.T, conn net.Conn, queries [][]byte) exchanges {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	var all bytes.Buffer
	for _, q := range queries {
		all.Write([]byte{byte(len(q) >> 8), byte(len(q))})
		all.Write(q)
	}
	if _, err := conn.Write(all.Bytes()); err != nil {
		t.Fatal(err)
	}
	got, open := exchanges{}, map[uint16]bool{}
	for _, q := range queries {
		open[uint16(q[0])<<8|uint16(q[1])] = true
	}
	c := &dns.Conn{Conn: conn}
	for len(open) > 0 {
		buf := make([]byte, dns.MaxMsgSize)
		n, err := c.Read(buf)
		if err != nil {
			t.Fatalf("with %d questions open: %v", len(open), err)
		}
		m := unpack(t, buf[:n])
		if !open[m.Id] {
			t.Fatalf("a message for %d, which is no open question", m.Id)
		}
		got[m.Id] = append(got[m.Id], buf[:n])
		if whole(t, got[m.Id]) {
			delete(open, m.Id)
		}
	}
	return got
}

// whole reports whether the messages are all of an answer: a transfer ends with the
// SOA that it began with (RFC 5936 §2.2), everything else is one message.
func whole(t *testing.T, messages [][]byte) bool {
	t.Helper()
	first, last := unpack(t, messages[0]), unpack(t, messages[len(messages)-1])
	isSOA := func(rrs []dns.RR, i int) bool { return len(rrs) > 0 && rrs[i].Header().Rrtype == dns.TypeSOA }
	q := first.Question[0].Qtype
	if q != dns.TypeAXFR && q != dns.TypeIXFR || first.Rcode != dns.RcodeSuccess {
		return true
	}
	if q == dns.TypeIXFR && len(messages) == 1 && len(first.Answer) == 1 {
		return true
	}
	return isSOA(first.Answer, 0) && isSOA(last.Answer, len(last.Answer)-1) && (len(messages) > 1 || len(first.Answer) > 1)
}

// verifyChain checks the signatures of all messages of an answer (RFC 8945 §5.3.1).
func verifyChain(t *testing.T, query []byte, messages [][]byte, secret string) {
	t.Helper()
	mac := unpack(t, query).IsTsig().MAC
	for i, b := range messages {
		sig := unpack(t, b).IsTsig()
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
func bigZone() string { return zoneOfTexts(bigHosts, 60) }

// zoneOfTexts is example.org with n texts of that length beside it.
func zoneOfTexts(n, length int) string {
	var b strings.Builder
	b.WriteString(zoneOrg)
	for i := range n {
		fmt.Fprintf(&b, "h%d IN TXT \"%s\"\n", i, strings.Repeat("x", length))
	}
	return b.String()
}

// withID gives a message its ID.
func withID(id uint16) func(*dns.Msg) { return func(m *dns.Msg) { m.Id = id } }

// TestMixedConnection: transfers, refusals and ordinary queries on one connection, all
// asked at once, are each answered whole, with their IDs, their signatures, and an OPT
// in each message for those that sent one and in none for the others (RFC 5936 §2.2.1,
// RFC 9103 §6.3).
func TestMixedConnection(t *testing.T) {
	ca := catest.New(t)
	files := xotFiles(t, ca)
	files["db"] = bigZone()
	rules := "allow as keyed net 127.0.0.1 key a.example.net."
	s := serve(t, xotBlock(rules, auth("request"), ""), files)
	for _, scheme := range []string{"dns", "tls"} {
		t.Run(scheme, func(t *testing.T) {
			var config *tls.Config
			if scheme == "tls" {
				config = xotClient(nil, "dot")
			}
			conn, err := dialFrom(t, "", s.listenerAddr(t, scheme), config)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			a := new(dns.Msg).SetQuestion("www.example.org.", dns.TypeA)
			base := map[string]uint16{"dns": 100, "tls": 200}[scheme]
			key := func(q *dns.Msg) []byte { return signed(t, q, keyA, dns.HmacSHA256, secretA) }
			queries := [][]byte{
				0: packed(t, withChange(a, withID(base))),
				1: key(question(dns.TypeAXFR, withID(base+1), withEDNS)),
				2: packed(t, question(dns.TypeSOA, withID(base+2))),
				3: key(question(dns.TypeIXFR, withID(base+3), withSerial(7), withEDNS)),
				4: packed(t, question(dns.TypeAXFR, withID(base+4), withEDNS)),
				5: key(question(dns.TypeAXFR, withID(base+5))),
				6: key(question(dns.TypeIXFR, withID(base+6), withEDNS)),
				7: packed(t, withChange(a, withID(base+7))),
			}
			for range 2 { // and once more, when the first answers are in
				got := pipeline(t, conn, queries)
				wantMixed(t, queries, got, base)
				for i, q := range queries { // no message twice: it would be a replay
					m := unpack(t, q)
					m.Id += 10
					if m.IsTsig() != nil {
						m.Extra = m.Extra[:len(m.Extra)-1]
						queries[i] = key(m)
					} else {
						queries[i] = packed(t, m)
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

func wantMixed(t *testing.T, queries [][]byte, got exchanges, base uint16) {
	t.Helper()
	for i, q := range queries {
		messages := got[base+uint16(i)]
		asked := unpack(t, q)
		records := 0
		for _, b := range messages {
			m := unpack(t, b)
			records += len(m.Answer)
			if (m.IsEdns0() != nil) != (asked.IsEdns0() != nil) {
				t.Errorf("question %d: OPT %v in an answer to OPT %v", i, m.IsEdns0(), asked.IsEdns0())
			}
		}
		rcode := unpack(t, messages[0]).Rcode
		wantRecords := map[int]int{0: 1, 1: bigHosts + 6, 2: 1, 3: 1, 4: 0, 5: bigHosts + 6, 6: bigHosts + 6, 7: 1}[i]
		if wantRcode := map[bool]int{true: dns.RcodeRefused}[i == 4]; rcode != wantRcode || records != wantRecords {
			t.Errorf("question %d: %s with %d records, want %d", i, dns.RcodeToString[rcode], records, wantRecords)
		}
		if wantRecords > 1 && len(messages) < 3 {
			t.Errorf("question %d: %d messages are too few to show much", i, len(messages))
		}
		if asked.IsTsig() != nil {
			verifyChain(t, q, messages, secretA)
		}
	}
}

// withOption adds an EDNS option, with an OPT record if there is none yet.
func withOption(o dns.EDNS0) func(*dns.Msg) {
	return func(m *dns.Msg) {
		if m.IsEdns0() == nil {
			m.SetEdns0(1232, false)
		}
		m.IsEdns0().Option = append(m.IsEdns0().Option, o)
	}
}

func withKeepalive(m *dns.Msg) { withOption(&dns.EDNS0_TCP_KEEPALIVE{})(m) }

func withPadding(m *dns.Msg) { withOption(&dns.EDNS0_PADDING{Padding: make([]byte, 20)})(m) }

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
	{"a wrong signature", "", asking(dns.TypeAXFR, keyA, secretB), false},
	{"another key", "", asking(dns.TypeAXFR, keyB, secretB), true},
	{"below the apex, signed", "", asking(dns.TypeAXFR, keyA, secretA, withName("www.example.org.")), true},
	{"up to date", "", asking(dns.TypeIXFR, keyA, secretA, withSerial(7)), true},
	{"a whole zone", "", asking(dns.TypeAXFR, keyA, secretA), true},
	{"a whole zone for an IXFR", "", asking(dns.TypeIXFR, keyA, secretA), true},
}

func asking(qtype uint16, key, secret string, first ...func(*dns.Msg)) func(*testing.T, ...func(*dns.Msg)) []byte {
	return func(t *testing.T, options ...func(*dns.Msg)) []byte {
		m := question(qtype, append(slices.Clone(first), options...)...)
		if key == "" {
			return packed(t, m)
		}
		return signed(t, m, key, dns.HmacSHA256, secret)
	}
}

// each asks for every edge case over a transport and calls check with each message.
func eachEdge(t *testing.T, s *server, scheme string, options []func(*dns.Msg), check func(t *testing.T, c *edgeCase, raw []byte, m *dns.Msg)) {
	t.Helper()
	for _, c := range edgeCases {
		var config *tls.Config
		if scheme == "tls" {
			config = xotClient(nil, "dot")
		}
		conn, err := dialFrom(t, c.from, s.listenerAddr(t, scheme), config)
		if err != nil {
			t.Fatal(err)
		}
		q := c.ask(t, options...)
		for _, messages := range pipeline(t, conn, [][]byte{q}) {
			if c.tsig {
				verifyChain(t, q, messages, map[bool]string{true: secretB, false: secretA}[c.name == "another key"])
			}
			for _, b := range messages {
				check(t, &c, b, unpack(t, b))
			}
		}
		conn.Close()
	}
}

// TestKeepalive: the option answers those that have it, over TCP and TLS, in every
// message, with the time that the listener really waits; and says 0 when the server
// is going (RFC 7828).
func TestKeepalive(t *testing.T) {
	files := xotFiles(t, catest.New(t))
	files["db"] = bigZone()
	rules := "allow as keyed net 127.0.0.1 key a.example.net."
	// In units of 100 ms: CoreDNS's default of 10 s, and another.
	for extra, want := range map[string][]byte{"": {0, 11, 0, 2, 0, 100}, "timeouts {\n\t\tidle 90s\n\t}": {0, 11, 0, 2, 3, 132}} {
		s := serve(t, xotBlock(rules, "", extra), files)
		for _, scheme := range []string{"dns", "tls"} {
			eachEdge(t, s, scheme, []func(*dns.Msg){withKeepalive}, func(t *testing.T, c *edgeCase, raw []byte, m *dns.Msg) {
				if n := len(optionOf(m, dns.EDNS0TCPKEEPALIVE)); n != 1 || !bytes.Contains(raw, want) {
					t.Errorf("%s, %s: %d options, want one of % x: % x", scheme, c.name, n, want, raw[max(0, len(raw)-160):])
				}
			})
			eachEdge(t, s, scheme, []func(*dns.Msg){withEDNS}, func(t *testing.T, c *edgeCase, _ []byte, m *dns.Msg) {
				if len(optionOf(m, dns.EDNS0TCPKEEPALIVE)) > 0 {
					t.Errorf("%s, %s: for a client without the option", scheme, c.name)
				}
			})
		}
		udp := s.addr(t, "udp", 0)
		m := ask1(t, "udp", udp, "", asking(dns.TypeIXFR, keyA, secretA)(t, withKeepalive))
		if len(m.Answer) != 1 || len(optionOf(m, dns.EDNS0TCPKEEPALIVE)) > 0 {
			t.Errorf("over UDP: %v", m)
		}
		limits.Shutdown()
		raw := ask(t, "tcp", s.listenerAddr(t, "dns"), "", asking(dns.TypeAXFR, keyA, secretA)(t, withKeepalive, withID(4712)), 1)
		if m := unpack(t, raw[0]); m.Rcode != dns.RcodeServerFailure || !bytes.Contains(raw[0], []byte{0, 11, 0, 2, 0, 0}) {
			t.Errorf("when shutting down: %v % x", m, raw[0])
		}
		limits.Resume()
	}
}

// TestLeaving: a request that a replaced instance still answers says so.
func TestLeaving(t *testing.T) {
	s := serve(t, guarded(keyRule, ""), map[string]string{"db": zoneOrg})
	old := latestInstance().guards[0]
	if old.leaving() {
		t.Error("leaving at once")
	}
	if err := s.reload(guarded(keyRule, "")); err != nil {
		t.Fatal(err)
	}
	if !old.leaving() || latestInstance().guards[0].leaving() {
		t.Errorf("after a reload the old one is leaving: %v, the new one: %v", old.leaving(), latestInstance().guards[0].leaving())
	}
}

// TestPadding: over TLS everything the guard sends to a client that pads is a multiple
// of 468 octets, signature included (RFC 8467 §4.1); nothing is padded over plain TCP
// and UDP, nor for a client that does not pad (RFC 7830 §4, §6).
func TestPadding(t *testing.T) {
	files := xotFiles(t, catest.New(t))
	files["db"] = bigZone()
	s := serve(t, xotBlock("allow as keyed net 127.0.0.1 key a.example.net.", "", ""), files)
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
	eachEdge(t, s, "tls", []func(*dns.Msg){withEDNS}, unpadded("a client that does not pad"))
	eachEdge(t, s, "tls", nil, unpadded("a client without EDNS"))
	eachEdge(t, s, "dns", []func(*dns.Msg){withPadding}, unpadded("plain TCP"))
	m := ask1(t, "udp", s.addr(t, "udp", 0), "", asking(dns.TypeIXFR, keyA, secretA)(t, withPadding))
	if len(m.Answer) != 1 || len(optionOf(m, dns.EDNS0PADDING)) > 0 {
		t.Errorf("over UDP: %v", m)
	}
}
