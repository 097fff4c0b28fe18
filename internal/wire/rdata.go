// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"

	"github.com/miekg/dns"
)

var (
	errText   = errors.New("a character string is longer than 255 octets")
	errBitmap = errors.New("the types of its bitmap are out of order")
	base32Hex = base32.HexEncoding.WithPadding(base32.NoPadding)
)

// appendRdata appends the data of the types that zones are made of; known is false
// for all others, and for values that only miekg/dns should judge.
func (e *encoder) appendRdata(b []byte, rr dns.RR) (_ []byte, known bool, err error) {
	switch rr := rr.(type) {
	case *dns.A:
		ip := rr.A.To4()
		if ip == nil {
			if len(rr.A) != 0 {
				return b, true, errRdata
			}
			return b, false, nil
		}
		return append(b, ip...), true, nil
	case *dns.AAAA:
		if len(rr.AAAA) != 16 {
			return b, false, nil
		}
		return append(b, rr.AAAA...), true, nil
	case *dns.TXT:
		b, err = appendTexts(b, rr.Txt)
		return b, true, err
	case *dns.SRV:
		b = binary.BigEndian.AppendUint16(b, rr.Priority)
		b = binary.BigEndian.AppendUint16(b, rr.Weight)
		b = binary.BigEndian.AppendUint16(b, rr.Port)
		b, err = e.appendUncompressed(b, rr.Target)
		return b, true, err
	case *dns.DNAME:
		b, err = e.appendUncompressed(b, rr.Target)
		return b, true, err
	}
	if b, known, err = e.appendRFC1035(b, rr); known {
		return b, true, err
	}
	return e.appendDNSSEC(b, rr)
}

// appendRFC1035 has the types of RFC 1035 with names in their data.
func (e *encoder) appendRFC1035(b []byte, rr dns.RR) (_ []byte, known bool, err error) {
	switch rr := rr.(type) {
	case *dns.NS:
		b, err = e.appendCompressible(b, rr.Ns)
	case *dns.CNAME:
		b, err = e.appendCompressible(b, rr.Target)
	case *dns.PTR:
		b, err = e.appendCompressible(b, rr.Ptr)
	case *dns.MX:
		b = binary.BigEndian.AppendUint16(b, rr.Preference)
		b, err = e.appendCompressible(b, rr.Mx)
	case *dns.SOA:
		b, err = e.appendTwoNames(b, rr.Ns, rr.Mbox)
		for _, v := range [...]uint32{rr.Serial, rr.Refresh, rr.Retry, rr.Expire, rr.Minttl} {
			b = binary.BigEndian.AppendUint32(b, v)
		}
	case *dns.MB:
		b, err = e.appendCompressible(b, rr.Mb)
	case *dns.MD:
		b, err = e.appendCompressible(b, rr.Md)
	case *dns.MF:
		b, err = e.appendCompressible(b, rr.Mf)
	case *dns.MG:
		b, err = e.appendCompressible(b, rr.Mg)
	case *dns.MR:
		b, err = e.appendCompressible(b, rr.Mr)
	case *dns.MINFO:
		b, err = e.appendTwoNames(b, rr.Rmail, rr.Email)
	default:
		return b, false, nil
	}
	return b, true, err
}

func (e *encoder) appendTwoNames(b []byte, first, second string) ([]byte, error) {
	b, err := e.appendCompressible(b, first)
	if err != nil {
		return b, err
	}
	return e.appendCompressible(b, second)
}

