// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"bytes"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// chain follows the NSEC records through the zone (RFC 4034 §4.1.1): each names the next
// name that is the zone's own, the last one the apex.
type chain struct {
	run   *run
	owner []byte // of the last one; nil: there was none
	to    []byte // where it leads
}

// next takes the next name.
func (c *chain) next(n *node) {
	if n.hashed() {
		return
	}
	c.reach(n.owner)
	c.owner = append(c.owner[:0], n.owner...)
	c.to = nil
	if set := n.set(dns.TypeNSEC); len(set) > 0 {
		to, _ := splitNSEC(n.data(&set[0]))
		c.to = lower(to)
	}
}

func (c *chain) end() { c.reach(c.run.apex) }

func (c *chain) reach(owner []byte) {
	if len(c.to) > 0 && !bytes.Equal(c.to, owner) {
		c.run.fail(NSECBroken, c.owner, dns.TypeNSEC, "leads to "+text(c.to)+", not to "+text(owner))
	}
}

// splitNSEC splits an NSEC record's data; next is nil when it has no name.
func splitNSEC(data []byte) (next, bitmap []byte) {
	size := nameSize(data)
	return data[:size], data[size:]
}

// says reports whether an NSEC record's data has a type in its bitmap.
func says(data []byte, rtype uint16) bool {
	_, bitmap := splitNSEC(data)
	types, _ := readBitmap(nil, bitmap)
	return slices.Contains(types, rtype)
}

// readBitmap reads the types of a bitmap (RFC 4034 §4.1.2), in order.
func readBitmap(dst []uint16, b []byte) (types []uint16, ok bool) {
	last := -1
	for len(b) > 0 {
		if len(b) < 2 || int(b[0]) <= last || b[1] == 0 || b[1] > 32 || len(b) < 2+int(b[1]) {
			return dst, false
		}
		last = int(b[0])
		for i, octet := range b[2 : 2+int(b[1])] {
			for bit := range 8 {
				if octet&(0x80>>bit) != 0 {
					dst = append(dst, uint16(last<<8|i<<3|bit))
				}
			}
		}
		b = b[2+int(b[1]):]
	}
	return dst, true
}

// bitmap judges the NSEC record of a name of the zone.
func (r *run) bitmap(n *node, cut bool) {
	set := n.set(dns.TypeNSEC)
	switch {
	case len(set) == 0:
		r.fail(NSECBroken, n.owner, dns.TypeNSEC, "is not there")
		return
	case len(set) > 1:
		r.fail(NSECBroken, n.owner, dns.TypeNSEC, "is there more than once")
		return
	}
	next, bitmap := splitNSEC(n.data(&set[0]))
	said, ok := readBitmap(r.scratch[1][:0], bitmap)
	r.scratch[1] = said
	if len(next) == 0 || !ok {
		r.fail(NSECBroken, n.owner, dns.TypeNSEC, "has not the form of its type")
		return
	}
	is := r.signedTypes(n, cut, true)
	if !slices.Equal(said, is) {
		r.fail(NSECBroken, n.owner, dns.TypeNSEC, "says "+typeNames(said)+", and the name has "+typeNames(is))
	}
}

// signedTypes are the types that a denial of existence has to list for a name: at a
// delegation those alone for which the zone speaks (RFC 4035 §2.3, RFC 5155 §7.1).
func (r *run) signedTypes(n *node, cut, nsec bool) []uint16 {
	all := n.types(r.scratch[0][:0])
	r.scratch[0] = all
	secure := n.has(dns.TypeDS)
	return slices.DeleteFunc(all, func(t uint16) bool {
		switch t {
		case dns.TypeNSEC3: // of another name
			return true
		case dns.TypeNS, dns.TypeDS:
			return false
		case dns.TypeNSEC:
			return cut && !nsec
		case dns.TypeRRSIG:
			return cut && !nsec && !secure
		}
		return cut
	})
}

func typeNames(types []uint16) string {
	names := make([]string, 0, len(types))
	for _, t := range types {
		names = append(names, dns.Type(t).String())
	}
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, " ")
}
