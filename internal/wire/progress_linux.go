// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// AcksKnown reports whether this system tells what clients acknowledge.
const AcksKnown = true

// unsentLimit bounds what the kernel holds of a connection and cannot send, in octets.
// What is on its way to the client is not counted, so that the kernel goes on to fit
// its buffer to the line.
const unsentLimit = 128 << 10

const tcpClosed = 7 // TCP_CLOSE in the kernel's tcp_states.h

// prepare bounds what the kernel keeps of a connection, and tells how it stands.
//
// For how long the kernel keeps it is for the meter to say, and not for
// TCP_USER_TIMEOUT: of a client whose window is smaller than the next segment that
// counts the time since the window was first too small, whatever the client takes
// meanwhile, and ends an honest slow one.
func prepare(raw syscall.RawConn) (p tcpProgress, ok bool) {
	err := raw.Control(func(fd uintptr) {
		// If this fails the transfer is bounded by its deadlines alone.
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsentLimit)
		p, ok = lookAtRest(int(fd))
	})
	return p, ok && err == nil
}

// lookAtRest looks until nothing was acknowledged between two looks. What is
// acknowledged within one counts twice: as not acknowledged yet, and as acknowledged. A
// meter that begins with that would miss it for the whole transfer, and be taken for
// one that does not tell the truth.
func lookAtRest(fd int) (p tcpProgress, ok bool) {
	p, ok = lookAtSocket(fd)
	for range 100 { // of which one or two are needed
		before := p.acked
		if p, ok = lookAtSocket(fd); !ok || p.acked == before {
			break
		}
	}
	return p, ok
}

// look asks the kernel. It fails when the connection is closed at our end.
func look(raw syscall.RawConn) (p tcpProgress, ok bool) {
	err := raw.Control(func(fd uintptr) { p, ok = lookAtSocket(int(fd)) })
	return p, ok && err == nil
}

func lookAtSocket(fd int) (tcpProgress, bool) {
	unacked, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	if err != nil {
		return tcpProgress{}, false
	}
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return tcpProgress{}, false
	}
	return tcpProgress{
		acked:   int64(info.Bytes_acked),
		unacked: int64(unacked),
		closed:  info.State == tcpClosed,
	}, true
}

// awaitReadable waits until there is something to read, be it the end, or until the
// read deadline of the connection, and reports which.
func awaitReadable(raw syscall.RawConn) bool {
	return raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return !errors.Is(err, unix.EAGAIN)
	}) == nil
}

// unacknowledged is how many octets are not, as far as it is known.
func unacknowledged(raw syscall.RawConn) (n int64, known bool) {
	err := raw.Control(func(fd uintptr) {
		queued, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
		n, known = int64(queued), err == nil
	})
	return n, known && err == nil
}
