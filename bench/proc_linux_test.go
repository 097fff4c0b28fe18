// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

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
	g := group(cmd.Process.Pid)
	var before, after cpuTime
	var err error
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * ms) {
		if after, err = g.cpu(); err != nil {
			t.Fatal(err)
		}
		if before.threads == nil {
			before = after
		}
		if after.since(before) > 50*ms {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v of CPU after 10 s of a busy loop", after.since(before))
		}
	}
	if rss, peak := g.memory(); rss <= 0 || peak < rss {
		t.Errorf("memory %d KiB, peak %d KiB", rss, peak)
	}
	idle := cpuTime{threads: map[string]time.Duration{"a": 3 * ms}, ticks: 100 * ms}
	if got := idle.since(cpuTime{threads: map[string]time.Duration{"a": 1 * ms, "gone": 5 * ms}, ticks: 90 * ms}); got != 2*ms {
		t.Errorf("%v, want the exact 2 ms: one tick more is no proof", got)
	}
	if got := idle.since(cpuTime{threads: map[string]time.Duration{"a": 1 * ms}}); got != 100*ms {
		t.Errorf("%v, want the 100 ms of ticks, as threads have ended", got)
	}
}
