// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package peer

// PID is the server's process, which leads the group of all its children.
func (p *Process) PID() int { return p.cmd.Process.Pid }
