// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"bytes"
	"slices"

	"github.com/xfrguard/xfrguard/internal/wire"

	"github.com/miekg/dns"
)

// maxTouched is how many names may have changed before the whole zone is looked at, which
// reads it in one go.
const maxTouched = 10_000

// touched are the names that changed, and the types of their sets that did; for a
// signature the type that it covers.
type touched map[string][]uint16

func (t touched) set(owner []byte, rtype uint16) bool {
	return slices.Contains(t[string(owner)], rtype)
}

// touchedBy returns what a change touches.
func touchedBy(c *Change) (touched, error) {
	t := make(touched)
	err := c.each(func(r *wire.Record, _ bool) {
		rtype := r.Type()
		if rtype == dns.TypeRRSIG {
			rtype = covered(r.Data())
		}
		types := t[string(r.Owner())]
		if !slices.Contains(types, rtype) {
			t[string(r.Owner())] = append(types, rtype)
		}
	})
	return t, err
}

// each calls fn with every record that was removed, then with every one that was added.
func (c *Change) each(fn func(r *wire.Record, added bool)) error {
	for i, row := range [...][]byte{c.Removed, c.Added} {
		for row = bytes.Clone(row); len(row) > 0; {
			r, rest, err := wire.ParseRecord(row)
			if err != nil {
				return err //nolint:wrapcheck // says all
			}
			r.Canonical()
			fn(&r, i == 1)
			row = rest
		}
	}
	return nil
}

// incremental reports whether it is enough to look at what changed: all the rest was
// good, and is still, for its keys, its chain and its times are as they were.
func (r *run) incremental(apex *node) bool {
	before := r.in.Before
	return r.touched != nil && !r.o.Full && before.clean && before.nsec && r.nsec && !apex.has(dns.TypeNSEC3PARAM) &&
		len(before.unproven) == 0 && !apex.has(dns.TypeDNAME) && !r.touched.set(r.apex, dns.TypeDNAME) &&
		r.sameKeys() && slices.Equal(r.required, before.required) && len(r.touched) <= maxTouched &&
		before.ends.first().Unix() > r.now
}

// changes looks at the names that changed.
func (r *run) changes() error {
	r.state.ends = r.in.Before.ends.clone()
	arcs := arcs{run: r, balance: make(map[string]int)}
	err := r.in.Change.each(func(rec *wire.Record, added bool) {
		switch data := rec.Data(); rec.Type() {
		case dns.TypeRRSIG:
			if len(data) > rrsigFixed {
				n := -1
				if added {
					n = 1
				}
				r.state.ends.add(expiration(data, r.now), n)
			}
		case dns.TypeNSEC:
			arcs.add(rec.Owner(), data, added)
		}
	})
	if err != nil {
		return err
	}
	arcs.judge()
	names := make([][]byte, 0, len(r.touched))
	for name := range r.touched {
		names = append(names, []byte(name))
	}
	slices.SortFunc(names, compareNames)
	var walked []byte // all below it has been looked at
	for _, name := range names {
		if walked != nil && below(name, walked) {
			continue
		}
		types := r.touched[string(name)]
		if !bytes.Equal(name, r.apex) && (slices.Contains(types, dns.TypeNS) || slices.Contains(types, dns.TypeDNAME)) {
			walked = name
		}
		if err := r.changed(name, bytes.Equal(walked, name)); err != nil {
			return err
		}
	}
	return r.batch.flush()
}

// changed looks at one name that changed, and at all below it when it may have become a
// delegation or have been one.
func (r *run) changed(name []byte, deep bool) error {
	if !bytes.Equal(name, r.apex) && !below(name, r.apex) {
		return nil
	}
	for above := name; !bytes.Equal(above, r.apex); {
		if above = parent(above); bytes.Equal(above, r.apex) {
			break
		}
		n, err := nodeOf(r.zone, above)
		if err != nil {
			return err
		}
		if n != nil && (n.has(dns.TypeNS) || n.has(dns.TypeDNAME)) {
			if n, err = nodeOf(r.zone, name); n != nil {
				r.occluded(n)
			}
			return err
		}
	}
	if deep {
		r.must = true
		defer func() { r.must = false }()
		return r.walk(name, name)
	}
	n, err := nodeOf(r.zone, name)
	if err != nil || n == nil {
		return err
	}
	if err := r.breathe(len(n.all)); err != nil {
		return err
	}
	return r.name(n)
}

// arcs are the NSEC records that went and came. Each covers the names from its owner to
// where it leads. Those of a whole chain cover every name once; so a chain that was whole
// is whole again if what came covers what went did, each part once.
type arcs struct {
	run     *run
	added   []arc
	removed []arc
	balance map[string]int // by name: how many more arcs begin there than end, "" is the end of the zone
}

type arc struct{ owner, next []byte }

func (a *arcs) add(owner, data []byte, added bool) {
	next, _ := splitNSEC(data)
	if len(next) == 0 {
		return // see bitmap
	}
	one := arc{bytes.Clone(owner), lower(next)}
	n := -1
	if added {
		n = 1
		a.added = append(a.added, one)
	} else {
		a.removed = append(a.removed, one)
	}
	a.balance[string(one.owner)] += n
	a.balance[a.end(&one)] -= n
}

func (a *arcs) end(one *arc) string {
	if bytes.Equal(one.next, a.run.apex) {
		return ""
	}
	return string(one.next)
}

func (a *arcs) judge() {
	for i := range a.added {
		one := &a.added[i]
		switch end := a.end(one); {
		case end != "" && compareNames(one.owner, one.next) >= 0:
			a.run.fail(NSECBroken, one.owner, dns.TypeNSEC, "leads backwards, to "+text(one.next))
		case a.balance[string(one.owner)] != 0 || a.balance[end] != 0:
			a.run.fail(NSECBroken, one.owner, dns.TypeNSEC, "leads to "+text(one.next)+", and leaves a gap or covers twice")
			a.balance[string(one.owner)], a.balance[end] = 0, 0
		}
	}
	for i := range a.removed {
		one := &a.removed[i]
		if end := a.end(one); a.balance[string(one.owner)] != 0 || a.balance[end] != 0 {
			a.run.fail(NSECBroken, one.owner, dns.TypeNSEC, "is gone, and leaves a gap before "+text(one.next))
			a.balance[string(one.owner)], a.balance[end] = 0, 0
		}
	}
}
