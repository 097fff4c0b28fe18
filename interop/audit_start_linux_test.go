// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xfrguard/xfrguard/interop/peer"
)

// Whatever passing trouble the only sink has when CoreDNS starts: it starts and answers
// ordinary queries. With refuse nothing is handed out, with serve it is; the sink comes
// up by itself, and the gap is told.
func TestAuditStartsDown(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"refuse", "serve"} {
		t.Run("full/"+mode, func(t *testing.T) {
			t.Parallel()
			dir := tmpfs(t, "8m")
			full := filepath.Join(dir, "filler")
			fill(t, full)
			startDown(t, mode, filepath.Join(dir, "audit.log"), func() error { return os.Remove(full) })
		})
		t.Run("read-only/"+mode, func(t *testing.T) {
			t.Parallel()
			dir := tmpfs(t, "8m")
			remount := func(flags uintptr) error {
				return unix.Mount("xfrguard-test", dir, "tmpfs", unix.MS_REMOUNT|flags, "size=8m")
			}
			needRoot(t, "remount", remount(unix.MS_RDONLY))
			startDown(t, mode, filepath.Join(dir, "audit.log"), func() error { return remount(0) })
		})
		t.Run("syslog/"+mode, func(t *testing.T) {
			t.Parallel()
			startWithoutReceiver(t, mode)
		})
	}
}

// startDown starts a server whose audit file cannot be written, and heals that.
func startDown(t *testing.T, mode, log string, heal func() error) {
	tool := operatorTool(t)
	a := startAudited(t, auditSetup{log: log, options: "audit_failure " + mode})
	t.Cleanup(a.Stop)
	all := wantDown(t, a, mode)
	if err := heal(); err != nil {
		t.Fatal(err)
	}
	all = append(all, wantUp(t, a))
	a.Stop()
	wantGap(t, tool, log, mode, all)
	lines := readAudit(t, log)
	var order []string
	for _, l := range lines[:min(3, len(lines))] {
		order = append(order, l.Action)
	}
	if got := strings.Join(order, " "); got != "audit-opened audit-gap audit-start" {
		t.Errorf("the log begins with %s", got)
	}
}

// wantDown asks for transfers while the sink is down, and returns what they got.
func wantDown(t *testing.T, a *audited, mode string) (all []catch) {
	t.Helper()
	q := startQueries(a.addr())
	if a.metric(t, "coredns_xfrguard_audit_sink_up") != 0 {
		t.Error("the sink is up")
	}
	for i := range 5 {
		got, err := fetch(a.addr(), fmt.Sprintf("127.44.0.%d", i+1), auditPatience)
		if err != nil {
			t.Error(err)
		}
		if mode == "refuse" {
			wantRefusedOnly(t, got)
		} else if !got.complete {
			t.Errorf("want the zone, got %s", got)
		}
		all = append(all, got)
	}
	q.wantAnswered(t)
	return all
}

// wantUp waits for the sink, and returns what a transfer gets then.
func wantUp(t *testing.T, a *audited) catch {
	t.Helper()
	eventually(t, "the sink to be up", func() error {
		if a.metric(t, "coredns_xfrguard_audit_sink_up") == 0 {
			return errors.New("the sink is down")
		}
		return nil
	})
	got, err := fetch(a.addr(), "127.44.1.1", auditPatience)
	if err != nil || !got.complete {
		t.Errorf("after it came up: %s %v", got, err)
	}
	return got
}

// startWithoutReceiver starts a server whose syslog receiver starts later.
func startWithoutReceiver(t *testing.T, mode string) {
	port := peer.Port(t)
	a := startAudited(t, auditSetup{audit: "audit syslog tcp " + peer.Loopback(port), options: "audit_failure " + mode})
	t.Cleanup(a.Stop)
	all := wantDown(t, a, mode)
	l, err := net.Listen("tcp", peer.Loopback(port))
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var text strings.Builder
	var reading sync.WaitGroup
	reading.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			reading.Go(func() {
				defer conn.Close()
				for line := range syslogTexts(conn) {
					mu.Lock()
					text.WriteString(line + "\n")
					mu.Unlock()
				}
			})
		}
	})
	up := wantUp(t, a)
	a.Stop()
	l.Close()
	reading.Wait()
	lines := parseAudit(t, []byte(text.String()))
	if missing := unrecorded(lines, []catch{up}); len(missing) > 0 {
		t.Errorf("not on record: %v", missing)
	}
	lost, late := sumGaps(lines)
	if missing := unrecorded(lines, all); mode == "serve" && (len(missing) != len(all) || lost < int64(len(all))) || mode == "refuse" && lost == 0 {
		t.Errorf("of %d transfers %d are missing, and the gap tells of %d", len(all), len(missing), lost)
	}
	if late != 0 || len(lines) == 0 || lines[0].Action != "audit-gap" {
		t.Errorf("%d late; the first line is %v", late, lines)
	}
}

// syslogTexts yields the text of each octet-counted message (RFC 6587 3.4.1).
func syslogTexts(r io.Reader) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		b := bufio.NewReader(r)
		for {
			var size int
			if _, err := fmt.Fscanf(b, "%d ", &size); err != nil {
				return
			}
			msg := make([]byte, size)
			if _, err := io.ReadFull(b, msg); err != nil {
				return
			}
			if at := strings.IndexByte(string(msg), '{'); at >= 0 && !yield(string(msg[at:])) {
				return
			}
		}
	}
}
