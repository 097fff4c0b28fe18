// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"time"

	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/internal/wire"
)

// key of the runs with TSIG.
const (
	keyName      = "bench.key."
	keyAlgorithm = dns.HmacSHA256
	keySecret    = "c2lkZS1ieS1zaWRlLW9uLWxvb3BiYWNrLW9ubHktMDE="
)

const macSize = sha256.Size

// maxUnsigned is how many messages in a row may lack a TSIG (RFC 8945 §5.3.1).
const maxUnsigned = 99

var errSignature = errors.New("TSIG does not verify")

// chain verifies the signatures of one answer: of all messages, or of the last one
// only, which holds the one before in its MAC (RFC 8945 §5.3.1).
type chain struct {
	all      bool
	mac      hash.Hash
	key, alg []byte // wire format
	prior    []byte // MAC of the request, then of the latest signed message
	unsigned []byte // messages since that one
	skipped  int    // how many
	signed   bool   // there has been a signed one
}

func newChain(secret, requestMAC []byte, all bool) (*chain, error) {
	key, err := wire.AppendName(nil, keyName)
	if err != nil {
		return nil, err
	}
	alg, err := wire.AppendName(nil, keyAlgorithm)
	if err != nil {
		return nil, err
	}
	return &chain{all: all, mac: hmac.New(sha256.New, secret), key: key, alg: alg, prior: bytes.Clone(requestMAC)}, nil
}

// add takes the next message, the last one if last. The message may be overwritten
// afterwards, and is changed.
func (c *chain) add(m message, last bool) error {
	at, rdata := c.find(m)
	if at < 0 {
		c.skipped++
		if last || !c.signed || c.skipped > maxUnsigned {
			return errors.New("a message without TSIG where one is needed")
		}
		c.unsigned = append(c.unsigned, m...)
		return nil
	}
	timers := rdata[len(c.alg) : len(c.alg)+8]
	sum := rdata[len(c.alg)+10:][:macSize]
	if c.all || last {
		if err := c.verify(m[:at], timers, sum); err != nil {
			return err
		}
	}
	c.prior = append(c.prior[:0], sum...)
	c.unsigned, c.skipped, c.signed = c.unsigned[:0], 0, true
	return nil
}

// find returns the offset of the TSIG record and its data; -1 if there is none of the
// key's form, with an uncompressed name and without other data, at the end.
func (c *chain) find(m message) (int, []byte) {
	size := len(c.key) + 10 + len(c.alg) + 16 + macSize
	at := len(m) - size
	if at < headerSize || m.count(3) == 0 {
		return -1, nil
	}
	tsig := m[at:]
	rdata := tsig[len(c.key)+10:]
	switch {
	case !bytes.EqualFold(tsig[:len(c.key)], c.key),
		binary.BigEndian.Uint16(tsig[len(c.key):]) != dns.TypeTSIG,
		!bytes.EqualFold(rdata[:len(c.alg)], c.alg),
		binary.BigEndian.Uint16(rdata[len(c.alg)+8:]) != macSize:
		return -1, nil
	}
	return at, rdata
}

// verify compares the MAC of the message without its TSIG.
func (c *chain) verify(m message, timers, sum []byte) error {
	binary.BigEndian.PutUint16(m[10:], uint16(m.count(3)-1))
	c.mac.Reset()
	var size [2]byte
	binary.BigEndian.PutUint16(size[:], uint16(len(c.prior)))
	c.mac.Write(size[:])
	c.mac.Write(c.prior)
	c.mac.Write(c.unsigned)
	c.mac.Write(m)
	if c.signed {
		c.mac.Write(timers)
	} else {
		c.mac.Write(c.key)
		c.mac.Write([]byte{0, dns.ClassANY, 0, 0, 0, 0})
		c.mac.Write(c.alg)
		c.mac.Write(timers)
		c.mac.Write([]byte{0, 0, 0, 0}) // no error, no other data
	}
	if !hmac.Equal(c.mac.Sum(nil), sum) {
		return errSignature
	}
	signed := time.Unix(int64(timers[0])<<40|int64(timers[1])<<32|int64(binary.BigEndian.Uint32(timers[2:])), 0)
	if d := time.Since(signed).Abs(); d > wire.Fudge*time.Second {
		return fmt.Errorf("%w: %v apart in time", errSignature, d)
	}
	return nil
}

// sign packs the request with a TSIG and returns its MAC too.
func sign(q *dns.Msg) (packed, mac []byte, err error) {
	q.SetTsig(keyName, keyAlgorithm, wire.Fudge, time.Now().Unix())
	packed, sum, err := dns.TsigGenerate(q, keySecret, "", false)
	if err != nil {
		return nil, nil, fmt.Errorf("sign request: %w", err)
	}
	mac, err = hex.DecodeString(sum)
	return packed, mac, err
}
