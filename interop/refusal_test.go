// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/interop/peer"
)

// puller is a secondary of refusedZone under trial.
type puller struct {
	name  string
	start func(t testing.TB, port, primary int) *peer.Process
}

// pullers is every secondary: those of package peer that sign, Unbound, and CoreDNS's own
// plugin.
func pullers() (list []puller) {
	for _, s := range peer.Secondaries() {
		list = append(list, puller{s.Name, func(t testing.TB, port, primary int) *peer.Process {
			return peer.StartSecondary(t, s, port, primary, []peer.Zone{{Origin: refusedZone, Key: sha256Key}}).Process
		}})
	}
	list = append(list, puller{"unbound", func(t testing.TB, port, primary int) *peer.Process {
		zone := fmt.Sprintf("auth-zone:\n\tname: %q\n\tprimary: 127.0.0.1@%d\n\tzonefile: %q\n\tfallback-enabled: no\n", refusedZone, primary, "zone")
		return peer.StartRecipe(t, peer.Recipe{Name: "unbound", Zone: zone}, port, peer.Zone{Origin: refusedZone}).Process
	}})
	return append(list, puller{"coredns", func(t testing.TB, port, primary int) *peer.Process {
		dir := t.TempDir()
		path := filepath.Join(dir, "Corefile")
		peer.WriteFile(t, path, fmt.Sprintf("%s:%d {\n\tbind 127.0.0.1\n\terrors\n\tsecondary {\n\t\ttransfer from %s\n\t}\n}\n",
			refusedZone, port, peer.Loopback(primary)))
		return peer.Run(t, "coredns-secondary", dir, coreDNS, "-conf", path)
	}})
}

const (
	refusalSpan  = 500 * time.Millisecond // how long the cause lasts
	refusalLimit = 75 * time.Second       // how long a secondary is watched: longer than the SOA's retry
)

// trial is one secondary that meets one refusal once.
type trial struct {
	puller
	way   refusal
	again time.Duration // after the first refusal the NOTIFY is repeated, 0: never

	held     time.Duration // from the first refusal until it answers with the new serial, 0: not within the limit
	attempts []string
}

func (r *trial) run(t testing.TB, limit time.Duration) {
	t.Helper()
	p := startRefusingPrimary(t, r.way, refusalSpan)
	port := peer.Port(t)
	s := r.start(t, port, p.port)
	awaitSerial(t, s, port, 1, 30*time.Second)
	p.advance()
	tell(t, s, port)
	select {
	case <-p.first:
	case <-time.After(30 * time.Second):
		t.Fatalf("%s asks for no transfer after a NOTIFY", r.name)
	}
	if r.again > 0 {
		time.Sleep(time.Until(p.begun.Add(r.again)))
		tell(t, s, port)
	}
	ctx, cancel := context.WithDeadline(t.Context(), p.begun.Add(limit))
	defer cancel()
	for ctx.Err() == nil && r.held == 0 {
		if got, err := peer.Serial(ctx, peer.Loopback(port), refusedZone); err == nil && got == 2 {
			r.held = time.Since(p.begun)
		}
		time.Sleep(20 * time.Millisecond)
	}
	r.attempts = p.seen()
}

func awaitSerial(t testing.TB, s *peer.Process, port int, serial uint32, limit time.Duration) {
	t.Helper()
	s.Await(t, limit, fmt.Sprintf("hold serial %d", serial), func(ctx context.Context) error {
		got, err := peer.Serial(ctx, peer.Loopback(port), refusedZone)
		if err == nil && got != serial {
			err = fmt.Errorf("it has serial %d", got)
		}
		return err
	})
}

// tell sends a NOTIFY until it is answered.
func tell(t testing.TB, s *peer.Process, port int) {
	t.Helper()
	s.Await(t, 10*time.Second, "take a NOTIFY", func(ctx context.Context) error {
		return peer.NotifyAt(ctx, peer.Loopback(port), refusedZone)
	})
}

// A secondary that was told SERVFAIL, as the guard does for all that passes, has the
// zone soon after a second NOTIFY, whatever its retry timer.
func TestNotifyAgainAfterServfail(t *testing.T) {
	t.Parallel()
	for _, s := range pullers() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			r := trial{puller: s, way: refuseServfail, again: time.Second}
			r.run(t, 11*time.Second)
			if r.held == 0 {
				t.Errorf("10 s after the NOTIFY it still has the old serial: %s", strings.Join(r.attempts, ", "))
			}
		})
	}
}

// TestRefusals tries every way to refuse on every secondary, without a second NOTIFY, with
// one after 1 s and after 10 s, and prints the table of docs/COMPATIBILITY.md. It takes
// about seven minutes, so it runs with XFRGUARD_REFUSALS=1 only.
func TestRefusals(t *testing.T) {
	if os.Getenv("XFRGUARD_REFUSALS") != "1" {
		t.Skip("XFRGUARD_REFUSALS=1 runs it")
	}
	var (
		mu   sync.Mutex
		all  []*trial
		room = make(chan struct{}, 16)
	)
	t.Run("trials", func(t *testing.T) {
		for _, s := range pullers() {
			for _, way := range refusals {
				for _, again := range []time.Duration{0, time.Second, 10 * time.Second} {
					t.Run(fmt.Sprintf("%s/%s/%v", s.name, way, again), func(t *testing.T) {
						t.Parallel()
						room <- struct{}{}
						defer func() { <-room }()
						r := &trial{puller: s, way: way, again: again}
						r.run(t, refusalLimit)
						mu.Lock()
						defer mu.Unlock()
						all = append(all, r)
					})
				}
			}
		}
	})
	t.Log("\n" + refusalTable(all))
}

// refusalTable is a row for each secondary and way.
func refusalTable(all []*trial) string {
	sort.SliceStable(all, func(i, j int) bool { return all[i].name+string(all[i].way) < all[j].name+string(all[j].way) })
	held := map[string]map[time.Duration]*trial{}
	var order []string
	for _, r := range all {
		row := "| " + r.name + " | " + string(r.way)
		if held[row] == nil {
			held[row] = map[time.Duration]*trial{}
			order = append(order, row)
		}
		held[row][r.again] = r
	}
	var b strings.Builder
	b.WriteString("| secondary | is told | it has the zone after | NOTIFY after 1 s | NOTIFY after 10 s | it asks again by itself |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, row := range order {
		b.WriteString(row)
		for _, again := range []time.Duration{0, time.Second, 10 * time.Second} {
			switch r := held[row][again]; {
			case r == nil:
				b.WriteString(" | ?")
			case r.held == 0:
				fmt.Fprintf(&b, " | not in %.0f s", refusalLimit.Seconds())
			default:
				fmt.Fprintf(&b, " | %.1f s", r.held.Seconds())
			}
		}
		quiet := ""
		if r := held[row][0]; r != nil {
			quiet = strings.Join(r.attempts, ", ")
		}
		b.WriteString(" | " + quiet + " |\n")
	}
	return b.String()
}
