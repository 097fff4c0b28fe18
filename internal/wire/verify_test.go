// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"crypto/hmac"
	"encoding/binary"
	"encoding/hex"
	"testing"
	"time"

	"github.com/miekg/dns"
)

var verifyNow = time.Unix(1_700_000_000, 0)

// signedRequest packs a request with a TSIG made step by step as RFC 8945 §5.1 says,
// then parses it: what a handler gets. edit may change the TSIG before it is signed,
// truncate cuts the MAC (0: not).
func signedRequest(t testing.TB, req *dns.Msg, compress bool, algorithm string, truncate int, edit func(*dns.TSIG)) *dns.Msg {
	t.Helper()
	req.Compress = compress
	packed, err := req.Pack()
	if err != nil {
		t.Fatal(err)
	}
	tsig := &dns.TSIG{
		Hdr:       dns.RR_Header{Name: testKey, Rrtype: dns.TypeTSIG, Class: dns.ClassANY},
		Algorithm: dns.Fqdn(algorithm), TimeSigned: uint64(verifyNow.Unix()), Fudge: 300, OrigId: req.Id,
	}
	if edit != nil {
		edit(tsig)
	}
	digest := bytes.Clone(packed)
	binary.BigEndian.PutUint16(digest, tsig.OrigId)
	digest = append(digest, "\x03key\x07example\x03org\x00\x00\xff\x00\x00\x00\x00"...)
	digest = append(append(digest, byte(len(algorithm))), algorithm...)
	digest = append(digest, 0)
	digest = append(digest, binary.BigEndian.AppendUint64(nil, tsig.TimeSigned)[2:]...)
	digest = binary.BigEndian.AppendUint16(digest, tsig.Fudge)
	digest = append(digest, 0, 0, 0, 0)
	h := hmac.New(testHashes[algorithm], testSecret)
	h.Write(digest)
	mac := h.Sum(nil)
	if truncate > 0 {
		mac = append(mac, mac...)[:truncate]
	}
	tsig.MAC, tsig.MACSize = hex.EncodeToString(mac), uint16(len(mac))
	out := make([]byte, 1024)
	n, err := dns.PackRR(tsig, out, 0, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	packed = append(packed, out[:n]...)
	binary.BigEndian.PutUint16(packed[10:], uint16(len(req.Extra)+1))
	got := new(dns.Msg)
	if err := got.Unpack(packed); err != nil {
		t.Fatal(err)
	}
	return got
}

func ixfrRequest() *dns.Msg {
	req := new(dns.Msg)
	req.SetIxfr("eXample.org.", 7, "ns.example.org.", "host.example.org.")
	req.SetEdns0(1232, true)
	req.RecursionDesired = true
	return req
}

func TestVerifyRequest(t *testing.T) {
	at := func(d time.Duration) func(*dns.TSIG) {
		return func(t *dns.TSIG) { t.TimeSigned = uint64(verifyNow.Add(d).Unix()) }
	}
	for _, tt := range []struct {
		name      string
		algorithm string
		truncate  int
		edit      func(*dns.TSIG)
		want      VerifyStatus
	}{
		{name: "whole", algorithm: "hmac-sha256", want: VerifyOK},
		{name: "sha1", algorithm: "hmac-sha1", want: VerifyOK},
		{name: "sha224", algorithm: "hmac-sha224", want: VerifyOK},
		{name: "sha384", algorithm: "hmac-sha384", want: VerifyOK},
		{name: "sha512", algorithm: "hmac-sha512", want: VerifyOK},
		{name: "forwarded with another ID", algorithm: "hmac-sha256", edit: func(t *dns.TSIG) { t.OrigId++ }, want: VerifyOK},
		{name: "fudge 0 in time", algorithm: "hmac-sha256", edit: func(t *dns.TSIG) { t.Fudge = 0 }, want: VerifyOK},
		{name: "fudge 0 and a second late", algorithm: "hmac-sha256", edit: func(t *dns.TSIG) { t.Fudge = 0; t.TimeSigned-- }, want: VerifyBadTime},
		{name: "time 0", algorithm: "hmac-sha256", edit: func(t *dns.TSIG) { t.TimeSigned = 0 }, want: VerifyBadTime},
		{name: "as early as may be", algorithm: "hmac-sha256", edit: at(-300 * time.Second), want: VerifyOK},
		{name: "too early", algorithm: "hmac-sha256", edit: at(-301 * time.Second), want: VerifyBadTime},
		{name: "as late as may be", algorithm: "hmac-sha256", edit: at(300 * time.Second), want: VerifyOK},
		{name: "too late", algorithm: "hmac-sha256", edit: at(301 * time.Second), want: VerifyBadTime},
		{name: "end of time", algorithm: "hmac-sha256", edit: func(t *dns.TSIG) { t.TimeSigned = 1<<48 - 1 }, want: VerifyBadTime},
		{name: "half of sha256", algorithm: "hmac-sha256", truncate: 16, want: VerifyTruncated},
		{name: "an octet short", algorithm: "hmac-sha256", truncate: 31, want: VerifyTruncated},
		{name: "less than half of sha256", algorithm: "hmac-sha256", truncate: 15, want: VerifyMalformed},
		{name: "10 octets of sha1", algorithm: "hmac-sha1", truncate: 10, want: VerifyTruncated},
		{name: "9 octets of sha1", algorithm: "hmac-sha1", truncate: 9, want: VerifyMalformed},
		{name: "14 octets of sha224", algorithm: "hmac-sha224", truncate: 14, want: VerifyTruncated},
		{name: "13 octets of sha224", algorithm: "hmac-sha224", truncate: 13, want: VerifyMalformed},
		{name: "half of sha512", algorithm: "hmac-sha512", truncate: 32, want: VerifyTruncated},
		{name: "longer than the hash", algorithm: "hmac-sha256", truncate: 33, want: VerifyMalformed},
		{name: "truncated and late", algorithm: "hmac-sha256", truncate: 16, edit: at(-time.Hour), want: VerifyBadTime},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, compress := range []bool{false, true} {
				req := signedRequest(t, ixfrRequest(), compress, tt.algorithm, tt.truncate, tt.edit)
				if got := VerifyRequest(req, testSecret, verifyNow); got != tt.want {
					t.Errorf("compress %v: %s, want %s", compress, got, tt.want)
				}
				want := tt.want
				if want == VerifyOK || want == VerifyBadTime || want == VerifyTruncated {
					want = VerifyBadSig
				}
				if got := VerifyRequest(req, []byte("another secret"), verifyNow); got != want {
					t.Errorf("compress %v, another secret: %s, want %s", compress, got, want)
				}
			}
		})
	}
}

