// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"hash/maphash"
	"slices"

	"github.com/xfrguard/xfrguard/internal/wire"

	"github.com/miekg/dns"
)

// A Correction is what was changed in the records of a version, so that they are a zone as
// every secondary understands it.
type Correction struct {
	Reason Corrected
	Count  int    // of records, of sets for CorrectedMixedTTL
	Owner  string // of the first one
	Type   uint16 // of it
}

// Corrected is a cause of a correction.
type Corrected string

const (
	// CorrectedDuplicate means that a record was there twice (RFC 2181 §5): it is sent once.
	CorrectedDuplicate Corrected = "duplicate"
	// CorrectedMixedTTL means that the records of one set had several TTLs, or one above the
	// original TTL of their signature (RFC 2181 §5.2, RFC 4034 §3.1.4): they have the lowest.
	CorrectedMixedTTL Corrected = "mixed-ttl"
	// CorrectedOutOfZone means that a record was not in the zone: it is left out.
	CorrectedOutOfZone Corrected = "out-of-zone"
	// CorrectedTTLTooLarge means that a TTL had its highest bit set (RFC 2181 §8): it is 0.
	CorrectedTTLTooLarge Corrected = "ttl-too-large"
)

// Corrections are all causes of corrections.
var Corrections = []Corrected{CorrectedDuplicate, CorrectedMixedTTL, CorrectedOutOfZone, CorrectedTTLTooLarge}

// corrections are those of a version.
type corrections struct {
	serial uint32
	all    []Correction
}

// news returns what was corrected in a version and is not known yet.
func (l *lineage) news(serial uint32, found []Correction) (news []Correction) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.told
	l.told = corrections{serial, found}
	for _, c := range found {
		if before.serial != serial || !slices.Contains(before.all, c) {
			news = append(news, c)
		}
	}
	return news
}

// maxTTL is the largest TTL there is.
const maxTTL = 1<<31 - 1

// normalizer brings a backend's records into the form in which BIND, Knot DNS and NSD send
// a zone: each record once, one TTL in each set, types in order where they are a set. It
// changes copies, never the backend's records. What it holds back are the records of one
// owner, whose sets are complete when another owner comes. Where records of one owner may
// come apart it holds back all of them, up to a limit, and notes if they do come apart
// behind it.
type normalizer struct {
	emit  func(dns.RR) error
	held  func(int64) // counts what is held back; nil for nobody
	limit int64       // octets that may be held back; 0 where owners come together

	group    []dns.RR // held back, of one owner unless limit is set
	size     int64    // about what group takes, where it is counted
	watch    bool     // owners may come apart
	owners   []uint64 // that have gone, as hashes, where they may
	apart    bool     // an owner has come again behind the limit
	opening  dns.RR   // the SOA as it was sent
	signed   bool     // the zone has a ZONEMD, whose digest covers TTLs: none is changed
	unusable bool     // a set may have several TTLs
	found    []Correction
	faults   faults

	encoder wire.Encoder
	keys    []byte
	extents []extent
}

func (n *normalizer) note(why Corrected, rr dns.RR) {
	for i := range n.found {
		if n.found[i].Reason == why {
			n.found[i].Count++
			return
		}
	}
	h := rr.Header()
	n.found = append(n.found, Correction{Reason: why, Count: 1, Owner: h.Name, Type: h.Rrtype})
}

// recordSize is about what a record takes that is held back, beside its owner.
const recordSize = 64

// add takes the next record but the closing SOA.
func (n *normalizer) add(rr dns.RR) error {
	if n.limit > 0 {
		n.group = append(n.group, rr)
		more := int64(len(rr.Header().Name) + recordSize)
		n.size += more
		if n.held != nil {
			n.held(more)
		}
		if n.size <= n.limit {
			return nil
		}
		n.limit = 0
		return n.regroup()
	}
	if len(n.group) > 0 && !sameName(n.group[0].Header().Name, rr.Header().Name) {
		if n.watch {
			n.owners = append(n.owners, maphash.String(seeds[0], nameKey(n.group[0].Header().Name)))
		}
		if err := n.flush(n.group); err != nil {
			return err
		}
		n.group = n.group[:0]
	}
	n.group = append(n.group, rr)
	return nil
}

