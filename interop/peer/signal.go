// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"os"
	"syscall"
)

// Signal sends sig to the server itself; an error says that it has ended.
func (p *Process) Signal(sig os.Signal) error { return p.cmd.Process.Signal(sig) }

// Kill ends the server and its children with SIGKILL, as a crash would, and returns
// when it is gone.
func (p *Process) Kill() {
	if !p.Ended() {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	}
	<-p.done
}

// PID is the process identifier of the server itself.
func (p *Process) PID() int { return p.cmd.Process.Pid }