func TestVerifyRequestShape(t *testing.T) {
	good := func() *dns.Msg { return signedRequest(t, ixfrRequest(), true, "hmac-sha256", 0, nil) }
	tsig := func(m *dns.Msg) *dns.TSIG { return m.Extra[len(m.Extra)-1].(*dns.TSIG) }
	for _, tt := range []struct {
		name string
		edit func(*dns.Msg)
		want VerifyStatus
	}{
		{"untouched", func(*dns.Msg) {}, VerifyOK},
		{"no TSIG", func(m *dns.Msg) { m.Extra = m.Extra[:1] }, VerifyMalformed},
		{"nothing", func(m *dns.Msg) { m.Extra = nil }, VerifyMalformed},
		{"not last", func(m *dns.Msg) { m.Extra[0], m.Extra[1] = m.Extra[1], m.Extra[0] }, VerifyMalformed},
		{"two", func(m *dns.Msg) { m.Extra = append(m.Extra, m.Extra[1]) }, VerifyMalformed},
		{"another in the answer", func(m *dns.Msg) { m.Answer = append(m.Answer, m.Extra[1]) }, VerifyMalformed},
		{"class IN", func(m *dns.Msg) { tsig(m).Hdr.Class = dns.ClassINET }, VerifyMalformed},
		{"a TTL", func(m *dns.Msg) { tsig(m).Hdr.Ttl = 1 }, VerifyMalformed},
		{"MD5", func(m *dns.Msg) { tsig(m).Algorithm = dns.HmacMD5 }, VerifyBadKey},
		{"another algorithm", func(m *dns.Msg) { tsig(m).Algorithm = dns.HmacSHA224 }, VerifyMalformed},
		{"another key", func(m *dns.Msg) { tsig(m).Hdr.Name = "other." }, VerifyBadSig},
		{"key in other case", func(m *dns.Msg) { tsig(m).Hdr.Name = "KEY.EXAMPLE.ORG." }, VerifyOK},
		{"error set", func(m *dns.Msg) { tsig(m).Error = 1 }, VerifyBadSig},
		{"other data", func(m *dns.Msg) { tsig(m).OtherData, tsig(m).OtherLen = "00", 1 }, VerifyBadSig},
		{"question in other case", func(m *dns.Msg) { m.Question[0].Name = "example.org." }, VerifyBadSig},
		{"another type", func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAXFR }, VerifyBadSig},
		{"a flag", func(m *dns.Msg) { m.CheckingDisabled = true }, VerifyBadSig},
		{"another serial", func(m *dns.Msg) { m.Ns[0].(*dns.SOA).Serial++ }, VerifyBadSig},
		{"cannot be packed", func(m *dns.Msg) { m.Question[0].Name = "relative" }, VerifyBadSig},
	} {
		m := good()
		tt.edit(m)
		if b, err := m.Pack(); err == nil { // as it would have come over the wire
			m = new(dns.Msg)
			if err := m.Unpack(b); err != nil {
				t.Fatal(err)
			}
		}
		if got := VerifyRequest(m, testSecret, verifyNow); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	if got := VerifyRequest(good(), nil, verifyNow); got != VerifyBadKey {
		t.Errorf("no secret: %s", got)
	}
	if got := VerifyRequest(nil, testSecret, verifyNow); got != VerifyMalformed {
		t.Errorf("nil: %s", got)
	}
}

