// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/hex"
	"strconv"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/miekg/dns"
)

// answerRow is one row of the answers table: what goes over the wire and what is on
// record. tsig is what RFC 8945 wants to see in the answer.
type answerRow struct {
	name    string
	network string // "tcp" unless said
	from    string // "" is 127.0.0.1, which is allowed
	query   func(t *testing.T) []byte

	rcode  int
	tsig   string // "": no TSIG record, "signed", "BADKEY", "BADSIG" (both without MAC), "BADTIME", "BADTRUNC" (both signed)
	ede    int    // -1: none
	soa    bool   // the answer is the SOA alone
	reason string // "": nothing on record
}

// answersPolicy is the policy that the rows are about: net and key, net and two
// conditions, and one zone that only gives increments.
const answersPolicy = `deny as outcast net 127.0.0.66
		allow as ns2 net 127.0.0.1 127.0.0.66 key a.example.net.
		allow as sealed net 127.0.0.3 key a.example.net. tls
		allow as pinned net 127.0.0.4 cert ns4.example.net
		allow as rarely net 127.0.0.5 key a.example.net. rate 1/1h
		allow as delta type IXFR net 127.0.0.6 key a.example.net.
		allow as whole type AXFR net 127.0.0.7 key a.example.net.`

func tsigQuery(qtype uint16, key, alg, secret string, options ...func(*dns.TSIG)) func(*testing.T) []byte {
	return func(t *testing.T) []byte {
		return xfrtest.Signed(t, xfrtest.Question(qtype, xfrtest.WithEDNS), key, alg, secret, options...)
	}
}

func plainQuery(m *dns.Msg) func(*testing.T) []byte {
	return func(t *testing.T) []byte { return xfrtest.Packed(t, m) }
}

// cut shortens the MAC of a signed message to n octets. The TSIG is the last record
// and ends with MAC, Original ID, Error and Other Len.
func cut(b []byte, keyName, alg string, n int) []byte {
	m := new(dns.Msg)
	if err := m.Unpack(b); err != nil {
		panic(err)
	}
	t := m.IsTsig()
	t.MAC = t.MAC[:2*n]
	t.MACSize = uint16(n)
	out, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return out
}

func shift(seconds int64) func(*dns.TSIG) {
	return func(t *dns.TSIG) { t.TimeSigned = uint64(time.Now().Unix() + seconds) }
}

func fudge(f uint16) func(*dns.TSIG) { return func(t *dns.TSIG) { t.Fudge = f } }

