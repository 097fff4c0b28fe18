// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/miekg/dns"
)

// covered is the type that an RRSIG record's data is about.
func covered(data []byte) uint16 {
	if len(data) < 2 {
		return 0
	}
	return binary.BigEndian.Uint16(data)
}

// rrsigFixed is how much of an RRSIG's data stands before the signer's name.
const rrsigFixed = 18

// expiration is when a signature ends, in seconds of Unix time: the one of both times in
// 136 years that is nearer to now (RFC 4034 §3.1.5).
func expiration(data []byte, now int64) int64 { return near(binary.BigEndian.Uint32(data[8:]), now) }

func near(t uint32, now int64) int64 { return now + int64(int32(t-uint32(now))) }

// maxTries is how many signatures of one set are checked at most: a zone that has more
// keys with one tag, or more signatures, wants to keep us busy.
const maxTries = 16

// status is what is known of one signature.
type status uint8

const (
	good status = iota
	pending
	bogus
	expired
	notYet
	stranger // its key is not in the zone
)

// candidate is one signature of a set.
type candidate struct {
	status  status
	algo    uint8
	tag     uint16
	key     *key
	sig     []byte
	message int // where in the arena the message begins; see batch
	end     int
}

// candidates gathers the signatures of a set, and writes what they sign into the batch.
func (r *run) candidates(n *node, rtype uint16) (first, end int) {
	b := &r.batch
	first = len(b.candidates)
	check := r.mustCheck(n.owner, rtype)
	sigs := n.set(dns.TypeRRSIG)
	tries := 0
	for i := range sigs {
		data := n.data(&sigs[i])
		if covered(data) != rtype {
			continue
		}
		c := candidate{status: bogus}
		signer := 0
		if len(data) > rrsigFixed {
			signer = nameSize(data[rrsigFixed:])
		}
		if signer == 0 {
			b.candidates = append(b.candidates, c)
			continue
		}
		c.algo, c.tag = data[2], binary.BigEndian.Uint16(data[16:])
		head := data[:rrsigFixed+signer]
		switch {
		case !bytes.Equal(head[rrsigFixed:], r.apex) || int(data[3]) != signedLabels(n.owner):
		case expiration(data, r.now) < r.now:
			c.status = expired
		case near(binary.BigEndian.Uint32(data[12:]), r.now) > r.now:
			c.status = notYet
		default:
			r.tryKeys(c, n, rtype, head, data[len(head):], check, &tries)
			continue
		}
		b.candidates = append(b.candidates, c)
	}
	return first, len(b.candidates)
}

// tryKeys adds a candidate for each key that may have made a signature.
func (r *run) tryKeys(c candidate, n *node, rtype uint16, head, sig []byte, check bool, tries *int) {
	b := &r.batch
	c.status = stranger
	at := len(b.candidates)
	for _, k := range r.keys {
		if k.algo != c.algo || k.tag != c.tag {
			continue
		}
		c.key = k
		switch {
		case k.check == nil:
			r.unchecked(k.why)
			c.status = good
		case !check && k.stable:
			c.status = good
		case *tries >= maxTries:
			c.status = bogus
		default:
			*tries++
			c.status = pending
			c.message, c.end = b.message(n, rtype, head)
			c.sig = b.keep(sig)
		}
		b.candidates = append(b.candidates, c)
	}
	if len(b.candidates) == at {
		b.candidates = append(b.candidates, c)
	}
}

// signedLabels is the number of labels that a signature of an owner counts (RFC 4034
// §3.1.3).
func signedLabels(owner []byte) int {
	n := countLabels(owner)
	if n > 0 && owner[0] == 1 && owner[1] == '*' {
		n--
	}
	return n
}

// mustCheck reports whether the signatures of a set have to be checked: it is new, or not
// all of them were good before.
func (r *run) mustCheck(owner []byte, rtype uint16) bool {
	if r.touched == nil || r.must || r.o.Full || r.in.Before.overflow {
		return true
	}
	key := setKey(owner, rtype)
	_, failed := r.in.Before.failed[key]
	_, unproven := r.in.Before.unproven[key]
	return failed || unproven || r.touched.set(owner, rtype) || r.uncovered(owner)
}

