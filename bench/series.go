// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/xfrguard/xfrguard/interop/lab"
)

// kind is what a series measures.
type kind string

const (
	coldStart  kind = "first transfer after start"
	coldSerial kind = "first transfer of a new serial"
	warm       kind = "warm"
	rateKind   kind = "a new connection for each transfer"
	deltaCold  kind = "first one of a new serial"
	delta      kind = "repeated"
	deltaPause kind = "each after a pause of 0.3 s"
)

// series is one table: samples of each server under the same load.
type series struct {
	zone    zone // as it was then
	kind    kind
	changes int // asked for by IXFR, 0: AXFR
	signed  bool
	clients int
	samples map[string][]sample
	notes   map[string]string // why a server has none, or no more
}

func (b *bench) newSeries(z *zone, k kind, signed bool, clients, changes int) *series {
	s := &series{
		zone: *z, kind: k, signed: signed, clients: clients, changes: changes,
		samples: map[string][]sample{}, notes: map[string]string{},
	}
	b.report = append(b.report, s)
	return s
}

func (s *series) title() string {
	what, how := "AXFR", "plain"
	if s.changes > 0 {
		what = fmt.Sprintf("IXFR of %d changes", s.changes)
	}
	if s.signed {
		how = "TSIG"
	}
	clients := "1 client"
	if s.clients > 1 {
		clients = fmt.Sprintf("%d clients", s.clients)
	}
	return fmt.Sprintf("%s records, %s, %s, %s, %s", s.zone.label, what, how, clients, s.kind)
}

// load is what one run of the series asks for.
func (b *bench) load(s *series) load {
	r := request{signed: s.signed, verifyAll: b.verifyAll, records: s.zone.axfr()}
	if s.changes > 0 {
		r.ixfr, r.have = true, s.zone.serial-1
	}
	l := load{request: r, clients: s.clients, each: 1, settle: 80 * time.Millisecond}
	switch {
	case s.kind == rateKind:
		l.span = b.span
	case s.kind == deltaPause:
		l.settle = 300 * time.Millisecond
	case s.kind == delta && s.changes == fewChanges:
		l.each = 20 // whatever the size of the zone: the sizes are compared
	case s.zone.records > 500_000:
		l.settle = 300 * time.Millisecond
	case s.kind == warm || s.kind == delta:
		l.each = max(1, min(20, 200_000/s.zone.records/s.clients)) // short ones are repeated
	}
	return l
}

// measure adds one run of server to the series. A failure is noted, and the server asked
// no more.
func (b *bench) measure(ctx context.Context, s *series, server *server) {
	if s.notes[server.name] != "" {
		return
	}
	l := b.load(s)
	if server.name == soaOnly.name {
		l.request.soa, l.request.ixfr, l.request.have = true, false, s.zone.serial
	}
	got, err := l.run(ctx, server)
	switch {
	case err != nil && ctx.Err() != nil:
		s.notes[server.name] = "not finished: the time was up"
	case err != nil:
		s.notes[server.name] = "failed: " + err.Error()
		lab.Progress("%s: %s: %v", s.title(), server.name, err)
	case s.changes > 0 && got.answer.Style == deltaStyle && got.answer.Records < ixfr(s.changes):
		s.notes[server.name] = fmt.Sprintf("failed: %d records, want %d", got.answer.Records, ixfr(s.changes))
	default:
		s.samples[server.name] = append(s.samples[server.name], got)
	}
}

// rounds measures the servers in turn, in another order each round. All have one run;
// more, up to the number of rounds, have those that the time until deadline suffices
// for, the fast ones first: the slow ones would take it from them.
func (b *bench) rounds(ctx context.Context, s *series, servers []*server, deadline time.Time) {
	defer lab.Progress("%s: done", s.title())
	took := make([]time.Duration, len(servers))
	for r := range b.roundCount {
		for i := range servers {
			n := (i + r) % len(servers)
			begin := time.Now()
			if ctx.Err() != nil {
				return
			}
			if r > 0 && begin.Add(takes(took, n, b.roundCount-r)).After(deadline) {
				continue
			}
			b.measure(ctx, s, servers[n])
			took[n] = time.Since(begin)
		}
	}
}

// takes is how long server n takes for one more run and all faster ones for those that
// they have still to come.
func takes(took []time.Duration, n, rounds int) time.Duration {
	sum := took[n]
	for _, other := range took {
		if other < took[n] {
			sum += time.Duration(rounds) * other
		}
	}
	return sum
}

// tooLong notes servers that would take more than the limit of one run, as their run
// with one client tells, and returns the others.
func (b *bench) tooLong(s, single *series, servers []*server) []*server {
	var rest []*server
	for _, server := range servers {
		one := single.samples[server.name]
		if len(one) == 0 {
			s.notes[server.name] = single.notes[server.name]
			continue
		}
		cpu := spreadOf(one, func(x sample) float64 { return max(x.CPU, x.wall()).Seconds() }).median
		if would := cpu * float64(s.clients) / float64(b.cpus); would > b.runLimit.Seconds() {
			s.notes[server.name] = fmt.Sprintf("not run: about %.0f s a round", would)
			continue
		}
		rest = append(rest, server)
	}
	return rest
}
