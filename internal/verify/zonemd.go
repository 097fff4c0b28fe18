// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"bytes"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
	"hash"

	"github.com/miekg/dns"
)

// What RFC 8976 §5 has numbers for.
const (
	schemeSimple = 1
	hashSHA384   = 1
	hashSHA512   = 2
)

// digestRecord is one ZONEMD record.
type digestRecord struct {
	serial       uint32
	scheme, algo uint8
	digest       []byte
}

// zonemd judges the zone's digest (RFC 8976 §4). One record that fits is enough; what has
// an unknown scheme or hash, another serial, or is there twice does not count.
func (r *run) zonemd() error {
	apex, err := nodeOf(r.zone, r.apex)
	if err != nil || apex == nil {
		return err
	}
	set := apex.set(dns.TypeZONEMD)
	if len(set) == 0 {
		nsec := apex.set(dns.TypeNSEC)
		promised := len(nsec) > 0 && says(apex.data(&nsec[0]), dns.TypeZONEMD)
		if r.o.NeedZonemd || promised {
			r.fail(ZonemdMissing, r.apex, dns.TypeZONEMD, "is not there")
		}
		return nil
	}
	var all []digestRecord
	kinds := make(map[[2]uint8]int)
	for i := range set {
		data := apex.data(&set[i])
		if len(data) < 6+12 { // RFC 8976 §2.2.4
			continue
		}
		d := digestRecord{binary.BigEndian.Uint32(data), data[4], data[5], bytes.Clone(data[6:])}
		kinds[[2]uint8{d.scheme, d.algo}]++
		all = append(all, d)
	}
	why := "has no digest of 12 octets"
	sums := make(map[uint8][]byte)
	for _, d := range all {
		switch size := map[uint8]int{hashSHA384: sha512.Size384, hashSHA512: sha512.Size}[d.algo]; {
		case d.scheme != schemeSimple || size == 0:
			why = fmt.Sprintf("is of scheme %d and hash %d, which is not known", d.scheme, d.algo)
			continue
		case kinds[[2]uint8{d.scheme, d.algo}] > 1:
			why = fmt.Sprintf("is there twice for scheme %d and hash %d", d.scheme, d.algo)
			continue
		case d.serial != r.zone.Serial():
			why = fmt.Sprintf("is for serial %d", d.serial)
			continue
		case len(d.digest) != size:
			why = fmt.Sprintf("has a digest of %d octets", len(d.digest))
			continue
		}
		sum, err := r.sum(sums, d.algo)
		if err != nil {
			return err
		}
		if bytes.Equal(sum, d.digest) {
			return nil
		}
		why = "does not fit the zone"
	}
	r.fail(ZonemdMismatch, r.apex, dns.TypeZONEMD, why)
	return nil
}

// sum returns the zone's digest, made once.
func (r *run) sum(sums map[uint8][]byte, algo uint8) ([]byte, error) {
	if algo == hashSHA384 && r.in.Digest != nil {
		return r.in.Digest, nil
	}
	if sums[algo] == nil {
		h := sha512.New384()
		if algo == hashSHA512 {
			h = sha512.New()
		}
		if err := r.simple(h); err != nil {
			return nil, err
		}
		sums[algo] = h.Sum(nil)
	}
	return sums[algo], nil
}

// simple hashes the zone by the scheme SIMPLE (RFC 8976 §3.3): every record once, in
// canonical form and order, but the apex's ZONEMD records and their signatures.
func (r *run) simple(h hash.Hash) error {
	var fixed []byte
	return eachNode(r.zone, r.apex, func(n *node) (bool, error) {
		if err := r.breathe(len(n.all)); err != nil {
			return false, err
		}
		apex := bytes.Equal(n.owner, r.apex)
		for i := range n.all {
			d := &n.all[i]
			data := n.data(d)
			if apex && (d.rtype == dns.TypeZONEMD || d.rtype == dns.TypeRRSIG && covered(data) == dns.TypeZONEMD) {
				continue
			}
			fixed = append(fixed[:0], n.owner...)
			fixed = binary.BigEndian.AppendUint16(fixed, d.rtype)
			fixed = binary.BigEndian.AppendUint16(fixed, dns.ClassINET)
			fixed = binary.BigEndian.AppendUint32(fixed, d.ttl)
			fixed = binary.BigEndian.AppendUint16(fixed, uint16(len(data)))
			h.Write(fixed)
			h.Write(data)
		}
		return true, nil
	})
}
