// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math"
	"strings"
)

// goals prints how far ours is from what it is meant to be.
func (b *bench) goals(w *strings.Builder) {
	var lines []string
	add := func(what string, got float64, most bool, bound float64) {
		if math.IsNaN(got) {
			return
		}
		sign, met := "at most", got <= bound
		if !most {
			sign, met = "at least", got >= bound
		}
		lines = append(lines, fmt.Sprintf("| %s | %s %.2f | %.2f | %s |", what, sign, bound, got, map[bool]string{true: "yes", false: "no"}[met]))
	}
	largest, smallest := b.zones[len(b.zones)-1], b.zones[0]
	for _, clients := range b.clients {
		s := b.find(largest, warm, clients, 0)
		name := fmt.Sprintf("%s records, TSIG, warm, %d at once: ", largest.label, clients)
		if clients == 1 {
			add(name+"time / limit", b.compare(s, ours, wallOf, limit), true, 1.5)
			add(name+"time / fastest peer", b.compare(s, ours, wallOf), true, 0.3)
			add(name+"bytes / smallest peer", b.compare(s, ours, bytesOf), true, 1.02)
		}
		add(name+"CPU / limit", b.compare(s, ours, cpuOf, limit), true, 1.5)
		add(name+"CPU / least peer", b.compare(s, ours, cpuOf), true, 0.3)
	}
	for _, k := range []kind{coldStart, coldSerial} {
		add(fmt.Sprintf("%s records, %s: time / stock", largest.label, k), b.compare(b.find(largest, k, 1, 0), ours, wallOf, stock), true, 1)
	}
	s := b.find(smallest, rateKind, b.rateClients, 0)
	name := fmt.Sprintf("%s records, TSIG, %d at once: transfers a second / ", smallest.label, b.rateClients)
	add(name+"NSD's, without audit", b.compare(s, oursNoAudit, rateOf, nsd), false, 1)
	add(name+"NSD's, with it", b.compare(s, ours, rateOf, nsd), false, 0.8)
	for _, changes := range []int{fewChanges, manyChanges} {
		s := b.find(largest, delta, 1, changes)
		add(fmt.Sprintf("%s records, IXFR of %d changes: time / fastest peer", largest.label, changes), b.compare(s, ours, wallOf), true, 1)
	}
	if len(lines) > 0 {
		fmt.Fprintf(w, "\n#### Goals\n\n| what | goal | measured | met |\n| --- | --- | --- | --- |\n%s\n", strings.Join(lines, "\n"))
	}
}

// find returns the series with TSIG, nil if it was not measured.
func (b *bench) find(z *zone, k kind, clients, changes int) *series {
	for _, s := range b.report {
		if s.zone.label == z.label && s.kind == k && s.clients == clients && s.changes == changes && s.signed {
			return s
		}
	}
	return nil
}

// compare divides soft's value by that of another, or by the least of the peers; NaN if
// one of them is missing.
func (b *bench) compare(s *series, soft software, of func(row) float64, other ...software) float64 {
	if s == nil {
		return math.NaN()
	}
	rows := b.rows(s)
	value := func(name string) float64 {
		for _, r := range rows {
			if r.name == name {
				return of(r)
			}
		}
		return math.NaN()
	}
	if len(other) == 0 {
		return value(soft.name) / best(rows, of)
	}
	return value(soft.name) / value(other[0].name)
}
