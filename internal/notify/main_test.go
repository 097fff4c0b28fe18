// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"encoding/base64"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testSecret = "YSBzZWNyZXQgZm9yIHRlc3RzIG9mIE5PVElGWSBvbmx5"

func testKey(algorithms ...string) *Key {
	secret, err := base64.StdEncoding.DecodeString(testSecret)
	if err != nil {
		panic(err)
	}
	if len(algorithms) == 0 {
		algorithms = []string{"hmac-sha256"}
	}
	return &Key{Name: "Ns2.example.net.", Secret: secret, Algorithms: algorithms}
}

func testSOA(serial uint32) *dns.SOA {
	return &dns.SOA{
		Hdr: dns.RR_Header{Name: "example.org.", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 3600},
		Ns:  "ns1.example.org.", Mbox: "hostmaster.example.org.", Serial: serial, Refresh: 864000, Retry: 3600, Expire: 8640000, Minttl: 300,
	}
}

// option changes a response before it is signed.
type option func(*dns.Msg)

func withRcode(rcode int) option { return func(m *dns.Msg) { m.Rcode = rcode } }

// respond makes the response of a secondary to a packed NOTIFY, by miekg/dns alone.
func respond(t testing.TB, b []byte, options ...option) *dns.Msg {
	t.Helper()
	q := new(dns.Msg)
	if err := q.Unpack(b); err != nil {
		t.Errorf("the NOTIFY: %v", err)
		return new(dns.Msg)
	}
	m := new(dns.Msg).SetReply(q)
	for _, o := range options {
		o(m)
	}
	return m
}

// packPlain packs a response without signature.
func packPlain(t testing.TB, m *dns.Msg) []byte {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Error(err)
	}
	return b
}

// packSigned packs and signs a response to the NOTIFY b, with miekg/dns.
func packSigned(t testing.TB, m *dns.Msg, b []byte, change ...func(*dns.TSIG)) []byte {
	t.Helper()
	q := new(dns.Msg)
	if err := q.Unpack(b); err != nil || q.IsTsig() == nil {
		t.Errorf("the NOTIFY is not signed (%v)", err)
		return nil
	}
	sent := q.IsTsig()
	m.SetTsig(sent.Hdr.Name, sent.Algorithm, 300, time.Now().Unix())
	for _, c := range change {
		c(m.IsTsig())
	}
	signed, _, err := dns.TsigGenerate(m, testSecret, sent.MAC, false)
	if err != nil {
		t.Error(err)
	}
	return signed
}

// packTSIGError packs a response with a TSIG that has an error and no MAC (RFC 8945
// §5.3.2).
func packTSIGError(t testing.TB, m *dns.Msg, code uint16) []byte {
	t.Helper()
	m.Rcode = dns.RcodeNotAuth
	m.Extra = append(m.Extra, &dns.TSIG{
		Hdr:       dns.RR_Header{Name: "ns2.example.net.", Rrtype: dns.TypeTSIG, Class: dns.ClassANY},
		Algorithm: "hmac-sha256.", TimeSigned: uint64(time.Now().Unix()), Fudge: 300, OrigId: m.Id, Error: code,
	})
	return packPlain(t, m)
}

func mustNow() uint64 { return uint64(time.Now().Unix()) }
