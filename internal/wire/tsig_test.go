// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

const testKey = "Key.Example.org."

var (
	testSecret = []byte("0123456789abcdef0123456789abcdef")
	testHashes = map[string]func() hash.Hash{
		"hmac-sha1": sha1.New, "hmac-sha224": sha256.New224, "hmac-sha256": sha256.New,
		"hmac-sha384": sha512.New384, "hmac-sha512": sha512.New,
	}
)

// naiveTSIG is RFC 8945 §4.3 and §5.3.1 step by step: it takes the TSIG off a signed
// message and gives the MAC that should be in it.
func naiveTSIG(t testing.TB, signed []byte, newHash func() hash.Hash, prior []byte, first bool) (tsig *dns.TSIG, mac []byte) {
	t.Helper()
	var m dns.Msg
	if err := m.Unpack(bytes.Clone(signed)); err != nil {
		t.Fatal(err)
	}
	tsig = m.IsTsig()
	if tsig == nil {
		t.Fatal("no TSIG at the end")
	}
	var owner, algorithm []byte
	for _, l := range strings.Split(strings.TrimSuffix(strings.ToLower(tsig.Hdr.Name), "."), ".") {
		owner = append(append(owner, byte(len(l))), l...)
	}
	owner = append(owner, 0)
	for _, l := range strings.Split(strings.TrimSuffix(strings.ToLower(tsig.Algorithm), "."), ".") {
		algorithm = append(append(algorithm, byte(len(l))), l...)
	}
	algorithm = append(algorithm, 0)
	other, _ := hex.DecodeString(tsig.OtherData)

	size := len(owner) + 10 + len(algorithm) + 6 + 2 + 2 + int(tsig.MACSize) + 2 + 2 + 2 + len(other)
	if !bytes.EqualFold(signed[len(signed)-size:len(signed)-size+len(owner)], owner) {
		t.Fatal("the TSIG's owner is compressed")
	}
	plain := bytes.Clone(signed[:len(signed)-size])
	binary.BigEndian.PutUint16(plain[10:], binary.BigEndian.Uint16(plain[10:])-1)
	binary.BigEndian.PutUint16(plain, tsig.OrigId)

	var digest []byte
	if prior != nil {
		digest = append(binary.BigEndian.AppendUint16(digest, uint16(len(prior))), prior...)
	}
	digest = append(digest, plain...)
	timers := binary.BigEndian.AppendUint64(nil, tsig.TimeSigned)[2:]
	timers = binary.BigEndian.AppendUint16(timers, tsig.Fudge)
	if first {
		digest = append(digest, owner...)
		digest = append(digest, 0, 255, 0, 0, 0, 0)
		digest = append(digest, algorithm...)
		digest = append(digest, timers...)
		digest = binary.BigEndian.AppendUint16(digest, tsig.Error)
		digest = binary.BigEndian.AppendUint16(digest, uint16(len(other)))
		digest = append(digest, other...)
	} else {
		digest = append(digest, timers...)
	}
	h := hmac.New(newHash, testSecret)
	h.Write(digest)
	return tsig, h.Sum(nil)
}

func TestSignerChain(t *testing.T) {
	msgs := packAll(t, benchApex, 0, benchZone(2000))
	if len(msgs) < 4 {
		t.Fatalf("only %d messages", len(msgs))
	}
	clock := time.Now()
	for algorithm, newHash := range testHashes {
		t.Run(algorithm, func(t *testing.T) {
			requestMAC := bytes.Repeat([]byte{7}, newHash().Size())
			s, err := NewSigner(testKey, algorithm, testSecret, requestMAC, func() time.Time { return clock })
			if err != nil {
				t.Fatal(err)
			}
			prior, priorHex := requestMAC, hex.EncodeToString(requestMAC)
			for i, m := range msgs {
				binary.BigEndian.PutUint16(m.Bytes, 4711)
				before := bytes.Clone(m.Bytes)
				signed := s.AppendSigned([]byte("before"), m.Bytes)[len("before"):]
				if !bytes.Equal(before, m.Bytes) {
					t.Fatal("the message was changed")
				}
				if len(signed) != len(m.Bytes)+s.Size() {
					t.Fatalf("signing added %d octets, Size is %d", len(signed)-len(m.Bytes), s.Size())
				}
				tsig, mac := naiveTSIG(t, signed, newHash, prior, i == 0)
				if tsig.MAC != hex.EncodeToString(mac) {
					t.Fatalf("message %d: MAC %s, want %x", i, tsig.MAC, mac)
				}
				if tsig.OrigId != 4711 || tsig.TimeSigned != uint64(clock.Unix()) || tsig.Fudge != 300 || tsig.Error != 0 || tsig.OtherLen != 0 || tsig.Hdr.Class != dns.ClassANY || tsig.Hdr.Ttl != 0 {
					t.Fatalf("message %d: %v", i, tsig)
				}
				secret := base64.StdEncoding.EncodeToString(testSecret)
				if err := dns.TsigVerify(bytes.Clone(signed), secret, priorHex, i > 0); err != nil {
					t.Fatalf("message %d: miekg/dns: %v", i, err)
				}
				prior, priorHex = mac, tsig.MAC
			}
		})
	}
}