var answerRows = []answerRow{
	// Address: one constant, unsigned REFUSED, whether key or zone exist or not.
	{name: "stranger, unsigned", from: "127.0.0.9", query: plainQuery(xfrtest.Question(dns.TypeAXFR, xfrtest.WithEDNS)), rcode: dns.RcodeRefused, ede: -1, reason: "client-not-allowed"},
	{name: "stranger, right key", from: "127.0.0.9", query: tsigQuery(dns.TypeAXFR, xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA), rcode: dns.RcodeRefused, ede: -1, reason: "client-not-allowed"},
	{name: "stranger, wrong secret", from: "127.0.0.9", query: tsigQuery(dns.TypeAXFR, xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretB), rcode: dns.RcodeRefused, ede: -1, reason: "client-not-allowed"},
	{name: "stranger, unknown key", from: "127.0.0.9", query: tsigQuery(dns.TypeAXFR, "nobody.", dns.HmacSHA256, xfrtest.SecretB), rcode: dns.RcodeRefused, ede: -1, reason: "client-not-allowed"},
	{name: "stranger, no such zone", from: "127.0.0.9", query: plainQuery(xfrtest.Question(dns.TypeAXFR, xfrtest.WithEDNS, xfrtest.WithName("nowhere.example.org."))), rcode: dns.RcodeRefused, ede: -1, reason: "not-a-zone"},
	{name: "denied address, right key", from: "127.0.0.66", query: tsigQuery(dns.TypeAXFR, xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA), rcode: dns.RcodeRefused, ede: -1, reason: "client-not-allowed"},
	{name: "below the apex", query: plainQuery(xfrtest.Question(dns.TypeAXFR, xfrtest.WithEDNS, xfrtest.WithName("www.example.org."))), rcode: dns.RcodeRefused, ede: -1, reason: "not-a-zone"},
	{name: "below the apex, signed", query: func(t *testing.T) []byte {
		return xfrtest.Signed(t, xfrtest.Question(dns.TypeAXFR, xfrtest.WithName("www.example.org.")), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA)
	}, rcode: dns.RcodeRefused, tsig: "signed", ede: -1, reason: "not-a-zone"},

	// TSIG.
	{name: "key needed, none given", query: plainQuery(xfrtest.Question(dns.TypeAXFR, xfrtest.WithEDNS)), rcode: dns.RcodeRefused, ede: 18, reason: "tsig-required"},
	{name: "key needed, none given, no EDNS", query: plainQuery(xfrtest.Question(dns.TypeAXFR)), rcode: dns.RcodeRefused, ede: -1, reason: "tsig-required"},
	{name: "good key, not in a rule", query: tsigQuery(dns.TypeAXFR, xfrtest.KeyB, dns.HmacSHA256, xfrtest.SecretB), rcode: dns.RcodeRefused, tsig: "signed", ede: 18, reason: "tsig-key-not-allowed"},
	{name: "unknown key", query: tsigQuery(dns.TypeAXFR, "nobody.", dns.HmacSHA256, xfrtest.SecretA), rcode: dns.RcodeNotAuth, tsig: "BADKEY", ede: -1, reason: "tsig-bad-key"},
	{name: "algorithm below the floor", query: tsigQuery(dns.TypeAXFR, xfrtest.KeyA, dns.HmacSHA1, xfrtest.SecretA), rcode: dns.RcodeNotAuth, tsig: "BADKEY", ede: -1, reason: "tsig-weak-algorithm"},
	{name: "unknown algorithm", query: func(t *testing.T) []byte {
		m := xfrtest.Unpack(t, xfrtest.Signed(t, xfrtest.Question(dns.TypeAXFR), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA))
		m.IsTsig().Algorithm = "hmac-md5.sig-alg.reg.int."
		return xfrtest.Packed(t, m)
	}, rcode: dns.RcodeNotAuth, tsig: "BADKEY", ede: -1, reason: "tsig-weak-algorithm"},
	{name: "wrong secret", query: tsigQuery(dns.TypeAXFR, xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretB), rcode: dns.RcodeNotAuth, tsig: "BADSIG", ede: -1, reason: "tsig-bad-signature"},
	{name: "signed in the past", query: tsigQuery(dns.TypeAXFR, xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA, shift(-1000)), rcode: dns.RcodeNotAuth, tsig: "BADTIME", ede: -1, reason: "tsig-bad-time"},
	{name: "signed in the future", query: tsigQuery(dns.TypeAXFR, xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA, shift(1000)), rcode: dns.RcodeNotAuth, tsig: "BADTIME", ede: -1, reason: "tsig-bad-time"},
	{name: "a fudge of eighteen hours", query: tsigQuery(dns.TypeAXFR, xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA, shift(-1000), fudge(65535)), rcode: dns.RcodeNotAuth, tsig: "BADTIME", ede: -1, reason: "tsig-bad-time"},
	{name: "MAC cut to half", query: func(t *testing.T) []byte {
		return cut(xfrtest.Signed(t, xfrtest.Question(dns.TypeAXFR), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA), xfrtest.KeyA, dns.HmacSHA256, 16)
	}, rcode: dns.RcodeNotAuth, tsig: "BADTRUNC", ede: -1, reason: "tsig-bad-truncation"},
	{name: "MAC cut below what is permitted", query: func(t *testing.T) []byte {
		return cut(xfrtest.Signed(t, xfrtest.Question(dns.TypeAXFR), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA), xfrtest.KeyA, dns.HmacSHA256, 9)
	}, rcode: dns.RcodeFormatError, ede: -1, reason: "tsig-bad-truncation"},
	{name: "no MAC at all", query: func(t *testing.T) []byte {
		return cut(xfrtest.Signed(t, xfrtest.Question(dns.TypeAXFR), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA), xfrtest.KeyA, dns.HmacSHA256, 0)
	}, rcode: dns.RcodeFormatError, ede: -1, reason: "tsig-bad-truncation"},
	{name: "signature is no help without a need for one", from: "127.0.0.3", query: tsigQuery(dns.TypeAXFR, xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretB), rcode: dns.RcodeNotAuth, tsig: "BADSIG", ede: -1, reason: "tsig-bad-signature"},

	// Shape.
	{name: "TSIG not last", query: func(t *testing.T) []byte {
		m := xfrtest.Unpack(t, xfrtest.Signed(t, xfrtest.Question(dns.TypeAXFR), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA))
		m.Extra = append(m.Extra, &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT, Class: 1232}})
		return xfrtest.Packed(t, m)
	}, rcode: dns.RcodeFormatError, ede: -1, reason: "malformed"},
	{name: "two TSIGs", query: func(t *testing.T) []byte {
		m := xfrtest.Unpack(t, xfrtest.Signed(t, xfrtest.Question(dns.TypeAXFR), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA))
		m.Extra = append(m.Extra, m.Extra[len(m.Extra)-1])
		return xfrtest.Packed(t, m)
	}, rcode: dns.RcodeFormatError, ede: -1, reason: "malformed"},
	{name: "IXFR without SOA", query: func(t *testing.T) []byte {
		m := xfrtest.Question(dns.TypeIXFR)
		m.Ns = nil
		return xfrtest.Signed(t, m, xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA)
	}, rcode: dns.RcodeFormatError, tsig: "signed", ede: -1, reason: "malformed"},
	{name: "IXFR with another zone's SOA", query: func(t *testing.T) []byte {
		m := xfrtest.Question(dns.TypeIXFR)
		m.Ns[0].Header().Name = "example.net."
		return xfrtest.Signed(t, m, xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA)
	}, rcode: dns.RcodeFormatError, tsig: "signed", ede: -1, reason: "malformed"},
	{name: "AXFR with a record in authority", query: func(t *testing.T) []byte {
		return xfrtest.Signed(t, xfrtest.Question(dns.TypeAXFR, xfrtest.WithSerial(1)), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA)
	}, rcode: dns.RcodeFormatError, tsig: "signed", ede: -1, reason: "malformed"},
	{name: "opcode NOTIFY, type AXFR", query: func(t *testing.T) []byte {
		return xfrtest.Signed(t, xfrtest.Question(dns.TypeAXFR, func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA)
	}, rcode: dns.RcodeFormatError, tsig: "signed", ede: -1, reason: "malformed"},

	// Transport.
	{name: "AXFR over UDP", network: "udp", query: tsigQuery(dns.TypeAXFR, xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA), rcode: dns.RcodeNotImplemented, tsig: "signed", ede: 21, reason: "transport-unsupported"},
	{name: "AXFR over UDP, stranger", network: "udp", from: "127.0.0.9", query: plainQuery(xfrtest.Question(dns.TypeAXFR, xfrtest.WithEDNS)), rcode: dns.RcodeNotImplemented, ede: 21, reason: "transport-unsupported"},
	{name: "TLS needed", from: "127.0.0.3", query: tsigQuery(dns.TypeAXFR, xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA), rcode: dns.RcodeRefused, tsig: "signed", ede: 18, reason: "tls-required"},
	{name: "certificate needed, no TLS", from: "127.0.0.4", query: plainQuery(xfrtest.Question(dns.TypeAXFR, xfrtest.WithEDNS)), rcode: dns.RcodeRefused, ede: 18, reason: "tls-required"},

	// IXFR.
	{name: "IXFR over UDP, behind", network: "udp", query: tsigQuery(dns.TypeIXFR, xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA), rcode: dns.RcodeSuccess, tsig: "signed", ede: -1, soa: true, reason: "policy-allow"},
	{name: "IXFR over UDP, denied", network: "udp", query: plainQuery(xfrtest.Question(dns.TypeIXFR, xfrtest.WithEDNS)), rcode: dns.RcodeRefused, ede: 18, reason: "tsig-required"},
	{name: "IXFR, current", query: func(t *testing.T) []byte {
		return xfrtest.Signed(t, xfrtest.Question(dns.TypeIXFR, xfrtest.WithSerial(7), xfrtest.WithEDNS), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA)
	}, rcode: dns.RcodeSuccess, tsig: "signed", ede: -1, soa: true, reason: "policy-allow"},
	{name: "IXFR from the future", query: func(t *testing.T) []byte {
		return xfrtest.Signed(t, xfrtest.Question(dns.TypeIXFR, xfrtest.WithSerial(8)), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA)
	}, rcode: dns.RcodeSuccess, tsig: "signed", ede: -1, soa: true, reason: "policy-allow"},
	{name: "increments only, a whole zone needed", from: "127.0.0.6", query: tsigQuery(dns.TypeIXFR, xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA), rcode: dns.RcodeRefused, tsig: "signed", ede: 18, reason: "type-not-allowed"},
	{name: "increments only, AXFR", from: "127.0.0.6", query: tsigQuery(dns.TypeAXFR, xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA), rcode: dns.RcodeRefused, tsig: "signed", ede: 18, reason: "type-not-allowed"},
	{name: "whole zones only, IXFR over UDP, behind", from: "127.0.0.7", network: "udp", query: tsigQuery(dns.TypeIXFR, xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA), rcode: dns.RcodeSuccess, tsig: "signed", ede: -1, soa: true, reason: "policy-allow"},
	{name: "whole zones only, IXFR, current", from: "127.0.0.7", query: func(t *testing.T) []byte {
		return xfrtest.Signed(t, xfrtest.Question(dns.TypeIXFR, xfrtest.WithSerial(7), xfrtest.WithEDNS), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA)
	}, rcode: dns.RcodeSuccess, tsig: "signed", ede: -1, soa: true, reason: "policy-allow"},
	{name: "whole zones only, IXFR without the key", from: "127.0.0.7", query: plainQuery(xfrtest.Question(dns.TypeIXFR, xfrtest.WithEDNS)), rcode: dns.RcodeRefused, ede: 18, reason: "tsig-required"},

	// Never meets the plugin: miekg/dns and CoreDNS answer.
	{name: "class CH", query: plainQuery(xfrtest.Question(dns.TypeAXFR, func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS })), rcode: dns.RcodeRefused, ede: -1},
	{name: "class ANY", query: plainQuery(xfrtest.Question(dns.TypeAXFR, func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassANY })), rcode: dns.RcodeRefused, ede: -1},
	{name: "opcode UPDATE, type AXFR", query: plainQuery(xfrtest.Question(dns.TypeAXFR, func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate })), rcode: dns.RcodeNotImplemented, ede: -1},
	{name: "a zone in no block", query: plainQuery(xfrtest.Question(dns.TypeAXFR, xfrtest.WithName("example.com."))), rcode: dns.RcodeRefused, ede: -1},
}

