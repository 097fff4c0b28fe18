// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // hmac-sha1 is mandatory to implement, RFC 8945 §6; policy decides whether it is allowed
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"time"

	"github.com/miekg/dns"
)

// Fudge is the time in seconds that a signature of ours may differ from the
// verifier's clock (RFC 8945 §10 recommends 300).
const Fudge = 300

var (
	// ErrAlgorithm says that a TSIG algorithm is none of hmac-sha1, -sha224, -sha256,
	// -sha384 and -sha512.
	ErrAlgorithm = errors.New("unknown TSIG algorithm")
	// ErrKey says that a TSIG key has no secret, or that a request's TSIG has no MAC to
	// answer to.
	ErrKey = errors.New("unusable TSIG key")
)

var algorithms = map[string]func() hash.Hash{
	dns.HmacSHA1:   sha1.New,
	dns.HmacSHA224: sha256.New224,
	dns.HmacSHA256: sha256.New,
	dns.HmacSHA384: sha512.New384,
	dns.HmacSHA512: sha512.New,
}

// Signer signs packed messages with TSIG (RFC 8945): the first with the request's MAC
// and all TSIG variables, each later one with the MAC before it and the timers only
// (§5.3.1). It serves one transfer and is not safe for concurrent use.
type Signer struct {
	mac       hash.Hash
	key       []byte // canonical wire form, RFC 8945 §4.3.3
	algorithm []byte
	prior     []byte // MAC of the request, then of the message before
	chained   bool   // a message has been signed
	now       func() time.Time
	scratch   []byte
}

// NewSigner starts a chain of signatures. keyName and algorithm are domain names in
// presentation format (the algorithm may lack the last dot). requestMAC is the MAC of
// the request as received; nil signs a request of our own, a NOTIFY for example. A nil
// clock is time.Now. The errors wrap [ErrAlgorithm], [ErrKey] or [ErrName] and never
// hold the secret.
func NewSigner(keyName, algorithm string, secret, requestMAC []byte, clock func() time.Time) (*Signer, error) {
	algorithm = dns.CanonicalName(algorithm)
	newHash, ok := algorithms[algorithm]
	if !ok {
		return nil, fmt.Errorf("%w %q", ErrAlgorithm, algorithm)
	}
	if len(secret) == 0 {
		return nil, fmt.Errorf("%w %q: no secret", ErrKey, keyName)
	}
	key, err := appendCanonicalName(nil, keyName)
	if err != nil {
		return nil, fmt.Errorf("TSIG key %w", err)
	}
	alg, err := AppendName(nil, algorithm)
	if err != nil {
		return nil, err
	}
	if clock == nil {
		clock = time.Now
	}
	s := &Signer{mac: hmac.New(newHash, secret), key: key, algorithm: alg, now: clock}
	s.prior = append(make([]byte, 0, max(s.mac.Size(), len(requestMAC))), requestMAC...)
	return s, nil
}

// NewResponseSigner starts the signatures of the answer to a request with TSIG t,
// which the caller has verified. A TSIG without MAC is [ErrKey]; see NewSigner.
func NewResponseSigner(t *dns.TSIG, secret []byte) (*Signer, error) {
	mac, err := hex.DecodeString(t.MAC)
	if err != nil || len(mac) == 0 {
		return nil, fmt.Errorf("%w %q: the request has no MAC", ErrKey, t.Hdr.Name)
	}
	return NewSigner(t.Hdr.Name, t.Algorithm, secret, mac, nil)
}

// Size is what signing adds to a message, in octets.
func (s *Signer) Size() int { return tsigSize(len(s.key), len(s.algorithm), s.mac.Size(), 0) }

// AppendSigned appends msg with the next TSIG of the chain. Original ID is msg's ID.
// It allocates nothing when dst has room for len(msg) + Size().
func (s *Signer) AppendSigned(dst, msg []byte) []byte {
	return s.seal(append(dst, msg...), len(dst))
}

// seal signs the message b[start:] in place.
func (s *Signer) seal(b []byte, start int) []byte {
	return s.sealWith(b, start, TSIGError{TimeSigned: uint64(s.now().Unix()), Fudge: Fudge})
}

func (s *Signer) sealWith(b []byte, start int, e TSIGError) []byte {
	s.scratch = s.scratch[:0]
	s.mac.Reset()
	if len(s.prior) > 0 {
		s.scratch = binary.BigEndian.AppendUint16(s.scratch, uint16(len(s.prior)))
		s.scratch = append(s.scratch, s.prior...)
		s.mac.Write(s.scratch)
	}
	s.mac.Write(b[start:])
	if s.chained {
		s.scratch = appendTimers(s.scratch[:0], e)
	} else {
		s.scratch = appendVariables(s.scratch[:0], s.key, s.algorithm, e)
	}
	s.mac.Write(s.scratch)
	s.prior = s.mac.Sum(s.prior[:0])
	s.chained = true
	return appendTSIG(b, start, s.key, s.algorithm, s.prior, e)
}

