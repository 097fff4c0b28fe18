// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestStopIsOnRecordInEverySink: the quicker of two sinks does not end the wait for the
// other. Whatever signal ends CoreDNS, both have audit-stop, and no policy was in force
// before audit-start.
func TestStopIsOnRecordInEverySink(t *testing.T) {
	t.Parallel()
	signals := []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT}
	for range 10 {
		signals = append(signals, syscall.SIGTERM)
	}
	for round, sig := range signals {
		dir := t.TempDir()
		out := filepath.Join(dir, "stdout")
		log := filepath.Join(dir, "audit.log")
		a := startAudited(t, auditSetup{dir: dir, audit: "audit stdout\n\t\taudit file " + log, shell: ">" + out})
		if got, err := fetch(a.addr(), "127.45.0.1", auditPatience); !got.complete {
			t.Fatalf("the transfer: %s %v", got, err)
		}
		if err := a.Signal(sig); err != nil {
			t.Fatal(err)
		}
		eventually(t, "CoreDNS to end", func() error {
			if !a.Ended() {
				return errors.New("it runs")
			}
			return nil
		})
		for _, path := range []string{out, log} {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			wantFramed(t, fmt.Sprintf("round %d, %s, %s", round, sig, filepath.Base(path)), auditOnly(t, text))
		}
	}
}

// auditOnly returns the audit lines among whatever else CoreDNS prints.
func auditOnly(t *testing.T, text []byte) []auditLine {
	t.Helper()
	var events []byte
	for line := range bytes.Lines(text) {
		if bytes.HasPrefix(line, []byte("{")) {
			events = append(events, line...)
		}
	}
	return parseAudit(t, events)
}

// wantFramed wants audit-start before the policy, and audit-stop once.
func wantFramed(t *testing.T, what string, lines []auditLine) {
	t.Helper()
	started, stops := false, 0
	for _, l := range lines {
		switch l.Action {
		case "audit-start":
			started = true
		case "policy-load":
			if !started {
				t.Errorf("%s: the policy is on record before audit-start", what)
			}
		case "audit-stop":
			stops++
		}
	}
	if !started || stops != 1 {
		t.Errorf("%s: audit-start %v, audit-stop %d times", what, started, stops)
	}
}
