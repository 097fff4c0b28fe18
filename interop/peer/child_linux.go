// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package peer

import "syscall"

// childAttr puts a child into a group of its own, because NSD and others fork and
// Stop must reach what they leave behind, and lets it die with a test that panics.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
