// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// A Fault is what is wrong with the records of a version and cannot be corrected: other
// servers refuse the zone for it. It is sent as it is.
type Fault struct {
	Kind  FaultKind
	Owner string // of the first one
	Type  uint16 // of it
}

// FaultKind is a kind of fault.
type FaultKind string

// The kinds of faults.
const (
	FaultNoNS       FaultKind = "no-ns"             // the apex has no NS record
	FaultCNAME      FaultKind = "cname-beside"      // a CNAME stands beside other data (RFC 1034 §3.6.2)
	FaultCNAMEs     FaultKind = "two-cnames"        // a name has two of them
	FaultWildcardNS FaultKind = "wildcard-ns"       // an NS record at a wildcard (RFC 4592 §4.2)
	FaultText       FaultKind = "empty-text"        // a TXT record without a string
	FaultKey        FaultKind = "empty-key"         // a DNSKEY record without a key
	FaultMandatory  FaultKind = "mandatory-missing" // an SVCB or HTTPS record lacks what it says is mandatory (RFC 9460 §8)
)

// FaultKinds are all kinds of faults.
var FaultKinds = []FaultKind{FaultNoNS, FaultCNAME, FaultCNAMEs, FaultWildcardNS, FaultText, FaultKey, FaultMandatory}

// faults are those of a version, the first of each kind.
type faults struct {
	serial uint32
	all    []Fault
}

func (f *faults) note(kind FaultKind, owner string, rrtype uint16) {
	if !slices.ContainsFunc(f.all, func(other Fault) bool { return other.Kind == kind }) {
		f.all = append(f.all, Fault{kind, owner, rrtype})
	}
}

// newFaults returns the faults of a version that are not known yet.
func (l *lineage) newFaults(serial uint32, found []Fault) (news []Fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.faults
	l.faults = faults{serial, found}
	for _, f := range found {
		if before.serial != serial || !slices.Contains(before.all, f) {
			news = append(news, f)
		}
	}
	return news
}

// look looks at all records of one owner.
func (f *faults) look(group []dns.RR, apex bool) {
	cname, other, ns := "", uint16(0), false
	for _, rr := range group {
		h := rr.Header()
		switch rr := rr.(type) {
		case *dns.A, *dns.AAAA: // most records
			other = h.Rrtype
			continue
		case *dns.RRSIG, *dns.NSEC:
			continue
		case *dns.CNAME:
			if target := nameKey(rr.Target); cname != "" && cname != target {
				f.note(FaultCNAMEs, h.Name, h.Rrtype)
			} else {
				cname = target
			}
			continue
		case *dns.NS:
			ns = true
			if strings.HasPrefix(h.Name, "*.") {
				f.note(FaultWildcardNS, h.Name, h.Rrtype)
			}
		case *dns.TXT:
			if len(rr.Txt) == 0 {
				f.note(FaultText, h.Name, h.Rrtype)
			}
		case *dns.DNSKEY:
			if rr.PublicKey == "" {
				f.note(FaultKey, h.Name, h.Rrtype)
			}
		case *dns.SVCB:
			f.mandatory(rr, h)
		case *dns.HTTPS:
			f.mandatory(&rr.SVCB, h)
		}
		if other == 0 && h.Rrtype != dns.TypeKEY {
			other = h.Rrtype
		}
	}
	if cname != "" && other != 0 {
		f.note(FaultCNAME, group[0].Header().Name, other)
	}
	if apex && !ns {
		f.note(FaultNoNS, group[0].Header().Name, dns.TypeNS)
	}
}

// mandatory looks for parameters that a record says are mandatory and does not have.
func (f *faults) mandatory(rr *dns.SVCB, h *dns.RR_Header) {
	has := func(key dns.SVCBKey) bool {
		return slices.ContainsFunc(rr.Value, func(v dns.SVCBKeyValue) bool { return v.Key() == key })
	}
	for _, v := range rr.Value {
		if m, ok := v.(*dns.SVCBMandatory); ok {
			if slices.ContainsFunc(m.Code, func(key dns.SVCBKey) bool { return !has(key) || key == dns.SVCB_MANDATORY }) {
				f.note(FaultMandatory, h.Name, h.Rrtype)
			}
		}
	}
}
