// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/interop/peer"
)

// auditKey makes a key for the checkpoints of audit files.
func auditKey(t *testing.T, tool, dir string) string {
	t.Helper()
	key := filepath.Join(dir, "audit.key")
	if out, err := exec.Command(tool, "audit-key", key).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return key
}

// beginSlow begins a transfer that takes long, and returns after its first message.
func beginSlow(t *testing.T, addr string) *dns.Conn {
	t.Helper()
	conn, err := dial(addr, "127.45.0.1", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := &dns.Conn{Conn: conn}
	if err := c.WriteMsg(new(dns.Msg).SetAxfr(auditZone)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReadMsg(); err != nil {
		t.Fatal(err)
	}
	return c
}

// deniedOnce asks for what is no zone.
func deniedOnce(t *testing.T, addr string) {
	t.Helper()
	r, _, err := (&dns.Client{Net: "tcp", Timeout: auditPatience}).Exchange(new(dns.Msg).SetAxfr("no-zone."+auditZone), addr)
	if err != nil || r.Rcode != dns.RcodeRefused {
		t.Fatalf("%v %v", r, err)
	}
}

// whole reports what a log lacks that a stop must leave: an end for each transfer, a line
// or a count for each denial, the stop, and the file's own end with a checkpoint.
func whole(t *testing.T, lines []auditLine, denials int64) error {
	t.Helper()
	var events []peer.Event
	seen := make(map[string]int)
	counted := int64(0)
	for _, l := range lines {
		events = append(events, l.Event)
		seen[l.Action]++
		counted += l.Suppressed
		if l.denied() {
			counted++
		}
	}
	_, err := peer.Paired(events)
	if counted != denials {
		err = errors.Join(err, fmt.Errorf("%d denials, want %d", counted, denials))
	}
	for _, a := range []string{"audit-start", "audit-stop", "audit-closed"} {
		if seen[a] != 1 {
			err = errors.Join(err, fmt.Errorf("%d events %s", seen[a], a))
		}
	}
	if n := len(lines); n == 0 || lines[n-1].Action != "audit-checkpoint" {
		err = errors.Join(err, errors.New("the last line is no checkpoint"))
	}
	return err
}

// TestStopOfSuperseded: after a reload, with a transfer of the old server still under way,
// the end of the process puts everything on record: whichever signal ends it, and also
// where the latest Corefile writes elsewhere or has no xfrguard.
func TestStopOfSuperseded(t *testing.T) {
	tool := operatorTool(t)
	for _, c := range []struct {
		name   string
		end    syscall.Signal
		reload func(corefile string) string // nil: none
	}{
		{"SIGTERM without a reload", syscall.SIGTERM, nil},
		{"SIGTERM", syscall.SIGTERM, func(s string) string { return s }},
		{"SIGINT", syscall.SIGINT, func(s string) string { return s }},
		{"SIGQUIT", syscall.SIGQUIT, func(s string) string { return s }},
		{"another file", syscall.SIGTERM, func(s string) string { return strings.Replace(s, "audit.log", "other.log", 1) }},
		{"no xfrguard", syscall.SIGTERM, func(s string) string {
			head, rest, _ := strings.Cut(s, "\txfrguard {")
			_, rest, _ = strings.Cut(rest, "\t}\n")
			return head + rest
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			a := startAudited(t, auditSetup{dir: dir, options: "bandwidth 10KiB\n\t\taudit_key " + auditKey(t, tool, dir)})
			beginSlow(t, a.addr())
			denials := int64(0)
			deny := func() {
				for range 13 {
					deniedOnce(t, a.addr())
					denials++
				}
			}
			deny()
			log := a.log
			if c.reload != nil {
				old, err := os.ReadFile(a.corefile())
				must(t, err)
				corefile := c.reload(string(old))
				peer.WriteFile(t, a.corefile(), corefile)
				must(t, a.Signal(syscall.SIGUSR1))
				guards := strings.Contains(corefile, "xfrguard {")
				eventually(t, "the reload", func() error {
					for _, path := range []string{a.log, filepath.Join(dir, "other.log")} {
						text, _ := os.ReadFile(path)
						if strings.Contains(string(text), `"policy-reload"`) {
							log = path
							return nil
						}
					}
					if !guards && strings.Contains(strings.Join(a.Stdout.Lines(), "\n"), "Reloading complete") {
						return nil
					}
					return errors.New("not yet")
				})
				if guards {
					deny()
				}
			}
			must(t, a.Signal(c.end))
			eventually(t, "the end of the process", func() error {
				if !a.Ended() {
					return errors.New("it runs")
				}
				return nil
			})
			lines := readAudit(t, a.log)
			if log != a.log {
				if err := whole(t, readAudit(t, log), 13); err != nil {
					t.Errorf("the new file: %v", err)
				}
				denials = 13
			}
			if err := whole(t, lines, denials); err != nil {
				t.Error(err)
			}
			wantVerified(t, tool, a.log)
		})
	}
}

// TestStopWithTwoSinks: the quicker sink ends no wait: each has the stop, and the start
// comes before the policy.
func TestStopWithTwoSinks(t *testing.T) {
	for n := range 10 {
		dir := t.TempDir()
		a := startAudited(t, auditSetup{dir: dir, audit: "audit stdout\n\t\taudit file " + filepath.Join(dir, "audit.log")})
		if got, err := fetch(a.addr(), "127.46.0.1", auditPatience); !got.complete {
			t.Fatalf("%s %v", got, err)
		}
		a.Stop()
		text, err := os.ReadFile(a.log)
		must(t, err)
		var printed []string
		for _, line := range a.Stdout.Lines() {
			if strings.HasPrefix(line, "{") {
				printed = append(printed, line)
			}
		}
		for sink, log := range map[string]string{"file": string(text), "stdout": strings.Join(printed, "\n") + "\n"} {
			var order []string
			for line := range strings.Lines(log) {
				var e struct {
					Action string `json:"event.action"`
				}
				if err := json.Unmarshal([]byte(line), &e); err != nil {
					t.Fatalf("%v: %q", err, line)
				}
				switch e.Action {
				case "audit-start", "policy-load", "zone-transfer-decision", "zone-transfer-end", "audit-stop", "audit-gap":
					order = append(order, e.Action)
				}
			}
			want := "audit-start policy-load zone-transfer-decision zone-transfer-end audit-stop"
			if got := strings.Join(order, " "); got != want {
				t.Errorf("run %d, %s: %s", n, sink, got)
			}
		}
	}
}
