// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/miekg/dns"
)

// soaN, aN: records as a server would send them.
func soaN(serial int) string {
	return fmt.Sprintf("bench.test. 60 IN SOA ns1.bench.test. hostmaster.bench.test. %d 1 2 3 4", serial)
}

func aN(i int) string { return fmt.Sprintf("h%d.bench.test. 60 IN A 192.0.2.%d", i, i) }

// packed makes an answer with id 7; names are compressed, as those of all servers are.
func packed(t *testing.T, records ...string) message {
	t.Helper()
	m := new(dns.Msg)
	m.SetAxfr(origin)
	m.Id, m.Response, m.Compress = 7, true, true
	for _, r := range records {
		rr, err := dns.NewRR(r)
		if err != nil {
			t.Fatal(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestStream: where answers end, by RFC 5936 §2.2 and RFC 1995 §4, message by message.
func TestStream(t *testing.T) {
	type messages [][]string
	tests := []struct {
		name    string
		s       stream
		in      messages
		want    style
		records int
		fails   string
	}{
		{"one message", stream{want: 4}, messages{{soaN(3), aN(1), aN(2), soaN(3)}}, fullStyle, 4, ""},
		{"one record a message", stream{want: 4}, messages{{soaN(3)}, {aN(1)}, {aN(2)}, {soaN(3)}}, fullStyle, 4, ""},
		{"size unknown", stream{}, messages{{soaN(3), aN(1)}, {aN(2)}, {soaN(3)}}, fullStyle, 4, ""},
		{"a record too few", stream{want: 4}, messages{{soaN(3), aN(1), soaN(3)}}, "", 0, "the zone has 4"},
		{"a record too many", stream{want: 4}, messages{{soaN(3), aN(1)}, {aN(2), aN(3)}}, "", 0, "the zone has 4"},
		{"the last is no SOA", stream{want: 3}, messages{{soaN(3), aN(1)}, {aN(2)}}, "", 0, "closing SOA false, but the zone has 3"},
		{"more after the end", stream{}, messages{{soaN(3), aN(1), soaN(3), aN(2)}}, "", 0, "after the closing SOA"},
		{"no SOA", stream{}, messages{{aN(1), aN(2)}}, "", 0, "does not begin with a SOA"},
		{"IXFR, nothing new", stream{ixfr: true, have: 3}, messages{{soaN(3)}}, singleStyle, 1, ""},
		{"IXFR, RFC 1995 §7", stream{ixfr: true, have: 1}, messages{{soaN(3), soaN(1), aN(1), soaN(2), aN(2), aN(3), soaN(2), aN(2), soaN(3), aN(4), soaN(3)}}, deltaStyle, 11, ""},
		{"IXFR, cut anywhere", stream{ixfr: true, have: 1}, messages{{soaN(3)}, {soaN(1)}, {soaN(2), aN(2), soaN(2)}, {soaN(3)}, {soaN(3)}}, deltaStyle, 7, ""},
		{"IXFR, deletions only", stream{ixfr: true, have: 2}, messages{{soaN(3), soaN(2), aN(1), soaN(3), soaN(3)}}, deltaStyle, 5, ""},
		{"IXFR, answered in full", stream{ixfr: true, have: 1, want: 4}, messages{{soaN(3), aN(1)}, {aN(2), soaN(3)}}, fullStyle, 4, ""},
		{"IXFR, in full, SOA alone at first", stream{ixfr: true, have: 1, want: 4}, messages{{soaN(3)}, {aN(1), aN(2), soaN(3)}}, fullStyle, 4, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := tt.s
			err := feed(t, &s, tt.in)
			if tt.fails != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fails) {
					t.Errorf("error %v, want one with %q", err, tt.fails)
				}
				return
			}
			if err != nil || s.style != tt.want || s.records != tt.records || s.serial != 3 {
				t.Errorf("%q with %d records, serial %d, %v; want %q, %d, 3", s.style, s.records, s.serial, err, tt.want, tt.records)
			}
		})
	}
}

// feed adds messages; only the last one may end the stream.
func feed(t *testing.T, s *stream, in [][]string) error {
	t.Helper()
	for i, records := range in {
		if err := s.add(packed(t, records...)); err != nil {
			return err
		}
		if s.done && i < len(in)-1 {
			return fmt.Errorf("ended with message %d of %d", i+1, len(in))
		}
	}
	if !s.done {
		return errors.New("not ended")
	}
	return nil
}

// TestMessageCheck: answers to others and refusals are errors.
func TestMessageCheck(t *testing.T) {
	good := packed(t, soaN(1))
	if err := good.check(7); err != nil {
		t.Error(err)
	}
	question, refused := bytes.Clone(good), bytes.Clone(good)
	question[2] &^= 0x80
	refused[3] |= dns.RcodeRefused
	if good.check(8) == nil || message(question).check(7) == nil || good[:11].check(7) == nil {
		t.Error("a wrong id, a question or half a header passed")
	}
	if err := message(refused).check(7); err == nil || !strings.Contains(err.Error(), "REFUSED") {
		t.Errorf("refused: %v", err)
	}
	for size := headerSize; size < len(good); size++ { // cut anywhere, an error and no panic
		s := stream{}
		if err := s.add(good[:size]); err == nil {
			t.Errorf("%d of %d octets pass", size, len(good))
		}
	}
}

// TestReadMessages: frames come out whole however they come in.
func TestReadMessages(t *testing.T) {
	var wire []byte
	sizes := []int{12, 65535, 1, 300, 65535, 65535, 65535, 40000, 2}
	for i, size := range sizes {
		wire = binary.BigEndian.AppendUint16(wire, uint16(size))
		wire = append(wire, bytes.Repeat([]byte{byte(i)}, size)...)
	}
	readers := map[string]io.Reader{
		"as much as fits": bytes.NewReader(wire), "octet by octet": iotest.OneByteReader(bytes.NewReader(wire)),
		"with EOF": iotest.DataErrReader(bytes.NewReader(wire)),
	}
	for name, r := range readers {
		n := 0
		err := readMessages(r, func(m message) (bool, error) {
			if len(m) != sizes[n] || m[0] != byte(n) || m[len(m)-1] != byte(n) {
				t.Errorf("%s: message %d has %d octets of %d, want %d", name, n, len(m), m[0], sizes[n])
			}
			n++
			return n == len(sizes), nil
		})
		if err != nil || n != len(sizes) {
			t.Errorf("%s: %d messages, %v", name, n, err)
		}
	}
	never := func(message) (bool, error) { return false, nil }
	if err := readMessages(bytes.NewReader(wire[:len(wire)-1]), never); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut: %v", err)
	}
	if err := readMessages(bytes.NewReader(wire), func(message) (bool, error) { return true, nil }); err == nil {
		t.Error("octets after the last message passed")
	}
}
