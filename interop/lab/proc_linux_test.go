// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// TestCPU: the time of a busy process counts whose parent has ended, as those of some servers have.
func TestCPU(t *testing.T) {
	cmd := exec.Command("sh", "-c", "((while :; do :; done) &); sleep 60")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait() //nolint:errcheck // it is killed
	defer syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	g := Group(cmd.Process.Pid)
	var before, after CPUTime
	var err error
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if after, err = g.CPU(); err != nil {
			t.Fatal(err)
		}
		if before.threads == nil {
			before = after
		}
		if after.Since(before) > 50*time.Millisecond {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v of CPU after 10 s of a busy loop", after.Since(before))
		}
	}
	if rss, peak := g.Memory(); rss <= 0 || peak < rss {
		t.Errorf("memory %d KiB, peak %d KiB", rss, peak)
	}
	idle := CPUTime{threads: map[string]time.Duration{"a": 3 * time.Millisecond}, ticks: 100 * time.Millisecond}
	if got := idle.Since(CPUTime{threads: map[string]time.Duration{"a": 1 * time.Millisecond, "gone": 5 * time.Millisecond}, ticks: 90 * time.Millisecond}); got != 2*time.Millisecond {
		t.Errorf("%v, want the exact 2 time.Millisecond: one tick more is no proof", got)
	}
	if got := idle.Since(CPUTime{threads: map[string]time.Duration{"a": 1 * time.Millisecond}}); got != 100*time.Millisecond {
		t.Errorf("%v, want the 100 time.Millisecond of ticks, as threads have ended", got)
	}
}
