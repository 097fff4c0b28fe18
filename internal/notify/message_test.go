// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"pgregory.net/rapid"
)

func mustRequest(t testing.TB, key *Key) *request {
	t.Helper()
	r, err := newRequest("example.org.", testSOA(7), key, "hmac-sha256")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A NOTIFY is as RFC 1996 §3.7 and §4.5 have it, and its signature is one for others.
func TestRequest(t *testing.T) {
	for _, key := range []*Key{nil, testKey()} {
		r := mustRequest(t, key)
		m := new(dns.Msg)
		if err := m.Unpack(r.packed); err != nil {
			t.Fatal(err)
		}
		if m.Opcode != dns.OpcodeNotify || m.Response || !m.Authoritative || m.RecursionDesired || m.Rcode != 0 {
			t.Errorf("header %v", m.MsgHdr)
		}
		if len(m.Question) != 1 || m.Question[0] != (dns.Question{Name: "example.org.", Qtype: dns.TypeSOA, Qclass: dns.ClassINET}) {
			t.Errorf("question %v", m.Question)
		}
		if len(m.Answer) != 1 || m.Answer[0].String() != testSOA(7).String() || len(m.Ns) != 0 {
			t.Errorf("the hint is %v", m.Answer)
		}
		if !r.udp {
			t.Error("too long for a datagram")
		}
		if key == nil {
			if len(m.Extra) != 0 {
				t.Errorf("unsigned, with %v", m.Extra)
			}
			continue
		}
		if err := dns.TsigVerify(append([]byte(nil), r.packed...), testSecret, "", false); err != nil {
			t.Error(err)
		}
	}
	ids := map[uint16]bool{}
	for range 20 {
		ids[mustRequest(t, nil).id] = true
	}
	if len(ids) < 15 {
		t.Errorf("%d different IDs of 20: they are not random", len(ids))
	}
}

// What no datagram of 512 octets takes goes without the hint, and then over TCP.
func TestRequestLong(t *testing.T) {
	label := strings.Repeat("x", 60) + "."
	for _, c := range []struct {
		names, key int // labels of the names in the SOA, and of the key
		hint, udp  bool
	}{{1, 1, true, true}, {4, 1, false, true}, {4, 4, false, false}} {
		key := testKey()
		key.Name = strings.Repeat(label, c.key)
		soa := testSOA(7)
		soa.Ns, soa.Mbox = strings.Repeat("a"+label, c.names), strings.Repeat("b"+label, c.names)
		zone := "example.org."
		if c.key == 4 {
			zone = strings.Repeat("z"+label, 4)
		}
		r, err := newRequest(zone, soa, key, "hmac-sha512")
		if err != nil {
			t.Fatal(err)
		}
		m := new(dns.Msg)
		if err := m.Unpack(r.packed); err != nil {
			t.Fatal(err)
		}
		if hint := len(m.Answer) == 1; hint != c.hint || r.udp != c.udp || (r.udp && len(r.packed) > 512) {
			t.Errorf("%+v: %d octets, hint %v, UDP %v", c, len(r.packed), hint, r.udp)
		}
	}
}

func TestRequestErrors(t *testing.T) {
	for name, make := range map[string]func() (*request, error){
		"zone":      func() (*request, error) { return newRequest("a..b.", testSOA(1), nil, "") },
		"algorithm": func() (*request, error) { return newRequest("example.org.", testSOA(1), testKey(), "hmac-md5") },
		"key": func() (*request, error) {
			return newRequest("example.org.", testSOA(1), &Key{Name: "k."}, "hmac-sha256")
		},
	} {
		if r, err := make(); err == nil || r != nil {
			t.Errorf("%s: got %v, %v", name, r, err)
		} else if strings.Contains(err.Error(), string(testKey().Secret)) || strings.Contains(err.Error(), testSecret) {
			t.Errorf("%s: the error has the secret: %v", name, err)
		}
	}
}

func plain(options ...option) maker {
	return func(t *testing.T, b []byte) []byte { return packPlain(t, respond(t, b, options...)) }
}

func signed(options ...option) maker {
	return func(t *testing.T, b []byte) []byte { return packSigned(t, respond(t, b, options...), b) }
}

func changed(change func(*dns.TSIG)) maker {
	return func(t *testing.T, b []byte) []byte { return packSigned(t, respond(t, b), b, change) }
}

func tsigError(code uint16) maker {
	return func(t *testing.T, b []byte) []byte { return packTSIGError(t, respond(t, b), code) }
}

func noQuestion(m *dns.Msg) { m.Question = nil }

// foreign stands for a message that is no answer.
const foreign Outcome = ""

type readCase struct {
	make   func(*testing.T, []byte) []byte
	want   Outcome
	proven bool
}

var unsignedReads = map[string]readCase{
	"unsigned: NOERROR":               {plain(), Accepted, true},
	"unsigned: name in capitals":      {plain(func(m *dns.Msg) { m.Question[0].Name = "EXAMPLE.ORG." }), Accepted, true},
	"unsigned: REFUSED":               {plain(withRcode(dns.RcodeRefused)), Refused, true},
	"unsigned: REFUSED, header alone": {plain(withRcode(dns.RcodeRefused), noQuestion), Refused, true},
	"unsigned: NOTAUTH":               {plain(withRcode(dns.RcodeNotAuth)), NotAuth, true},
	"unsigned: NOTIMP":                {plain(withRcode(dns.RcodeNotImplemented)), NotImplemented, true},
	"unsigned: SERVFAIL":              {plain(withRcode(dns.RcodeServerFailure)), ServerFailure, true},
	"unsigned: FORMERR":               {plain(withRcode(dns.RcodeFormatError)), OtherAnswer, true},
	"NOERROR without question":        {plain(noQuestion), foreign, false},
	"another ID":                      {plain(func(m *dns.Msg) { m.Id++ }), foreign, false},
	"the NOTIFY itself":               {func(_ *testing.T, b []byte) []byte { return b }, foreign, false},
	"a response to a query":           {plain(func(m *dns.Msg) { m.Opcode = dns.OpcodeQuery }), foreign, false},
	"another zone":                    {plain(func(m *dns.Msg) { m.Question[0].Name = "example.com." }), foreign, false},
	"another zone, REFUSED":           {plain(withRcode(dns.RcodeRefused), func(m *dns.Msg) { m.Question[0].Name = "." }), foreign, false},
	"another type":                    {plain(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeNS }), foreign, false},
	"another class":                   {plain(func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }), foreign, false},
	"two questions":                   {plain(func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }), foreign, false},
	"half a message":                  {func(t *testing.T, b []byte) []byte { return plain()(t, b)[:20] }, foreign, false},
	"nothing":                         {func(*testing.T, []byte) []byte { return nil }, foreign, false},
}

