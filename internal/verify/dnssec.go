// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"bytes"
	"slices"

	"github.com/miekg/dns"
)

// dnssec judges the zone's signatures and its chain.
func (r *run) dnssec() error {
	apex, err := nodeOf(r.zone, r.apex)
	if err != nil {
		return err //nolint:wrapcheck // the zone's own
	}
	if apex == nil {
		return nil
	}
	r.readKeys(apex)
	if !apex.has(dns.TypeDNSKEY) {
		switch {
		case r.o.NeedDnssec, r.o.Anchor.of(r.apex) != nil:
			r.fail(DNSKEYMissing, r.apex, dns.TypeDNSKEY, "is not there, and the zone has to be signed")
		case apex.has(dns.TypeRRSIG):
			r.fail(DNSKEYMissing, r.apex, dns.TypeDNSKEY, "is not there, and the zone has signatures")
		}
		return nil
	}
	r.report.Signed, r.state.signed = true, true
	if before := r.in.Before; before != nil && before.signed && r.in.Change != nil {
		if r.touched, err = touchedBy(r.in.Change); err != nil {
			return err
		}
		if before.anchor != r.state.anchor {
			r.touched = nil
		}
	}
	if err := r.readChain(apex); err != nil {
		return err
	}
	if err := r.judgeKeys(apex); err != nil {
		return err
	}
	if r.incremental(apex) {
		err = r.changes()
	} else {
		err = r.whole()
	}
	if err != nil {
		return err
	}
	r.state.nsec = r.nsec && !apex.has(dns.TypeNSEC3PARAM)
	r.state.required = r.required
	r.state.clean = len(r.state.failed) == 0
	r.report.FirstEnd = r.state.ends.first()
	return nil
}

// readChain finds out which chain the zone has.
func (r *run) readChain(apex *node) error {
	r.nsec = apex.has(dns.TypeNSEC)
	chained := r.nsec
	params := apex.set(dns.TypeNSEC3PARAM)
	for i := range params {
		data := apex.data(&params[i])
		if !counts(data) {
			continue
		}
		if chained = true; r.hashes == nil {
			r.hashes = newHashes(r, data)
		}
	}
	if !chained {
		r.fail(NSECBroken, r.apex, dns.TypeNSEC, "is not there, nor is an NSEC3PARAM record that counts")
	}
	return nil
}

// judgeKeys checks the keys against the anchor and their own signatures, and finds out
// which algorithms each set has to be signed with: those that the keys are signed with
// (RFC 4035 §2.2).
func (r *run) judgeKeys(apex *node) error {
	anchors, rtype := r.o.Anchor.of(r.apex), dns.TypeDS
	if len(anchors) > 0 {
		rtype = anchors[0].Header().Rrtype
	}
	if anchors != nil && !slices.ContainsFunc(r.keys, func(k *key) bool { return fits(r.apex, k, anchors) }) {
		r.fail(DSMismatch, r.apex, rtype, "of the anchor fits no key of the zone")
	}
	b := &r.batch
	r.must = true // few, and everything rests on them
	first, end := r.candidates(apex, dns.TypeDNSKEY)
	r.must = false
	all := b.candidates[first:end]
	anchored := anchors == nil
	for i := range all {
		c := &all[i]
		if c.status == pending {
			r.report.Checked++
			c.status = bogus
			if c.key.check(b.arena[c.message:c.end], c.sig) {
				c.status = good
			}
		}
		if c.status == good {
			r.required = append(r.required, c.algo)
			anchored = anchored || fits(r.apex, c.key, anchors)
		}
	}
	r.required = ordered(r.required)
	r.verdict(r.apex, dns.TypeDNSKEY, all)
	if _, said := r.state.failed[setKey(r.apex, rtype)]; len(r.required) > 0 && !anchored && !said {
		r.fail(DSMismatch, r.apex, rtype, "of the anchor names a key that has not signed the zone's keys")
	}
	b.candidates, b.arena = b.candidates[:0], b.arena[:0]
	return nil
}

// whole looks at every name.
func (r *run) whole() error {
	r.report.Whole = true
	if err := r.walk(r.apex, nil); err != nil {
		return err
	}
	if r.hashes != nil {
		return r.hashes.judge()
	}
	return nil
}

// walk looks at the names from one on, within a part of the zone if that is not nil. What
// is below a delegation or a DNAME record is not the zone's own.
func (r *run) walk(from, within []byte) error {
	var cut []byte
	chain := chain{run: r}
	err := eachNode(r.zone, from, func(n *node) (bool, error) {
		if within != nil && !bytes.Equal(n.owner, within) && !below(n.owner, within) {
			return false, nil
		}
		if err := r.breathe(len(n.all)); err != nil {
			return false, err
		}
		if within == nil {
			r.countEnds(n)
		}
		switch {
		case cut == nil || !below(n.owner, cut):
			cut = nil
			if n.cut(r.apex) || n.has(dns.TypeDNAME) {
				cut = bytes.Clone(n.owner)
			}
		case !bytes.Equal(cut, r.apex) || !n.hashed(): // a DNAME at the apex hides no NSEC3
			r.occluded(n)
			return true, nil
		}
		if r.nsec && within == nil {
			chain.next(n)
		}
		return true, r.name(n)
	})
	if err != nil {
		return err
	}
	if r.nsec && within == nil {
		chain.end()
	}
	return r.batch.flush()
}

func (r *run) countEnds(n *node) {
	sigs := n.set(dns.TypeRRSIG)
	for i := range sigs {
		if data := n.data(&sigs[i]); len(data) > rrsigFixed {
			r.state.ends.add(expiration(data, r.now), 1)
		}
	}
}

// cut reports whether the owner is delegated.
func (n *node) cut(apex []byte) bool { return n.has(dns.TypeNS) && !bytes.Equal(n.owner, apex) }

// occluded looks at a name that is not the zone's own.
func (r *run) occluded(n *node) {
	if n.has(dns.TypeNSEC) {
		r.fail(NSECBroken, n.owner, dns.TypeNSEC, "is below a delegation or a DNAME")
	}
}

// name looks at a name of the zone.
func (r *run) name(n *node) error {
	apex, cut := bytes.Equal(n.owner, r.apex), n.cut(r.apex)
	for _, t := range n.types(r.scratch[0][:0]) {
		switch {
		case t == dns.TypeRRSIG:
			continue
		case t == dns.TypeDNSKEY && apex: // see judgeKeys
			continue
		case cut && (t == dns.TypeNS || t == dns.TypeA || t == dns.TypeAAAA): // the delegation, and glue
			continue
		}
		if err := r.set(n, t); err != nil {
			return err
		}
	}
	if r.nsec && !n.hashed() {
		r.bitmap(n, cut)
	}
	if r.hashes != nil {
		r.hashes.add(n, cut)
	}
	return nil
}