// close ends the zone with its SOA.
func (n *normalizer) close() error {
	var err error
	if n.limit > 0 {
		err = n.regroup()
	} else if len(n.group) > 0 {
		if n.watch {
			n.owners = append(n.owners, maphash.String(seeds[0], nameKey(n.group[0].Header().Name)))
		}
		err = n.flush(n.group)
	}
	slices.Sort(n.owners)
	for i := 1; i < len(n.owners); i++ {
		n.apart = n.apart || n.owners[i] == n.owners[i-1]
	}
	n.unusable = n.unusable || n.apart
	if err != nil {
		return err
	}
	return n.emit(n.opening)
}

// regroup emits all that is held back, owner by owner, in the order in which they came.
func (n *normalizer) regroup() error {
	all, size := n.group, n.size
	n.group, n.size = nil, 0
	if n.held != nil {
		defer n.held(-size)
	}
	first := make(map[string]int, len(all)) // the first record of each owner
	last := make([]int, len(all))           // by first record
	next := make([]int, len(all))           // of the same owner; 0 for none
	for i, rr := range all {
		key := nameKey(rr.Header().Name)
		at, ok := first[key]
		if !ok {
			first[key], last[i] = i, i
			n.owners = append(n.owners, maphash.String(seeds[0], key))
			continue
		}
		next[last[at]], last[at] = i, i
	}
	var group []dns.RR
	for i := range all {
		if all[i] == nil {
			continue
		}
		group = group[:0]
		for at := i; ; at = next[at] {
			group = append(group, all[at])
			all[at] = nil
			if next[at] == 0 {
				break
			}
		}
		if err := n.flush(group); err != nil {
			return err
		}
	}
	return nil
}

// flush emits the records of one owner.
func (n *normalizer) flush(group []dns.RR) error {
	n.faults.look(group, n.opening == nil)
	if len(group) == 1 && group[0].Header().Rrtype != dns.TypeRRSIG { // most names
		return n.send(n.single(group[0]))
	}
	if n.opening == nil { // the apex
		n.signed = slices.ContainsFunc(group, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeZONEMD })
	}
	slices.SortStableFunc(group, compareSets)
	for i := range group {
		group[i] = n.single(group[i])
	}
	sets := group
	for len(sets) > 0 {
		end := 1
		for end < len(sets) && compareSets(sets[0], sets[end]) == 0 {
			end++
		}
		if err := n.flushSet(sets[:end:end], group); err != nil {
			return err
		}
		sets = sets[end:]
	}
	return nil
}

// flushSet emits one set of an owner's records.
func (n *normalizer) flushSet(set, all []dns.RR) error {
	set = n.once(set)
	lowest, highest := uint32(maxTTL), uint32(0)
	for _, rr := range set {
		lowest, highest = min(lowest, rr.Header().Ttl), max(highest, rr.Header().Ttl)
	}
	level := min(lowest, originalTTL(set[0], all))
	switch {
	case n.signed:
		n.unusable = n.unusable || lowest != highest
	case level != highest:
		n.note(CorrectedMixedTTL, set[0])
		for i, rr := range set {
			if rr.Header().Ttl != level {
				set[i] = dns.Copy(rr)
				set[i].Header().Ttl = level
			}
		}
	}
	for _, rr := range set {
		if err := n.send(rr); err != nil {
			return err
		}
	}
	return nil
}

func (n *normalizer) send(rr dns.RR) error {
	if n.opening == nil {
		n.opening = rr
	}
	return n.emit(rr)
}

// single corrects what a record has by itself.
func (n *normalizer) single(rr dns.RR) dns.RR {
	if rr.Header().Ttl > maxTTL {
		n.note(CorrectedTTLTooLarge, rr)
		rr = dns.Copy(rr)
		rr.Header().Ttl = 0
	}
	switch x := rr.(type) {
	case *dns.NSEC:
		if unsorted(x.TypeBitMap) {
			y := dns.Copy(x).(*dns.NSEC)
			y.TypeBitMap = sorted(x.TypeBitMap)
			return y
		}
	case *dns.NSEC3:
		if unsorted(x.TypeBitMap) {
			y := dns.Copy(x).(*dns.NSEC3)
			y.TypeBitMap = sorted(x.TypeBitMap)
			return y
		}
	case *dns.CSYNC:
		if unsorted(x.TypeBitMap) {
			y := dns.Copy(x).(*dns.CSYNC)
			y.TypeBitMap = sorted(x.TypeBitMap)
			return y
		}
	}
	return rr
}
