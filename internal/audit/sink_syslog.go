// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/leodido/go-syslog/v4/rfc5424"
)

const (
	syslogDial     = 5 * time.Second
	syslogWrite    = 5 * time.Second
	syslogFacility = 13 // log audit (RFC 5424 §6.2.1)
)

// newSyslogSink writes RFC 5424 messages whose text is the sealed line: over TLS
// (RFC 5425) or TCP (RFC 6587 §3.4.1), both with octet counting, or to the local
// socket, one datagram each. Syslog has no answer: durable means that the local
// end of the connection took the message, which a receiver that dies may still lose.
func newSyslogSink(name, network, address string, state func(error)) (Sink, error) {
	s := &syslogWriter{network: network, address: address}
	switch network {
	case "tls", "tcp":
		s.dial = s.dialStream
	case "unix":
		s.dial = s.dialLocal
	default:
		return nil, fmt.Errorf("unknown syslog network %q: expected tls, tcp or unix", network)
	}
	return newLineSink(name, s.write, s, state)
}

// syslogWriter keeps one connection. write has one caller at a time.
type syslogWriter struct {
	network, address string
	config           *tls.Config // tests: their CA
	dial             func() (net.Conn, error)

	mu      sync.Mutex
	conn    net.Conn
	framed  bool
	stopped bool
}

// write sends one message. A connection that turns out to be broken, as after a
// restart of the receiver, is replaced once, and the message sent whole over the new one.
func (s *syslogWriter) write(line []byte) error {
	msg, err := syslogMessage(bytes.TrimSuffix(line, []byte{'\n'}), time.Now())
	if err != nil {
		return err
	}
	fresh, err := s.send(msg)
	if err != nil && !fresh && !errors.Is(err, os.ErrDeadlineExceeded) {
		_, err = s.send(msg)
	}
	if err != nil {
		return fmt.Errorf("syslog %s %s: %w", s.network, s.address, err)
	}
	return nil
}

// send reports whether it had to make the connection.
func (s *syslogWriter) send(msg []byte) (fresh bool, err error) {
	conn, fresh, err := s.connection()
	if err != nil {
		return fresh, err
	}
	if s.framed {
		msg = append(strconv.AppendInt(nil, int64(len(msg)), 10), append([]byte{' '}, msg...)...)
	}
	err = conn.SetWriteDeadline(time.Now().Add(syslogWrite))
	if err == nil {
		_, err = conn.Write(msg)
	}
	if err != nil {
		s.drop()
	}
	return fresh, err
}

// connection returns the connection that is there, if its peer has not closed it, or
// a new one.
func (s *syslogWriter) connection() (conn net.Conn, fresh bool, err error) {
	s.mu.Lock()
	conn, stopped := s.conn, s.stopped
	s.mu.Unlock()
	if stopped {
		return nil, false, errSinkClosed
	}
	if conn != nil {
		return conn, false, nil
	}
	conn, err = s.dial()
	if err != nil {
		return nil, true, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		_ = conn.Close()
		return nil, true, errSinkClosed
	}
	s.conn = conn
	if s.framed {
		go s.watch(conn)
	}
	return conn, true, nil
}

// watch notices that the receiver went away, which a write alone notices one message
// too late. A receiver of syslog never sends anything.
func (s *syslogWriter) watch(conn net.Conn) {
	_, _ = io.Copy(io.Discard, conn)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == conn {
		s.conn = nil
	}
	_ = conn.Close()
}

func (s *syslogWriter) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		_ = s.conn.Close()
		s.conn = nil
	}
}

// Close ends the connection, and with it a write that hangs.
func (s *syslogWriter) Close() error {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.drop()
	return nil
}

func (s *syslogWriter) dialStream() (net.Conn, error) {
	s.framed = true
	d := &net.Dialer{Timeout: syslogDial}
	if s.network == "tcp" {
		return d.Dial("tcp", s.address)
	}
	return tls.DialWithDialer(d, "tcp", s.address, s.config)
}

// dialLocal takes whatever kind of socket the local daemon has.
func (s *syslogWriter) dialLocal() (net.Conn, error) {
	s.framed = false
	conn, err := net.DialTimeout("unixgram", s.address, syslogDial)
	if err == nil {
		return conn, nil
	}
	stream, streamErr := net.DialTimeout("unix", s.address, syslogDial)
	if streamErr != nil {
		return nil, err
	}
	s.framed = true
	return stream, nil
}

// syslogMessage wraps a line. The text is JSON, so UTF-8 without control characters.
func syslogMessage(line []byte, now time.Time) ([]byte, error) {
	level, fields, err := journalFields(line)
	if err != nil {
		return nil, err
	}
	m := &rfc5424.SyslogMessage{}
	m.SetPriority(uint8(syslogFacility*8 + int(level))).
		SetVersion(1).
		SetTimestamp(now.UTC().Format(rfc5424.RFC3339MICRO)).
		SetHostname(process.host).
		SetAppname("coredns").
		SetProcID(strconv.Itoa(os.Getpid())).
		SetMsgID(fields["XFR_CODE"]).
		SetMessage(string(line))
	text, err := m.String()
	if err != nil {
		return nil, fmt.Errorf("make the syslog message: %w", err)
	}
	return []byte(text), nil
}
