// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
)

// style is the form in which a server answers.
type style string

const (
	unknownStyle style = ""
	fullStyle    style = "full zone"   // RFC 5936, also in answer to an IXFR
	deltaStyle   style = "incremental" // RFC 1995 §4
	singleStyle  style = "SOA only"    // nothing newer
)

// stream finds the end of the answer to one request among its messages.
//
// Of an AXFR whose size is known the records are counted by the headers, and only the
// first and the last message are walked; of all others every record is visited.
type stream struct {
	want int    // records of a full zone, 0 if unknown
	have uint32 // the client's serial, for IXFR
	ixfr bool

	style   style
	serial  uint32 // of the server
	records int
	soas    int
	done    bool
}

var errNoSOA = errors.New("the answer does not begin with a SOA")

// add takes the next message.
func (s *stream) add(m message) error {
	if s.done {
		return errors.New("a message after the last one")
	}
	n := m.answers()
	counted := !s.ixfr && s.want > 0 && s.records > 0 && s.records+n < s.want
	if counted {
		s.records += n
		return nil
	}
	return s.walk(m, n)
}

func (s *stream) walk(m message, n int) error {
	last := -1
	err := m.soas(func(serial uint32, at int) {
		if s.records == 0 && at == 0 {
			s.serial = serial
		}
		s.soas++
		if s.records+at == 1 {
			s.style = deltaStyle
		}
		if s.ends(serial) && last < 0 {
			last = at
		}
	})
	switch {
	case err != nil:
		return err
	case s.soas == 0:
		return errNoSOA
	case last >= 0 && last != n-1:
		return fmt.Errorf("%d records after the closing SOA", n-1-last)
	}
	s.records += n
	s.done = last >= 0
	if s.records > 1 && s.style == unknownStyle {
		s.style = fullStyle
	}
	if s.ixfr && s.records == 1 && s.serial == s.have {
		s.style, s.done = singleStyle, true
	}
	if s.style == fullStyle && s.want > 0 && (s.records > s.want || s.done != (s.records == s.want)) {
		return fmt.Errorf("%d records, closing SOA %v, but the zone has %d", s.records, s.done, s.want)
	}
	return nil
}

// ends tells whether the SOA just counted closes the answer. In a delta the server's
// serial comes at the beginning, before what the last version added, and at the end;
// SOAs 2, 4, ... begin what goes, 3, 5, ... what comes.
func (s *stream) ends(serial uint32) bool {
	if s.style != deltaStyle {
		return s.soas == 2
	}
	return s.soas > 2 && s.soas%2 == 0 && serial == s.serial
}
