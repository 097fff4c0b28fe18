// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/miekg/dns"
)

// Transport says how an answer came, or was waited for last.
type Transport string

// The transports.
const (
	UDP     Transport = "udp"
	TCP     Transport = "tcp"
	OverTLS Transport = "tls"
)

// reply is what one try came to.
type reply struct {
	answer
	transport Transport
	err       error // why there is no answer, or no good one
}

var (
	errUnproven    = errors.New("the answer is not signed with the key of the NOTIFY")
	errNoAlgorithm = errors.New("the key has no algorithm to sign with")
)

// exchange sends the request once and waits for its answer: over UDP, and over TCP
// when that brings none, one that is cut short, or one that proves nothing; or over
// TLS. wait bounds UDP, and TCP or TLS, each.
func exchange(ctx context.Context, t *Target, r *request, wait time.Duration) reply {
	if t.TLS {
		return overStream(ctx, t, r, wait, OverTLS)
	}
	if !r.udp {
		return overStream(ctx, t, r, wait, TCP)
	}
	first := overUDP(ctx, t, r, wait)
	if ctx.Err() != nil || (first.err == nil && !first.tc) {
		return first
	}
	second := overStream(ctx, t, r, wait, TCP)
	switch second.outcome {
	case Timeout, Unreachable:
		return first // it says no less
	}
	return second
}

// overUDP waits for the answer to a datagram. What is no answer to it is passed over,
// and so is a NOERROR that is not proven: the true one may come behind it.
func overUDP(ctx context.Context, t *Target, r *request, wait time.Duration) reply {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	out := reply{transport: UDP}
	// A connected socket: the kernel passes over what comes from elsewhere.
	conn, err := dial(ctx, t, "udp")
	if err != nil {
		return out.failed(err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := conn.Write(r.packed); err != nil {
		return out.failed(err)
	}
	var unproven *reply
	b := make([]byte, dns.MaxMsgSize)
	for {
		n, err := conn.Read(b)
		if err != nil && unproven != nil {
			return *unproven
		} else if err != nil {
			return out.failed(err)
		}
		switch a, err := r.read(b[:n]); {
		case err != nil:
		case a.outcome == Unproven:
			unproven = &reply{answer: a, transport: UDP, err: errUnproven}
		default:
			out.answer = a
			return out
		}
	}
}

// overStream waits for the answer over a connection of its own.
func overStream(ctx context.Context, t *Target, r *request, wait time.Duration, via Transport) reply {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	out := reply{transport: via}
	conn, err := dial(ctx, t, "tcp")
	if err != nil {
		return out.failed(err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if via == OverTLS {
		session := tls.Client(conn, tlsConfig())
		if err := session.HandshakeContext(ctx); err != nil {
			if ctx.Err() != nil {
				return out.failed(ctx.Err())
			}
			out.outcome, out.err = TLSFailed, err
			return out
		}
		conn = session
	}
	framed := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(r.packed)), uint16(len(r.packed)))
	if _, err := conn.Write(append(framed, r.packed...)); err != nil {
		return out.failed(err)
	}
	b, err := readFramed(conn)
	if err != nil {
		return out.failed(err)
	}
	if out.answer, err = r.read(b); err != nil {
		out.outcome, out.err = OtherAnswer, err
	} else if out.outcome == Unproven {
		out.err = errUnproven
	}
	return out
}

func dial(ctx context.Context, t *Target, network string) (net.Conn, error) {
	var d net.Dialer
	if t.Source.IsValid() {
		if network == "udp" {
			d.LocalAddr = &net.UDPAddr{IP: t.Source.AsSlice()}
		} else {
			d.LocalAddr = &net.TCPAddr{IP: t.Source.AsSlice()}
		}
	}
	return d.DialContext(ctx, network, t.Addr.String())
}

// tlsConfig is that of RFC 9103 §7.1 but for the authentication of the server: there is
// nothing to hold its certificate against.
func tlsConfig() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"dot"}, InsecureSkipVerify: true} //nolint:gosec // see Target.TLS
}

func readFramed(conn net.Conn) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(conn, b)
	return b, err
}

// failed names an error of the network.
func (r reply) failed(err error) reply {
	r.err = err
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		r.outcome, r.err = Timeout, errors.New("no answer in time")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		r.outcome, r.err = Timeout, fmt.Errorf("the connection was closed without an answer: %w", err)
	case isAlert(err):
		r.outcome = TLSFailed
	default:
		r.outcome = Unreachable
	}
	return r
}

// isAlert reports whether the other end closed a TLS session with an alert; in TLS 1.3
// that it wants a certificate shows only after the handshake.
func isAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}
