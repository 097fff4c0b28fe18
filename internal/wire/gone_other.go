// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package wire

import "syscall"

func hungUp(syscall.RawConn) bool { return false }
