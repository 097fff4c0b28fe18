// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrtest

import (
	"bytes"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// EDEOf returns the code of the extended error, -1 for none.
func EDEOf(m *dns.Msg) int {
	if o := m.IsEdns0(); o != nil {
		for _, opt := range o.Option {
			if e, ok := opt.(*dns.EDNS0_EDE); ok {
				return int(e.InfoCode)
			}
		}
	}
	return -1
}

// WantRefused fails if the answers hold anything of a zone.
func WantRefused(t *testing.T, raw [][]byte, rcode int) {
	t.Helper()
	if len(raw) != 1 {
		t.Fatalf("%d messages", len(raw))
	}
	m := Unpack(t, raw[0])
	if m.Rcode != rcode || len(m.Answer)+len(m.Ns) > 0 {
		t.Fatalf("want %s and nothing else, got %v", dns.RcodeToString[rcode], m)
	}
}

// Gets reports whether the zone is transferred with a secret of key a.
func (s *Server) Gets(t *testing.T, secret string) bool {
	t.Helper()
	rrs, err := TransferIn(t, s.Addr(t, "tcp", 0), Question(dns.TypeAXFR), "a.example.net.", secret)
	return err == nil && len(rrs) > 2
}

// SlowTransfer begins a transfer of a zone that no kernel buffers whole, and returns
// after its first message.
func SlowTransfer(t *testing.T, s *Server, qtype uint16) (c *dns.Conn, records int) {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr(t, "tcp", 0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(60 * time.Second))
	c = &dns.Conn{Conn: conn}
	if _, err := c.Write(Packed(t, Question(qtype))); err != nil {
		t.Fatal(err)
	}
	m, err := c.ReadMsg()
	if err != nil {
		t.Fatal(err)
	}
	return c, len(m.Answer)
}

// Rest reads what is left of a transfer, of at most want records.
func Rest(c *dns.Conn, records, want int) int {
	for records < want {
		m, err := c.ReadMsg()
		if err != nil {
			break
		}
		records += len(m.Answer)
	}
	return records
}

// Ask sends one packed message and returns the answers until n messages came, the
// server closed, or nothing came for a while. from is the source address, or "".
func Ask(t *testing.T, network, addr, from string, query []byte, n int) [][]byte {
	t.Helper()
	d := net.Dialer{Timeout: 5 * time.Second}
	if from != "" {
		if network == "udp" {
			d.LocalAddr = &net.UDPAddr{IP: net.ParseIP(from)}
		} else {
			d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
		}
	}
	c, err := d.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return Converse(t, c, query, n)
}

// Converse is Ask over a connection that is there already.
func Converse(t *testing.T, c net.Conn, query []byte, n int) [][]byte {
	t.Helper()
	conn := &dns.Conn{Conn: c, UDPSize: dns.MaxMsgSize}
	if _, err := conn.Write(query); err != nil {
		t.Fatal(err)
	}
	var answers [][]byte
	for len(answers) < n {
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		buf := make([]byte, dns.MaxMsgSize)
		k, err := conn.Read(buf)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("after %d messages: %v", len(answers), err)
		}
		answers = append(answers, buf[:k])
	}
	return answers
}

// Ask1 is Ask for a single message.
func Ask1(t *testing.T, network, addr, from string, query []byte) *dns.Msg {
	t.Helper()
	answers := Ask(t, network, addr, from, query, 1)
	if len(answers) != 1 {
		t.Fatal("closed without an answer")
	}
	return Unpack(t, answers[0])
}

// Unpack unpacks an answer.
func Unpack(t *testing.T, b []byte) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(b); err != nil {
		t.Fatalf("answer: %v", err)
	}
	return m
}

// TransferIn transfers the zone with miekg/dns's client, which verifies every TSIG.
func TransferIn(t *testing.T, addr string, m *dns.Msg, key, secret string) ([]dns.RR, error) {
	t.Helper()
	tr := &dns.Transfer{DialTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second}
	if key != "" {
		tr.TsigSecret = map[string]string{key: secret}
		m.SetTsig(key, dns.HmacSHA256, 300, time.Now().Unix())
	}
	ch, err := tr.In(m, addr)
	if err != nil {
		return nil, err
	}
	var rrs []dns.RR
	for e := range ch {
		if e.Error != nil {
			return rrs, e.Error
		}
		rrs = append(rrs, e.RR...)
	}
	return rrs, nil
}

// WantZone compares a transfer with the zone file: SOA, every record once, SOA.
func WantZone(t *testing.T, got []dns.RR, zonefile string) {
	t.Helper()
	var want []string
	zp := dns.NewZoneParser(strings.NewReader(zonefile), "example.org.", "")
	for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
		want = append(want, rr.String())
	}
	if err := zp.Err(); err != nil {
		t.Fatal(err)
	}
	if len(got) < 2 || got[0].Header().Rrtype != dns.TypeSOA || got[len(got)-1].String() != got[0].String() {
		t.Fatalf("the transfer is no zone: %v", got)
	}
	var have []string
	for _, rr := range got[:len(got)-1] {
		have = append(have, rr.String())
	}
	slices.Sort(want)
	slices.Sort(have)
	if !slices.Equal(want, have) {
		t.Errorf("the zone came over wrong:\nwant %s\ngot  %s", strings.Join(want, "\n     "), strings.Join(have, "\n     "))
	}
}

// Exchanges is what one connection carried: for each question, by ID, its messages.
type Exchanges map[uint16][][]byte

// Pipeline writes all queries at once and reads until every one is answered whole.
func Pipeline(t *testing.T, conn net.Conn, queries [][]byte) Exchanges {
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
	got, open := Exchanges{}, map[uint16]bool{}
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
		m := Unpack(t, buf[:n])
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
	first, last := Unpack(t, messages[0]), Unpack(t, messages[len(messages)-1])
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