// TSIGError is what an error answer says in its TSIG (RFC 8945 §5.3.2).
type TSIGError struct {
	Code       uint16 // dns.RcodeBadSig, RcodeBadKey, RcodeBadTime, RcodeBadTrunc
	TimeSigned uint64 // seconds since 1970, 48 bits
	Fudge      uint16 // seconds
	Other      []byte
}

// BadTime is the TSIG of an answer to a request outside its time window: the client's
// own time and fudge, and ours in Other, so that the client's clock error shows
// (RFC 8945 §5.2.3). It is signed: [Signer.AppendError].
func BadTime(request *dns.TSIG, now time.Time) TSIGError {
	return TSIGError{
		Code:       dns.RcodeBadTime,
		TimeSigned: request.TimeSigned,
		Fudge:      request.Fudge,
		Other:      appendUint48(nil, uint64(now.Unix())),
	}
}

// AppendError appends msg with a signed TSIG that carries e, for BADTIME and BADTRUNC
// (RFC 8945 §5.3.2). The signer must not have signed anything before.
func (s *Signer) AppendError(dst, msg []byte, e TSIGError) []byte {
	return s.sealWith(append(dst, msg...), len(dst), e)
}

// AppendUnsignedError appends msg with a TSIG that carries an error and no MAC, for
// BADKEY and BADSIG (RFC 8945 §5.3.2). keyName and algorithm are the client's. Time
// Signed should be now: dig takes 0 for a wrong clock. The error wraps [ErrName].
func AppendUnsignedError(dst, msg []byte, keyName, algorithm string, e TSIGError) ([]byte, error) {
	key, err := AppendName(nil, keyName)
	if err != nil {
		return dst, fmt.Errorf("TSIG key %w", err)
	}
	alg, err := AppendName(nil, algorithm)
	if err != nil {
		return dst, fmt.Errorf("TSIG algorithm %w", err)
	}
	return appendTSIG(append(dst, msg...), len(dst), key, alg, nil, e), nil
}

// appendTSIG appends the record to the message b[start:] and counts it.
func appendTSIG(b []byte, start int, key, algorithm, mac []byte, e TSIGError) []byte {
	id := [2]byte(b[start:])
	count := binary.BigEndian.Uint16(b[start+10:])
	binary.BigEndian.PutUint16(b[start+10:], count+1)

	b = append(b, key...)
	b = binary.BigEndian.AppendUint16(b, dns.TypeTSIG)
	b = binary.BigEndian.AppendUint16(b, dns.ClassANY)
	b = binary.BigEndian.AppendUint32(b, 0)
	rdlength := tsigSize(0, len(algorithm), len(mac), len(e.Other)) - rrFixedSize
	b = binary.BigEndian.AppendUint16(b, uint16(rdlength))
	b = append(b, algorithm...)
	b = appendTimers(b, e)
	b = binary.BigEndian.AppendUint16(b, uint16(len(mac)))
	b = append(b, mac...)
	b = append(b, id[:]...)
	b = binary.BigEndian.AppendUint16(b, e.Code)
	b = binary.BigEndian.AppendUint16(b, uint16(len(e.Other)))
	return append(b, e.Other...)
}

// tsigSize is the size of a TSIG record: time, fudge, MAC size, original ID, error and
// other length are the 16 octets of fixed data.
func tsigSize(key, algorithm, mac, other int) int {
	return key + rrFixedSize + algorithm + 16 + mac + other
}

// appendVariables appends the TSIG variables of RFC 8945 §4.3.3; key and algorithm
// are in canonical form.
func appendVariables(b, key, algorithm []byte, e TSIGError) []byte {
	b = append(b, key...)
	b = binary.BigEndian.AppendUint16(b, dns.ClassANY)
	b = binary.BigEndian.AppendUint32(b, 0) // TTL
	b = append(b, algorithm...)
	b = appendTimers(b, e)
	b = binary.BigEndian.AppendUint16(b, e.Code)
	b = binary.BigEndian.AppendUint16(b, uint16(len(e.Other)))
	return append(b, e.Other...)
}

func appendTimers(b []byte, e TSIGError) []byte {
	b = appendUint48(b, e.TimeSigned)
	return binary.BigEndian.AppendUint16(b, e.Fudge)
}

func appendUint48(b []byte, v uint64) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(v>>32))
	return binary.BigEndian.AppendUint32(b, uint32(v))
}

// appendCanonicalName appends the wire form with ASCII letters in lower case
// (RFC 4034 §6.2).
func appendCanonicalName(b []byte, s string) ([]byte, error) {
	at := len(b)
	b, err := AppendName(b, s)
	if err != nil {
		return b, err
	}
	for i, c := range b[at:] {
		b[at+i] = lower(c) // length octets are below 'A'
	}
	return b, nil
}

func lower(c byte) byte {
	if c-'A' < 26 {
		c += 'a' - 'A'
	}
	return c
}
