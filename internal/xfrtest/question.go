// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrtest

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// Keys that tests use.
const (
	KeyA = "a.example.net."
	KeyB = "b.example.net."
)

// Their secrets.
const (
	SecretA = "YSBzZWNyZXQgb2Yga2V5IGEgZm9yIHRlc3RzIG9ubHk="
	SecretB = "YSBzZWNyZXQgb2Yga2V5IGIgZm9yIHRlc3RzIG9ubHk="
)

// Question is a query for a transfer of example.org, or as the options have it.
func Question(qtype uint16, options ...func(*dns.Msg)) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion("example.org.", qtype)
	m.RecursionDesired = false
	if qtype == dns.TypeIXFR {
		WithSerial(1)(m)
	}
	for _, o := range options {
		o(m)
	}
	return m
}

// WithSerial gives an IXFR the serial that the client has.
func WithSerial(serial uint32) func(*dns.Msg) {
	return func(m *dns.Msg) {
		m.Ns = []dns.RR{&dns.SOA{
			Hdr: dns.RR_Header{Name: m.Question[0].Name, Rrtype: dns.TypeSOA, Class: dns.ClassINET},
			Ns:  ".", Mbox: ".", Serial: serial,
		}}
	}
}

// WithName asks for another zone.
func WithName(name string) func(*dns.Msg) {
	return func(m *dns.Msg) {
		m.Question[0].Name = name
		for _, rr := range m.Ns {
			rr.Header().Name = name
		}
	}
}

// WithEDNS adds an OPT record of 1232 octets.
func WithEDNS(m *dns.Msg) { m.SetEdns0(1232, false) }

// Signed packs the message with a TSIG of the key; options change the record first.
func Signed(t *testing.T, m *dns.Msg, key, alg, secret string, options ...func(*dns.TSIG)) []byte {
	t.Helper()
	m.SetTsig(key, alg, 300, time.Now().Unix())
	for _, o := range options {
		o(m.IsTsig())
	}
	b, _, err := dns.TsigGenerate(m, secret, "", false)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Packed packs the message as it is.
func Packed(t *testing.T, m *dns.Msg) []byte {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// WithID gives a message its ID.
func WithID(id uint16) func(*dns.Msg) { return func(m *dns.Msg) { m.Id = id } }

// WithTSIGOf appends a TSIG record of key a with that RDATA to a packed message.
func WithTSIGOf(b []byte, rdata string) []byte {
	binary.BigEndian.PutUint16(b[10:], binary.BigEndian.Uint16(b[10:])+1)
	b = append(b, "\x01a\x07example\x03net\x00\x00\xfa\x00\xff\x00\x00\x00\x00"...)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(rdata))), rdata...)
}

// WithOption adds an EDNS option, with an OPT record if there is none yet.
func WithOption(o dns.EDNS0) func(*dns.Msg) {
	return func(m *dns.Msg) {
		if m.IsEdns0() == nil {
			m.SetEdns0(1232, false)
		}
		m.IsEdns0().Option = append(m.IsEdns0().Option, o)
	}
}

// WithKeepalive asks to keep the connection.
func WithKeepalive(m *dns.Msg) { WithOption(&dns.EDNS0_TCP_KEEPALIVE{})(m) }
