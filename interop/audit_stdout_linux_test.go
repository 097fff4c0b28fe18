// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Whoever reads standard output has died: a transfer is refused, or goes on where
// another sink has it, and CoreDNS answers as before.
func TestAuditBrokenStdout(t *testing.T) {
	t.Parallel()
	for _, other := range []bool{false, true} {
		t.Run(fmt.Sprintf("file=%v", other), func(t *testing.T) {
			t.Parallel()
			p := makePipe(t)
			s := auditSetup{dir: t.TempDir(), audit: "audit stdout", shell: ">" + p.path}
			if other {
				s.audit += "\n\t\taudit file " + filepath.Join(s.dir, "audit.log")
			}
			a := startAudited(t, s)
			q := startQueries(a.addr())
			if first, err := fetch(a.addr(), "127.44.0.1", auditPatience); !first.complete {
				t.Errorf("before: %s %v", first, err)
			}
			must(t, p.r.Close())
			eventually(t, "the pipe to be broken", func() error { // a child of another test may have it until its exec
				fd, err := unix.Open(p.path, unix.O_WRONLY|unix.O_NONBLOCK, 0)
				if err == nil {
					_ = unix.Close(fd)
					return errors.New("somebody has it open for reading")
				}
				return nil
			})
			var all []catch
			for n := range 20 {
				got, err := fetch(a.addr(), fmt.Sprintf("127.44.1.%d", n+1), auditPatience)
				if err != nil {
					t.Fatal(err)
				}
				if !other {
					wantRefusedOnly(t, got)
				} else if !got.complete {
					t.Errorf("the file has it, and the client got %s", got)
				}
				all = append(all, got)
				time.Sleep(20 * time.Millisecond)
			}
			q.wantAnswered(t)
			if a.Ended() {
				t.Fatal("CoreDNS has ended")
			}
			a.Stop()
			if !other {
				return
			}
			lines := readAudit(t, a.log)
			for _, c := range unrecorded(lines, all) {
				t.Errorf("not on record: %s", c)
			}
			if n := count(lines, func(l auditLine) bool { return l.Action == "audit-sink-down" }); n != 1 {
				t.Errorf("%d events tell that standard output is down", n)
			}
		})
	}
}

// Checkpoints are printed to CoreDNS's log too. Nobody reads that log: the audit file,
// and with it every transfer, must not wait for it.
func TestAuditBlockedLog(t *testing.T) {
	t.Parallel()
	tool := operatorTool(t)
	p := makePipe(t)
	dir := t.TempDir()
	key, public := filepath.Join(dir, "audit.key"), filepath.Join(dir, "public")
	verifier, err := exec.Command(tool, "audit-key", key).Output()
	must(t, err)
	must(t, os.WriteFile(public, verifier, 0o600))
	a := startAudited(t, auditSetup{dir: dir, options: "audit_key " + key, shell: ">" + p.path})
	l := startLoad(a.addr(), 45, 2)
	l.more(t, 5)
	p.fill(t)
	for n := range 4 { // each new file begins with a checkpoint
		must(t, os.Rename(a.log, fmt.Sprintf("%s.%d", a.log, 4-n)))
		l.more(t, 10)
	}
	all := l.stop()
	for _, c := range all {
		if !c.complete {
			t.Errorf("nobody reads the log, and a client got %s", c)
		}
	}
	printed := strings.Join(p.drainText(t, 300*time.Millisecond), "")
	a.Stop()
	printed += strings.Join(p.drainText(t, 300*time.Millisecond), "")
	must(t, os.WriteFile(filepath.Join(dir, "printed"), []byte(printed), 0o600))
	if n := strings.Count(printed, "audit checkpoint of"); n < 6 {
		t.Errorf("%d checkpoints were printed, want one for each file and one at the end:\n%s", n, printed)
	}
	parts := generations(t, a.log)
	for _, c := range unrecorded(readAudit(t, parts...), all) {
		t.Errorf("not on record: %s", c)
	}
	wantVerified(t, tool, append([]string{"--key", public, "--checkpoint", filepath.Join(dir, "printed")}, parts...)...)
}