// uncovered reports whether a name may have been below a delegation or a DNAME record, or at
// one, where nobody looked at its signatures.
func (r *run) uncovered(owner []byte) bool {
	for name := owner; ; name = parent(name) {
		apex := bytes.Equal(name, r.apex)
		if r.touched.set(name, dns.TypeDNAME) || !apex && r.touched.set(name, dns.TypeNS) {
			return true
		}
		if apex || len(name) <= len(r.apex) {
			return false
		}
	}
}

// set judges the signatures of one set, now or with the batch.
func (r *run) set(n *node, rtype uint16) error {
	b := &r.batch
	first, end := r.candidates(n, rtype)
	if slices.ContainsFunc(b.candidates[first:end], func(c candidate) bool { return c.status == pending }) {
		b.jobs = append(b.jobs, job{owner: b.keep(n.owner), rtype: rtype, first: first, end: end})
		if len(b.jobs) >= batchSize {
			return b.flush()
		}
		return nil
	}
	r.verdict(n.owner, rtype, b.candidates[first:end])
	b.candidates = b.candidates[:first]
	return nil
}

// verdict says what is wrong with a set, if anything is.
func (r *run) verdict(owner []byte, rtype uint16, all []candidate) {
	if slices.ContainsFunc(all, func(c candidate) bool { return c.status == bogus || c.status == notYet }) {
		r.state.remember(r.state.unproven, owner, rtype)
	}
	if len(r.required) == 0 {
		r.verdictOf(owner, rtype, all, 0)
		return
	}
	for _, algo := range r.required {
		if !r.verdictOf(owner, rtype, all, algo) {
			return // once a set
		}
	}
}

// verdictOf judges the signatures of one algorithm, of all when it is 0.
func (r *run) verdictOf(owner []byte, rtype uint16, all []candidate, algo uint8) bool {
	worst := candidate{status: good}
	some := false
	for i := range all {
		c := &all[i]
		if algo != 0 && c.algo != algo {
			continue
		}
		if c.status == good {
			return true
		}
		if !some || c.status < worst.status {
			worst, some = *c, true
		}
	}
	of := ""
	if len(r.required) > 1 {
		of = fmt.Sprintf(" of algorithm %d", algo)
	}
	by := fmt.Sprintf("key %d, algorithm %d", worst.tag, worst.algo)
	switch {
	case !some:
		r.fail(RRSIGMissing, owner, rtype, "has no signature"+of)
	case worst.status == expired:
		r.fail(RRSIGExpired, owner, rtype, "has a signature that has ended ("+by+")")
	case worst.status == notYet:
		r.fail(RRSIGNotYet, owner, rtype, "has a signature that has not begun ("+by+")")
	case worst.status == stranger:
		r.fail(DNSKEYMissing, owner, rtype, "is signed with a key that is not in the zone ("+by+")")
	default:
		r.fail(RRSIGBogus, owner, rtype, "is not what was signed ("+by+")")
	}
	return false
}

// message appends what a signature signs (RFC 4034 §3.1.8.1).
func (b *batch) message(n *node, rtype uint16, head []byte) (start, end int) {
	start = len(b.arena)
	b.arena = append(b.arena, head...)
	set := n.set(rtype)
	for i := range set {
		data := n.data(&set[i])
		b.arena = append(b.arena, n.owner...)
		b.arena = binary.BigEndian.AppendUint16(b.arena, rtype)
		b.arena = binary.BigEndian.AppendUint16(b.arena, dns.ClassINET)
		b.arena = append(b.arena, head[4:8]...) // the original TTL
		b.arena = binary.BigEndian.AppendUint16(b.arena, uint16(len(data)))
		b.arena = append(b.arena, data...)
	}
	return start, len(b.arena)
}

// ordered sorts algorithms.
func ordered(algos []uint8) []uint8 {
	slices.SortFunc(algos, cmp.Compare[uint8])
	return slices.Compact(algos)
}
