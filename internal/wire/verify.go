// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"crypto/hmac"
	"encoding/binary"
	"encoding/hex"
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
	// VerifyMalformed: no TSIG, more than one or not last, another class than ANY, a TTL,
	// or a MAC of impossible size: FORMERR (RFC 8945 §5.1, §5.2.2.1).
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
	t := onlyTSIG(req)
	if t == nil {
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

// onlyTSIG gives the TSIG if it is the only one, last, and has the class and TTL of
// RFC 8945 §4.2.
func onlyTSIG(m *dns.Msg) *dns.TSIG {
	if m == nil || len(m.Extra) == 0 {
		return nil
	}
	t, ok := m.Extra[len(m.Extra)-1].(*dns.TSIG)
	if !ok || t.Hdr.Class != dns.ClassANY || t.Hdr.Ttl != 0 {
		return nil
	}
	for _, section := range [...][]dns.RR{m.Answer, m.Ns, m.Extra[:len(m.Extra)-1]} {
		for _, rr := range section {
			if rr.Header().Rrtype == dns.TypeTSIG {
				return nil
			}
		}
	}
	return t
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
