// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
)

// summary prints one line for each server: what counts most of all tables, with TSIG.
func (b *bench) summary(w *strings.Builder) {
	largest, smallest := b.zones[len(b.zones)-1], b.zones[0]
	type column struct {
		head string
		s    *series
		of   func(row) string
	}
	wall := func(r row) string { return figure(r.wall.median) }
	cpu := func(r row) string { return figure(r.cpu.median) }
	one := b.find(largest, warm, b.clients[0], 0)
	var most *series
	if n := len(b.clients); n > 1 {
		most = b.find(largest, warm, b.clients[n-1], 0)
	}
	columns := []column{
		{"warm ms", one, wall},
		{"CPU ms", one, cpu},
		{"MB", one, func(r row) string { return fmt.Sprintf("%.2f", bytesOf(r)/1e6) }},
		{fmt.Sprintf("CPU ms, %d at once", b.clients[len(b.clients)-1]), most, cpu},
		{"after start ms", b.find(largest, coldStart, 1, 0), wall},
		{"new serial ms", b.find(largest, coldSerial, 1, 0), wall},
		{fmt.Sprintf("IXFR of %d ms", fewChanges), b.find(largest, delta, 1, fewChanges), wall},
		{fmt.Sprintf("IXFR of %d ms", manyChanges), b.find(largest, delta, 1, manyChanges), wall},
		{
			fmt.Sprintf("%s: transfers/s, %d at once", smallest.label, b.rateClients), b.find(smallest, rateKind, b.rateClients, 0),
			func(r row) string { return fmt.Sprintf("%.0f", rateOf(r)) },
		},
	}
	cells := map[string][]any{}
	heads := []string{"server"}
	for _, c := range columns {
		if c.s == nil {
			continue
		}
		heads = append(heads, c.head)
		values := map[string]string{}
		for _, r := range b.rows(c.s) {
			values[r.name] = c.of(r)
			if r.last().Style == fullStyle && c.s.changes > 0 {
				values[r.name] += " (full zone)"
			}
		}
		for _, soft := range b.software {
			value, ok := values[soft.name]
			if !ok {
				value = "–"
			}
			cells[soft.name] = append(cells[soft.name], value)
		}
	}
	if len(heads) == 1 {
		return
	}
	fmt.Fprintf(w, "\n#### Summary: %s records, TSIG, medians\n\n", largest.label)
	header(w, heads...)
	for _, soft := range b.software {
		line(w, append([]any{soft.name}, cells[soft.name]...)...)
	}
}