var signedReads = map[string]readCase{
	"signed: NOERROR":              {signed(), Accepted, true},
	"signed: REFUSED":              {signed(withRcode(dns.RcodeRefused)), Refused, true},
	"signed: NOTAUTH":              {signed(withRcode(dns.RcodeNotAuth)), NotAuth, true},
	"signed: SERVFAIL":             {signed(withRcode(dns.RcodeServerFailure)), ServerFailure, true},
	"NOERROR without signature":    {plain(), Unproven, false},
	"REFUSED without signature":    {plain(withRcode(dns.RcodeRefused)), Refused, false},
	"NOTAUTH without signature":    {plain(withRcode(dns.RcodeNotAuth)), NotAuth, false},
	"BADKEY":                       {tsigError(dns.RcodeBadKey), BadKey, false},
	"BADSIG":                       {tsigError(dns.RcodeBadSig), BadSignature, false},
	"BADTRUNC":                     {tsigError(dns.RcodeBadTrunc), BadSignature, false},
	"BADTIME":                      {tsigError(dns.RcodeBadTime), BadTime, false},
	"a TSIG error of its own kind": {tsigError(99), OtherAnswer, false},
	"a signature of last hour":     {changed(func(s *dns.TSIG) { s.TimeSigned -= 3600 }), Unproven, false},
	"a signature of next hour":     {changed(func(s *dns.TSIG) { s.TimeSigned += 3600 }), Unproven, false},
	"another key's name":           {changed(func(s *dns.TSIG) { s.Hdr.Name = "other.example.net." }), Unproven, false},
	"another algorithm":            {changed(func(s *dns.TSIG) { s.Algorithm = dns.HmacSHA512 }), Unproven, false},
	"signed as if to another NOTIFY": {func(t *testing.T, b []byte) []byte {
		m := respond(t, b)
		m.SetTsig("ns2.example.net.", dns.HmacSHA256, 300, int64(mustNow()))
		signed, _, err := dns.TsigGenerate(m, testSecret, strings.Repeat("00", 32), false)
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}, Unproven, false},
	"signed, and changed": {func(t *testing.T, b []byte) []byte {
		got := packSigned(t, respond(t, b, withRcode(dns.RcodeRefused)), b)
		got[3] &^= 0xf // NOERROR
		return got
	}, Unproven, false},
	"two signatures": {func(t *testing.T, b []byte) []byte {
		m := new(dns.Msg)
		if err := m.Unpack(packSigned(t, respond(t, b), b)); err != nil {
			t.Fatal(err)
		}
		m.Extra = append(m.Extra, m.Extra[0])
		return packPlain(t, m)
	}, Unproven, false},
	"no MAC": {func(t *testing.T, b []byte) []byte {
		m := respond(t, b)
		m.SetTsig("ns2.example.net.", dns.HmacSHA256, 300, int64(mustNow()))
		return packPlain(t, m)
	}, Unproven, false},
}

