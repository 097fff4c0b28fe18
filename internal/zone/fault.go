// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"slices"

	"github.com/miekg/dns"
)

// A Fault is what is wrong with the records of a version and cannot be corrected: other
// servers refuse the zone for it, or would have read another zone. It is sent as it is.
type Fault struct {
	Kind  FaultKind
	Owner string // of the first one
	Type  uint16 // of it
}

// FaultKind is a kind of fault.
type FaultKind string

// The kinds of faults. Which servers refuse a zone for each, docs/COMPATIBILITY.md has; the
// last three are no fault of the records but of how a file was read.
const (
	FaultNoNS       FaultKind = "no-ns"              // the apex has no NS record
	FaultCNAME      FaultKind = "cname-beside"       // a CNAME stands beside other data (RFC 1034 §3.6.2)
	FaultCNAMEs     FaultKind = "two-cnames"         // a name has two of them
	FaultDNAMEs     FaultKind = "two-dnames"         // a name has two DNAMEs (RFC 6672 §2.4)
	FaultDNAME      FaultKind = "ns-beside-dname"    // NS beside a DNAME, and not at the apex (RFC 6672 §2.3)
	FaultBelowDNAME FaultKind = "below-dname"        // a record below a DNAME (RFC 6672 §2.4)
	FaultWildcardNS FaultKind = "wildcard-ns"        // an NS record at a wildcard (RFC 4592 §4.2)
	FaultText       FaultKind = "empty-text"         // a TXT record, or one like it, without a string
	FaultKey        FaultKind = "empty-key"          // a record that holds a key has none
	FaultEmpty      FaultKind = "empty-data"         // a record lacks its address, digest, signature or the like
	FaultDigest     FaultKind = "digest-length"      // a digest is not as long as those of its kind are
	FaultMandatory  FaultKind = "mandatory-missing"  // an SVCB or HTTPS record lacks what it says is mandatory (RFC 9460 §8)
	FaultParameters FaultKind = "service-parameters" // one has parameters that cannot be (RFC 9460 §2.4.2, §7.1, RFC 9461 §5)
	FaultBitmap     FaultKind = "no-types"           // an NSEC record for no type (RFC 4034 §4.1.2)
	FaultTag        FaultKind = "caa-tag"            // a CAA tag that is not of letters and digits (RFC 8659 §4.1)
	FaultMeta       FaultKind = "no-data-type"       // a type that no zone has (RFC 6895 §3.1)

	FaultCase       FaultKind = "lowered-letters" // a name has octets above 127 as they are
	FaultSerialZero FaultKind = "serial-zero"     // the SOA has serial 0
	FaultSOATTL     FaultKind = "soa-ttl-zero"    // the SOA has a TTL of 0
)

// FaultKinds are all kinds of faults.
var FaultKinds = []FaultKind{
	FaultNoNS, FaultCNAME, FaultCNAMEs, FaultDNAMEs, FaultDNAME, FaultBelowDNAME, FaultWildcardNS, FaultText, FaultKey, FaultEmpty,
	FaultDigest, FaultMandatory, FaultParameters, FaultBitmap, FaultTag, FaultMeta, FaultCase, FaultSerialZero, FaultSOATTL,
}

// faults are those of a version, the first of each kind.
type faults struct {
	serial   uint32
	all      []Fault
	fromFile bool   // what is looked at was read from a zone file by this server
	dname    string // the last owner of a DNAME
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
	l.faults = faults{serial: serial, all: found}
	for _, f := range found {
		if before.serial != serial || !slices.Contains(before.all, f) {
			news = append(news, f)
		}
	}
	return news
}

// look looks at all records of one owner.
func (f *faults) look(group []dns.RR, apex bool) {
	owner := group[0].Header().Name
	if f.dname != "" && dns.IsSubDomain(f.dname, owner) && !sameName(f.dname, owner) {
		f.note(FaultBelowDNAME, owner, group[0].Header().Rrtype)
	}
	if raw(owner) {
		for _, rr := range group {
			f.need(rr.Header().Rrtype == dns.TypeSRV, FaultCase, rr.Header()) // whose owners are left
		}
	}
	var at names
	for _, rr := range group {
		f.record(rr, &at)
	}
	switch {
	case at.cname != "" && at.other != 0:
		f.note(FaultCNAME, owner, at.other)
	case at.dname != "" && at.ns && !apex:
		f.note(FaultDNAME, owner, dns.TypeNS)
	}
	if at.dname != "" {
		f.dname = owner
	}
	if apex && !at.ns {
		f.note(FaultNoNS, owner, dns.TypeNS)
	}
}

// names are what an owner has that may not be beside everything else.
type names struct {
	cname, dname string // their targets
	ns           bool
	other        uint16 // a type that stands beside no CNAME
}

// beside notes a record that is not a CNAME.
func (at *names) beside(rrtype uint16) {
	switch rrtype {
	case dns.TypeRRSIG, dns.TypeNSEC, dns.TypeKEY, dns.TypeCNAME:
	default:
		if at.other == 0 {
			at.other = rrtype
		}
	}
}

// raw reports whether a name has octets above 127 as they are. Names in messages have them
// as \DDD: these come from a text, and CoreDNS's file has lowered them as letters of Unicode.
func raw(name string) bool {
	for i := range len(name) {
		if name[i] >= 0x80 {
			return true
		}
	}
	return false
}
