// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/xfrguard/xfrguard/internal/wire"

	"github.com/miekg/dns"
)

// node is all that one owner has. It is used again for the next.
type node struct {
	owner []byte
	held  []byte
	all   []datum // by type, then by data; each once
}

// datum is one record of a node.
type datum struct {
	rtype      uint16
	ttl        uint32
	start, end int // of its data in held
}

func (n *node) data(d *datum) []byte { return n.held[d.start:d.end] }

func (n *node) reset(owner []byte) {
	n.owner = append(n.owner[:0], owner...)
	n.held, n.all = n.held[:0], n.all[:0]
}

func (n *node) add(r *wire.Record) {
	start := len(n.held)
	n.held = append(n.held, r.Data()...)
	n.all = append(n.all, datum{r.Type(), r.TTL(), start, len(n.held)})
}

// order puts the records into canonical order (RFC 4034 §6.3).
func (n *node) order() {
	slices.SortFunc(n.all, func(a, b datum) int {
		return cmp.Or(cmp.Compare(a.rtype, b.rtype), bytes.Compare(n.data(&a), n.data(&b)), cmp.Compare(a.ttl, b.ttl))
	})
	n.all = slices.CompactFunc(n.all, func(a, b datum) bool {
		return a.rtype == b.rtype && bytes.Equal(n.data(&a), n.data(&b))
	})
}

// set returns the records of one type.
func (n *node) set(rtype uint16) []datum {
	at, found := slices.BinarySearchFunc(n.all, rtype, func(d datum, t uint16) int { return cmp.Compare(d.rtype, t) })
	if !found {
		return nil
	}
	end := at
	for end < len(n.all) && n.all[end].rtype == rtype {
		end++
	}
	return n.all[at:end]
}

func (n *node) has(rtype uint16) bool { return n.set(rtype) != nil }

// types returns the types that the owner has, in order.
func (n *node) types(dst []uint16) []uint16 {
	for i := range n.all {
		if t := n.all[i].rtype; len(dst) == 0 || dst[len(dst)-1] != t {
			dst = append(dst, t)
		}
	}
	return dst
}

// hashed reports whether the owner is no name of the zone, but an NSEC3 record's.
func (n *node) hashed() bool {
	for i := range n.all {
		if t := n.all[i].rtype; t != dns.TypeNSEC3 && t != dns.TypeRRSIG {
			return false
		}
	}
	return n.has(dns.TypeNSEC3)
}

// eachNode calls fn with every owner from a name on, until fn returns false.
func eachNode(z Zone, from []byte, fn func(*node) (bool, error)) error {
	var (
		n    node
		err  error
		goOn = true
	)
	flush := func() bool {
		if len(n.all) > 0 {
			n.order()
			goOn, err = fn(&n)
		}
		return goOn && err == nil
	}
	fault := z.From(from, func(r *wire.Record) bool {
		if !bytes.Equal(n.owner, r.Owner()) {
			if !flush() {
				return false
			}
			n.reset(r.Owner())
		}
		n.add(r)
		return true
	})
	if fault != nil {
		return fault //nolint:wrapcheck // the zone's own
	}
	if goOn && err == nil {
		flush()
	}
	return err
}

// nodeOf returns what one name has, nil when it has nothing.
func nodeOf(z Zone, name []byte) (*node, error) {
	n := &node{}
	n.reset(name)
	err := z.From(name, func(r *wire.Record) bool {
		if !bytes.Equal(name, r.Owner()) {
			return false
		}
		n.add(r)
		return true
	})
	if err != nil || len(n.all) == 0 {
		return nil, err //nolint:wrapcheck // the zone's own
	}
	n.order()
	return n, nil
}
