// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// signedMessages makes an answer of n messages that miekg/dns signs, message i if
// skip(i) does not say otherwise, which is left unsigned.
func signedMessages(t *testing.T, n int, skip func(int) bool) (requestMAC []byte, messages []message) {
	t.Helper()
	q := new(dns.Msg)
	q.SetAxfr(origin)
	_, requestMAC, err := sign(q)
	if err != nil {
		t.Fatal(err)
	}
	mac := hex.EncodeToString(requestMAC)
	over := &signsOver{}
	for i := range n {
		m := new(dns.Msg)
		if err := m.Unpack(packed(t, aN(i))); err != nil {
			t.Fatal(err)
		}
		if skip(i) {
			b, err := m.Pack()
			if err != nil {
				t.Fatal(err)
			}
			messages = append(messages, b)
			over.unsigned = append(over.unsigned, b...)
			continue
		}
		m.SetTsig(keyName, keyAlgorithm, 300, time.Now().Unix())
		b, next, err := dns.TsigGenerateWithProvider(m, over, mac, i > 0)
		if err != nil {
			t.Fatal(err)
		}
		mac, over.unsigned = next, nil
		messages = append(messages, b)
	}
	return requestMAC, messages
}

// signsOver makes MACs that hold the messages before without TSIG too, which come
// between the prior MAC and the message (RFC 8945 §5.3.1).
type signsOver struct{ unsigned []byte }

func (s *signsOver) Generate(b []byte, _ *dns.TSIG) ([]byte, error) {
	secret, err := base64.StdEncoding.DecodeString(keySecret)
	if err != nil {
		return nil, err
	}
	h := hmac.New(sha256.New, secret)
	h.Write(b[:2+macSize])
	h.Write(s.unsigned)
	h.Write(b[2+macSize:])
	return h.Sum(nil), nil
}

func (*signsOver) Verify([]byte, *dns.TSIG) error { return errors.New("not needed") }

func verifyAllOf(t *testing.T, mac []byte, messages []message, all bool) error {
	t.Helper()
	secret, err := base64.StdEncoding.DecodeString(keySecret)
	if err != nil {
		t.Fatal(err)
	}
	c, err := newChain(secret, mac, all)
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range messages {
		if err := c.add(bytes.Clone(m), i == len(messages)-1); err != nil {
			return err
		}
	}
	return nil
}

// TestChain: what another implementation signed verifies, and no octet of the message
// that is looked at can be another one.
func TestChain(t *testing.T) {
	never := func(int) bool { return false }
	for _, n := range []int{1, 2, 5} {
		mac, messages := signedMessages(t, n, never)
		for _, all := range []bool{false, true} {
			if err := verifyAllOf(t, mac, messages, all); err != nil {
				t.Errorf("%d messages, all %v: %v", n, all, err)
			}
		}
		last := messages[n-1]
		for i := range last {
			if i < 2 { // the id is the request's, which check compares
				continue
			}
			last[i] ^= 1
			if err := verifyAllOf(t, mac, messages, false); err == nil && !unprotected(last, i) {
				t.Errorf("%d messages: octet %d of %d changed, and it verifies", n, i, len(last))
			}
			last[i] ^= 1
		}
	}
	mac, messages := signedMessages(t, 4, never)
	messages[1][headerSize+2] ^= 1
	if err := verifyAllOf(t, mac, messages, true); !errors.Is(err, errSignature) {
		t.Errorf("a message in the middle changed: %v", err)
	}
	mac[0] ^= 1
	if err := verifyAllOf(t, mac, messages[:1], false); !errors.Is(err, errSignature) {
		t.Errorf("the answer to another request: %v", err)
	}
}

// unprotected tells of octets of the TSIG that the digest of later messages does not
// cover (RFC 8945 §5.3.1): class, TTL and RDLENGTH, which is 10 octets behind the name,
// but for the type; original ID, error and other length at the end; and letter case.
func unprotected(m message, i int) bool {
	const name, alg = 11, 13 // octets of bench.key. and hmac-sha256.
	at := len(m) - (name + 10 + alg + 16 + macSize)
	return i >= len(m)-6 || i >= at+name+2 && i < at+name+10
}

// TestChainUnsigned: messages between may lack a TSIG (RFC 8945 §5.3.1), the first and
// the last may not, nor may a hundred in a row.
func TestChainUnsigned(t *testing.T) {
	middle := func(i int) bool { return i == 1 || i == 2 }
	mac, messages := signedMessages(t, 2, func(int) bool { return false })
	if err := verifyAllOf(t, mac, append(messages[:1:1], packed(t, soaN(1))), false); err == nil {
		t.Error("the last message has no TSIG, and that passed")
	}
	if err := verifyAllOf(t, mac, append([]message{packed(t, soaN(1))}, messages...), false); err == nil {
		t.Error("the first message has no TSIG, and that passed")
	}
	mac, messages = signedMessages(t, 4, middle)
	for _, all := range []bool{false, true} {
		if err := verifyAllOf(t, mac, messages, all); err != nil {
			t.Errorf("two messages between without TSIG, all %v: %v", all, err)
		}
	}
	messages[2][headerSize+2] ^= 1
	if err := verifyAllOf(t, mac, messages, false); !errors.Is(err, errSignature) {
		t.Errorf("one of them changed: %v", err)
	}
	var many []message
	mac, signed := signedMessages(t, 1, func(int) bool { return false })
	many = append(many, signed...)
	for range maxUnsigned + 1 {
		many = append(many, packed(t, aN(1)))
	}
	if err := verifyAllOf(t, mac, append(many, signed...), false); err == nil || errors.Is(err, errSignature) {
		t.Errorf("%d unsigned messages in a row: %v", maxUnsigned+1, err)
	}
}
