// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// responseTo makes a signed response and what verifies it, with miekg/dns.
func responseTo(t testing.TB, algorithm string, change func(*dns.Msg)) (b, secret, requestMAC []byte) {
	t.Helper()
	const text = "YSBzZWNyZXQgZm9yIHRlc3RzIG9mIHJlc3BvbnNlcw=="
	secret, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	requestMAC = bytes.Repeat([]byte{7}, 32)
	m := new(dns.Msg).SetNotify("example.org.")
	m.Response = true
	m.SetEdns0(1232, false)
	m.SetTsig("Key.example.", algorithm, 300, 1_800_000_000)
	change(m)
	if b, _, err = dns.TsigGenerate(m, text, hex.EncodeToString(requestMAC), false); err != nil {
		t.Fatal(err)
	}
	return b, secret, requestMAC
}

func TestVerifyResponse(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	for _, algorithm := range []string{dns.HmacSHA1, dns.HmacSHA224, dns.HmacSHA256, dns.HmacSHA384, dns.HmacSHA512} {
		for rcode := range 11 { // NOTAUTH too, which dns.TsigVerify never verifies
			b, secret, mac := responseTo(t, algorithm, func(m *dns.Msg) { m.Rcode = rcode })
			kept := bytes.Clone(b)
			verify := func(b []byte, key, alg string, secret, mac []byte, at time.Time) VerifyStatus {
				return VerifyResponse(b, key, alg, secret, mac, at)
			}
			for name, c := range map[string]struct{ got, want VerifyStatus }{
				"good":              {verify(b, "key.example.", algorithm, secret, mac, at), VerifyOK},
				"early":             {verify(b, "key.example.", algorithm, secret, mac, at.Add(-300*time.Second)), VerifyOK},
				"late":              {verify(b, "key.example.", algorithm, secret, mac, at.Add(301*time.Second)), VerifyBadTime},
				"too early":         {verify(b, "key.example.", algorithm, secret, mac, at.Add(-301*time.Second)), VerifyBadTime},
				"another key":       {verify(b, "kay.example.", algorithm, secret, mac, at), VerifyBadKey},
				"no secret":         {verify(b, "key.example.", algorithm, nil, mac, at), VerifyBadKey},
				"unknown algorithm": {verify(b, "key.example.", "hmac-md5.", secret, mac, at), VerifyBadKey},
				"another secret":    {verify(b, "key.example.", algorithm, secret[1:], mac, at), VerifyBadSig},
				"another request":   {verify(b, "key.example.", algorithm, secret, mac[1:], at), VerifyBadSig},
				"a longer message":  {verify(append(bytes.Clone(b), 0), "key.example.", algorithm, secret, mac, at), VerifyMalformed},
				"a shorter message": {verify(b[:len(b)-1], "key.example.", algorithm, secret, mac, at), VerifyMalformed},
				"nothing":           {verify(nil, "key.example.", algorithm, secret, mac, at), VerifyMalformed},
			} {
				if c.got != c.want {
					t.Errorf("%s, rcode %d, %s: %s, want %s", algorithm, rcode, name, c.got, c.want)
				}
			}
			if !bytes.Equal(b, kept) {
				t.Error("the response was changed")
			}
			for i := range b {
				flipped := bytes.Clone(b)
				flipped[i] ^= 1 << (i % 5) // never the one of upper and lower case
				if i >= 2 && verify(flipped, "key.example.", algorithm, secret, mac, at) == VerifyOK {
					t.Errorf("%s: a change of octet %d is not noticed", algorithm, i)
				}
			}
		}
	}
}

// Unsigned, and signed twice.
func TestVerifyResponseMalformed(t *testing.T) {
	b, secret, mac := responseTo(t, dns.HmacSHA256, func(*dns.Msg) {})
	m := new(dns.Msg)
	if err := m.Unpack(b); err != nil {
		t.Fatal(err)
	}
	opt, tsig := m.Extra[0], m.Extra[1]
	for _, extra := range [][]dns.RR{nil, {opt}, {tsig, opt}, {tsig, tsig}, {opt, tsig, tsig}} {
		m.Extra = extra
		packed, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if got := VerifyResponse(packed, "key.example.", dns.HmacSHA256, secret, mac, time.Unix(1_800_000_000, 0)); got != VerifyMalformed {
			t.Errorf("%d extra records: %s", len(extra), got)
		}
	}
}

func FuzzVerifyResponse(f *testing.F) {
	b, secret, mac := responseTo(f, dns.HmacSHA256, func(*dns.Msg) {})
	f.Add(b[:12])
	f.Add(b[:len(b)-40])
	f.Add(append(bytes.Clone(b), b...))
	f.Fuzz(func(t *testing.T, got []byte) {
		if VerifyResponse(got, "key.example.", dns.HmacSHA256, secret, mac, time.Unix(1_800_000_000, 0)) == VerifyOK && !bytes.Equal(bytes.ToLower(got[2:]), bytes.ToLower(b[2:])) {
			t.Errorf("forged: %x", got)
		}
	})
}
