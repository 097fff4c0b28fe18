// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/xfrguard/xfrguard/interop/lab"
)

// markdown is the whole report.
func (b *bench) markdown() string {
	var w strings.Builder
	fmt.Fprintf(&w, "%s; %s to measure. Each n is the runs that count.\n", lab.Machine(), time.Since(b.begun).Round(time.Second))
	b.summary(&w)
	b.goals(&w)
	for _, s := range b.report {
		switch {
		case len(s.samples)+len(s.notes) == 0:
			continue
		case s.kind == rateKind:
			b.rateTable(&w, s)
		case s.changes > 0:
			b.deltaTable(&w, s)
		default:
			b.transferTable(&w, s)
		}
	}
	b.memoryTable(&w)
	return w.String()
}

// row is one server's line in a table.
type row struct {
	software
	samples   []sample // that count
	wall, cpu spread   // ms
}

// rows returns the servers that have samples, the fastest first.
func (b *bench) rows(s *series) []row {
	var rows []row
	for _, soft := range append(slices.Clone(b.software), soaOnly) {
		samples := s.samples[soft.name]
		if len(samples) == 0 {
			continue
		}
		samples = quiet(samples)
		rows = append(rows, row{
			software: soft, samples: samples,
			wall: spreadOf(samples, func(x sample) float64 { return millis(x.wall()) }),
			cpu:  spreadOf(samples, func(x sample) float64 { return millis(x.CPU) }),
		})
	}
	slices.SortStableFunc(rows, func(a, b row) int { return cmp.Compare(a.wall.median, b.wall.median) })
	return rows
}

// best is the smallest value among the peers, NaN without peers.
func best(rows []row, of func(row) float64) float64 {
	least := math.NaN()
	for _, r := range rows {
		if v := of(r); r.peer && !(v >= least) {
			least = v
		}
	}
	return least
}

func wallOf(r row) float64  { return r.wall.median }
func cpuOf(r row) float64   { return r.cpu.median }
func bytesOf(r row) float64 { return float64(r.last().Bytes) }
func rateOf(r row) float64  { return spreadOf(r.samples, sample.rate).median }

// last is the answer that sizes are taken from.
func (r row) last() answer { return r.samples[len(r.samples)-1].answer }

func (r row) first() float64 {
	return spreadOf(r.samples, func(x sample) float64 { return millis(x.First) }).median
}

func (r row) client() float64 {
	return spreadOf(r.samples, func(x sample) float64 { return millis(x.Client) }).median
}

func (r row) peak() float64 {
	return spreadOf(r.samples, func(x sample) float64 { return float64(x.Peak) / 1024 }).high
}

func (b *bench) transferTable(w *strings.Builder, s *series) {
	rows := b.rows(s)
	fmt.Fprintf(w, "\n#### %s\n\n", s.title())
	header(w, "server", "n", "wall ms (min–max)", "× peer", "krec/s", "CPU ms (min–max)", "× peer", "first ms", "MB wire", "msgs", "max msg", "peak MiB", "client CPU ms")
	for _, r := range rows {
		a := r.last()
		line(w, r.name, len(r.samples), r.wall, ratio(r.wall.median/best(rows, wallOf)),
			fmt.Sprintf("%.0f", float64(s.zone.axfr()*s.clients)/r.wall.median), r.cpu, ratio(r.cpu.median/best(rows, cpuOf)),
			figure(r.first()), fmt.Sprintf("%.3f", float64(a.Bytes)/1e6), a.Messages, a.Largest, fmt.Sprintf("%.0f", r.peak()), figure(r.client()))
	}
	b.notes(w, s)
}

func (b *bench) rateTable(w *strings.Builder, s *series) {
	rows := b.rows(s)
	slices.SortStableFunc(rows, func(a, b row) int { return cmp.Compare(rateOf(b), rateOf(a)) })
	slowest := best(rows, func(r row) float64 { return -rateOf(r) })
	fmt.Fprintf(w, "\n#### %s\n\n", s.title())
	header(w, "server", "n", "transfers/s (min–max)", "× peer", "CPU ms (min–max)", "× peer", "bytes", "msgs", "peak MiB", "client CPU ms")
	for _, r := range rows {
		rate := spreadOf(r.samples, sample.rate)
		line(w, r.name, len(r.samples), fmt.Sprintf("%.0f (%.0f–%.0f)", rate.median, rate.low, rate.high), ratio(-rate.median/slowest),
			r.cpu, ratio(r.cpu.median/best(rows, cpuOf)), r.last().Bytes, r.last().Messages, fmt.Sprintf("%.0f", r.peak()), figure(r.client()))
	}
	b.notes(w, s)
}

func (b *bench) deltaTable(w *strings.Builder, s *series) {
	rows := b.rows(s)
	fmt.Fprintf(w, "\n#### %s\n\n", s.title())
	header(w, "server", "n", "wall ms (min–max)", "× peer", "CPU ms (min–max)", "× peer", "bytes", "msgs", "records", "answer")
	for _, r := range rows {
		a := r.last()
		line(w, r.name, len(r.samples), r.wall, ratio(r.wall.median/best(rows, wallOf)),
			r.cpu, ratio(r.cpu.median/best(rows, cpuOf)), a.Bytes, a.Messages, a.Records, string(a.Style))
	}
	b.notes(w, s)
}

// notes says what is not in the table, and why.
func (b *bench) notes(w *strings.Builder, s *series) {
	var lines, disturbed []string
	for _, soft := range b.software {
		if note := s.notes[soft.name]; note != "" {
			lines = append(lines, soft.name+": "+strings.ReplaceAll(note, "\n", " "))
		}
		noisy := 0
		for _, x := range s.samples[soft.name] {
			if x.Foreign > quietShare {
				noisy++
			}
		}
		if n := len(s.samples[soft.name]); noisy > 0 && n-noisy < enough { // all count
			disturbed = append(disturbed, fmt.Sprintf("%s %d of %d", soft.name, noisy, n))
		}
	}
	if len(disturbed) > 0 {
		lines = append(lines, "disturbed runs, which count: "+strings.Join(disturbed, ", "))
	}
	if len(lines) > 0 {
		fmt.Fprintf(w, "\n%s.\n", strings.Join(lines, "; "))
	}
}

func (b *bench) memoryTable(w *strings.Builder) {
	if len(b.memories) == 0 {
		return
	}
	w.WriteString("\n#### Memory, MiB\n\n")
	header(w, "zone", "server", "peak while loading", "after it", "peak with transfers", "peak with new versions")
	mib := func(kib int64) string {
		if kib == 0 {
			return "–"
		}
		return fmt.Sprintf("%.0f", float64(kib)/1024)
	}
	for _, m := range b.memories {
		line(w, m.zone, m.server, mib(m.load), mib(m.idle), mib(m.transfers), mib(m.versions))
	}
}

func header(w *strings.Builder, columns ...string) {
	fmt.Fprintf(w, "| %s |\n|%s\n", strings.Join(columns, " | "), strings.Repeat(" --- |", len(columns)))
}

func line(w *strings.Builder, cells ...any) {
	for _, c := range cells {
		fmt.Fprintf(w, "| %v ", c)
	}
	w.WriteString("|\n")
}

// String shows a spread as tables do.
func (s spread) String() string {
	return fmt.Sprintf("%s (%s–%s)", figure(s.median), figure(s.low), figure(s.high))
}

// figure shows three digits or so.
func figure(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func ratio(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "–"
	}
	return fmt.Sprintf("%.2f", v)
}
