// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// record looks at one record.
func (f *faults) record(rr dns.RR, at *names) {
	h := rr.Header()
	at.beside(h.Rrtype)
	switch rr := rr.(type) {
	case *dns.A: // most records
		f.need(len(rr.A) > 0, FaultEmpty, h)
	case *dns.AAAA:
		f.need(len(rr.AAAA) > 0, FaultEmpty, h)
	case *dns.CNAME:
		f.alone(&at.cname, rr.Target, FaultCNAMEs, h)
	case *dns.DNAME:
		f.alone(&at.dname, rr.Target, FaultDNAMEs, h)
	case *dns.NS:
		at.ns = true
		f.need(!strings.HasPrefix(h.Name, "*."), FaultWildcardNS, h)
		f.need(!raw(rr.Ns), FaultCase, h)
	case *dns.MX:
		f.need(!raw(rr.Mx), FaultCase, h)
	case *dns.SOA:
		f.soa(rr, h)
	case *dns.TXT:
		f.need(len(rr.Txt) > 0, FaultText, h)
	case *dns.SPF:
		f.need(len(rr.Txt) > 0, FaultText, h)
	case *dns.AVC:
		f.need(len(rr.Txt) > 0, FaultText, h)
	case *dns.SVCB:
		f.service(rr, h)
	case *dns.HTTPS:
		f.service(&rr.SVCB, h)
	case *dns.CAA:
		f.need(alphanumeric(rr.Tag), FaultTag, h)
	case *dns.NSEC:
		f.need(len(rr.TypeBitMap) > 0, FaultBitmap, h)
	default:
		f.security(rr, h)
		f.need(!meta(h.Rrtype), FaultMeta, h)
	}
}

// need notes a fault of a record unless it is well.
func (f *faults) need(well bool, kind FaultKind, h *dns.RR_Header) {
	if !well {
		f.note(kind, h.Name, h.Rrtype)
	}
}

// alone notes when a name has a second target.
func (f *faults) alone(before *string, target string, kind FaultKind, h *dns.RR_Header) {
	f.need(!raw(target) || h.Rrtype != dns.TypeCNAME, FaultCase, h)
	target = nameKey(target)
	f.need(*before == "" || *before == target, kind, h)
	*before = target
}

// soa looks at what reading a file has made of a SOA.
func (f *faults) soa(rr *dns.SOA, h *dns.RR_Header) {
	f.need(!raw(rr.Ns) && !raw(rr.Mbox), FaultCase, h)
	if f.fromFile {
		f.need(rr.Serial != 0, FaultSerialZero, h)
		f.need(h.Ttl != 0, FaultSOATTL, h)
	}
}

// security looks at records with keys, digests and signatures, which are well as far as
// their length goes.
func (f *faults) security(rr dns.RR, h *dns.RR_Header) {
	switch rr := rr.(type) {
	case *dns.DNSKEY:
		f.need(rr.PublicKey != "" || rr.Flags&0xc000 == 0xc000, FaultKey, h)
	case *dns.CDNSKEY:
		f.need(rr.PublicKey != "" || rr.Flags&0xc000 == 0xc000, FaultKey, h)
	case *dns.KEY:
		f.need(rr.PublicKey != "" || rr.Flags&0xc000 == 0xc000, FaultKey, h) // RFC 2535 §3.1.2
	case *dns.OPENPGPKEY:
		f.need(rr.PublicKey != "", FaultKey, h)
	case *dns.CERT:
		f.need(rr.Certificate != "", FaultKey, h)
	case *dns.TLSA:
		f.need(rr.Certificate != "", FaultEmpty, h)
	case *dns.SMIMEA:
		f.need(rr.Certificate != "", FaultEmpty, h)
	case *dns.DHCID:
		f.need(rr.Digest != "", FaultEmpty, h)
	case *dns.RRSIG:
		f.need(rr.Signature != "", FaultEmpty, h)
	case *dns.DS:
		f.digest(rr.Digest, digests[rr.DigestType], h)
	case *dns.CDS:
		f.digest(rr.Digest, digests[rr.DigestType], h)
	case *dns.SSHFP:
		f.digest(rr.FingerPrint, fingerprints[rr.Type], h)
	case *dns.ZONEMD:
		f.digest(rr.Digest, zoneDigests[rr.Hash], h)
	}
}

// Octets of the digests whose kinds are known.
var (
	digests      = map[uint8]int{1: 20, 2: 32, 4: 48} // of DS: RFC 4034 §A.2, RFC 4509, RFC 6605
	fingerprints = map[uint8]int{1: 20, 2: 32}        // of SSHFP: RFC 4255 §3.1.2, RFC 6594 §4
	zoneDigests  = map[uint8]int{1: 48, 2: 64}        // of ZONEMD: RFC 8976 §2.2.3
)

// digest looks at a digest in hexadecimal; size is 0 where it may have any.
func (f *faults) digest(text string, size int, h *dns.RR_Header) {
	f.need(text != "", FaultEmpty, h)
	f.need(text == "" || size == 0 || len(text) == 2*size, FaultDigest, h)
}

// service looks at the parameters of a record of type SVCB or HTTPS.
func (f *faults) service(rr *dns.SVCB, h *dns.RR_Header) {
	f.need(!raw(rr.Target), FaultCase, h)
	has := func(key dns.SVCBKey) bool {
		return slices.ContainsFunc(rr.Value, func(v dns.SVCBKeyValue) bool { return v.Key() == key })
	}
	f.need(rr.Priority != 0 || len(rr.Value) == 0, FaultParameters, h)
	for _, v := range rr.Value {
		switch v := v.(type) {
		case *dns.SVCBMandatory:
			for _, key := range v.Code {
				f.need(has(key) && key != dns.SVCB_MANDATORY, FaultMandatory, h)
			}
		case *dns.SVCBAlpn:
			f.need(len(v.Alpn) > 0 && !slices.Contains(v.Alpn, ""), FaultParameters, h)
		case *dns.SVCBNoDefaultAlpn:
			f.need(has(dns.SVCB_ALPN), FaultParameters, h)
		case *dns.SVCBDoHPath:
			f.need(strings.Contains(v.Template, "dns"), FaultParameters, h)
		}
	}
}

func alphanumeric(tag string) bool {
	for i := range len(tag) {
		switch c := tag[i] | 0x20; { // in lower case
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		default:
			return false
		}
	}
	return tag != ""
}

// meta reports whether a type is of messages alone: 0, NULL, OPT, and those of questions
// and signatures.
func meta(rrtype uint16) bool {
	return rrtype == 0 || rrtype == dns.TypeNULL || rrtype == dns.TypeOPT || rrtype >= 128 && rrtype <= 255
}
