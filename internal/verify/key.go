// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha256" // algorithm 8 and 13
	_ "crypto/sha512" // algorithm 10 and 14
	"encoding/binary"
	"fmt"
	"math/big"

	"github.com/miekg/dns"
)

// key is one key of the zone.
type key struct {
	data   []byte // of its record
	tag    uint16
	flags  uint16
	algo   uint8
	stable bool                           // it was among the keys before
	check  func(message, sig []byte) bool // nil: it cannot be checked
	why    string                         // why it cannot
}

// Sizes of RSA moduli in bits that are checked: Go refuses smaller ones, and RFC 3110 §2
// allows no larger ones.
const (
	minModulus = 1024
	maxModulus = 4096
)

// newKey reads a DNSKEY record (RFC 4034 §2); nil when it is no key of a zone.
func newKey(data []byte) *key {
	if len(data) < 5 {
		return nil
	}
	k := &key{data: bytes.Clone(data), tag: keyTag(data), flags: binary.BigEndian.Uint16(data), algo: data[3]}
	if k.flags&dns.ZONE == 0 || data[2] != 3 {
		return nil
	}
	public := k.data[4:]
	switch k.algo {
	case dns.RSASHA256:
		k.check, k.why = rsaCheck(public, crypto.SHA256)
	case dns.RSASHA512:
		k.check, k.why = rsaCheck(public, crypto.SHA512)
	case dns.ECDSAP256SHA256:
		k.check, k.why = ecdsaCheck(public, elliptic.P256(), crypto.SHA256)
	case dns.ECDSAP384SHA384:
		k.check, k.why = ecdsaCheck(public, elliptic.P384(), crypto.SHA384)
	case dns.ED25519:
		if len(public) == ed25519.PublicKeySize {
			k.check = func(message, sig []byte) bool {
				return len(sig) == ed25519.SignatureSize && ed25519.Verify(public, message, sig)
			}
		}
	default:
		k.why = fmt.Sprintf("algorithm %d (%s)", k.algo, algorithm(k.algo))
	}
	if k.check == nil && k.why == "" {
		k.check = func(_, _ []byte) bool { return false } // no key of its algorithm
	}
	return k
}

func algorithm(algo uint8) string {
	if name := dns.AlgorithmToString[algo]; name != "" {
		return name
	}
	return "unknown"
}

// rsaCheck reads an RSA key (RFC 3110 §2).
func rsaCheck(b []byte, hash crypto.Hash) (check func(message, sig []byte) bool, why string) {
	size, at := int(b[0]), 1
	if size == 0 && len(b) >= 3 {
		size, at = int(b[1])<<8|int(b[2]), 3
	}
	if size == 0 || len(b) <= at+size {
		return nil, ""
	}
	e, n := new(big.Int).SetBytes(b[at:at+size]), new(big.Int).SetBytes(b[at+size:])
	switch {
	case n.BitLen() < minModulus || n.BitLen() > maxModulus:
		return nil, fmt.Sprintf("RSA keys of %d bits", n.BitLen())
	case !e.IsInt64() || e.Int64() > 1<<31-1:
		return nil, "RSA keys with an exponent of more than 31 bits"
	}
	public := &rsa.PublicKey{N: n, E: int(e.Int64())}
	return func(message, sig []byte) bool {
		h := hash.New()
		h.Write(message)
		return rsa.VerifyPKCS1v15(public, hash, h.Sum(nil), sig) == nil
	}, ""
}

// ecdsaCheck reads a key of RFC 6605 §4; nil when it is no point of the curve.
func ecdsaCheck(b []byte, curve elliptic.Curve, hash crypto.Hash) (check func(message, sig []byte) bool, why string) {
	public, err := ecdsa.ParseUncompressedPublicKey(curve, append([]byte{4}, b...))
	if err != nil {
		return nil, ""
	}
	half := (curve.Params().BitSize + 7) / 8
	return func(message, sig []byte) bool {
		if len(sig) != 2*half {
			return false
		}
		h := hash.New()
		h.Write(message)
		r, s := new(big.Int).SetBytes(sig[:half]), new(big.Int).SetBytes(sig[half:])
		return ecdsa.Verify(public, h.Sum(nil), r, s)
	}, ""
}

// keyTag is the tag of a key (RFC 4034 Appendix B).
func keyTag(data []byte) uint16 {
	var sum uint32
	for i, b := range data {
		if i&1 == 0 {
			sum += uint32(b) << 8
		} else {
			sum += uint32(b)
		}
	}
	return uint16(sum + sum>>16)
}

// readKeys reads the zone's keys. A key that was there before stays the one that it was.
func (r *run) readKeys(apex *node) {
	set := apex.set(dns.TypeDNSKEY)
	for i := range set {
		k := newKey(apex.data(&set[i]))
		if k == nil {
			continue
		}
		if before := r.in.Before; before != nil {
			for _, old := range before.keys {
				k.stable = k.stable || bytes.Equal(old.data, k.data)
			}
		}
		r.keys = append(r.keys, k)
	}
	r.state.keys = r.keys
}

// sameKeys reports whether the keys are those of the version before.
func (r *run) sameKeys() bool {
	for _, k := range r.keys {
		if !k.stable {
			return false
		}
	}
	return len(r.keys) == len(r.in.Before.keys)
}
