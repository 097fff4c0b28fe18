// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"crypto/hmac"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash"
	"time"

	"github.com/miekg/dns"
)

// VerifyStatus is what [VerifyRequest] found.
type VerifyStatus string

// The findings of VerifyRequest. The zero value is none of them and proves nothing.
const (
	// VerifyOK: signed with the secret, in full, and in time.
	VerifyOK VerifyStatus = "ok"
	// VerifyMalformed: no TSIG, one that FindTSIG does not accept, or a MAC of impossible
	// size: FORMERR (RFC 8945 §5.1, §5.2.2.1).
	VerifyMalformed VerifyStatus = "malformed"
	// VerifyBadKey: unknown algorithm or no secret: NOTAUTH, BADKEY.
	VerifyBadKey VerifyStatus = "bad-key"
	// VerifyBadSig: not signed with the secret: NOTAUTH, BADSIG.
	VerifyBadSig VerifyStatus = "bad-signature"
	// VerifyBadTime: signed with the secret, outside the time window: NOTAUTH, BADTIME.
	VerifyBadTime VerifyStatus = "bad-time"
	// VerifyTruncated: signed with the secret and in time, MAC truncated to a length
	// that RFC 8945 §5.2.2.1 permits: NOTAUTH, BADTRUNC when policy wants all of it.
	VerifyTruncated VerifyStatus = "truncated"
)

// minMAC is the shortest truncated MAC in octets (RFC 8945 §5.2.2.1).
const minMAC = 10

// VerifyRequest recomputes the TSIG of a parsed request with the secret of its key, in
// the order of checks of RFC 8945 §5.2. It is for what miekg/dns gets wrong: it
// refuses truncated MACs as bad signatures, and replaces a Fudge or Time Signed of 0
// before it computes the MAC.
//
// The octets of the request are gone, so it packs the message again, once uncompressed
// and once compressed as miekg/dns would. A request whose octets are neither (rare:
// partial compression, unusual EDNS options) is VerifyBadSig, never more. Where
// miekg/dns itself has verified the signature, believe that. req is not changed.
func VerifyRequest(req *dns.Msg, secret []byte, now time.Time) VerifyStatus {
	t, err := FindTSIG(req)
	if t == nil || err != nil {
		return VerifyMalformed
	}
	algorithm := dns.CanonicalName(t.Algorithm)
	newHash, ok := algorithms[algorithm]
	if !ok || len(secret) == 0 {
		return VerifyBadKey
	}
	mac, err := hex.DecodeString(t.MAC)
	if err != nil {
		return VerifyMalformed
	}
	h := hmac.New(newHash, secret)
	if len(mac) > h.Size() || len(mac) < max(minMAC, h.Size()/2) {
		return VerifyMalformed
	}
	variables, ok := requestVariables(t, algorithm)
	if !ok {
		return VerifyMalformed
	}
	if !provesRequest(h, req, t.OrigId, variables, mac) {
		return VerifyBadSig
	}
	if !inTime(t, now) {
		return VerifyBadTime
	}
	if len(mac) < h.Size() {
		return VerifyTruncated
	}
	return VerifyOK
}

// ErrTSIG says that a message has a TSIG that RFC 8945 §5.1 and §4.2 do not know:
// FORMERR.
var ErrTSIG = errors.New("the TSIG is not the last record, not the only one, or not well-formed")

// FindTSIG returns the TSIG of a message as miekg/dns has parsed it, nil if there is
// none. It fails unless it is the only one, the last record, has the class and TTL of
// RFC 8945 §4.2, and its fields make up all of its RDATA: miekg/dns takes half a TSIG
// for a whole one, and its MAC covers lengths without what they count.
func FindTSIG(m *dns.Msg) (*dns.TSIG, error) {
	if m == nil {
		return nil, nil //nolint:nilnil // no message has no signature
	}
	var last *dns.TSIG
	n := 0
	for _, section := range [...][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			if rr.Header().Rrtype == dns.TypeTSIG {
				last, _ = rr.(*dns.TSIG)
				n++
			}
		}
	}
	switch {
	case n == 0:
		return nil, nil //nolint:nilnil // see above
	case n > 1 || last == nil || m.IsTsig() != last || !wellFormed(last):
		return nil, ErrTSIG
	}
	return last, nil
}

func wellFormed(t *dns.TSIG) bool {
	if t.Hdr.Class != dns.ClassANY || t.Hdr.Ttl != 0 || len(t.MAC) != 2*int(t.MACSize) || len(t.OtherData) != 2*int(t.OtherLen) {
		return false
	}
	algorithm, err := AppendName(make([]byte, 0, 32), t.Algorithm) // never compressed, RFC 8945 §4.2
	return err == nil && int(t.Hdr.Rdlength) == tsigSize(0, len(algorithm), int(t.MACSize), int(t.OtherLen))-rrFixedSize
}

func requestVariables(t *dns.TSIG, algorithm string) ([]byte, bool) {
	other, err := hex.DecodeString(t.OtherData)
	if err != nil {
		return nil, false
	}
	key, err := appendCanonicalName(nil, t.Hdr.Name)
	if err != nil {
		return nil, false
	}
	alg, err := AppendName(nil, algorithm)
	if err != nil {
		return nil, false
	}
	e := TSIGError{Code: t.Error, TimeSigned: t.TimeSigned, Fudge: t.Fudge, Other: other}
	return appendVariables(nil, key, alg, e), true
}

// provesRequest compares the MAC, or its beginning, with that of each way to pack the
// request without its TSIG.
func provesRequest(h hash.Hash, req *dns.Msg, id uint16, variables, mac []byte) bool {
	m := *req
	m.Extra = req.Extra[:len(req.Extra)-1]
	for _, m.Compress = range [...]bool{false, true} {
		packed, err := m.Pack()
		if err != nil {
			return false
		}
		binary.BigEndian.PutUint16(packed, id)
		h.Reset()
		h.Write(packed)
		h.Write(variables)
		if hmac.Equal(h.Sum(nil)[:len(mac)], mac) {
			return true
		}
	}
	return false
}

// inTime is RFC 8945 §5.2.3.
func inTime(t *dns.TSIG, now time.Time) bool {
	ours := max(now.Unix(), 0)
	apart := ours - int64(t.TimeSigned) // 48 bits
	return max(apart, -apart) <= int64(t.Fudge)
}
