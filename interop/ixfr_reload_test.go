// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/interop/zonegen"
)

// nudge sends NOTIFY to every secondary until it is told to stop: that of CoreDNS is
// lost on one who asks the instance that is about to go, because the new one sends it
// before it answers.
func (all followers) nudge() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, s := range all {
		wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case <-time.After(200 * time.Millisecond):
					_ = s.Notify(ctx, ixfrZone) // again if it is lost
				}
			}
		})
	}
	return func() {
		cancel()
		wg.Wait()
	}
}

// CoreDNS reloads while an edit is on its way, a little earlier or later each time: the
// secondaries get every edit as a difference all the same.
func TestIXFRAcrossReloads(t *testing.T) {
	const edits = 60
	seed := ixfrSeed(t)
	zone := zonegen.NewChurn(ixfrZone, 1, seed)
	p, all := startFollowers(t, "", zone.String())
	all.hold(t, p.write(t, zone.String()), 1)
	defer all.nudge()()

	var steps []step
	for serial := uint32(1); serial <= edits; serial++ {
		zone.Edit(serial + 1)
		steps = append(steps, step{serial, serial + 1})
		want := parseZone(t, zone.String())
		first, second := func() { p.reload(t) }, func() { p.write(t, zone.String()) }
		if serial%2 == 0 {
			first, second = second, first
		}
		first()
		time.Sleep(time.Duration(serial) * time.Millisecond)
		second()
		all.hold(t, want, serial+1)
	}
	onlyDeltas(t, p, steps)
	reloads := 0
	for _, e := range p.events(t) {
		if e.Action == "policy-reload" || e.Action == "policy-load" {
			reloads++
		}
	}
	t.Logf("seed %d: %d edits, %d instances", seed, len(steps), reloads)
	if reloads < edits/2 {
		t.Error("too few reloads: this shows nothing")
	}
}

// reload has CoreDNS read its Corefile again.
func (p *incremental) reload(t testing.TB) {
	t.Helper()
	p.signals++
	if err := p.Signal(syscall.SIGUSR1); err != nil {
		t.Error(err)
	}
}

// reloaded waits until it has, and the instance before is gone with its connections.
func (p *incremental) reloaded(t testing.TB) {
	t.Helper()
	p.said(t, p.signals, "Reloading complete")
}
