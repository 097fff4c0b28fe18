// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"pgregory.net/rapid"
)

// packAll packs records and keeps copies of the messages.
func packAll(t testing.TB, zone string, reserve int, rrs []dns.RR) []Message {
	t.Helper()
	msgs, err := tryPackAll(zone, reserve, rrs)
	if err != nil {
		t.Fatal(err)
	}
	return msgs
}

func tryPackAll(zone string, reserve int, rrs []dns.RR) ([]Message, error) {
	var msgs []Message
	p := NewPacker(zone, reserve, func(m Message) error {
		m.Bytes = bytes.Clone(m.Bytes)
		msgs = append(msgs, m)
		return nil
	})
	for _, rr := range rrs {
		if err := p.Add(rr); err != nil {
			p.Discard()
			return msgs, err
		}
	}
	return msgs, p.Close()
}

// uncompressed is the sequence of records of a message in wire form, names expanded
// by miekg/dns.
func uncompressed(t interface{ Fatalf(string, ...any) }, msg []byte) [][]byte {
	var m dns.Msg
	if err := m.Unpack(slices.Clone(msg)); err != nil {
		t.Fatalf("unpacking: %v", err)
	}
	var out [][]byte
	for _, rr := range m.Answer {
		b, err := packedByMiekg(rr)
		if err != nil {
			t.Fatalf("%v: %v", rr, err)
		}
		out = append(out, b)
	}
	return out
}

func bigTXT(owner string, rdata int) *dns.TXT {
	rr := &dns.TXT{Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 1}}
	for ; rdata > 0; rdata -= 256 {
		rr.Txt = append(rr.Txt, strings.Repeat("x", min(rdata, 256)-1))
	}
	return rr
}

// genZone draws records with names that share suffixes, of all kinds of sizes.
func genZone(t *rapid.T, zone string) []dns.RR {
	var common []dns.RR
	for _, s := range awkward {
		rr, err := dns.NewRR(s)
		if err != nil {
			t.Fatal(err)
		}
		common = append(common, rr)
	}
	rr := rapid.Custom(func(t *rapid.T) dns.RR {
		owner := rapid.SampledFrom([]string{"", "a.", "A.", "b.a.", `\000.`, "*.", "x.y.z."}).Draw(t, "owner") + zone
		switch rapid.IntRange(0, 9).Draw(t, "kind") {
		case 0:
			return bigTXT(owner, rapid.IntRange(1, 70000).Draw(t, "size"))
		case 1, 2:
			return bigTXT(owner, rapid.IntRange(1, 6000).Draw(t, "size"))
		case 3:
			b := genLabels(t).wire()
			b = append(b, 0, 5, 0, 1, 0, 0, 0, 9)
			target := genLabels(t).wire()
			b = binary.BigEndian.AppendUint16(b, uint16(len(target)))
			rr, _, err := dns.UnpackRR(append(b, target...), 0)
			if err != nil {
				t.Fatal(err)
			}
			return rr
		default:
			rr := dns.Copy(rapid.SampledFrom(common).Draw(t, "record"))
			if rapid.Bool().Draw(t, "own name") {
				rr.Header().Name = owner
			}
			return rr
		}
	})
	return rapid.SliceOfN(rr, 1, 80).Draw(t, "zone")
}

// TestPackerKeepsRecords: whatever goes in comes out, in order, in messages of the
// promised sizes, and is the same after everything has been appended.
func TestPackerKeepsRecords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const zone = "Example.org."
		rrs := genZone(t, zone)
		reserve := rapid.SampledFrom([]int{0, 1, 100, 2000}).Draw(t, "reserve")
		var want [][]byte
		room := maxPointable - max(reserve, 0)
		if reserve == 0 {
			room = maxPointable - defaultReserve
		}
		tooLarge := false
		for _, rr := range rrs {
			b, err := packedByMiekg(rr)
			if err != nil || len(b)+headerSize > 65000 {
				tooLarge = true
			}
			want = append(want, b)
		}
		msgs, err := tryPackAll(zone, reserve, rrs)
		if err != nil {
			if tooLarge && errors.Is(err, ErrRecordTooLarge) {
				return
			}
			t.Fatal(err)
		}
		var got [][]byte
		for i, m := range msgs {
			in := uncompressed(t, m.Bytes)
			got = append(got, in...)
			if len(m.Bytes) > room && len(in) > 1 {
				t.Fatalf("message %d has %d records and %d octets of %d", i, len(in), len(m.Bytes), room)
			}
			if m.Records != len(in) || m.First != (i == 0) || len(in) == 0 {
				t.Fatalf("message %d: %d records, First %v; it has %d", i, m.Records, m.First, len(in))
			}
			checkHeader(t, m)
		}
		if len(got) != len(want) {
			t.Fatalf("%d records, want %d", len(got), len(want))
		}
		for i := range want {
			if !bytes.Equal(got[i], want[i]) {
				t.Fatalf("record %d:\n got %x\nwant %x", i, got[i], want[i])
			}
		}
	})
}

