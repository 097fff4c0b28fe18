// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"bytes"
	"sort"

	"github.com/xfrguard/xfrguard/internal/verify"
	"github.com/xfrguard/xfrguard/internal/wire"

	"github.com/miekg/dns"
)

// Content is the records of a version that stay while somebody looks at them: a
// [verify.Zone] that finds a name in microseconds. It must be closed.
type Content struct {
	verify.Zone
	reader *Reader
}

// Close lets go of the version.
func (c *Content) Close() { c.reader.Close() }

// Content gives the records of a version that is complete and indexed. It fails with
// ErrUnavailable when the version is not kept, or no longer. Records that are not in
// canonical order are copied and sorted first.
func (v *Version) Content() (*Content, error) {
	r := v.attach(true)
	if r == nil || v.index == nil || v.isPassing() {
		if r != nil {
			r.Close()
		}
		return nil, ErrUnavailable
	}
	v.mu.Lock()
	messages := v.messages
	v.mu.Unlock()
	c := &Content{reader: r}
	if v.index.ordered {
		c.Zone = &ordered{apex: ownerOf(v.index.opening), serial: v.Serial, messages: messages}
		return c, nil
	}
	var rows []byte
	err := eachRecord(messages, func(r *wire.Record) error {
		rows = append(rows, r.Wire...)
		return nil
	})
	if err == nil {
		c.Zone, err = verify.NewTable(rows)
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	return c, nil
}

// ownerOf is the owner of a record, in canonical form.
func ownerOf(record []byte) []byte {
	r, _, err := wire.ParseRecord(bytes.Clone(record))
	if err != nil {
		return nil
	}
	r.Canonical()
	return r.Owner()
}

// ordered is a version whose owners come in canonical order. It looks for a name among
// the first owners of the messages.
type ordered struct {
	apex     []byte
	serial   uint32
	messages []wire.Message
}

func (o *ordered) Apex() []byte   { return o.apex }
func (o *ordered) Serial() uint32 { return o.serial }

// From implements [verify.Zone].
func (o *ordered) From(name []byte, fn func(*wire.Record) bool) error {
	var fault error
	var r wire.Record
	first := sort.Search(len(o.messages), func(i int) bool {
		offset, err := o.messages[i].Begin()
		if err == nil {
			_, err = o.messages[i].Read(offset, &r)
		}
		if err != nil {
			fault = err
			return true
		}
		r.Canonical()
		// A SOA that is not the first record is the closing one, behind all others.
		return i > 0 && r.Type() == dns.TypeSOA || compareNames(r.Owner(), name) >= 0
	})
	if fault != nil {
		return fault
	}
	for i := max(first-1, 0); i < len(o.messages); i++ {
		offset, err := o.messages[i].Begin()
		if err != nil {
			return err //nolint:wrapcheck // says all
		}
		for k := range o.messages[i].Records {
			if offset, err = o.messages[i].Read(offset, &r); err != nil {
				return err //nolint:wrapcheck // says all
			}
			if r.Type() == dns.TypeSOA && (i > 0 || k > 0) {
				return nil // the closing one
			}
			r.Canonical()
			if i < first && compareNames(r.Owner(), name) < 0 {
				continue
			}
			if !fn(&r) {
				return nil
			}
		}
	}
	return nil
}
