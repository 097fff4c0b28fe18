// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// Ports are taken from below the kernel's usual ephemeral range, so that no
// outgoing connection of a test can be given one of them.
const (
	lowestPort  = 20000
	highestPort = 32000
)

// Port reserves a port of 127.0.0.1 that is free for TCP and UDP. Servers set
// SO_REUSEPORT, so two of them could share one port without an error; therefore
// the port is also claimed, for as long as t runs, against every other user of
// this package on the machine by a socket in the abstract namespace.
func Port(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := lowestPort + rand.IntN(highestPort-lowestPort)
		claim, err := net.Listen("unix", fmt.Sprintf("@xfrguard-interop-port-%d", port))
		if err != nil {
			continue
		}
		if free(port) {
			t.Cleanup(func() { claim.Close() })
			return port
		}
		claim.Close()
	}
	t.Fatalf("no free port of 127.0.0.1 between %d and %d", lowestPort, highestPort)
	return 0
}

func free(port int) bool {
	addr := Loopback(port)
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	defer l.Close()
	p, err := net.ListenPacket("udp", addr)
	if err != nil {
		return false
	}
	p.Close()
	return true
}

// Loopback returns port of 127.0.0.1 as HOST:PORT.
func Loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
