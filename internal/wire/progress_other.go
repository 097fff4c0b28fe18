// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package wire

import "syscall"

// AcksKnown reports whether this system tells what clients acknowledge.
const AcksKnown = false

func prepare(syscall.RawConn) (tcpProgress, bool) { return tcpProgress{}, false }

func look(syscall.RawConn) (tcpProgress, bool) { return tcpProgress{}, false }

func awaitReadable(syscall.RawConn) bool { return true }

func unacknowledged(syscall.RawConn) (int64, bool) { return 0, false }
