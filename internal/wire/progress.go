// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"net"
	"syscall"
	"time"
)

// tcpProgress is what the kernel tells of a TCP connection.
type tcpProgress struct {
	acked   int64 // octets that the other end has acknowledged since the connection began
	unacked int64 // octets written and not acknowledged
	closed  bool  // both ways: nothing more will be acknowledged
}

// rawConnOf is the way to the socket of a TCP connection, nil where there is none.
func rawConnOf(conn net.Conn) syscall.RawConn {
	t, ok := TCPConnOf(conn)
	if !ok {
		return nil
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// meter tells how far the client of one transfer has come. It may be used from any
// goroutine.
type meter struct {
	raw  syscall.RawConn
	base int64 // acknowledged when all before the transfer is
}

// newMeter prepares a connection for a transfer of which so much is written already;
// nil where it cannot be seen what the client acknowledges.
func newMeter(raw syscall.RawConn, stall time.Duration, written int64) *meter {
	// The kernel's own patience is a little longer than ours, which gives the reason. It
	// is for what is left when the transfer is over.
	p, ok := prepare(raw)
	if !ok {
		return nil
	}
	return &meter{raw: raw, base: p.acked + p.unacked - written}
}

func (m *meter) look() (tcpProgress, bool) { return look(m.raw) }

// taken is how much of the transfer is acknowledged.
func (m *meter) taken(p tcpProgress) int64 { return max(0, p.acked-m.base) }

// plausible reports whether the kernel knows of at least what was written: there are
// systems that speak Linux and tell of no acknowledgements.
func (m *meter) plausible(p tcpProgress, written int64) bool {
	return p.acked+p.unacked >= m.base+written
}
