// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/xfrguard/xfrguard/interop/lab"
)

// The soak alternates load and rest; what a server holds is compared at rest.
const (
	soakRounds    = 12
	soakRest      = 12 * time.Second
	soakShortRest = 4 * time.Second // of soaks under ten minutes
)

// quiet is what the server held in one rest.
type quiet struct {
	at time.Duration
	size
	rss int64
}

// soaking is one soak under way.
type soaking struct {
	*hostile
	s      *server
	r      *result
	begun  time.Time
	slow   []*slowSecondary
	quiets []quiet

	mu      sync.Mutex
	reloads []time.Time
}

// atReload reports whether a connection that ended without an answer was opened while a
// reload handed the sockets over.
func (k *soaking) atReload(begun time.Time, kind string) bool {
	if kind != kindClosed && kind != kindSilent {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.ContainsFunc(k.reloads, func(at time.Time) bool {
		return begun.After(at.Add(-handover/2)) && begun.Before(at.Add(handover))
	})
}

// handover is how long after a signal the old servers may still take connections.
const handover = 2 * time.Second

// runSoak puts a mixed load on our server for h.soak: honest secondaries, slow ones,
// stalled, trickling, cut, dripping and pipelined clients, floods of refusals, mutated
// requests, over TCP and TLS, while the zone changes and the configuration is read again.
func (h *hostile) runSoak(ctx context.Context) error {
	s, err := h.start(ctx, allServers()[0], setup{})
	if err != nil {
		return err
	}
	defer s.stop()
	r := &result{scenario: &scenario{name: fmt.Sprintf("soak of %v", h.soak)}, server: s.name}
	h.results = append(h.results, r)
	k := &soaking{hostile: h, s: s, r: r, begun: time.Now()}
	r.own.excuse, r.shared.excuse = k.atReload, k.atReload
	during(ctx, idleSpan, func(ctx context.Context) { poll(ctx, s, ownID, 50*time.Millisecond, &r.idle) })
	for round := range soakRounds {
		if err := k.round(ctx, h.soak/soakRounds, round); err != nil {
			return err
		}
	}
	return k.end(ctx)
}

// round is some minutes of load and a rest.
func (k *soaking) round(ctx context.Context, length time.Duration, number int) error {
	rest := soakRest
	if length < time.Minute {
		rest = soakShortRest
	}
	end := time.Now().Add(length)
	loadCtx, stop := context.WithDeadline(ctx, end.Add(-rest))
	load := parallel()
	for _, a := range soakAttacks() {
		load.Go(func() { a(loadCtx, k.s) })
	}
	load.Go(func() { poll(loadCtx, k.s, ownID, 200*time.Millisecond, &k.r.own) })
	load.Go(func() { poll(loadCtx, k.s, sharing, 1500*time.Millisecond, &k.r.shared) })
	load.Go(func() { poll(loadCtx, k.s, ownID.over(true), time.Second, &k.r.own) })
	load.Go(func() { ask(loadCtx, k.s, &k.r.plain) })
	load.Go(func() { k.slowLine(loadCtx) })
	load.Go(func() { k.reload(loadCtx) })
	load.Wait()
	stop()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := k.change(ctx, uint32(number)+2); err != nil {
		return err
	}
	return k.rest(ctx, end)
}

func soakAttacks() []attack {
	many := func(count int, tls bool, once func(context.Context, *server, identity)) attack {
		return crowd{count: count, addresses: true, keys: true, tls: tls, once: once}.run
	}
	return []attack{
		many(40, false, stall), many(20, true, stall), many(40, false, trickle), many(20, true, trickle),
		many(10, false, leave), many(10, true, leave), many(20, false, drip), many(4, false, pipeline),
		many(4, false, mutate), many(2, true, mutate), floodAll(200),
	}
}

// slowLine is an honest client of 32 kB/s that comes again and again; the load's end cuts it.
func (k *soaking) slowLine(ctx context.Context) {
	for ctx.Err() == nil {
		c := &slowSecondary{identity: identity{address: "127.127.1.1", key: crowdKey(1), zone: bigOrigin}, speed: 32_000}
		if c.pull(ctx, k.s); ctx.Err() == nil {
			k.slow = append(k.slow, c)
		}
		pause(ctx, comeback)
	}
}

// reload has the server read its configuration again every 20 s.
func (k *soaking) reload(ctx context.Context) {
	for {
		pause(ctx, 20*time.Second)
		if ctx.Err() != nil {
			return
		}
		k.mu.Lock()
		k.reloads = append(k.reloads, time.Now())
		k.mu.Unlock()
		if err := k.s.process.Signal(syscall.SIGUSR1); err != nil {
			return // it has ended, which the clients see
		}
	}
}

// change gives the zone another serial.
func (k *soaking) change(ctx context.Context, serial uint32) error {
	if err := writeZone(k.s.zoneFile(), origin, serial, k.s.records); err != nil {
		return err
	}
	k.s.serial = serial
	return k.s.await(ctx)
}

// rest waits until everybody has gone and the round is over, and writes down what the
// server holds.
func (k *soaking) rest(ctx context.Context, end time.Time) error {
	if _, err := k.settled(ctx, k.s, nil); err != nil {
		k.r.fault("%v", err)
	}
	pause(ctx, time.Until(end))
	m, err := k.s.scrape(ctx)
	if err != nil {
		return err
	}
	rss, _ := k.s.group().Memory()
	q := quiet{time.Since(k.begun), m.size(), rss}
	k.quiets = append(k.quiets, q)
	lab.Progress("soak: %v: %.0f goroutines, %.0f descriptors, heap %.1f MB, RSS %.1f MB; %.0f requests; own %s, shared %s",
		q.at.Round(time.Second), q.goroutines, q.descriptors, q.heap/1e6, float64(rss)/1024, m["coredns_xfrguard_requests_total"], k.r.own.success(), k.r.shared.success())
	return nil
}

// end judges: growth from rest to rest, the honest ones, the books.
func (k *soaking) end(ctx context.Context) error {
	r := k.r
	r.judgeHonest(k.timing)
	for _, c := range k.slow {
		if c.err != nil {
			r.fault("a client of 32 kB/s got %.1f MB in %v: %s", float64(c.bytes.Load())/1e6, c.took.Round(time.Second), kindOf(c.err))
		}
	}
	k.judgeGrowth()
	m, err := k.s.scrape(ctx)
	if err != nil {
		return err
	}
	k.s.end(ctx, r)
	k.judgeBooks(k.s, r, m["coredns_xfrguard_requests_total"])
	b, err := readBooks(k.s.audit)
	if err != nil {
		return err
	}
	k.note("%s: %.0f requests; on record %d decisions and %d folded, %d lost; %d transfers allowed, %d ended. %d transfers at 32 kB/s. Honest: %s.",
		r.scenario.name, m["coredns_xfrguard_requests_total"], b.decisions, b.folded, b.lost, b.allowed, b.ended, len(k.slow), r.brief())
	k.note("%s", k.table())
	return nil
}

// judgeGrowth compares the later half of the rests with the earlier one: what leaks grows with
// every round, what is kept on purpose does not.
func (k *soaking) judgeGrowth() {
	if len(k.quiets) < 4 {
		return
	}
	half := len(k.quiets) / 2
	least := func(list []quiet, of func(quiet) float64) float64 {
		low := math.Inf(1)
		for _, q := range list {
			low = min(low, of(q))
		}
		return low
	}
	for _, g := range []struct {
		what string
		of   func(quiet) float64
		room float64
	}{
		{"goroutines", func(q quiet) float64 { return q.goroutines }, growFew},
		{"descriptors", func(q quiet) float64 { return q.descriptors }, growFew},
		{"bytes of heap", func(q quiet) float64 { return q.heap }, growHeap},
		{"KiB of RSS", func(q quiet) float64 { return float64(q.rss) }, growHeap / 1024},
	} {
		early, late := least(k.quiets[1:half], g.of), least(k.quiets[half:], g.of)
		if late > early+g.room {
			k.r.fault("%s grow: %.0f at rest in the first half, %.0f in the second", g.what, early, late)
		}
	}
}

// table is a row for each rest.
func (k *soaking) table() string {
	var b strings.Builder
	b.WriteString("| at rest after | goroutines | descriptors | heap | RSS |\n| --- | --- | --- | --- | --- |\n")
	for _, q := range k.quiets {
		fmt.Fprintf(&b, "| %v | %.0f | %.0f | %.1f MB | %.1f MB |\n", q.at.Round(time.Second), q.goroutines, q.descriptors, q.heap/1e6, float64(q.rss)/1024)
	}
	return b.String()
}
