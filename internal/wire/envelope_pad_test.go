// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"math"
	"testing"

	"github.com/miekg/dns"
)

// TestPaddingSize: with its option a message is a multiple of the block, or it has none
// because there is no room.
func TestPaddingSize(t *testing.T) {
	for size := 12; size <= math.MaxUint16; size++ {
		n := Padding(size, 468)
		if n < 0 {
			if whole := (size + 4 + 467) / 468 * 468; whole <= math.MaxUint16 {
				t.Fatalf("%d octets are not padded to %d", size, whole)
			}
			continue
		}
		if n >= 468 || (size+4+n)%468 != 0 || size+4+n > math.MaxUint16 {
			t.Fatalf("%d octets get %d of padding", size, n)
		}
	}
}

// TestEnvelopePads: padding leaves a message that miekg/dns reads, whatever options
// the OPT record has, and one that is too long for it as it was.
func TestEnvelopePads(t *testing.T) {
	name, err := AppendName(nil, "example.org.")
	if err != nil {
		t.Fatal(err)
	}
	for _, options := range [][]dns.EDNS0{nil, {&dns.EDNS0_LOCAL{Code: 11, Data: []byte{0, 100}}}} {
		opt := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT, Class: 1232}, Option: options}
		packed, err := PackOPT(opt)
		if err != nil {
			t.Fatal(err)
		}
		for _, filler := range []int{0, 1, 400, 5000, 65000, 65480, 65535 - 29 - len(packed)} {
			m := new(dns.Msg).SetQuestion("example.org.", dns.TypeAXFR)
			b, err := m.Pack()
			if err != nil {
				t.Fatal(err)
			}
			// Trailing octets stand for records: what is measured is lengths.
			b = append(b, make([]byte, filler)...)
			e := Envelope{ID: 7, Name: name, Type: dns.TypeAXFR, OPT: packed, Block: 468}
			got, err := e.Append([]byte("before"), Message{Bytes: b, First: true})
			if err != nil {
				t.Fatal(err)
			}
			got = got[len("before"):]
			bare := len(b) + len(packed)
			if n := Padding(bare, 468); n < 0 {
				if len(got) != bare {
					t.Errorf("%d octets without room became %d", bare, len(got))
				}
				continue
			}
			if len(got)%468 != 0 {
				t.Errorf("%d octets are no multiple of 468", len(got))
			}
			rr, off, err := dns.UnpackRR(got, len(b))
			if err != nil || off != len(got) {
				t.Fatalf("the OPT record: %v, it ends at %d of %d", err, off, len(got))
			}
			if o := rr.(*dns.OPT); len(o.Option) != len(options)+1 || o.Option[len(options)].Option() != dns.EDNS0PADDING {
				t.Errorf("options %v", o.Option)
			}
		}
	}
}
