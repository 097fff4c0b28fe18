// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/interop/peer"
)

// TestMain lets the test binary be the limit too, as the program is.
func TestMain(m *testing.M) {
	if os.Getenv(limitEnv) != "" {
		os.Exit(program())
	}
	os.Exit(m.Run())
}

// TestSideBySide runs the whole plan with a tiny zone: the limit, ours with and without audit, and NSD.
func TestSideBySide(t *testing.T) {
	if os.Getenv("XFRGUARD_SKIP_PEERS") == "1" {
		fmt.Println("bench: not run, because XFRGUARD_SKIP_PEERS=1 says so")
		return
	}
	b, err := parseFlags([]string{
		"-zones", "200", "-only", "limit,ours,ours-noaudit,nsd", "-rounds", "1", "-cold", "1", "-clients", "1,2", "-verify", "all",
		"-rate-clients", "4", "-span", "100ms", "-limit", "30s", "-dir", t.TempDir(), "-out", t.TempDir() + "/tables.md",
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // a cold build of CoreDNS
	defer cancel()
	if err := b.main(ctx); err != nil {
		t.Fatal(err)
	}
	kinds := map[kind]int{}
	for _, s := range b.report {
		kinds[s.kind]++
		for _, soft := range b.software {
			if soft.listens && s.kind != warm && s.kind != rateKind {
				continue
			}
			if note := s.notes[soft.name]; note != "" || len(s.samples[soft.name]) != 1 {
				t.Errorf("%s: %s has %d runs, %q", s.title(), soft.name, len(s.samples[soft.name]), note)
				continue
			}
			sane(t, s, soft.name, s.samples[soft.name][0])
		}
	}
	for _, s := range b.report {
		if floor := s.samples[soaOnly.name]; s.changes > 0 && (len(floor) != 1 || floor[0].answer.Style != singleStyle) {
			t.Errorf("%s: answers to an ordinary query: %+v", s.title(), floor)
		}
	}
	for k, want := range map[kind]int{coldStart: 1, warm: 4, rateKind: 2, coldSerial: 1, delta: 2, deltaPause: 2} {
		if kinds[k] != want {
			t.Errorf("%d tables of %q, want %d", kinds[k], k, want)
		}
	}
	if b.zones[0].serial != 2 || len(b.running) != 0 {
		t.Errorf("serial %d, %d servers still running", b.zones[0].serial, len(b.running))
	}
	tables(t, b.out)
}

// sane checks one run against what the zone and the request must give.
func sane(t *testing.T, s *series, name string, x sample) {
	t.Helper()
	a, records := x.answer, s.zone.axfr()
	if a.Style == deltaStyle {
		records = ixfr(s.changes)
	}
	// NSD repeats records in deltas, in messages of their own form.
	if a.Records < records || a.Style != deltaStyle && a.Records != records || a.Serial != s.zone.serial {
		t.Errorf("%s: %s sent %d records of serial %d, want %d of %d", s.title(), name, a.Records, a.Serial, records, s.zone.serial)
	}
	if perRecord := float64(a.Bytes) / float64(a.Records); perRecord < 15 || perRecord > 100 || a.Messages < 1 || a.Largest < a.Records*15/a.Messages {
		t.Errorf("%s: %s sent %d octets in %d messages, the largest of %d", s.title(), name, a.Bytes, a.Messages, a.Largest)
	}
	if x.Elapsed <= 0 || x.First <= 0 || x.First > x.Elapsed || x.CPU <= 0 || x.CPU > 10*x.Elapsed+time.Second || x.Peak < 1024 {
		t.Errorf("%s: %s: %+v", s.title(), name, x)
	}
	if s.kind == rateKind && x.Transfers < 4 {
		t.Errorf("%s: %s made %d transfers", s.title(), name, x.Transfers)
	}
}

// tables checks that each table of the file has a row for ours, and that all of its rows
// have as many cells as its head.
func tables(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(b), "\n#### ")
	if len(parts) != 1+2+12+1 { // goals, summary, the series above, memory
		t.Errorf("%d tables:\n%s", len(parts)-1, b)
	}
	for _, part := range parts[1:] {
		cells, rows := 0, 0
		for line := range strings.Lines(part) {
			if !strings.HasPrefix(line, "|") {
				continue
			}
			n := strings.Count(line, "|")
			if cells == 0 {
				cells = n
			}
			if rows++; n != cells {
				t.Errorf("%d cells, want %d: %s", n, cells, line)
			}
		}
		if rows < 4 || !strings.Contains(part, "ours") && !strings.Contains(part, "Goals") && !strings.HasPrefix(part, "Goals") {
			t.Errorf("table without rows for ours:\n%s", part)
		}
	}
}

// TestUnrecorded: the server without audit hands out the zone and records nothing of it;
// the other one does.
func TestUnrecorded(t *testing.T) {
	b, err := parseFlags([]string{"-zones", "200", "-only", "ours,ours-noaudit", "-dir", t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	b.dir = t.TempDir()
	if b.coredns, err = peer.Build(ctx, b.dir); err != nil {
		t.Fatal(err)
	}
	if b.unrecorded, err = buildUnrecorded(ctx, b.dir); err != nil {
		t.Fatal(err)
	}
	z := b.zones[0]
	if err := z.write(b.zonePath(z)); err != nil {
		t.Fatal(err)
	}
	for _, soft := range b.software {
		s, err := b.start(ctx, soft, z)
		if err != nil {
			t.Fatal(err)
		}
		_, err = fetch(ctx, request{addr: s.addr(), signed: true, records: z.axfr()})
		log, readErr := os.ReadFile(s.path("audit.log"))
		if n := strings.Count(string(log), "zone-transfer-decision"); err != nil || readErr != nil || (n == 0) != soft.unrecorded {
			t.Errorf("%s: %d decisions on record, %v, %v", soft.name, n, err, readErr)
		}
		s.stop()
	}
}
