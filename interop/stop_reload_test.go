// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/interop/peer"
)

// stopRounds is how often each case of TestStopWhileReloading is run.
func stopRounds() int {
	n, _ := strconv.Atoi(os.Getenv("XFRGUARD_STOP_ROUNDS"))
	return cmp.Or(n, 1)
}

// stopInReload is a reload and the signal that ends CoreDNS in the midst of it.
type stopInReload struct {
	name   string
	end    syscall.Signal
	plugin bool // the reload plugin finds the new Corefile, and no SIGUSR1 is sent
	slow   bool // a transfer keeps the old server for the five seconds that CoreDNS gives it
	storm  bool // SIGUSR1 again and again
	change func(corefile string) string
}

// TestStopWhileReloading: a signal that ends CoreDNS at any moment of a reload leaves an
// audit-stop for each audit-start, at the end of its file, and the process ends.
func TestStopWhileReloading(t *testing.T) {
	tool := operatorTool(t)
	same := func(s string) string { return strings.Replace(s, "rate 1000000/1s", "rate 999999/1s", 1) }
	elsewhere := func(s string) string { return strings.Replace(s, "audit.log", "other.log", 1) }
	for _, c := range []stopInReload{
		{name: "SIGUSR1, SIGTERM", end: syscall.SIGTERM},
		{name: "SIGUSR1, SIGINT", end: syscall.SIGINT},
		{name: "SIGUSR1, SIGTERM, another file", end: syscall.SIGTERM, change: elsewhere},
		{name: "SIGUSR1, SIGINT, another file", end: syscall.SIGINT, change: elsewhere},
		{name: "SIGUSR1, SIGTERM, a slow transfer", end: syscall.SIGTERM, slow: true},
		{name: "SIGUSR1, SIGINT, a slow transfer", end: syscall.SIGINT, slow: true},
		{name: "many SIGUSR1, SIGTERM", end: syscall.SIGTERM, storm: true},
		{name: "many SIGUSR1, SIGTERM, a slow transfer", end: syscall.SIGTERM, storm: true, slow: true},
		{name: "many SIGUSR1, SIGINT", end: syscall.SIGINT, storm: true},
		{name: "reload, SIGTERM", end: syscall.SIGTERM, plugin: true, change: same},
		{name: "reload, SIGINT", end: syscall.SIGINT, plugin: true, change: same},
		{name: "reload, SIGTERM, another file", end: syscall.SIGTERM, plugin: true, change: elsewhere},
		{name: "reload, SIGQUIT, another file", end: syscall.SIGQUIT, plugin: true, change: elsewhere},
		{name: "reload, SIGTERM, a slow transfer", end: syscall.SIGTERM, plugin: true, slow: true, change: elsewhere},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for n := range stopRounds() {
				c.round(t, tool, n)
			}
		})
	}
}

// patience of a process that ends: five seconds for a reload under way, two for transfers,
// five for connections.
const endPatience = 30 * time.Second

func (c stopInReload) round(t *testing.T, tool string, n int) {
	t.Helper()
	dir := t.TempDir()
	a := startAudited(t, auditSetup{dir: dir, options: "bandwidth 10KiB\n\t\taudit_key " + auditKey(t, tool, dir), plugins: "reload 2s 0s"})
	if c.slow {
		beginSlow(t, a.addr())
	}
	if c.change != nil {
		old, err := os.ReadFile(a.corefile())
		must(t, err)
		peer.WriteFile(t, a.corefile(), c.change(string(old)))
	}
	if !c.plugin {
		must(t, a.Signal(syscall.SIGUSR1))
	}
	eventually(t, "a reload", func() error {
		if !strings.Contains(strings.Join(a.Stdout.Lines(), "\n")+strings.Join(a.Stderr.Lines(), "\n"), "Reloading") {
			return errors.New("not yet")
		}
		return nil
	})
	span := 60 * time.Millisecond
	if c.slow && n%2 == 1 {
		span = 6 * time.Second
	}
	wait := rand.N(span)
	for end := time.Now().Add(wait); time.Now().Before(end); time.Sleep(min(time.Until(end), 5*time.Millisecond)) {
		if c.storm {
			must(t, a.Signal(syscall.SIGUSR1))
		}
	}
	begin := time.Now()
	var sent time.Time
	times := 0
	for ; !a.Ended(); time.Sleep(time.Millisecond) {
		// CoreDNS keeps one signal while it reloads, and drops what comes besides.
		if sent.IsZero() || c.storm && c.end == syscall.SIGTERM && time.Since(sent) > time.Second {
			_ = a.Signal(c.end)
			sent = time.Now()
			times++
		}
		if time.Since(begin) > endPatience {
			t.Fatalf("round %d: it runs, %v after the signal", n, endPatience)
		}
	}
	t.Logf("round %d: sent %d times, it ended %v after the first", n, times, time.Since(begin).Round(time.Millisecond))
	for _, path := range []string{a.log, filepath.Join(dir, "other.log")} {
		if _, err := os.Stat(path); err != nil && path != a.log {
			continue // the reload did not come as far
		}
		if err := stopped(readAudit(t, path)); err != nil {
			t.Errorf("round %d, %s, the signal %v after the reload began: %v", n, filepath.Base(path), wait, err)
		}
		wantVerified(t, tool, path)
	}
	if t.Failed() {
		t.FailNow()
	}
}

// stopped reports what is not as a stop must leave it: a stop for each start, and the
// file's own end behind the last.
func stopped(lines []auditLine) error {
	var err error
	var order []string
	starts := 0
	for _, l := range lines {
		switch order = append(order, l.Action); l.Action {
		case "audit-start":
			starts++
		case "audit-stop":
			starts--
		}
	}
	if starts != 0 {
		err = fmt.Errorf("%d more audit-start than audit-stop", starts)
	}
	if s := strings.Join(order, " "); !strings.HasSuffix(s, " audit-stop audit-closed audit-checkpoint") {
		err = errors.Join(err, fmt.Errorf("its end: %s", strings.Join(order[max(0, len(order)-8):], " ")))
	}
	return err
}
