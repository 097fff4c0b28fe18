// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"
)

// Numbers of changes that are asked for by IXFR.
const (
	fewChanges  = 10
	manyChanges = 10_000
)

const deltaTime = 10 * time.Second

// versions gives the servers new versions of the zone: some with few changes, each of
// which is asked for as a whole at once, the last one then by IXFR; and one with many
// changes, asked for by IXFR only.
func (b *bench) versions(ctx context.Context, z *zone, deadline time.Time) {
	defer b.stopAll()
	for _, s := range b.running {
		b.memory(z, s.name).transfers = peakOf(s)
		s.group().ResetPeak()
	}
	whole := b.newSeries(z, coldSerial, true, 1, 0)
	half := time.Now().Add(time.Until(deadline) / 2)
	var last time.Duration
	for r := range b.coldCount {
		begin := time.Now()
		if r > 0 && begin.Add(last).After(half) {
			break
		}
		b.newVersion(ctx, z, fewChanges, r, whole)
		last = time.Since(begin)
	}
	b.deltas(ctx, z, delta, fewChanges, deadline)
	b.deltas(ctx, z, deltaPause, fewChanges, deadline)
	if z.records < 2*manyChanges {
		return
	}
	first := b.newSeries(z, deltaCold, true, 1, manyChanges)
	b.newVersion(ctx, z, manyChanges, 0, first)
	b.deltas(ctx, z, delta, manyChanges, deadline)
	for _, s := range b.running {
		b.memory(z, s.name).versions = peakOf(s)
	}
}

func peakOf(s *server) int64 {
	_, peak := s.group().Memory()
	return peak
}

// newVersion changes the zone and has one server after the other take it, each of which
// is measured as soon as it answers with the new serial.
func (b *bench) newVersion(ctx context.Context, z *zone, changes, round int, s *series) {
	z.change(changes)
	if err := z.write(b.zonePath(z)); err != nil {
		b.fail(err)
		return
	}
	s.zone = *z
	for i := range b.running {
		server := b.running[(i+round)%len(b.running)]
		switch {
		case server.listens || s.notes[server.name] != "":
			continue
		case s.changes > 0 && server.noIXFR != "":
			s.notes[server.name] = "n/a: " + server.noIXFR
		}
		if err := server.update(ctx, b.zonePath(z), z.serial); err != nil {
			s.notes[server.name] = "failed: it did not take the new version"
			b.fail(fmt.Errorf("%s with %s records: %w", server.name, z.label, err))
			continue
		}
		b.measure(ctx, s, server)
		if server.ours { // its rule for unsigned requests has to be given the version too
			if _, err := fetch(ctx, request{addr: server.addr(), records: z.axfr()}); err != nil {
				b.fail(fmt.Errorf("%s, unsigned: %w", server.name, err))
			}
		}
		b.memory(z, server.name).versions = peakOf(server)
	}
}

// deltas asks for the last changes by IXFR, again and again. They are so short that they
// have some time also where the new version took more than its share.
func (b *bench) deltas(ctx context.Context, z *zone, k kind, changes int, deadline time.Time) {
	if least := time.Now().Add(deltaTime); least.After(deadline) {
		deadline = least
	}
	for _, signed := range []bool{false, true} {
		s := b.newSeries(z, k, signed, 1, changes)
		var able []*server
		for _, server := range b.running {
			switch {
			case server.listens:
			case server.noIXFR != "":
				s.notes[server.name] = "n/a: " + server.noIXFR
			default:
				able = append(able, server)
				if changes == fewChanges && server.name == oursNoAudit.name {
					able = append(able, server.as(soaOnly))
				}
			}
		}
		b.rounds(ctx, s, able, deadline)
	}
}