// TestSignerRequest: a request has no MAC before it (RFC 8945 §5.1).
func TestSignerRequest(t *testing.T) {
	req := new(dns.Msg)
	req.SetNotify("example.org.")
	packed, _ := req.Pack()
	s, err := NewSigner(testKey, "HMAC-SHA256.", testSecret, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	signed := s.AppendSigned(nil, packed)
	if tsig, mac := naiveTSIG(t, signed, sha256.New, nil, true); tsig.MAC != hex.EncodeToString(mac) {
		t.Errorf("MAC %s, want %x", tsig.MAC, mac)
	}
	if err := dns.TsigVerify(signed, base64.StdEncoding.EncodeToString(testSecret), "", false); err != nil {
		t.Error(err)
	}
}

func TestSignerRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, key, algorithm string
		secret               []byte
		is                   error
	}{
		{"MD5", testKey, "hmac-md5.sig-alg.reg.int.", testSecret, ErrAlgorithm},
		{"unknown algorithm", testKey, "hmac-sha3.", testSecret, ErrAlgorithm},
		{"no algorithm", testKey, "", testSecret, ErrAlgorithm},
		{"no secret", testKey, "hmac-sha256", nil, ErrKey},
		{"relative key", "key", "hmac-sha256", testSecret, ErrName},
	} {
		s, err := NewSigner(tt.key, tt.algorithm, tt.secret, nil, nil)
		if s != nil || !errors.Is(err, tt.is) || strings.Contains(err.Error(), string(testSecret)) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if _, err := NewResponseSigner(&dns.TSIG{Hdr: dns.RR_Header{Name: testKey}, Algorithm: "hmac-sha256."}, testSecret); !errors.Is(err, ErrKey) {
		t.Errorf("answer to a request without MAC: %v", err)
	}
}

func TestTSIGErrors(t *testing.T) {
	answer := new(dns.Msg)
	answer.SetRcode(new(dns.Msg).SetAxfr("example.org."), dns.RcodeNotAuth)
	packed, err := answer.Pack()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1<<32+5, 0)
	t.Run("BADTIME is signed and tells both clocks", func(t *testing.T) {
		request := &dns.TSIG{Hdr: dns.RR_Header{Name: testKey}, Algorithm: "hmac-sha256.", TimeSigned: 99, Fudge: 42, MAC: "0a0b", MACSize: 2}
		s, err := NewResponseSigner(request, testSecret)
		if err != nil {
			t.Fatal(err)
		}
		tsig, mac := naiveTSIG(t, s.AppendError(nil, packed, BadTime(request, now)), sha256.New, []byte{0x0a, 0x0b}, true)
		if tsig.MAC != hex.EncodeToString(mac) {
			t.Errorf("MAC %s, want %x", tsig.MAC, mac)
		}
		if tsig.Error != dns.RcodeBadTime || tsig.TimeSigned != 99 || tsig.Fudge != 42 || tsig.OtherData != "000100000005" {
			t.Errorf("%v", tsig)
		}
	})
	t.Run("BADSIG is not signed", func(t *testing.T) {
		e := TSIGError{Code: dns.RcodeBadSig, TimeSigned: uint64(now.Unix()), Fudge: Fudge}
		b, err := AppendUnsignedError(nil, packed, testKey, "HMAC-MD5.SIG-ALG.REG.INT.", e)
		if err != nil {
			t.Fatal(err)
		}
		var m dns.Msg
		if err := m.Unpack(b); err != nil {
			t.Fatal(err)
		}
		tsig := m.IsTsig()
		if tsig == nil || tsig.Error != dns.RcodeBadSig || tsig.MACSize != 0 || tsig.OtherLen != 0 || tsig.TimeSigned != uint64(now.Unix()) ||
			tsig.Hdr.Name != testKey || tsig.OrigId != answer.Id || m.Rcode != dns.RcodeNotAuth {
			t.Errorf("%v", tsig)
		}
		if _, err := AppendUnsignedError(nil, packed, "", "x.", e); !errors.Is(err, ErrName) {
			t.Error(err)
		}
	})
}