func checkHeader(t interface{ Fatalf(string, ...any) }, m Message) {
	want := []byte{0, 0, 0x84, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	if m.First {
		want[5] = 1
	}
	binary.BigEndian.PutUint16(want[6:], uint16(m.Records))
	if !bytes.Equal(m.Bytes[:headerSize], want) {
		t.Fatalf("header %x, want %x", m.Bytes[:headerSize], want)
	}
}

// TestPackerPatchedQuestion: RFC 5936 §2.2.1 wants the client's question back; its
// letter case must not reach the records.
func TestPackerPatchedQuestion(t *testing.T) {
	var rrs []dns.RR
	for _, s := range awkward {
		rrs = append(rrs, parseRR(t, s))
	}
	m := packAll(t, "example.org.", 0, rrs)[0]
	before := uncompressed(t, m.Bytes)
	kept := bytes.Clone(m.Bytes)
	req := new(dns.Msg)
	req.SetQuestion("eXaMpLe.ORG.", dns.TypeIXFR)
	env, err := EnvelopeFor(req)
	if err != nil {
		t.Fatal(err)
	}
	sent, err := env.Append(nil, m)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(kept, m.Bytes) {
		t.Error("the packed message was changed")
	}
	var got dns.Msg
	if err := got.Unpack(sent); err != nil {
		t.Fatal(err)
	}
	if q := got.Question[0]; q != req.Question[0] || got.Id != req.Id || !got.RecursionDesired || !got.Authoritative || !got.Response {
		t.Errorf("got %v", got.String())
	}
	for i, b := range uncompressed(t, sent) {
		if !bytes.Equal(b, before[i]) {
			t.Fatalf("record %d changed:\n got %x\nwant %x", i, b, before[i])
		}
	}
}

func TestPackerSizes(t *testing.T) {
	soa := parseRR(t, awkward[0])
	owner := strings.Repeat("o", 60) + ".example.org."
	fixed := len(owner) + 1 + rrFixedSize
	for _, tt := range []struct {
		name  string
		rdata int
		msgs  int
		ok    bool
	}{
		{"fits", 15000, 1, true},
		{"alone", 17000, 3, true},
		{"the largest set of text", 65280, 3, true},
		{"fills the message", 65535 - headerSize - fixed, 3, true},
		{"one octet more", 65535 - headerSize - fixed + 1, 1, false},
		{"more than RDLENGTH", 65536, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			msgs, err := tryPackAll("example.org.", 0, []dns.RR{soa, bigTXT(owner, tt.rdata), soa})
			if tt.ok != (err == nil) || len(msgs) != tt.msgs {
				t.Fatalf("%d messages, %v", len(msgs), err)
			}
			if !tt.ok && (!errors.Is(err, ErrRecordTooLarge) || !strings.Contains(err.Error(), owner) || !strings.Contains(err.Error(), "TXT")) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// TestPackerIsCompact: on a large zone no message may be more than the last octets of
// room smaller than it could be, and the compression as good as with an exact map.
func TestPackerIsCompact(t *testing.T) {
	rrs := benchZone(20000)
	msgs := packAll(t, benchApex, 0, rrs)
	theirs := make([]byte, 1<<16)
	for i, m := range msgs {
		if i < len(msgs)-1 && len(m.Bytes) < maxPointable-defaultReserve-100 {
			t.Errorf("message %d has %d octets", i, len(m.Bytes))
		}
		names := map[string]int{}
		end := headerSize
		for _, rr := range rrs[:m.Records] {
			var err error
			if end, err = dns.PackRR(dns.Copy(rr), theirs, end, names, true); err != nil {
				t.Fatal(err)
			}
		}
		rrs = rrs[m.Records:]
		// miekg/dns also points into the data of new types.
		if len(m.Bytes) > end+end/50+50 {
			t.Errorf("message %d has %d octets, miekg/dns needs %d", i, len(m.Bytes), end)
		}
	}
}

func TestPackerErrorsStick(t *testing.T) {
	rr := parseRR(t, awkward[1])
	t.Run("emit", func(t *testing.T) {
		full := errors.New("full")
		calls := 0
		p := NewPacker("example.org.", 0, func(Message) error { calls++; return full })
		var err error
		for range 2000 {
			if err = p.Add(rr); err != nil {
				break
			}
		}
		if !errors.Is(err, full) || !errors.Is(p.Add(rr), full) || !errors.Is(p.Close(), full) || calls != 1 {
			t.Errorf("%v, emitted %d times", err, calls)
		}
	})
	t.Run("question", func(t *testing.T) {
		p := NewPacker("relative", 0, func(Message) error { t.Error("emitted"); return nil })
		if err := p.Add(rr); !errors.Is(err, ErrName) {
			t.Error(err)
		}
		p.Discard()
	})
	t.Run("record", func(t *testing.T) {
		p := NewPacker("example.org.", 0, func(Message) error { t.Error("emitted"); return nil })
		if err := p.Add(rr); err != nil {
			t.Error(err)
		}
		if err := p.Add(&dns.MX{Hdr: *rr.Header()}); !errors.Is(err, ErrName) {
			t.Error(err)
		}
		if err := p.Close(); !errors.Is(err, ErrName) {
			t.Errorf("Close after a bad record: %v", err)
		}
	})
	t.Run("discard", func(t *testing.T) {
		p := NewPacker("example.org.", 0, func(Message) error { t.Error("emitted"); return nil })
		if err := p.Add(rr); err != nil {
			t.Error(err)
		}
		p.Discard()
		if p.Add(rr) == nil || p.Close() == nil {
			t.Error("a discarded packer goes on")
		}
	})
	t.Run("nothing", func(t *testing.T) {
		if msgs, err := tryPackAll("example.org.", 0, nil); err != nil || len(msgs) != 0 {
			t.Errorf("%d messages, %v", len(msgs), err)
		}
	})
}

// TestPackerDoesNotCompressNewTypes: RFC 3597 §4.
func TestPackerDoesNotCompressNewTypes(t *testing.T) {
	for _, tt := range []struct {
		rr       string
		compress bool
	}{
		{`example.org. 1 IN NS example.org.`, true},
		{`example.org. 1 IN SOA example.org. example.org. 1 1 1 1 1`, true},
		{`example.org. 1 IN CNAME example.org.`, true},
		{`example.org. 1 IN PTR example.org.`, true},
		{`example.org. 1 IN MX 1 example.org.`, true},
		{`example.org. 1 IN MINFO example.org. example.org.`, true},
		{`example.org. 1 IN SRV 1 1 1 example.org.`, false},
		{`example.org. 1 IN DNAME example.org.`, false},
		{`example.org. 1 IN RP example.org. example.org.`, false},
		{`example.org. 1 IN AFSDB 1 example.org.`, false},
		{`example.org. 1 IN KX 1 example.org.`, false},
		{`example.org. 1 IN NAPTR 1 1 "" "" "" example.org.`, false},
		{`example.org. 1 IN NSEC example.org. A`, false},
		{`example.org. 1 IN RRSIG A 13 2 1 20300101000000 20200101000000 1 example.org. AAAA`, false},
		{`example.org. 1 IN HTTPS 1 example.org.`, false},
	} {
		rr := parseRR(t, tt.rr)
		m := packAll(t, "example.org.", 0, []dns.RR{rr})[0]
		wire, _ := AppendName(nil, "example.org.")
		names := bytes.Count(m.Bytes, wire) // the question, the owner, the data
		if got := names == 2; got != tt.compress {
			t.Errorf("%s: the name is there %d times in full", tt.rr, names)
		}
	}
}

// TestPackerConcurrently: packers share a pool.
func TestPackerConcurrently(t *testing.T) {
	rrs := benchZone(3000)
	want := packAll(t, benchApex, 0, rrs)
	errs := make(chan error, 4)
	for range cap(errs) {
		go func() {
			for range 5 {
				got, err := tryPackAll(benchApex, 0, rrs)
				if err != nil || len(got) != len(want) {
					errs <- fmt.Errorf("%d messages: %w", len(got), err)
					return
				}
				for i := range got {
					if !bytes.Equal(got[i].Bytes, want[i].Bytes) {
						errs <- fmt.Errorf("message %d differs", i)
						return
					}
				}
			}
			errs <- nil
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}
