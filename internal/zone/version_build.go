// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"fmt"
	"slices"

	"github.com/xfrguard/xfrguard/internal/wire"

	"github.com/miekg/dns"
)

// build turns the stream into the version's messages. The last one, which closes the
// zone, is let go only when the stream has ended as it should. It never waits for a
// reader of a version that stays below limit octets of memory, and a version beyond
// that, or one that there is no room for, it keeps for nobody: without a reader it gives up.
func (v *Version) build(st *stream, limit int64, room func() bool) {
	v.finish(v.pack(st, limit, room))
}

func (v *Version) pack(st *stream, limit int64, room func() bool) (err error) {
	defer caught(v.Apex, ErrInvalid, &err)
	c := checker{apex: v.Apex, serial: v.Serial}
	p := wire.NewPacker(v.Apex, 0, func(m wire.Message) error {
		m.Bytes = slices.Clone(m.Bytes)
		if !room() {
			limit = 0
		}
		return v.append(m, limit)
	})
	defer p.Discard()
	n := normalizer{emit: p.Add, faults: faults{fromFile: st.file}}
	if st.origin == (origin{}) { // its owners may come apart
		n.limit, n.held, n.watch = v.gather, v.account.add, v.gather > 0
		defer func() { v.account.add(-n.size) }()
	}
	compared := st.origin == (origin{})
	err = st.run(func(rr dns.RR) error {
		if compared {
			_ = v.content.add(rr)
		}
		outside, err := c.check(rr)
		switch {
		case err != nil:
			return err
		case outside:
			n.note(CorrectedOutOfZone, rr)
			return nil
		case c.closed:
			return n.close()
		}
		return n.add(rr)
	})
	v.unusable, v.apart, v.corrections, v.faults = n.unusable, n.apart, n.found, n.faults.all
	switch {
	case err != nil:
		return err
	case !c.closed:
		return fmt.Errorf("%w: %s ends without its SOA after %d records", ErrInvalid, v.Apex, c.records)
	}
	return p.Close() //nolint:wrapcheck // names the record
}

// checker checks a stream of records while it becomes a version (RFC 5936 §2.2).
type checker struct {
	apex    string
	serial  uint32
	records int64
	closed  bool
}

// check reports whether the record is outside of the zone, or why the stream is no zone.
func (c *checker) check(rr dns.RR) (outside bool, err error) {
	h := rr.Header()
	soa, isSOA := rr.(*dns.SOA)
	switch {
	case c.closed:
		return false, fmt.Errorf("%w: %s goes on after its closing SOA", ErrInvalid, c.apex)
	case c.records == 0 && !isSOA:
		return false, fmt.Errorf("%w: %s begins with %s, not its SOA", ErrInvalid, c.apex, dns.Type(h.Rrtype))
	case h.Class != dns.ClassINET:
		return false, fmt.Errorf("%w: %s has a record of class %s", ErrInvalid, c.apex, dns.Class(h.Class))
	case isSOA != (h.Rrtype == dns.TypeSOA):
		return false, fmt.Errorf("%w: %s has a SOA that is none", ErrInvalid, c.apex)
	case c.records > 0 && !c.inside(h.Name):
		return true, nil
	case isSOA && !equalName(h.Name, c.apex):
		return false, fmt.Errorf("%w: %s has a record at %s", ErrInvalid, c.apex, h.Name)
	case isSOA && soa.Serial != c.serial:
		return false, fmt.Errorf("%w: %s begins with serial %d and ends with %d", ErrInvalid, c.apex, c.serial, soa.Serial)
	}
	c.closed = isSOA && c.records > 0
	c.records++
	return false, nil
}

// inside reports whether the name is in the zone.
func (c *checker) inside(name string) bool {
	// Nearly every name ends in the apex as it is written, behind a dot that no backslash
	// makes a part of a label.
	if at := len(name) - len(c.apex); at >= 2 && name[at-1] == '.' && name[at-2] != '\\' && name[at:] == c.apex {
		return true
	}
	return dns.IsSubDomain(c.apex, name)
}
