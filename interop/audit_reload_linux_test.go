// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/interop/peer"
)

const (
	reloadStorm    = 30 * time.Second
	reloadInterval = 100 * time.Millisecond
)

// Ten reloads a second for 30 s, under load: one sequence, no line lost or torn,
// every transfer on record from decision to end, nothing left of the old instances.
func TestAuditReloadStorm(t *testing.T) {
	t.Parallel()
	tool := operatorTool(t)
	a := startAudited(t, auditSetup{})
	warm := startLoad(a.addr(), 60, 3)
	warm.more(t, 20)
	all := warm.stop()
	goroutines := a.metric(t, "go_goroutines")

	l := startPacedLoad(a.addr(), 60, 4, 25*time.Millisecond)
	signals := 0
	tick := time.NewTicker(reloadInterval)
	defer tick.Stop()
	for start := time.Now(); time.Since(start) < reloadStorm; signals++ {
		if err := a.Signal(syscall.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		<-tick.C
	}
	l.more(t, 10)
	all = append(all, l.stop()...)
	a.ready(t)
	eventually(t, "the old instances to be gone", func() error {
		if now := a.metric(t, "go_goroutines"); now > goroutines+2 { // the metrics' own connection comes and goes
			return fmt.Errorf("%.0f goroutines, %.0f before", now, goroutines)
		}
		return nil
	})
	a.Stop()

	lines := readAudit(t, a.log)
	reloads := 0
	events := make([]peer.Event, len(lines))
	for i, line := range lines {
		if line.Sequence != int64(i+1) {
			t.Fatalf("line %d has sequence %d", i+1, line.Sequence)
		}
		if line.Action == "policy-reload" {
			reloads++
		}
		events[i] = line.Event
	}
	for _, c := range unrecorded(lines, all) {
		t.Errorf("not on record: %s", c)
	}
	if _, err := peer.Paired(events); err != nil {
		t.Error(err)
	}
	if lost, late := sumGaps(lines); lost != 0 || late != 0 {
		t.Errorf("%d lost, %d late", lost, late)
	}
	wantVerified(t, tool, a.log)
	whole := count(all, func(c catch) bool { return c.complete })
	t.Logf("%d signals, %d reloads (one in %s), %d requests, %d whole transfers, %d lines",
		signals, reloads, (reloadStorm / time.Duration(max(reloads, 1))).Round(time.Millisecond), len(all), whole, len(lines))
	if reloads < signals/2 || whole < 100 {
		t.Error("too few: this shows nothing")
	}
}