// TestAnswers asks every row over real sockets.
func TestAnswers(t *testing.T) {
	for _, row := range answerRows {
		t.Run(row.name, func(t *testing.T) {
			s := xfrtest.Serve(t, xfrtest.Guarded(answersPolicy, ""), map[string]string{"db": xfrtest.ZoneOrg})
			network := row.network
			if network == "" {
				network = "tcp"
			}
			from := row.from
			if from == "" {
				from = "127.0.0.1"
			}
			query := row.query(t)
			raw := xfrtest.Ask(t, network, s.Addr(t, network, 0), from, query, 1)
			if len(raw) != 1 {
				t.Fatal("closed without an answer")
			}
			row.check(t, query, raw[0])
			if row.reason == "" {
				return
			}
			e := s.Events(t, 1)[0]
			if e["event.reason"] != row.reason {
				t.Errorf("the event's reason is %v, want %s", e["event.reason"], row.reason)
			}
			if e["dns.response_code"] != dns.RcodeToString[row.rcode] {
				t.Errorf("the event's rcode is %v, want %s", e["dns.response_code"], dns.RcodeToString[row.rcode])
			}
		})
	}
}

// check compares the answer on the wire with the row.
func (row *answerRow) check(t *testing.T, query, raw []byte) {
	t.Helper()
	m := xfrtest.Unpack(t, raw)
	q := xfrtest.Unpack(t, query)
	if m.Id != q.Id || !m.Response || m.Opcode != q.Opcode {
		t.Errorf("no answer to this query: %v", m.MsgHdr)
	}
	if m.Rcode != row.rcode {
		t.Errorf("rcode %s, want %s", dns.RcodeToString[m.Rcode], dns.RcodeToString[row.rcode])
	}
	if got := xfrtest.EDEOf(m); got != row.ede {
		t.Errorf("EDE %d, want %d", got, row.ede)
	}
	if (m.IsEdns0() != nil) && (q.IsEdns0() == nil) {
		t.Error("an OPT for a client without EDNS")
	}
	if row.soa {
		if len(m.Answer) != 1 || m.Answer[0].Header().Rrtype != dns.TypeSOA || !m.Authoritative || m.Truncated {
			t.Errorf("the answer is not the SOA alone, with authority: %v", m)
		}
		if len(raw) > len(query)+200 {
			t.Errorf("%d octets for %d", len(raw), len(query))
		}
	} else if len(m.Answer)+len(m.Ns) > 0 {
		t.Errorf("records in a refusal: %v", m)
	}
	row.checkTSIG(t, q, m, raw)
}

