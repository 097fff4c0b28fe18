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

// Table is a zone in memory.
type Table struct {
	apex    []byte
	serial  uint32
	records []wire.Record // by owner
}

// NewTable makes a zone of rows of uncompressed records. A second SOA is left out, and so
// is what is not in the zone. The first SOA says which zone it is. The error wraps
// [wire.ErrFormat].
func NewTable(rows ...[]byte) (*Table, error) {
	t := &Table{}
	for _, row := range rows {
		for row = bytes.Clone(row); len(row) > 0; {
			r, rest, err := wire.ParseRecord(row)
			if err != nil {
				return nil, err //nolint:wrapcheck // says all
			}
			row = rest
			r.Canonical()
			if r.Type() == dns.TypeSOA {
				if t.apex != nil {
					continue
				}
				t.apex = r.Owner()
				t.serial = serialOf(r.Data())
			}
			t.records = append(t.records, r)
		}
	}
	t.records = slices.DeleteFunc(t.records, func(r wire.Record) bool {
		return !bytes.Equal(r.Owner(), t.apex) && !below(r.Owner(), t.apex)
	})
	slices.SortStableFunc(t.records, func(a, b wire.Record) int { return compareNames(a.Owner(), b.Owner()) })
	return t, nil
}

// serialOf is the serial in the data of a SOA record.
func serialOf(data []byte) uint32 {
	at := nameSize(data)
	at += nameSize(data[at:])
	if len(data) < at+4 {
		return 0
	}
	return uint32(data[at])<<24 | uint32(data[at+1])<<16 | uint32(data[at+2])<<8 | uint32(data[at+3])
}

// Apex implements [Zone].
func (t *Table) Apex() []byte { return t.apex }

// Serial implements [Zone].
func (t *Table) Serial() uint32 { return t.serial }

// From implements [Zone].
func (t *Table) From(name []byte, fn func(*wire.Record) bool) error {
	at, _ := slices.BinarySearchFunc(t.records, name, func(r wire.Record, name []byte) int {
		return cmp.Or(compareNames(r.Owner(), name))
	})
	for i := at; i < len(t.records); i++ {
		if !fn(&t.records[i]) {
			break
		}
	}
	return nil
}
