// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"
)

// rcodeError is a refusal.
type rcodeError int

// Error implements error.
func (e rcodeError) Error() string { return dns.RcodeToString[int(e)] }

var errNoAnswer = errors.New("no answer")

// fetch gets the whole zone as id over a connection of its own.
func fetch(ctx context.Context, s *server, id identity) error {
	conn, err := id.dial(ctx, s, 0)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	qid, b := id.request()
	if _, err := conn.Write(b); err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	return readZone(conn, qid, s.recordsOf(id))
}

// readZone reads the answer to an AXFR: every message has the request's id and no error, and
// all hold as many records as the zone has, and the closing SOA.
func readZone(conn net.Conn, qid uint16, records int) error {
	r := bufio.NewReaderSize(conn, 64<<10)
	buf := make([]byte, 64<<10)
	for got := 0; got < records+1; {
		var size [2]byte
		if _, err := io.ReadFull(r, size[:]); err != nil {
			return broken(got, err)
		}
		m := buf[:binary.BigEndian.Uint16(size[:])]
		if _, err := io.ReadFull(r, m); err != nil {
			return broken(got, err)
		}
		switch {
		case len(m) < 12 || binary.BigEndian.Uint16(m) != qid:
			return errors.New("a message that is no answer")
		case m[3]&0xf != 0:
			return rcodeError(m[3] & 0xf)
		}
		n := int(binary.BigEndian.Uint16(m[6:]))
		if got += n; n == 0 || got > records+1 {
			return fmt.Errorf("%d records of %d", got, records+1)
		}
	}
	return nil
}

// broken says how far an answer came.
func broken(got int, err error) error {
	if got == 0 && !isTimeout(err) {
		return fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	return fmt.Errorf("broken off: %w", err)
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// The kinds of a connection that ended without one octet of an answer.
const (
	kindSilent = "no answer"
	kindClosed = "closed"
)

// kindOf names an error for a table: short, and without addresses.
func kindOf(err error) string {
	var rcode rcodeError
	switch {
	case errors.As(err, &rcode):
		return rcode.Error()
	case isTimeout(err), errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, errNoAnswer):
		return kindSilent
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.EPIPE):
		if strings.HasPrefix(err.Error(), "broken off") {
			return "broken off"
		}
		return kindClosed
	}
	return err.Error()
}

// answered asks for the SOA over UDP as ordinary clients do.
func answered(ctx context.Context, s *server) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	m := new(dns.Msg)
	m.SetQuestion(origin, dns.TypeSOA)
	r, _, err := new(dns.Client).ExchangeContext(ctx, m, s.addr())
	if err == nil && (r.Rcode != dns.RcodeSuccess || len(r.Answer) == 0) {
		err = rcodeError(r.Rcode)
	}
	return err
}
