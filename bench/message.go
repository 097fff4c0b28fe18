// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/miekg/dns"
)

const headerSize = 12 // of a message, RFC 1035 §4.1.1

var errShort = errors.New("message ends too early")

// message is a packed message, looked at as little as possible: the client must cost
// less than the servers it measures.
type message []byte

func (m message) count(section int) int { return int(binary.BigEndian.Uint16(m[4+2*section:])) }

// answers is the number of records in the answer section.
func (m message) answers() int { return m.count(1) }

// check tells whether m is a good answer to the request with id.
func (m message) check(id uint16) error {
	switch {
	case len(m) < headerSize:
		return errShort
	case binary.BigEndian.Uint16(m) != id:
		return fmt.Errorf("message with id %d in the answer to %d", binary.BigEndian.Uint16(m), id)
	case m[2]&0x80 == 0:
		return errors.New("a question in the place of an answer")
	case m[3]&0xf != 0:
		return fmt.Errorf("the server says %s", dns.RcodeToString[int(m[3]&0xf)])
	}
	return nil
}

// body is the offset of the answer section.
func (m message) body() (int, error) {
	off := headerSize
	for range m.count(0) {
		end, err := m.skipName(off)
		if err != nil || end+4 > len(m) {
			return 0, errShort
		}
		off = end + 4
	}
	return off, nil
}

// skipName returns the offset behind the name at off.
func (m message) skipName(off int) (int, error) {
	for off < len(m) {
		switch c := int(m[off]); {
		case c == 0:
			return off + 1, nil
		case c >= 0xc0:
			return off + 2, nil
		default:
			off += 1 + c
		}
	}
	return 0, errShort
}

// record is where one record is in its message.
type record struct {
	rrtype    uint16
	data, end int // of its RDATA; end is where the next record begins
}

func (m message) record(off int) (record, error) {
	off, err := m.skipName(off)
	if err != nil || off+10 > len(m) {
		return record{}, errShort
	}
	r := record{rrtype: binary.BigEndian.Uint16(m[off:]), data: off + 10}
	r.end = r.data + int(binary.BigEndian.Uint16(m[off+8:]))
	if r.end > len(m) {
		return record{}, errShort
	}
	return r, nil
}

// serial is that of a SOA record: its last five numbers have four octets each.
func (m message) serial(r record) (uint32, error) {
	if r.end-r.data < 22 {
		return 0, errShort
	}
	return binary.BigEndian.Uint32(m[r.end-20:]), nil
}

// soas calls f with the serial of each SOA among the answers, its place among them and
// whether it is the last of them.
func (m message) soas(f func(serial uint32, at int)) error {
	off, err := m.body()
	if err != nil {
		return err
	}
	for i := range m.answers() {
		r, err := m.record(off)
		if err != nil {
			return err
		}
		if off = r.end; r.rrtype == dns.TypeSOA {
			serial, err := m.serial(r)
			if err != nil {
				return err
			}
			f(serial, i)
		}
	}
	return nil
}
