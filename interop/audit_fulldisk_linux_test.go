// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/xfrguard/xfrguard/interop/peer"
)

// The file system of the audit file is really full. With refuse nothing is handed
// out, with serve it is and the gap is told; ordinary queries go on in both.
func TestAuditFullDisk(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"refuse", "serve"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			tool := operatorTool(t)
			dir := tmpfs(t, "8m")
			a := startAudited(t, auditSetup{log: filepath.Join(dir, "audit.log"), options: "audit_failure " + mode})
			t.Cleanup(a.Stop)
			q := startQueries(a.addr())
			l := startLoad(a.addr(), 43, 4)
			l.more(t, 10)
			full := filepath.Join(dir, "filler")
			fill(t, full)
			down := `coredns_xfrguard_audit_sink_up{sink="file:` + a.log
			eventually(t, "the disk to be full", func() error {
				if a.metric(t, down) != 0 {
					return errors.New("the sink is up")
				}
				return nil
			})
			before := len(l.so())
			if mode == "refuse" {
				l.refused(t, 50)
			} else {
				l.more(t, 250) // more ends than may wait
			}
			during := l.so()[before:]
			for _, c := range during {
				if mode == "refuse" {
					wantRefusedOnly(t, c)
				} else if !c.complete {
					t.Errorf("want the zone, got %s", c)
				}
			}
			if err := os.Remove(full); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the sink to be up", func() error {
				if a.metric(t, down) == 0 {
					return errors.New("the sink is down")
				}
				return nil
			})
			l.more(t, 10)
			all := l.stop()
			q.wantAnswered(t)
			a.Stop()
			wantGap(t, tool, a.log, mode, all)
		})
	}
}

// wantGap checks what the log says of the time in which it could not be written.
func wantGap(t *testing.T, tool, path, mode string, all []catch) {
	t.Helper()
	lines := readAudit(t, path)
	missing := unrecorded(lines, all)
	if mode == "refuse" && len(missing) > 0 {
		t.Errorf("%d not on record: %v", len(missing), missing[0])
	}
	if mode == "refuse" { // those whom the failure kept from a transfer; some of them may be on record, late
		refused := slices.DeleteFunc(slices.Clone(all), func(c catch) bool { return c.rcode != dns.RcodeServerFailure })
		for i := range refused {
			refused[i].zone = 1
		}
		missing = unrecorded(lines, refused)
	}
	var ends []catch
	if mode == "serve" { // the ends wait for the file, but not more of them than there is room for
		ends = withoutLine(lines, all, func(l auditLine) bool { return l.Action == peer.ActionEnd })
	}
	lost, late := sumGaps(lines)
	if n := int64(len(missing) + len(ends)); len(missing) == 0 || n > lost || n < lost-late {
		t.Errorf("the gap events tell of %d lost and %d late; %d decisions and %d ends are not there", lost, late, len(missing), len(ends))
	}
	code, out := verify(t, tool, path)
	if code != 1 || !strings.Contains(out, "gap") {
		t.Errorf("verify ends with %d and does not tell of the gap:\n%s", code, out)
	}
	if n := strings.Count(out, "FAIL: "); n != strings.Count(out, "FAIL: gap") {
		t.Errorf("verify finds more than gaps:\n%s", out)
	}
	t.Logf("%d requests, %d decisions and %d ends missing, gaps tell of %d lost and %d late; verify %d", len(all), len(missing), len(ends), lost, late, code)
}

// fill writes a file until the file system has no room for a byte.
func fill(t testing.TB, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 4096; size > 0; {
		if n, err := f.Write(make([]byte, size)); errors.Is(err, unix.ENOSPC) && n == 0 {
			size /= 2
		} else if err != nil && !errors.Is(err, unix.ENOSPC) {
			t.Fatal(err)
		}
	}
}