// TestFindTSIG: half a TSIG is none, and neither is one whose lengths count what is not
// there: miekg/dns finds the MAC of each of these right when it was made over them.
func TestFindTSIG(t *testing.T) {
	const alg = "\x0bhmac-sha256\x00"
	timers := "\x00\x00\x65\x53\xf1\x00\x01\x2c"
	mac := "\x00\x04abcd"
	whole := alg + timers + mac + "\x12\x34\x00\x00\x00\x00"
	for _, tt := range []struct {
		name, rdata string
		good        bool
	}{
		{"whole", whole, true},
		{"with other data", alg + timers + mac + "\x12\x34\x00\x12\x00\x06abcdef", true},
		{"an unknown algorithm", "\x00" + timers + mac + "\x12\x34\x00\x00\x00\x00", true},
		{"no MAC", alg + timers + "\x00\x00\x12\x34\x00\x11\x00\x00", true},
		{"empty", "", false},
		{"algorithm alone", alg, false},
		{"up to the time", alg + timers[:6], false},
		{"up to the fudge", alg + timers, false},
		{"up to the MAC size", alg + timers + "\x00\x00", false},
		{"up to the original ID", alg + timers + mac + "\x12\x34", false},
		{"up to the error", alg + timers + mac + "\x12\x34\x00\x00", false},
		{"other length without data", alg + timers + mac + "\x12\x34\x00\x00\x00\x06", false},
		{"compressed algorithm", "\xc0\x0c" + timers + mac + "\x12\x34\x00\x00\x00\x00", false},
	} {
		b := []byte("\x12\x34\x00\x00\x00\x01\x00\x00\x00\x00\x00\x01" + alg + "\x00\xfc\x00\x01" + "\x01k\x00\x00\xfa\x00\xff\x00\x00\x00\x00")
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(tt.rdata))), tt.rdata...)
		m := new(dns.Msg)
		if err := m.Unpack(b); err != nil {
			t.Errorf("%s: miekg/dns refuses it itself: %v", tt.name, err)
		}
		got, err := FindTSIG(m)
		if (err == nil) != tt.good || (got != nil) != tt.good {
			t.Errorf("%s: %v, %v", tt.name, got, err)
		}
	}
}

// FuzzVerifyRequest: never panics, changes nothing, and finds a signature only in what
// says the same as a request that has been signed.
func FuzzVerifyRequest(f *testing.F) {
	unsigned := func(m *dns.Msg) []byte {
		c := *m
		c.Id, c.Compress, c.Extra = 0, false, m.Extra[:len(m.Extra)-1]
		b, _ := c.Pack()
		return b
	}
	var signed []byte
	for _, truncate := range []int{0, 16} {
		m := signedRequest(f, ixfrRequest(), true, "hmac-sha256", truncate, nil)
		signed = unsigned(m)
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var m dns.Msg
		if m.Unpack(bytes.Clone(b)) != nil {
			return
		}
		before := m.String()
		got := VerifyRequest(&m, testSecret, verifyNow)
		if m.String() != before {
			t.Fatal("the request was changed")
		}
		switch got {
		case VerifyOK, VerifyTruncated, VerifyBadTime:
			if !bytes.Equal(unsigned(&m), signed) {
				t.Fatalf("%s: %v", got, before)
			}
		}
	})
}
