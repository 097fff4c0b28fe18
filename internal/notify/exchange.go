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
	"net/netip"
	"os"
	"sync"
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

// maxForged is how many datagrams that are no answer, or prove nothing, are passed
// over. Each of them may be a guess at the ID, so no more are read after that many.
const maxForged = 32

// grace is how long a better answer over UDP may take that is there when TCP has said
// no.
const grace = 100 * time.Millisecond

// exchange sends the request once and waits for its answer: over UDP, and over TCP
// when that brings none, one that is cut short, or one that proves nothing; or over
// TLS. wait bounds UDP, and TCP or TLS, each.
//
// Anybody can send a datagram in the target's name, so one that proves nothing, a
// refusal too, is passed over (RFC 8945 §5.3). BADKEY and BADSIG never prove anything,
// so TCP is asked as soon as such an answer comes: there it counts.
func exchange(ctx context.Context, t *Target, r *request, wait time.Duration) reply {
	switch {
	case t.TLS:
		return overStream(ctx, t, r, wait, OverTLS)
	case !r.udp:
		return overStream(ctx, t, r, wait, TCP)
	}
	var asked sync.WaitGroup
	defer asked.Wait()
	whole, cancel := context.WithCancel(ctx)
	defer cancel()
	udp, enough := context.WithCancel(whole)
	defer enough()
	stream := sync.OnceValue(func() reply { return overStream(whole, t, r, wait, TCP) })
	first := overUDP(udp, t, r, wait, func() {
		asked.Go(func() {
			second := stream()
			if !second.proven { // a better answer may have come already
				pauseFor(udp, grace)
			}
			if second.answered() {
				enough()
			}
		})
	})
	if ctx.Err() != nil || (first.proven && !first.tc) {
		return first
	}
	if second := stream(); second.answered() {
		return second
	}
	return first // it says no less
}

func pauseFor(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	<-ctx.Done()
}

// answered reports whether there was an answer, whatever it says.
func (r reply) answered() bool { return r.outcome != Timeout && r.outcome != Unreachable }

// overUDP waits for the answer to a datagram. What is no answer to it, or proves
// nothing, is passed over: the true one may come behind it. It calls doubt at the first
// answer that proves nothing.
func overUDP(ctx context.Context, t *Target, r *request, wait time.Duration, doubt func()) reply {
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
	for range maxForged {
		n, err := conn.Read(b)
		if err != nil && unproven == nil {
			return out.failed(err)
		} else if err != nil {
			return *unproven
		}
		a, err := r.read(b[:n])
		switch {
		case err != nil:
			continue
		case a.proven:
			out.answer = a
			return out
		case unproven == nil:
			doubt()
		}
		unproven = &reply{answer: a, transport: UDP}
		if a.outcome == Unproven {
			unproven.err = errUnproven
		}
	}
	if unproven != nil {
		return *unproven
	}
	out.outcome, out.err = Timeout, errors.New("no answer among the datagrams that came")
	return out
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
		from := netip.AddrPortFrom(t.Source, 0)
		if network == "udp" {
			d.LocalAddr = net.UDPAddrFromAddrPort(from)
		} else {
			d.LocalAddr = net.TCPAddrFromAddrPort(from)
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
