// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"fmt"
	"regexp"
	"strings"
	"time"
)

var errOvertime = errors.New("the time limit is over (-limit)")

// hostile is one run of the program.
type hostile struct {
	only    *regexp.Regexp
	scale   float64
	peers   bool
	soak    time.Duration
	slow    bool
	timing  bool
	limit   time.Duration
	out     string
	parent  string
	servers []software

	dir     string // of this run
	coredns string // binary
	binTool string // cmd/xfrguard, once it is needed
	results []*result
	notes   []string // what was left out, and other lines below the table
}

func parseFlags(args []string) (*hostile, error) {
	f := flag.NewFlagSet("hostile", flag.ContinueOnError)
	h := &hostile{}
	only := f.String("only", "", "scenarios to run, a regular expression of their names (default all; -list shows them)")
	list := f.Bool("list", false, "show the scenarios and end")
	f.Float64Var(&h.scale, "scale", 1, "how long each scenario lasts: 0.5 is half as long, 3 three times")
	f.BoolVar(&h.peers, "peers", false, "beside named, nsd, knotd, pdns_server and stock CoreDNS, where a scenario is not about the guard alone")
	servers := f.String("servers", "", "the servers to attack in place of that, of "+serverNames())
	f.DurationVar(&h.soak, "soak", 0, "in place of the scenarios a mixed load of that length, with the growth of the server (60m)")
	f.BoolVar(&h.slow, "slow", true, "honest clients of 8, 20 and 32 kB/s beside the scenarios; takes nine minutes")
	f.BoolVar(&h.timing, "timing", true, "count a median or a p99 that is too long as a fault; not so on a machine that is busy otherwise")
	f.DurationVar(&h.limit, "limit", 0, "time for everything (default 20m at scale 1, 60m with -peers, the soak's length and 5m)")
	f.StringVar(&h.out, "out", "", "file for the table (default standard output)")
	f.StringVar(&h.parent, "dir", "", "directory for zones, logs and audit files (default the system's temporary one)")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("%q: flags only", f.Args())
	}
	if h.scale <= 0 || h.scale > 100 {
		return nil, fmt.Errorf("-scale %v: want more than 0, at most 100", h.scale)
	}
	var err error
	if h.only, err = regexp.Compile(*only); err != nil {
		return nil, fmt.Errorf("-only: %w", err)
	}
	if *list {
		var names []string
		for _, s := range scenarios() {
			names = append(names, s.name)
		}
		return nil, errors.New("the scenarios:\n" + strings.Join(names, "\n"))
	}
	if h.servers, err = chooseServers(*servers, h.peers); err != nil {
		return nil, err
	}
	if h.limit == 0 {
		h.limit = h.defaultLimit()
	}
	return h, nil
}

func (h *hostile) defaultLimit() time.Duration {
	switch {
	case h.soak > 0:
		return h.soak + 5*time.Minute
	case h.peers:
		return h.scaled(60 * time.Minute)
	}
	return max(h.scaled(20*time.Minute), 12*time.Minute)
}

// scaled is a time as -scale has it.
func (h *hostile) scaled(d time.Duration) time.Duration {
	return time.Duration(float64(d) * h.scale)
}

// chooseServers reads -servers.
func chooseServers(list string, peers bool) ([]software, error) {
	all := allServers()
	switch {
	case list == "" && peers:
		return all, nil
	case list == "":
		return all[:1], nil
	}
	var chosen []software
	for name := range strings.SplitSeq(list, ",") {
		found := false
		for _, s := range all {
			if s.name == name {
				chosen, found = append(chosen, s), true
			}
		}
		if !found {
			return nil, fmt.Errorf("-servers %q: want some of %s", name, serverNames())
		}
	}
	return chosen, nil
}

func serverNames() string {
	var names []string
	for _, s := range allServers() {
		names = append(names, s.name)
	}
	return strings.Join(names, ", ")
}