// appendDNSSEC has the types that fill signed zones (RFC 4034, RFC 5155).
func (e *encoder) appendDNSSEC(b []byte, rr dns.RR) (_ []byte, known bool, err error) {
	switch rr := rr.(type) {
	case *dns.RRSIG:
		b = binary.BigEndian.AppendUint16(b, rr.TypeCovered)
		b = append(b, rr.Algorithm, rr.Labels)
		b = binary.BigEndian.AppendUint32(b, rr.OrigTtl)
		b = binary.BigEndian.AppendUint32(b, rr.Expiration)
		b = binary.BigEndian.AppendUint32(b, rr.Inception)
		b = binary.BigEndian.AppendUint16(b, rr.KeyTag)
		if b, err = e.appendUncompressed(b, rr.SignerName); err == nil {
			b, err = appendBase64(b, rr.Signature)
		}
	case *dns.DNSKEY:
		b = binary.BigEndian.AppendUint16(b, rr.Flags)
		b = append(b, rr.Protocol, rr.Algorithm)
		b, err = appendBase64(b, rr.PublicKey)
	case *dns.DS:
		b = binary.BigEndian.AppendUint16(b, rr.KeyTag)
		b = append(b, rr.Algorithm, rr.DigestType)
		b, err = appendHex(b, rr.Digest)
	case *dns.NSEC:
		if b, err = e.appendUncompressed(b, rr.NextDomain); err == nil {
			b, err = appendBitmap(b, rr.TypeBitMap)
		}
	case *dns.NSEC3:
		b = append(b, rr.Hash, rr.Flags)
		b = binary.BigEndian.AppendUint16(b, rr.Iterations)
		b = append(b, rr.SaltLength)
		if rr.Salt != "-" { // no salt, in presentation format
			b, err = appendHex(b, rr.Salt)
		}
		b = append(b, rr.HashLength)
		if err == nil {
			b, err = appendBase32(b, rr.NextDomain)
		}
		if err == nil {
			b, err = appendBitmap(b, rr.TypeBitMap)
		}
	default:
		return b, false, nil
	}
	return b, true, err
}

// appendTexts appends character strings with their escapes (RFC 1035 §3.3, §5.1).
func appendTexts(b []byte, texts []string) ([]byte, error) {
	for _, s := range texts {
		at := len(b)
		b = append(b, 0)
		for i := 0; i < len(s); i++ {
			c := s[i]
			if c == '\\' {
				var used int
				if c, used = unescape(s[i+1:]); used == 0 {
					break // a lone backslash at the end is nothing, as in miekg/dns
				}
				i += used
			}
			b = append(b, c)
		}
		size := len(b) - at - 1
		if size > 255 {
			return b, errText
		}
		b[at] = byte(size)
	}
	return b, nil
}

func appendBase64(b []byte, s string) ([]byte, error) {
	at := len(b)
	b = slices.Grow(b, base64.StdEncoding.DecodedLen(len(s)))
	n, err := base64.StdEncoding.Decode(b[at:cap(b)], []byte(s))
	return b[:at+n], err
}

func appendHex(b []byte, s string) ([]byte, error) {
	at := len(b)
	b = slices.Grow(b, hex.DecodedLen(len(s)))
	n, err := hex.Decode(b[at:cap(b)], []byte(s))
	return b[:at+n], err
}

// appendBase32 takes either letter case, like miekg/dns.
func appendBase32(b []byte, s string) ([]byte, error) {
	var upper [128]byte
	if len(s) > len(upper) {
		return b, errRdata
	}
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		upper[i] = c
	}
	at := len(b)
	b = slices.Grow(b, base32Hex.DecodedLen(len(s)))
	n, err := base32Hex.Decode(b[at:cap(b)], upper[:len(s)])
	return b[:at+n], err
}

// appendBitmap appends the type bitmap of RFC 4034 §4.1.2; types must be in order.
func appendBitmap(b []byte, types []uint16) ([]byte, error) {
	window, start := -1, 0 // start is the first octet of the window's bits
	last := uint16(0)
	for _, t := range types {
		if t < last {
			return b, errBitmap
		}
		last = t
		if int(t>>8) != window {
			window = int(t >> 8)
			b = append(b, byte(window), 0)
			start = len(b)
		}
		for octet := int(t&0xFF) / 8; len(b)-start <= octet; {
			b = append(b, 0)
		}
		b[len(b)-1] |= 0x80 >> (t & 7)
		b[start-1] = byte(len(b) - start)
	}
	return b, nil
}