func (row *answerRow) checkTSIG(t *testing.T, q, m *dns.Msg, raw []byte) {
	t.Helper()
	sig := m.IsTsig()
	if (sig != nil) != (row.tsig != "") {
		t.Fatalf("TSIG in the answer: %v, want %q", sig, row.tsig)
	}
	if sig == nil {
		return
	}
	wantError := map[string]uint16{"signed": 0, "BADKEY": dns.RcodeBadKey, "BADSIG": dns.RcodeBadSig, "BADTIME": dns.RcodeBadTime, "BADTRUNC": dns.RcodeBadTrunc}[row.tsig]
	if sig.Error != wantError {
		t.Errorf("TSIG error %d, want %s", sig.Error, row.tsig)
	}
	if diff := int64(sig.TimeSigned) - time.Now().Unix(); row.tsig != "BADTIME" && (diff < -60 || diff > 60) {
		t.Errorf("TSIG time %d is not now: dig takes that for a wrong clock", sig.TimeSigned)
	}
	if row.tsig == "BADKEY" || row.tsig == "BADSIG" {
		if sig.MACSize != 0 {
			t.Errorf("a MAC of %d octets in a %s answer", sig.MACSize, row.tsig)
		}
		return
	}
	// miekg/dns does not verify NOTAUTH answers; the MAC covers the rcode, so it is
	// computed again here, over the answer without its TSIG (RFC 8945 §4.3).
	secret := map[string]string{xfrtest.KeyA: xfrtest.SecretA, xfrtest.KeyB: xfrtest.SecretB}[dns.CanonicalName(sig.Hdr.Name)]
	again := m.Copy()
	again.Compress = true
	stub := again.IsTsig()
	wantMAC := stub.MAC
	for _, compress := range []bool{true, false} {
		c := again.Copy()
		c.Compress = compress
		_, mac, err := dns.TsigGenerate(c, secret, q.IsTsig().MAC, false)
		if err != nil {
			t.Fatal(err)
		}
		if mac == wantMAC {
			if row.tsig == "BADTIME" {
				checkBadTime(t, q.IsTsig(), sig)
			}
			return
		}
	}
	t.Errorf("the answer's signature is not good: %v", sig)
}

// checkBadTime holds a BADTIME answer against RFC 8945 §5.2.3.
func checkBadTime(t *testing.T, asked, got *dns.TSIG) {
	t.Helper()
	if got.TimeSigned != asked.TimeSigned || got.Fudge != asked.Fudge {
		t.Errorf("BADTIME with time %d and fudge %d, want the client's %d and %d", got.TimeSigned, got.Fudge, asked.TimeSigned, asked.Fudge)
	}
	other, err := hex.DecodeString(got.OtherData)
	if err != nil || len(other) != 6 {
		t.Fatalf("Other Data %q is not 6 octets", got.OtherData)
	}
	ours, _ := strconv.ParseInt(got.OtherData, 16, 64)
	if diff := ours - time.Now().Unix(); diff < -60 || diff > 60 {
		t.Errorf("the server's time in BADTIME is %d", ours)
	}
}
