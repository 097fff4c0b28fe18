// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"bytes"
	"testing"

	"github.com/xfrguard/xfrguard/internal/wire"
	"github.com/xfrguard/xfrguard/internal/zone/journal"

	"github.com/miekg/dns"
)

// rowOf packs records as a delta has them.
func rowOf(t testing.TB, records ...dns.RR) (row []byte) {
	t.Helper()
	for _, r := range records {
		b, err := wire.AppendRR(nil, r)
		if err != nil {
			t.Fatal(err)
		}
		row = append(row, b...)
	}
	return row
}

// FuzzDelta: whatever a journal claims to have changed, condensing, packing and restoring
// it fails or gives what it should, and never panics.
func FuzzDelta(f *testing.F) {
	a, b := rr(f, "a.%s 1 IN A 192.0.2.1", apex), rr(f, "b.%s 1 IN MX 1 a.%s", apex, apex)
	f.Add(rowOf(f, a), rowOf(f, b), rowOf(f, b), rowOf(f, a))
	f.Add([]byte{}, rowOf(f, a, b), rowOf(f, b), []byte{0, 0, 15, 0, 1, 0, 0, 0, 0, 0, 0})
	soa := rowOf(f, soaRecord(1))
	src := newInMemory()
	src.set(f, 1, []dns.RR{a, b})
	s := newStoreOf(src, Options{})
	defer s.Close()
	r := current(f, s)
	<-r.Version.settled
	r.Close()
	from, ok := r.Version.contents()
	if !ok {
		f.Fatal("no contents")
	}
	f.Fuzz(func(t *testing.T, removed1, added1, removed2, added2 []byte) {
		if len(removed1)+len(added1)+len(removed2)+len(added2) > 20_000 {
			return
		}
		chain := []Delta{
			{From: 1, To: 2, OldSOA: soa, NewSOA: soa, Removed: removed1, Added: added1},
			{From: 2, To: 3, OldSOA: soa, NewSOA: soa, Removed: removed2, Added: added2},
		}
		before := bytes.Clone(removed1)
		d, err := condense(t.Context(), chain)
		if !bytes.Equal(before, removed1) {
			t.Fatal("condensing changes a delta")
		}
		if err != nil {
			return
		}
		if n := len(d.Removed) + len(d.Added); n > len(removed1)+len(added1)+len(removed2)+len(added2) {
			t.Fatalf("%d octets of condensed records", n)
		}
		if messages, err := pack(apex, d); err == nil {
			count := 0
			for _, m := range messages {
				count += m.Records
			}
			if count != d.RemovedCount+d.AddedCount+4 {
				t.Fatalf("%d records, want %d and %d and four SOAs", count, d.RemovedCount, d.AddedCount)
			}
		}
		if c, err := restore(apex, from, chain); err == nil {
			var r wire.Record
			for i := range c.entries {
				if err := c.entries[i].read(c.messages, &r); err != nil {
					t.Fatal(err)
				}
			}
		}
		_, _ = recall(apex, &journal.State{Base: *baseOf(from), Deltas: chain})
		_, _ = recall(apex, &journal.State{Base: journal.Base{Messages: [][]byte{removed1, added1, removed2}}})
	})
}
