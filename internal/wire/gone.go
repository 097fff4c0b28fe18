// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package wire

import "net"

// Gone returns a function that reports whether the other end of a connection has closed
// it, or reset it: nothing more comes. It does not block and reads nothing, and is told
// by what has not been read neither. Who has only closed its sending side counts as
// gone: TCP knows no difference. It is false where that cannot be known. The function
// may be used while nobody reads and the connection is open at our end.
func Gone(conn net.Conn) func() bool {
	t, ok := TCPConnOf(conn)
	if !ok {
		return func() bool { return false }
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return func() bool { return false }
	}
	return func() bool { return hungUp(raw) }
}
