// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/xfrguard/xfrguard/interop/lab"
)

// Shares of the time that the parts of a zone's runs may take; those of a larger zone
// weigh more.
const (
	coldShare = 5.0
	warmShare = 2.0 // of one client, and more with more
	rateShare = 2.0
	newShare  = 4.0
)

// budget divides the time that is left.
type budget struct {
	end    time.Time
	weight float64 // of what is still to come
}

// take returns when a part that weighs so much should end.
func (b *budget) take(weight float64) time.Time {
	left := time.Until(b.end)
	share := time.Duration(float64(left) * weight / max(b.weight, weight))
	b.weight -= weight
	return time.Now().Add(share)
}

// part is one piece of the plan.
type part struct {
	weight float64
	run    func(ctx context.Context, deadline time.Time)
}

// size is how much a zone's parts weigh.
func size(z *zone) float64 {
	switch {
	case z.records > 500_000:
		return 6
	case z.records > 50_000:
		return 2
	}
	return 1
}

// plan lists what to do. Servers of one zone are running from the end of its first part to
// its last.
func (b *bench) plan() []part {
	var parts []part
	add := func(weight float64, run func(context.Context, time.Time)) {
		parts = append(parts, part{weight, run})
	}
	for _, z := range b.zones {
		w := size(z)
		add(w*coldShare, func(ctx context.Context, deadline time.Time) { b.cold(ctx, z, deadline) })
		for _, signed := range []bool{false, true} {
			var single *series
			for _, clients := range b.clients {
				add(w*warmShare*(1+float64(clients)/8), func(ctx context.Context, deadline time.Time) {
					s := b.newSeries(z, warm, signed, clients, 0)
					servers := b.running
					if single != nil {
						servers = b.tooLong(s, single, servers)
					} else {
						single = s
					}
					b.rounds(ctx, s, servers, deadline)
				})
			}
		}
		if z.records <= rateLimit {
			for _, signed := range []bool{false, true} {
				add(w*rateShare, func(ctx context.Context, deadline time.Time) {
					b.rounds(ctx, b.newSeries(z, rateKind, signed, b.rateClients, 0), b.running, deadline)
				})
			}
		}
		if b.profile != "" {
			add(w, func(ctx context.Context, _ time.Time) { b.profiles(ctx, z) })
		}
		add(w*newShare, func(ctx context.Context, deadline time.Time) { b.versions(ctx, z, deadline) })
	}
	return parts
}

// Zones of up to that many records are asked for at a rate.
const rateLimit = 10_000

// run does the whole plan.
func (b *bench) run(ctx context.Context) error {
	defer b.stopAll()
	parts := b.plan()
	total := budget{end: time.Now().Add(b.limit)}
	for _, p := range parts {
		total.weight += p.weight
	}
	for _, p := range parts {
		if ctx.Err() != nil {
			return fmt.Errorf("ended early: %w", context.Cause(ctx))
		}
		p.run(ctx, total.take(p.weight))
	}
	return nil
}

// stopAll ends what is running.
func (b *bench) stopAll() {
	for _, s := range b.running {
		s.stop()
	}
	b.running = nil
}

// zonePath is where the zone file is that servers get a link to.
func (b *bench) zonePath(z *zone) string { return filepath.Join(b.dir, z.label+".db") }

// cold starts every server several times and asks for the zone at once; after the last
// time they go on running.
func (b *bench) cold(ctx context.Context, z *zone, deadline time.Time) {
	b.stopAll()
	if err := z.write(b.zonePath(z)); err != nil {
		b.fail(err)
		return
	}
	s := b.newSeries(z, coldStart, true, 1, 0)
	var last time.Duration
	for r := range b.coldCount {
		begin := time.Now()
		final := r == b.coldCount-1 || begin.Add(2*last).After(deadline)
		for i := range b.software {
			b.startCold(ctx, s, b.software[(i+r)%len(b.software)], z, final)
		}
		if last = time.Since(begin); final {
			break
		}
	}
	b.warmUp(ctx, z)
	lab.Progress("%s: done", s.title())
}

// startCold starts a server for one first transfer, or for good.
func (b *bench) startCold(ctx context.Context, s *series, soft software, z *zone, keep bool) {
	if s.notes[soft.name] != "" || soft.listens && !keep || ctx.Err() != nil {
		return
	}
	server, err := b.start(ctx, soft, z)
	if err != nil {
		s.notes[soft.name] = "failed: it did not start"
		b.fail(fmt.Errorf("%s with %s records: %w", soft.name, z.label, err))
		return
	}
	loaded := b.memory(z, soft.name)
	loaded.idle, loaded.load = server.group().Memory()
	if !soft.listens {
		b.measure(ctx, s, server)
	}
	if !keep {
		server.stop()
		return
	}
	b.running = append(b.running, server)
}

// warmUp fetches the zone from everyone in both ways, with every signature verified, and
// begins new high-water marks of memory.
func (b *bench) warmUp(ctx context.Context, z *zone) {
	for _, s := range b.running {
		for _, signed := range []bool{false, true} {
			l := load{request: request{signed: signed, verifyAll: true, records: z.axfr(), addr: s.addr()}, clients: 1, each: 1}
			if _, err := l.transfers(ctx); err != nil {
				b.fail(fmt.Errorf("%s, first look at what it sends: %w", s.name, err))
			}
		}
		s.group().ResetPeak()
	}
}
