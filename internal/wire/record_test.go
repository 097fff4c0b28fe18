// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// recordsOf reads all records of messages.
func recordsOf(t interface{ Fatalf(string, ...any) }, messages []Message) (out [][]byte) {
	var r Record
	for i, m := range messages {
		offset, err := m.Begin()
		for range m.Records {
			if err != nil {
				break
			}
			if offset, err = m.Read(offset, &r); err == nil {
				out = append(out, bytes.Clone(r.Wire))
			}
		}
		if err != nil || offset != len(m.Bytes) {
			t.Fatalf("message %d: read up to %d of %d: %v", i, offset, len(m.Bytes), err)
		}
	}
	return out
}

// TestRecordsOfMessages: what Read expands is what miekg/dns packs of each record, and
// what AddRecord packs of that is the same again.
func TestRecordsOfMessages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const zone = "Example.org."
		rrs := genZone(t, zone)
		messages, err := tryPackAll(zone, 0, rrs)
		if err != nil {
			t.Skip(err)
		}
		got := recordsOf(t, messages)
		if len(got) != len(rrs) {
			t.Fatalf("%d records of %d", len(got), len(rrs))
		}
		again := []Message{}
		p := NewPacker(zone, 0, func(m Message) error {
			m.Bytes = bytes.Clone(m.Bytes)
			again = append(again, m)
			return nil
		})
		for i, rr := range rrs {
			want, err := packedByMiekg(rr)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got[i], want) {
				t.Fatalf("record %d:\n got %x\nwant %x", i, got[i], want)
			}
			r, rest, err := ParseRecord(got[i])
			if err != nil || len(rest) != 0 {
				t.Fatalf("record %d: %d octets left, %v", i, len(rest), err)
			}
			h := rr.Header()
			if r.Type() != h.Rrtype || r.Class() != h.Class || r.TTL() != h.Ttl {
				t.Fatalf("record %d: type %d class %d ttl %d, want %v", i, r.Type(), r.Class(), r.TTL(), h)
			}
			if err := p.AddRecord(&r); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		if !slices.EqualFunc(recordsOf(t, again), got, bytes.Equal) {
			t.Fatal("packed from wire format it is not the same")
		}
		for i := range again {
			if i < len(messages) && len(again[i].Bytes) > len(messages[i].Bytes) {
				t.Fatalf("message %d has %d octets, packed from miekg's records %d", i, len(again[i].Bytes), len(messages[i].Bytes))
			}
		}
	})
}

// TestCanonical: RFC 4034 §6.2 with the list of types that RFC 6840 §5.1 leaves of it.
func TestCanonical(t *testing.T) {
	for _, tt := range []struct{ rr, want string }{
		{`ExAmple.ORG. 1 IN A 192.0.2.1`, `example.org. 1 IN A 192.0.2.1`},
		{`A. 1 IN NS NS.B.`, `a. 1 IN NS ns.b.`},
		{`A. 1 IN CNAME NS.B.`, `a. 1 IN CNAME ns.b.`},
		{`A. 1 IN DNAME NS.B.`, `a. 1 IN DNAME ns.b.`},
		{`A. 1 IN PTR NS.B.`, `a. 1 IN PTR ns.b.`},
		{`A. 1 IN MX 1 NS.B.`, `a. 1 IN MX 1 ns.b.`},
		{`A. 1 IN AFSDB 1 NS.B.`, `a. 1 IN AFSDB 1 ns.b.`},
		{`A. 1 IN KX 1 NS.B.`, `a. 1 IN KX 1 ns.b.`},
		{`A. 1 IN PX 1 NS.B. MX.B.`, `a. 1 IN PX 1 ns.b. mx.b.`},
		{`A. 1 IN RP NS.B. MX.B.`, `a. 1 IN RP ns.b. mx.b.`},
		{`A. 1 IN SOA NS.B. MX.B. 1 2 3 4 5`, `a. 1 IN SOA ns.b. mx.b. 1 2 3 4 5`},
		{`A. 1 IN SRV 1 2 3 NS.B.`, `a. 1 IN SRV 1 2 3 ns.b.`},
		{`A. 1 IN NAPTR 1 2 "S" "SIP+D2U" "X" NS.B.`, `a. 1 IN NAPTR 1 2 "S" "SIP+D2U" "X" ns.b.`},
		{`A. 1 IN RRSIG A 13 1 1 20260101000000 20260101000000 1 NS.B. c2ln`, `a. 1 IN RRSIG A 13 1 1 20260101000000 20260101000000 1 ns.b. c2ln`},
		{`A. 1 IN NSEC NS.B. A`, `a. 1 IN NSEC NS.B. A`},
		{`A. 1 IN SVCB 1 NS.B.`, `a. 1 IN SVCB 1 NS.B.`},
		{`A. 1 IN TXT "NS.B."`, `a. 1 IN TXT "NS.B."`},
		{`\065\192. 1 IN TXT "A"`, `a\192. 1 IN TXT "A"`},
	} {
		got, err := packedByMiekg(parseRR(t, tt.rr))
		if err != nil {
			t.Fatal(err)
		}
		r, _, err := ParseRecord(got)
		if err != nil {
			t.Fatal(err)
		}
		r.Canonical()
		want, err := packedByMiekg(parseRR(t, tt.want))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(r.Wire, want) {
			t.Errorf("%s:\n got %x\nwant %x", tt.rr, r.Wire, want)
		}
	}
}

