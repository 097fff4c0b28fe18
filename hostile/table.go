// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/xfrguard/xfrguard/interop/lab"
)

// parallel is a group of goroutines.
func parallel() *sync.WaitGroup { return new(sync.WaitGroup) }

func round(d time.Duration) time.Duration {
	switch {
	case d > 10*time.Second:
		return d.Round(time.Second)
	case d > time.Second:
		return d.Round(10 * time.Millisecond)
	}
	return d.Round(100 * time.Microsecond)
}

// brief is a result in a line of the log.
func (r *result) brief() string {
	return fmt.Sprintf("own %s, median %v, p99 %v, idle %v; shared %s, longest %v",
		r.own.success(), round(r.own.median()), round(r.own.quantile(0.99)), round(r.idle.median()), r.shared.success(), round(r.shared.quantile(1)))
}

// row is a result in the table.
func (r *result) row() string {
	quick := func(t *tally, q float64) string {
		if len(t.took) == 0 {
			return "-"
		}
		return round(t.quantile(q)).String()
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %s | %s | %d MB | %.0f %% | %d |\n", r.scenario.name, r.server,
		r.own.success(), quick(&r.idle, 0.5), quick(&r.own, 0.5), quick(&r.own, 0.99),
		r.shared.success(), quick(&r.shared, 1), r.peak/1024, 100*r.cpu, r.fds)
}

func (h *hostile) faults() int {
	n := 0
	for _, r := range h.results {
		n += len(r.faults)
	}
	return n
}

// markdown is the whole report.
func (h *hostile) markdown() string {
	var w strings.Builder
	fmt.Fprintf(&w, "%s\n\n", lab.Machine())
	if h.soak == 0 {
		w.WriteString("| attack | server | own key and address | idle median | median | p99 | the attackers' key | longest | RSS | CPU | files |\n")
		w.WriteString("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
		for _, r := range h.results {
			w.WriteString(r.row())
		}
	}
	for _, n := range h.notes {
		fmt.Fprintf(&w, "\n%s\n", n)
	}
	w.WriteString("\nFaults:\n\n")
	if h.faults() == 0 {
		w.WriteString("* none\n")
	}
	for _, r := range h.results {
		for _, f := range r.faults {
			fmt.Fprintf(&w, "* %s: %s: %s\n", r.scenario.name, r.server, f)
		}
	}
	return w.String()
}

func (h *hostile) note(format string, args ...any) {
	h.notes = append(h.notes, fmt.Sprintf(format, args...))
	lab.Progress(format, args...)
}

func (h *hostile) print() error {
	if h.out == "" {
		_, err := os.Stdout.WriteString(h.markdown())
		return err
	}
	if err := os.WriteFile(h.out, []byte(h.markdown()), 0o644); err != nil {
		return fmt.Errorf("write the table (-out): %w", err)
	}
	return nil
}
