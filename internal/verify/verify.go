// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

// Package verify judges whether the records of a zone are what their makers said they
// are: by the zone's own digest (ZONEMD, RFC 8976) and by its signatures (DNSSEC, RFC
// 4033 to 4035, RFC 5155). It knows nothing of servers, and asks nobody.
//
// A zone that was judged whole and found good is judged again by what changed: the sets
// that changed, and the chain of NSEC records around them. See [Judge].
package verify

import (
	"context"
	"fmt"
	"time"

	"github.com/xfrguard/xfrguard/internal/wire"

	"github.com/miekg/dns"
)

// Reason is why a zone is not good.
type Reason string

// The reasons.
const (
	ZonemdMismatch Reason = "zonemd-mismatch"     // no ZONEMD record of a known kind fits the zone
	ZonemdMissing  Reason = "zonemd-missing"      // there is none, and there has to be one
	RRSIGExpired   Reason = "rrsig-expired"       // a set's signatures have ended
	RRSIGNotYet    Reason = "rrsig-not-yet-valid" // a set's signatures have not begun
	RRSIGMissing   Reason = "rrsig-missing"       // a set that must be signed is not
	RRSIGBogus     Reason = "rrsig-bogus"         // a set is not what was signed
	NSECBroken     Reason = "nsec-broken"         // the chain has a gap, or says what is not so
	DSMismatch     Reason = "ds-mismatch"         // no key is the one that the anchor names
	DNSKEYMissing  Reason = "dnskey-missing"      // a signature's key, or all keys, are not in the zone
)

// Reasons are all reasons.
var Reasons = []Reason{
	ZonemdMismatch, ZonemdMissing, RRSIGExpired, RRSIGNotYet, RRSIGMissing, RRSIGBogus, NSECBroken, DSMismatch, DNSKEYMissing,
}

// OfDigest reports whether the reason is about the zone's digest, not its signatures.
func (r Reason) OfDigest() bool { return r == ZonemdMismatch || r == ZonemdMissing }

// Failure is one thing that is wrong.
type Failure struct {
	Reason Reason
	Owner  string // of the set, in presentation format
	Type   uint16 // of the set
	Text   string // what it is, behind owner and type
}

func (f *Failure) String() string {
	return fmt.Sprintf("%s: %s %s %s", f.Reason, f.Owner, dns.Type(f.Type), f.Text)
}

// Zone is one version of a zone.
type Zone interface {
	// Apex is the zone's name in canonical wire format.
	Apex() []byte
	// Serial is the serial of its SOA.
	Serial() uint32
	// From calls fn with the records in canonical form, from the first owner that is not
	// before name in canonical order (RFC 4034 §6.1) on, the owners in that order, the SOA
	// once, until fn returns false. A record is valid until fn returns.
	From(name []byte, fn func(*wire.Record) bool) error
}

// Options are what is asked of a zone.
type Options struct {
	Zonemd     bool      // judge the digest
	Dnssec     bool      // judge the signatures
	NeedZonemd bool      // it must have a digest
	NeedDnssec bool      // it must be signed
	Full       bool      // check every signature, also of sets that did not change
	Anchor     *Anchor   // what the zone's keys must fit; nil: the zone's own word
	Now        time.Time // the time that signatures are held against; zero: the clock's
}

// Input is what is judged.
type Input struct {
	Zone   Zone
	Digest []byte // SHA-384 by the scheme SIMPLE; nil when it is not known
	// Before is what was found out about an earlier version, and Change what has changed
	// since. Both are nil, or neither.
	Before *State
	Change *Change
}

// Change is what differs between two versions: rows of uncompressed records, one after
// the other. The SOA is in both rows, or the caller adds it.
type Change struct{ Removed, Added []byte }

// Report is the verdict on one version.
type Report struct {
	Failures  []Failure // the first maxFailures, in the order in which they were found
	Total     int       // of all failures
	Signed    bool      // the zone has keys and signatures were looked at
	FirstEnd  time.Time // when the first of its signatures ends; zero when it has none
	Checked   int       // signatures that were checked
	Unchecked []string  // what could not be checked, each kind once
	Whole     bool      // all names were looked at, not only those that changed
}

// Good reports whether nothing is wrong.
func (r *Report) Good() bool { return r.Total == 0 }

// First returns the first failure of each reason.
func (r *Report) First() (first []Failure) {
	seen := make(map[Reason]bool)
	for _, f := range r.Failures {
		if !seen[f.Reason] {
			seen[f.Reason] = true
			first = append(first, f)
		}
	}
	return first
}

// maxFailures is how many failures a report has at most. The first of each reason is
// always among them.
const maxFailures = 64

// Judge judges one version. The state is for the version that comes after it; it is nil
// when signatures were not judged. The error is that of ctx, or of reading the zone.
//
// All judges of the process together take half of its processors, at least one.
func Judge(ctx context.Context, in Input, o Options) (*Report, *State, error) {
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	r := newRun(ctx, &in, &o)
	if err := r.enter(); err != nil {
		return nil, nil, err
	}
	defer r.leave()
	if o.Zonemd {
		if err := r.zonemd(); err != nil {
			return nil, nil, err
		}
	}
	if !o.Dnssec {
		return r.report, nil, nil
	}
	if err := r.dnssec(); err != nil {
		return nil, nil, err
	}
	return r.report, r.state, nil
}

// FirstEnd says when the first of a zone's signatures ends, and judges nothing; zero when it
// has none. The error is that of ctx, or of reading the zone.
func FirstEnd(ctx context.Context, z Zone, now time.Time) (time.Time, error) {
	r := newRun(ctx, &Input{Zone: z}, &Options{Now: now})
	if err := r.enter(); err != nil {
		return time.Time{}, err
	}
	defer r.leave()
	err := eachNode(z, r.apex, func(n *node) (bool, error) {
		r.countEnds(n)
		return true, r.breathe(len(n.all))
	})
	return r.state.ends.first(), err
}