// TestReadRefuses: names that lead astray (RFC 1035 §4.1.4) and lengths that lie.
func TestReadRefuses(t *testing.T) {
	head := append(make([]byte, 7), 1, 0, 0, 0, 0)
	long := bytes.Repeat(append([]byte{63}, bytes.Repeat([]byte{'x'}, 63)...), 4)
	fixed := []byte{0, 1, 0, 1, 0, 0, 0, 0, 0, 0}
	for name, body := range map[string][]byte{
		"empty":              {},
		"no end":             {1, 'a'},
		"pointer to itself":  append([]byte{0xC0, 12}, fixed...),
		"pointer forward":    append([]byte{0xC0, 20}, fixed...),
		"half a pointer":     {0xC0},
		"reserved bits":      append([]byte{0x80, 1, 0}, fixed...),
		"256 octets":         append(append(slices.Clone(long), 0), fixed...),
		"cut fixed part":     {0, 0, 1, 0, 1},
		"data longer":        {0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 1},
		"MX without a name":  {0, 0, 15, 0, 1, 0, 0, 0, 0, 0, 2, 0, 1},
		"MX without anyting": {0, 0, 15, 0, 1, 0, 0, 0, 0, 0, 0},
		"name beyond data":   {0, 0, 2, 0, 1, 0, 0, 0, 0, 0, 1, 1, 'a', 0},
	} {
		m := Message{Bytes: append(slices.Clone(head), body...), Records: 1}
		offset, err := m.Begin()
		if err != nil {
			t.Fatal(err)
		}
		var r Record
		if _, err := m.Read(offset, &r); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: read %x, %v", name, r.Wire, err)
		}
	}
}

// FuzzRecord: no octets make Read or ParseRecord panic, and what they accept, the
// packer takes and gives back.
func FuzzRecord(f *testing.F) {
	for _, s := range awkward {
		if b, err := packedByMiekg(parseRR(f, s)); err == nil {
			f.Add(b)
		}
	}
	f.Add([]byte("\x01a\xc0\x0c\x00\x02\x00\x01\x00\x00\x00\x00\x00\x02\xc0\x0c"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 60000 {
			return
		}
		m := Message{Bytes: append(make([]byte, headerSize), b...), Records: 1}
		var r Record
		if _, err := m.Read(headerSize, &r); err != nil {
			_, _, _ = ParseRecord(b)
			return
		}
		whole, rest, err := ParseRecord(r.Wire)
		if err != nil || len(rest) > 0 {
			t.Fatalf("%x: %d octets left, %v", r.Wire, len(rest), err)
		}
		var packed []Message
		p := NewPacker("example.org.", 0, func(m Message) error {
			m.Bytes = bytes.Clone(m.Bytes)
			packed = append(packed, m)
			return nil
		})
		for range 2 {
			if err := p.AddRecord(&whole); err != nil {
				p.Discard()
				if !errors.Is(err, ErrRecordTooLarge) && !strings.Contains(err.Error(), "names") {
					t.Fatal(err)
				}
				return
			}
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		for _, got := range recordsOf(t, packed) {
			if !bytes.Equal(got, r.Wire) {
				t.Fatalf("got %x, want %x", got, r.Wire)
			}
		}
		whole.Canonical()
		again := Record{Wire: bytes.Clone(whole.Wire), owner: whole.owner}
		again.Canonical()
		if !bytes.Equal(again.Wire, whole.Wire) {
			t.Fatal("canonical twice is not canonical once")
		}
	})
}