// What counts as an answer, and what it says: RFC 1996 §3.6 to §3.12, RFC 8945 §5.3.
func TestRead(t *testing.T) {
	checkReads(t, nil, unsignedReads)
	checkReads(t, testKey(), signedReads)
}

func checkReads(t *testing.T, key *Key, cases map[string]readCase) {
	t.Helper()
	for name, c := range cases {
		r := mustRequest(t, key)
		got, err := r.read(c.make(t, r.packed))
		if errors.Is(err, errForeign) != (c.want == foreign) || (err != nil) != (c.want == foreign) {
			t.Errorf("%s: error %v", name, err)
		} else if got.outcome != c.want || got.proven != c.proven {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

// No change of one bit leaves a signed acceptance accepted, but for upper and lower
// case in the names of key and algorithm, which means nothing.
func TestReadBitFlips(t *testing.T) {
	r := mustRequest(t, testKey())
	b := packSigned(t, respond(t, r.packed), r.packed)
	if a, err := r.read(b); err != nil || a.outcome != Accepted {
		t.Fatal(a, err)
	}
	tsig := len(r.packed) - len(mustRequest(t, nil).packed) // the same in both
	for i := range b {
		for bit := range 8 {
			flipped := append([]byte(nil), b...)
			flipped[i] ^= 1 << bit
			a, err := r.read(flipped)
			if err == nil && a.outcome == Accepted && (bit != 5 || i < len(b)-tsig) {
				t.Errorf("octet %d, bit %d: still accepted", i, bit)
			}
		}
	}
}

// Whatever else a response has, it is what its header, question and signature say.
func TestReadProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		keyed := rapid.Bool().Draw(rt, "keyed")
		var key *Key
		if keyed {
			key = testKey()
		}
		r := mustRequest(t, key)
		rcode := rapid.IntRange(0, 11).Draw(rt, "rcode")
		sameID := rapid.Bool().Draw(rt, "same ID")
		m := respond(t, r.packed, withRcode(rcode), func(m *dns.Msg) {
			m.Truncated = rapid.Bool().Draw(rt, "TC")
			m.Authoritative = rapid.Bool().Draw(rt, "AA")
			if !sameID {
				m.Id += uint16(rapid.IntRange(1, 65535).Draw(rt, "apart"))
			}
			if rapid.Bool().Draw(rt, "answer") {
				m.Answer = []dns.RR{testSOA(rapid.Uint32().Draw(rt, "serial"))}
			}
			if rapid.Bool().Draw(rt, "EDNS") {
				m.SetEdns0(1232, false)
			}
		})
		truncated, isSigned := m.Truncated, keyed && rapid.Bool().Draw(rt, "signed")
		b := packPlain(t, m)
		if isSigned {
			b = packSigned(t, m, r.packed)
		}
		a, err := r.read(b)
		switch {
		case !sameID:
			if !errors.Is(err, errForeign) {
				rt.Fatalf("another ID: %v", err)
			}
		case err != nil:
			rt.Fatal(err)
		case (a.outcome == Accepted) != (rcode == 0 && isSigned == keyed):
			rt.Fatalf("rcode %d, keyed %v, signed %v: %+v", rcode, keyed, isSigned, a)
		case a.proven != (isSigned == keyed), a.tc != truncated, a.rcode != rcode:
			rt.Fatalf("%+v", a)
		}
	})
}

// FuzzRead: nobody without the secret has a notice accepted, and one without a key only
// by what looks like a response to it.
func FuzzRead(f *testing.F) {
	signed, unsigned := mustRequest(f, testKey()), mustRequest(f, nil)
	f.Add(packPlain(f, respond(f, unsigned.packed)))
	f.Add(packTSIGError(f, respond(f, signed.packed), dns.RcodeBadKey))
	f.Add(signed.packed)
	m := respond(f, signed.packed)
	m.SetTsig("ns2.example.net.", dns.HmacSHA256, 300, int64(mustNow()))
	forged, _, err := dns.TsigGenerate(m, "YW5vdGhlciBzZWNyZXQ=", hex.EncodeToString(signed.mac), false)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(forged)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 12 {
			b = append(b, make([]byte, 12)...)
		}
		for _, r := range []*request{signed, unsigned} {
			b[0], b[1] = byte(r.id>>8), byte(r.id)
			a, err := r.read(b)
			if err != nil {
				continue
			}
			if r == signed && (a.proven || a.outcome == Accepted) {
				t.Fatalf("forged: %x", b)
			}
			if b[2]>>7 != 1 || b[2]>>3&0xf != dns.OpcodeNotify || (a.outcome == Accepted) != (r == unsigned && b[3]&0xf == 0 && a.rcode == 0) {
				t.Fatalf("%+v of %x", a, b)
			}
		}
	})
}
