// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math"
	"strings"
)

// measureOf is a figure of a row: of the median run, and of the best one, which says more
// where others disturb the machine.
type measureOf struct{ median, best func(row) float64 }

var (
	theWall  = measureOf{wallOf, func(r row) float64 { return r.wall.low }}
	theCPU   = measureOf{cpuOf, func(r row) float64 { return r.cpu.low }}
	theBytes = measureOf{bytesOf, bytesOf}
	theRate  = measureOf{rateOf, func(r row) float64 { return spreadOf(r.samples, sample.rate).high }}
)

// goal is what a ratio of two servers should be.
type goal struct {
	what  string
	s     *series
	of    measureOf
	soft  software
	other []software // divide by that one; none: by the least of the peers
	most  float64    // the ratio should be at most that, or
	least float64    // at least that; none of both: to know it
}

// goalList is what ours is meant to reach.
func (b *bench) goalList() []goal {
	largest, smallest := b.zones[len(b.zones)-1], b.zones[0]
	theLimit, stockOnly, nsdOnly := []software{limit}, []software{stock}, []software{nsd}
	var list []goal
	for _, clients := range b.clients {
		s := b.find(largest, warm, clients, 0)
		name := fmt.Sprintf("%s records, TSIG, warm, %d at once: ", largest.label, clients)
		if clients == 1 {
			list = append(list,
				goal{what: name + "time / limit", s: s, of: theWall, soft: ours, other: theLimit, most: 1.5},
				goal{what: name + "time / fastest peer", s: s, of: theWall, soft: ours, most: 0.3},
				goal{what: name + "bytes / smallest peer", s: s, of: theBytes, soft: ours, most: 1.02})
		}
		list = append(list,
			goal{what: name + "CPU / limit", s: s, of: theCPU, soft: ours, other: theLimit, most: 1.5},
			goal{what: name + "CPU / thriftiest peer", s: s, of: theCPU, soft: ours, most: 0.3})
	}
	for _, k := range []kind{coldStart, coldSerial} {
		list = append(list, goal{what: fmt.Sprintf("%s records, %s: time / stock", largest.label, k), s: b.find(largest, k, 1, 0), of: theWall, soft: ours, other: stockOnly, most: 1})
	}
	s := b.find(smallest, rateKind, b.rateClients, 0)
	name := fmt.Sprintf("%s records, TSIG, %d at once: transfers a second / NSD's, ", smallest.label, b.rateClients)
	list = append(list,
		goal{what: name + "without audit", s: s, of: theRate, soft: oursNoAudit, other: nsdOnly, least: 1},
		goal{what: name + "with it", s: s, of: theRate, soft: ours, other: nsdOnly, least: 0.8})
	for _, k := range []kind{delta, deltaPause} {
		s := b.find(largest, k, 1, fewChanges)
		name := fmt.Sprintf("%s records, IXFR of %d changes, %s: ", largest.label, fewChanges, k)
		list = append(list,
			goal{what: name + "time / fastest peer, without audit", s: s, of: theWall, soft: oursNoAudit, most: 1},
			goal{what: name + "time / fastest peer, with it", s: s, of: theWall, soft: ours, most: 1},
			goal{what: name + "CoreDNS's answer to a SOA query / fastest peer, which no plugin can be below", s: s, of: theWall, soft: soaOnly})
	}
	return append(list, goal{
		what: fmt.Sprintf("%s records, IXFR of %d changes: time / fastest peer", largest.label, manyChanges),
		s:    b.find(largest, delta, 1, manyChanges), of: theWall, soft: ours, most: 1,
	})
}

// goals prints how far ours is from them.
func (b *bench) goals(w *strings.Builder) {
	begun := false
	for _, g := range b.goalList() {
		got := b.compare(g.s, g.soft, g.of.median, g.other...)
		if math.IsNaN(got) {
			continue
		}
		if !begun {
			w.WriteString("\n#### Goals: ratios of the median runs, and of the best ones\n\n")
			header(w, "what", "goal", "medians", "best", "met by medians")
			begun = true
		}
		bound, met := fmt.Sprintf("at most %.2f", g.most), got <= g.most
		if g.least > 0 {
			bound, met = fmt.Sprintf("at least %.2f", g.least), got >= g.least
		}
		verdict := "no"
		if met {
			verdict = "yes"
		}
		if g.most == 0 && g.least == 0 {
			bound, verdict = "–", "–"
		}
		if g.s.changes > 0 && g.s.samples[g.soft.name][0].answer.Style == fullStyle {
			verdict = "no, the whole zone was sent"
		}
		line(w, g.what, bound, ratio(got), ratio(b.compare(g.s, g.soft, g.of.best, g.other...)), verdict)
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
