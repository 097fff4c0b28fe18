// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"crypto/hmac"
	"encoding/binary"
	"encoding/hex"
	"time"

	"github.com/miekg/dns"
)

// VerifyResponse verifies the TSIG of a response, in its octets as received, to a
// request of our own that was signed with that key (RFC 8945 §5.3): the same key and
// algorithm, the whole MAC, in time. requestMAC is the MAC of the request. The finding
// is VerifyOK, VerifyMalformed, VerifyBadKey, VerifyBadSig or VerifyBadTime.
//
// It is here because dns.TsigVerify verifies no response that is NOTAUTH, signed or
// not, and takes the first of two signatures. response is not changed.
func VerifyResponse(response []byte, keyName, algorithm string, secret, requestMAC []byte, now time.Time) VerifyStatus {
	m := new(dns.Msg)
	if m.Unpack(response) != nil {
		return VerifyMalformed
	}
	t, err := FindTSIG(m)
	at := lastRecord(response)
	if t == nil || err != nil || at < 0 {
		return VerifyMalformed
	}
	algorithm = dns.CanonicalName(algorithm)
	newHash, ok := algorithms[algorithm]
	if !ok || len(secret) == 0 || dns.CanonicalName(t.Algorithm) != algorithm || dns.CanonicalName(t.Hdr.Name) != dns.CanonicalName(keyName) {
		return VerifyBadKey
	}
	mac, err := hex.DecodeString(t.MAC)
	variables, ok := requestVariables(t, algorithm)
	if err != nil || !ok {
		return VerifyMalformed
	}
	h := hmac.New(newHash, secret)
	h.Write(binary.BigEndian.AppendUint16(nil, uint16(len(requestMAC))))
	h.Write(requestMAC)
	head := [12]byte(response)
	binary.BigEndian.PutUint16(head[:], t.OrigId)
	binary.BigEndian.PutUint16(head[10:], binary.BigEndian.Uint16(head[10:])-1)
	h.Write(head[:])
	h.Write(response[len(head):at])
	h.Write(variables)
	switch {
	case !hmac.Equal(h.Sum(nil), mac):
		return VerifyBadSig
	case !inTime(t, now):
		return VerifyBadTime
	}
	return VerifyOK
}

// lastRecord returns where the last record of a message begins, -1 when there is none
// or something stands behind it.
func lastRecord(b []byte) int {
	if len(b) < 12 {
		return -1
	}
	count := func(at int) int { return int(binary.BigEndian.Uint16(b[at:])) }
	off, last := 12, -1
	for i := range count(4) + count(6) + count(8) + count(10) {
		at := off
		_, next, err := dns.UnpackDomainName(b, off)
		if err != nil {
			return -1
		}
		if off = next + 4; i >= count(4) { // type and class, and of a record TTL and length
			if off = next + 10; off > len(b) {
				return -1
			}
			off += int(binary.BigEndian.Uint16(b[off-2:]))
			last = at
		}
		if off > len(b) {
			return -1
		}
	}
	if off != len(b) {
		return -1
	}
	return last
}
