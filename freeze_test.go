// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/miekg/dns"
)

// TestThawWhileZonesComeAndGo: everybody may be told of a thaw at the moment when zones of
// a pattern come or go.
func TestThawWhileZonesComeAndGo(t *testing.T) {
	xfrtest.Serve(t, xfrtest.Guarded(xfrtest.UnsignedRule+"\n\t\tnotify 127.0.0.1:1", ""), map[string]string{"db": xfrtest.ZoneOrg})
	n := latestInstance().sorted()[0].notifier
	var both sync.WaitGroup
	both.Go(func() {
		for range 100 {
			n.appear("example.org.")
			n.mu.Lock()
			n.seen["example.org."] = &dns.SOA{Serial: 7}
			n.mu.Unlock()
			n.vanish([]string{"example.org."})
		}
	})
	both.Go(func() {
		for range 100 {
			n.everybody([]string{"example.org."})
		}
	})
	both.Wait()
}

// TestFrozenAfterReloadThatFails: a reload may fail after its Corefile was in force, which
// was without the control directory. What is frozen again is on record and in the metrics.
func TestFrozenAfterReloadThatFails(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "freeze"), []byte("drill"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := xfrtest.Serve(t, xfrtest.Guarded(xfrtest.UnsignedRule+"\n\t\tcontrol "+dir, ""), map[string]string{"db": xfrtest.ZoneOrg})
	s.Await(t, "transfers-frozen", 1)
	in := latestInstance()
	if err := restarts.take(in); err != nil {
		t.Fatal(err)
	}
	in.stage.Store(stageSuperseded)
	new(instance).obeyFirst()
	if n := xfrtest.Metric(t, "frozen", "*"); n != 0 {
		t.Errorf("without the directory the metric is %v", n)
	}
	in.restartFailed()
	if n := xfrtest.Metric(t, "frozen", "*"); n != 1 {
		t.Errorf("the metric is %v", n)
	}
	s.Await(t, "transfers-frozen", 2)
}

// TestRuleExpiresInReplaced: a rule may end after a reload while the old server still waits
// for its connections. What the new policy allows goes on.
func TestRuleExpiresInReplaced(t *testing.T) {
	end := time.Now().Add(time.Hour)
	s := xfrtest.Serve(t, xfrtest.Guarded("allow as lent net 127.0.0.1 unsigned expires "+end.UTC().Format(time.RFC3339Nano), ""), map[string]string{"db": xfrtest.ZoneOrg})
	old := latestInstance()
	if err := s.Reload(xfrtest.Guarded("allow as other net 127.0.0.2 unsigned", "")); err != nil {
		t.Fatal(err)
	}
	for from, goesOn := range map[string]bool{"127.0.0.1": false, "127.0.0.2": true} {
		run := transfers.begin(t.Context(), meet(t, latestInstance().sorted()[0], from, dns.TypeAXFR))
		old.expire(end.Add(-time.Second), end.Add(time.Second))
		if why := context.Cause(run.ctx); (why == nil) != goesOn {
			t.Errorf("that of %s: %v", from, why)
		}
		transfers.end(run)
	}
}
