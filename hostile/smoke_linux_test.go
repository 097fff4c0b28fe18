// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"
)

// shortForm is what a minute is enough for: one scenario of each kind.
const shortForm = "^10 stalled, many addresses, one key$|^200 dripping|^40 pipelines.*TLS$|^every refusal|^mutated requests$|^SIGKILL|^a full disk$"

// TestHostile runs a few seconds of each: readers that stall, dripping and
// pipelined connections, floods of every refusal, mutated requests, a kill, a full disk.
func TestHostile(t *testing.T) {
	if os.Getenv("XFRGUARD_SKIP_PEERS") == "1" {
		fmt.Println("hostile: not run, because XFRGUARD_SKIP_PEERS=1 says so")
		return
	}
	h, err := parseFlags([]string{
		"-scale", "0.25", "-slow=false", "-timing=false", "-dir", t.TempDir(), "-out", t.TempDir() + "/table.md",
		"-only", shortForm,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute) // a cold build of CoreDNS
	defer cancel()
	if err := h.main(ctx); err != nil {
		t.Error(err)
	}
	if len(h.results) != 7 {
		t.Errorf("%d scenarios, want 7", len(h.results))
	}
	for _, r := range h.results {
		for _, f := range r.faults {
			t.Errorf("%s: %s", r.scenario.name, f)
		}
	}
}

// TestFaults: what the judge must see.
func TestFaults(t *testing.T) {
	r := &result{scenario: &scenario{}}
	for range 100 {
		r.idle.add(10*time.Millisecond, nil)
		r.own.add(40*time.Millisecond, nil)
		r.shared.add(time.Second, nil)
	}
	r.own.add(0, rcodeError(2))
	r.shared.add(7*time.Second, nil)
	r.judgeHonest(true)
	if len(r.faults) != 3 { // a failure, the median, the wait
		t.Errorf("faults: %q", r.faults)
	}
	b := books{decisions: 3, folded: 4, allowed: 2, ended: 1, unpaired: 1, lost: 2}
	if got := b.faults(8); len(got) != 4 { // lost, unpaired, no stop, does not balance
		t.Errorf("faults of the books: %q", got)
	}
}
