// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// all contestants, in the order of the tables.
var all = []software{limit, ours, oursNoAudit, stock, named, nsd, knotd, pdns}

// bench is one run of the program.
type bench struct {
	zones       []*zone
	software    []software
	clients     []int
	roundCount  int
	coldCount   int
	rateClients int
	span        time.Duration // of a run that counts a rate
	limit       time.Duration
	runLimit    time.Duration
	verifyAll   bool
	profile     string // directory
	out, parent string
	cpus        int

	dir        string // of this run
	coredns    string // binary
	unrecorded string // binary that records nothing
	begun      time.Time
	running    []*server
	report     []*series
	memories   []*memory
	failures   []error
}

// memory is what one server held with one zone, in KiB.
type memory struct {
	zone, server string
	load, idle   int64 // peak while loading; after it
	transfers    int64 // peak while serving one version
	versions     int64 // peak while taking new ones
}

func (b *bench) memory(z *zone, server string) *memory {
	for _, m := range b.memories {
		if m.zone == z.label && m.server == server {
			return m
		}
	}
	m := &memory{zone: z.label, server: server}
	b.memories = append(b.memories, m)
	return m
}

func parseFlags(args []string) (*bench, error) {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	quick := f.Bool("quick", false, "within two minutes: smaller defaults for everything below")
	zones := f.String("zones", "", "zones by their records (default 1k,100k,1m; quick 1k,100k)")
	only := f.String("only", "", "servers to measure, of "+names(all)+" (default all)")
	clients := f.String("clients", "", "clients at a time (default 1,4,16; quick 1,4)")
	b := &bench{cpus: runtime.NumCPU()}
	f.IntVar(&b.roundCount, "rounds", 0, "runs of each server in each table (default 5; quick 3)")
	f.IntVar(&b.coldCount, "cold", 0, "starts, and new versions, of each server (default 3; quick 1)")
	f.IntVar(&b.rateClients, "rate-clients", 64, "clients that count transfers a second with zones of up to 10k records")
	f.DurationVar(&b.span, "span", 0, "how long they count in one run (default 1s; quick 500ms)")
	f.DurationVar(&b.limit, "limit", 0, "time for everything; fewer rounds when it gets short (default 16m; quick 100s)")
	f.DurationVar(&b.runLimit, "run-limit", 20*time.Second, "leave out runs of several clients that would take longer")
	verify := f.String("verify", "last", "TSIG that the client verifies: of the last message, which proves the one before, or of all")
	f.StringVar(&b.profile, "profile", "", "directory for CPU profiles of ours")
	f.StringVar(&b.out, "out", "", "file for the tables (default standard output)")
	f.StringVar(&b.parent, "dir", "", "directory for zones, logs and audit files (default the system's temporary one)")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	choose := func(p *string, full, short string) {
		if *p == "" {
			*p = full
			if *quick {
				*p = short
			}
		}
	}
	choose(zones, "1k,100k,1m", "1k,100k")
	choose(clients, "1,4,16", "1,4")
	b.defaults(*quick)
	b.verifyAll = *verify == "all"
	if *verify != "all" && *verify != "last" {
		return nil, fmt.Errorf("-verify %q: want last or all", *verify)
	}
	return b, b.parse(*zones, *only, *clients, f.Args())
}

// defaults fills in the numbers that were not given.
func (b *bench) defaults(quick bool) {
	rounds, cold, span, limit := 5, 3, time.Second, 16*time.Minute
	if quick {
		rounds, cold, span, limit = 3, 1, 500*time.Millisecond, 100*time.Second
	}
	if b.roundCount <= 0 {
		b.roundCount = rounds
	}
	if b.coldCount <= 0 {
		b.coldCount = cold
	}
	if b.span <= 0 {
		b.span = span
	}
	if b.limit <= 0 {
		b.limit = limit
	}
}

func (b *bench) parse(zones, only, clients string, rest []string) (err error) {
	if len(rest) > 0 {
		return fmt.Errorf("%q: flags only", rest[0])
	}
	if b.zones, err = parseZones(zones); err != nil {
		return err
	}
	for c := range strings.SplitSeq(clients, ",") {
		n, err := strconv.Atoi(c)
		if err != nil || n < 1 || n > 500 {
			return fmt.Errorf("-clients %q: want numbers from 1 to 500", c)
		}
		b.clients = append(b.clients, n)
	}
	if b.rateClients < 1 || b.rateClients > 500 {
		return fmt.Errorf("-rate-clients %d: want 1 to 500", b.rateClients)
	}
	if b.software = all; only == "" {
		return nil
	}
	b.software = nil
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(all, func(s software) bool { return s.name == name })
		if i < 0 {
			return fmt.Errorf("-only %q: want one of %s", name, names(all))
		}
		b.software = append(b.software, all[i])
	}
	return nil
}

func names(list []software) string {
	var s []string
	for _, soft := range list {
		s = append(s, soft.name)
	}
	return strings.Join(s, ", ")
}
