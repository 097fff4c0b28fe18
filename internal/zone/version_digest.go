// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"bytes"
	"cmp"
	"crypto/sha512"
	"hash"
	"slices"

	"github.com/xfrguard/xfrguard/internal/wire"

	"github.com/miekg/dns"
)

// digester computes a zone's digest (RFC 8976 §3.3, scheme SIMPLE, SHA-384) from
// records in canonical form: all of them in canonical order (RFC 4034 §6.1, §6.3),
// without the apex's ZONEMD and its signatures, each once. File-like backends send the
// names in that order, so only the few records of one name have to be held and sorted.
type digester struct {
	sha     hash.Hash
	apex    []byte
	owner   []byte
	held    []byte // the records of owner, one after the other
	records []extent
	broken  bool // a name came out of order
}

type extent struct{ start, end int }

func newDigester() *digester { return &digester{sha: sha512.New384()} }

// add takes the next record, which must be in canonical form. The first is the SOA.
func (d *digester) add(r *wire.Record) {
	if d.broken {
		return
	}
	if d.apex == nil {
		d.apex = bytes.Clone(r.Owner())
		d.owner = d.apex
	}
	if !bytes.Equal(d.owner, r.Owner()) {
		if compareNames(d.owner, r.Owner()) >= 0 {
			d.broken = true
			return
		}
		d.flush()
		d.owner = append(d.owner[:0:0], r.Owner()...)
	}
	if !digestible(r, d.apex) {
		return
	}
	start := len(d.held)
	d.held = append(d.held, r.Wire...)
	d.records = append(d.records, extent{start, len(d.held)})
}

// digestible reports whether a record counts (RFC 8976 §3.3.1): the digest itself and
// its signature cannot.
func digestible(r *wire.Record, apex []byte) bool {
	isDigest := r.Type() == dns.TypeZONEMD
	if r.Type() == dns.TypeRRSIG && len(r.Data()) > 1 {
		isDigest = uint16(r.Data()[0])<<8|uint16(r.Data()[1]) == dns.TypeZONEMD
	}
	return !isDigest || !bytes.Equal(r.Owner(), apex)
}

// flush hashes the records of one owner.
func (d *digester) flush() {
	tail := len(d.owner)
	slices.SortFunc(d.records, func(a, b extent) int {
		return compareSiblings(d.held[a.start+tail:a.end], d.held[b.start+tail:b.end])
	})
	var last []byte
	for _, e := range d.records {
		b := d.held[e.start:e.end]
		if !bytes.Equal(b, last) {
			d.sha.Write(b)
		}
		last = b
	}
	d.held, d.records = d.held[:0], d.records[:0]
}

// compareSiblings compares two records of one owner, given without it: by type, then by
// data as octets (RFC 4034 §6.3).
func compareSiblings(a, b []byte) int {
	const fixed = 10 // type, class, TTL, RDLENGTH
	return cmp.Or(bytes.Compare(a[:2], b[:2]), bytes.Compare(a[fixed:], b[fixed:]), bytes.Compare(a, b))
}

// sum is the digest, unless the names came out of order.
func (d *digester) sum() (out Digest, ok bool) {
	if d.broken {
		return Digest{}, false
	}
	d.flush()
	d.sha.Sum(out[:0])
	return out, true
}

// compareNames compares two names in canonical wire form: label by label from the
// right, as octets (RFC 4034 §6.1).
func compareNames(a, b []byte) int {
	var la, lb [128]uint8
	na, nb := labels(a, &la), labels(b, &lb)
	for i := 1; i <= min(na, nb); i++ {
		x, y := la[na-i], lb[nb-i]
		if c := bytes.Compare(a[x+1:int(x)+1+int(a[x])], b[y+1:int(y)+1+int(b[y])]); c != 0 {
			return c
		}
	}
	return cmp.Compare(na, nb)
}

// labels writes where each label of a name begins, and returns how many there are.
func labels(name []byte, at *[128]uint8) (n int) {
	for i := 0; i < len(name) && name[i] != 0 && n < len(at); i += 1 + int(name[i]) {
		at[n] = uint8(i)
		n++
	}
	return n
}

// digestUnordered sorts the whole zone first. It needs room for all of its records.
func digestUnordered(messages []wire.Message) (out Digest, ok bool) {
	type place struct {
		extent
		owner int // octets of the owner name
	}
	var (
		held   []byte
		places []place
		apex   []byte
	)
	err := eachRecord(messages, func(r *wire.Record) error {
		r.Canonical()
		if apex == nil {
			apex = bytes.Clone(r.Owner())
		}
		if digestible(r, apex) {
			start := len(held)
			held = append(held, r.Wire...)
			places = append(places, place{extent{start, len(held)}, len(r.Owner())})
		}
		return nil
	})
	if err != nil {
		return Digest{}, false
	}
	slices.SortFunc(places, func(x, y place) int {
		a, b := held[x.start:x.end], held[y.start:y.end]
		return cmp.Or(compareNames(a[:x.owner], b[:y.owner]), compareSiblings(a[x.owner:], b[y.owner:]))
	})
	sha := sha512.New384()
	var last []byte
	for _, p := range places {
		b := held[p.start:p.end]
		if !bytes.Equal(b, last) {
			sha.Write(b)
		}
		last = b
	}
	sha.Sum(out[:0])
	return out, true
}

// eachRecord calls fn with every record but the closing SOA.
func eachRecord(messages []wire.Message, fn func(*wire.Record) error) error {
	var r wire.Record
	opened := false
	for _, m := range messages {
		offset, err := m.Begin()
		if err != nil {
			return err //nolint:wrapcheck // says all
		}
		for range m.Records {
			if offset, err = m.Read(offset, &r); err != nil {
				return err //nolint:wrapcheck // says all
			}
			if r.Type() == dns.TypeSOA {
				if opened {
					continue
				}
				opened = true
			}
			if err := fn(&r); err != nil {
				return err
			}
		}
	}
	return nil
}