func TestSigningDoesNotAllocate(t *testing.T) {
	msg := packAll(t, benchApex, 0, benchZone(400))[0].Bytes
	s, err := NewSigner(testKey, "hmac-sha256.", testSecret, testSecret, nil)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 0, 1<<16)
	if n := testing.AllocsPerRun(100, func() { s.AppendSigned(buf, msg) }); n != 0 {
		t.Errorf("%v allocations a message", n)
	}
}

func TestEnvelope(t *testing.T) {
	req := new(dns.Msg).SetAxfr("example.org.")
	soa := parseRR(t, awkward[0])
	msgs := packAll(t, "example.org.", 0, []dns.RR{soa, bigTXT("t.example.org.", 65280), soa})
	opt, err := PackOPT(&dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT, Class: 1232}})
	if err != nil || len(opt) != 11 {
		t.Fatalf("OPT %x, %v", opt, err)
	}
	newEnvelope := func() Envelope {
		env, err := EnvelopeFor(req)
		if err != nil {
			t.Fatal(err)
		}
		return env
	}
	t.Run("OPT before TSIG in every message", func(t *testing.T) {
		env := newEnvelope()
		env.OPT = opt
		env.Signer, _ = NewSigner(testKey, "hmac-sha512.", testSecret, testSecret, nil)
		for i, m := range msgs {
			b, err := env.Append(nil, m)
			if err != nil {
				t.Fatal(err)
			}
			var got dns.Msg
			if err := got.Unpack(b); err != nil {
				t.Fatal(err)
			}
			if len(b) > 65535 || len(b) != len(m.Bytes)+env.overhead() || got.Id != req.Id || len(got.Extra) != 2 || got.IsTsig() == nil || got.Extra[0].Header().Rrtype != dns.TypeOPT {
				t.Errorf("message %d: %d octets, %v", i, len(b), got.Extra)
			}
		}
	})
	t.Run("too large", func(t *testing.T) {
		env := newEnvelope()
		env.OPT = make([]byte, 65536-len(msgs[1].Bytes))
		if _, err := env.Append(nil, msgs[1]); !errors.Is(err, ErrMessageTooLarge) || env.Fits(len(msgs[1].Bytes)) {
			t.Error(err)
		}
		env.OPT = env.OPT[1:]
		if b, err := env.Append(nil, msgs[1]); err != nil || len(b) != 65535 || !env.Fits(len(msgs[1].Bytes)) {
			t.Error(len(b), err)
		}
	})
}

// TestEnvelopeOfAnotherZone: a message is sent in the answer to its own question alone.
func TestEnvelopeOfAnotherZone(t *testing.T) {
	req := new(dns.Msg).SetAxfr("example.org.")
	soa := parseRR(t, awkward[0])
	msgs := packAll(t, "example.org.", 0, []dns.RR{soa, soa})
	t.Run("another zone", func(t *testing.T) {
		for _, zone := range []string{"example.com.", "org.", "a.example.org.", "."} {
			env, err := EnvelopeFor(req)
			if err != nil {
				t.Fatal(err)
			}
			env.Name, _ = AppendName(nil, zone)
			if b, err := env.Append([]byte("x"), msgs[0]); !errors.Is(err, ErrQuestion) || string(b) != "x" {
				t.Errorf("%s: %v", zone, err)
			}
		}
		if _, err := (&Envelope{}).Append(nil, msgs[0]); !errors.Is(err, ErrQuestion) {
			t.Errorf("no question: %v", err)
		}
		if _, err := (&Envelope{}).Append(nil, Message{}); err == nil {
			t.Error("no message")
		}
	})
	t.Run("questions", func(t *testing.T) {
		if _, err := EnvelopeFor(new(dns.Msg)); !errors.Is(err, ErrQuestion) {
			t.Error(err)
		}
	})
}

func BenchmarkSigner(b *testing.B) {
	msgs := packAll(b, benchApex, 0, benchZone(10_000))
	buf := make([]byte, 0, 1<<16)
	for _, algorithm := range []string{"hmac-sha1", "hmac-sha256", "hmac-sha384", "hmac-sha512"} {
		b.Run(algorithm, func(b *testing.B) {
			s, err := NewSigner(testKey, algorithm, testSecret, testSecret, nil)
			if err != nil {
				b.Fatal(err)
			}
			size := 0
			for _, m := range msgs {
				size += len(m.Bytes)
			}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				for _, m := range msgs {
					s.AppendSigned(buf, m.Bytes)
				}
			}
		})
	}
}

func newTestMAC() hash.Hash { return hmac.New(sha256.New, testSecret) }
