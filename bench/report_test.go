// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"strings"
	"testing"
	"time"
)

const ms = time.Millisecond

func runs(clients int, foreign float64, elapsed ...time.Duration) []sample {
	var list []sample
	for _, e := range elapsed {
		list = append(list, sample{
			Transfers: clients, Clients: clients, Elapsed: e, CPU: e / 2, Foreign: foreign,
			answer: answer{Bytes: 1000, Messages: 2, Records: 101, Style: fullStyle},
		})
	}
	return list
}

func testBench(t *testing.T, args ...string) *bench {
	t.Helper()
	b, err := parseFlags(append([]string{"-zones", "100"}, args...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestTable: ratios are to the fastest of the others, neither the limit nor ours; the
// fastest comes first; what failed is said.
func TestTable(t *testing.T) {
	b := testBench(t)
	s := b.newSeries(b.zones[0], warm, true, 1, 0)
	s.samples = map[string][]sample{
		"limit": runs(1, 0, 1*ms), "ours": runs(1, 0, 2*ms, 4*ms, 3*ms), "knotd": runs(1, 0, 20*ms), "nsd": runs(1, 0, 10*ms, 12*ms),
	}
	s.notes["named"] = "failed: the server says REFUSED"
	text := b.markdown()
	for _, want := range []string{
		"#### 100 records, AXFR, TSIG, 1 client, warm",
		"| limit | 1 | 1.00 (1.00–1.00) | 0.09 |",
		"| ours | 3 | 3.00 (2.00–4.00) | 0.27 | 34 | 1.50 (1.00–2.00) | 0.27 |",
		"| nsd | 2 | 11.0 (10.0–12.0) | 1.00 |",
		"| knotd | 1 | 20.0 (20.0–20.0) | 1.82 |",
		"named: failed: the server says REFUSED.",
		"| 100 records, TSIG, warm, 1 at once: time / limit | at most 1.50 | 3.00 | 2.00 | no |",
		"| 100 records, TSIG, warm, 1 at once: time / fastest peer | at most 0.30 | 0.27 | 0.20 | yes |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	if strings.Index(text, "| ours | 3") > strings.Index(text, "| nsd | 2") {
		t.Error("the fastest is not first")
	}
}

// TestQuiet: disturbed runs are dropped only if three quiet ones remain.
func TestQuiet(t *testing.T) {
	mixed := append(runs(1, 0.1, 1*ms, 2*ms, 3*ms), runs(1, 0.5, 90*ms, 99*ms)...)
	if got := quiet(mixed); len(got) != 3 || got[2].Elapsed != 3*ms {
		t.Errorf("%d of 5 runs count, want the 3 quiet ones", len(got))
	}
	if got := quiet(mixed[1:]); len(got) != 4 {
		t.Errorf("%d of 4 runs count, want all, for only 2 are quiet", len(got))
	}
	if got := median([]float64{4, 1, 3, 2}); got != 2.5 {
		t.Errorf("median %v, want 2.5", got)
	}
	if s := runs(4, 0, 8*ms)[0]; s.wall() != 8*ms || s.rate() != 500 {
		t.Errorf("4 clients at once in 8 ms: %v for each, %v a second", s.wall(), s.rate())
	}
}

// TestTooLong: a run that would take longer than the limit is left out and said so.
func TestTooLong(t *testing.T) {
	b := testBench(t, "-run-limit", "10s")
	b.cpus = 2
	single := b.newSeries(b.zones[0], warm, true, 1, 0)
	single.samples = map[string][]sample{"nsd": runs(1, 0, time.Second), "pdns_server": runs(1, 0, 5*time.Second)}
	s := b.newSeries(b.zones[0], warm, true, 16, 0)
	got := b.tooLong(s, single, []*server{{software: nsd}, {software: pdns}})
	if len(got) != 1 || got[0].name != "nsd" || s.notes["pdns_server"] != "not run: about 40 s a round" {
		t.Errorf("%d servers stay, notes %v", len(got), s.notes)
	}
}

// TestTakes: the slow wait until the fast have had their rounds.
func TestTakes(t *testing.T) {
	took := []time.Duration{3 * ms, 100 * ms, 10 * ms}
	for n, want := range []time.Duration{3 * ms, (100 + 4*13) * ms, (10 + 4*3) * ms} {
		if got := takes(took, n, 4); got != want {
			t.Errorf("server %d needs %v, want %v", n, got, want)
		}
	}
}

// TestBudget: what one part saves the later ones may have, and none gets more than is left.
func TestBudget(t *testing.T) {
	b := budget{end: time.Now().Add(100 * time.Second), weight: 4}
	for i, want := range []time.Duration{25 * time.Second, 50 * time.Second, 100 * time.Second} {
		got := time.Until(b.take([]float64{1, 1.5, 1.5}[i]))
		if d := (got - want).Abs(); d > time.Second {
			t.Errorf("part %d gets %v, want %v", i, got, want)
		}
	}
}

func TestFlags(t *testing.T) {
	for _, bad := range [][]string{
		{"-zones", "1"}, {"-only", "bind"}, {"-clients", "0"}, {"-clients", "1;4"}, {"-verify", "none"}, {"-rate-clients", "0"}, {"extra"},
	} {
		if _, err := parseFlags(bad); err == nil {
			t.Errorf("%v is taken", bad)
		}
	}
	b, err := parseFlags([]string{"-only", "nsd,ours", "-quick", "-rounds", "2"})
	if err != nil || len(b.software) != 2 || b.software[1].name != "ours" || b.roundCount != 2 || b.coldCount != 1 || !slices.Equal(b.clients, []int{1, 4}) {
		t.Errorf("%+v, %v", b, err)
	}
}
