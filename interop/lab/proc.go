// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of times in /proc/*/stat: USER_HZ, 100 on every Linux.
const tick = 10 * time.Millisecond

// Group is the processes that one server consists of: those of its process group, as
// some fork, and their parents end.
type Group int

// pids returns the processes that are there now.
func (g Group) pids() ([]string, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var pids []string
	for _, dir := range dirs {
		fields, err := statFields(dir + "/stat")
		if err != nil {
			continue // ended meanwhile
		}
		if fields[2] == strconv.Itoa(int(g)) {
			pids = append(pids, dir)
		}
	}
	if len(pids) == 0 {
		return nil, fmt.Errorf("no process of group %d in /proc", int(g))
	}
	return pids, nil
}

// statFields returns what follows the program's name: state, parent, group, …
func statFields(path string) ([]string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 13 {
		return nil, errors.New(path + " is too short")
	}
	return fields, nil
}

// CPUTime is what the threads of a group have used so far.
type CPUTime struct {
	threads map[string]time.Duration // of those alive, exact
	ticks   time.Duration            // of all, in ticks
}

// CPU reads /proc/*/task/*/schedstat, and the ticks beside it.
func (g Group) CPU() (CPUTime, error) {
	pids, err := g.pids()
	if err != nil {
		return CPUTime{}, err
	}
	t := CPUTime{threads: map[string]time.Duration{}}
	for _, dir := range pids {
		tasks, err := filepath.Glob(dir + "/task/*/schedstat")
		if err != nil {
			return CPUTime{}, err
		}
		for _, task := range tasks {
			if b, err := os.ReadFile(task); err == nil {
				ns, _ := strconv.ParseInt(strings.SplitN(string(b), " ", 2)[0], 10, 64)
				t.threads[task] = time.Duration(ns)
			}
		}
		if fields, err := statFields(dir + "/stat"); err == nil {
			for _, f := range fields[11:13] {
				n, _ := strconv.ParseInt(f, 10, 64)
				t.ticks += time.Duration(n) * tick
			}
		}
	}
	if len(t.threads) == 0 {
		return CPUTime{}, errors.New("no /proc/*/task/*/schedstat: CPU can be measured on Linux only")
	}
	return t, nil
}

// Since is the time used from before to t. The time of threads that have ended is in
// the ticks only, so these count where they say clearly more.
func (t CPUTime) Since(before CPUTime) time.Duration {
	var exact time.Duration
	for task, ns := range t.threads {
		exact += ns - before.threads[task]
	}
	ticks := t.ticks - before.ticks
	if ticks > exact+exact/20+2*tick {
		return ticks
	}
	return exact
}

// Memory is what a group holds, and its high-water mark, in KiB. Pages that processes
// of it share count once for each.
func (g Group) Memory() (rss, peak int64) {
	pids, _ := g.pids()
	for _, dir := range pids {
		b, _ := os.ReadFile(dir + "/status")
		for line := range strings.SplitSeq(string(b), "\n") {
			fields := strings.Fields(line)
			if len(fields) < 2 {
				continue
			}
			n, _ := strconv.ParseInt(fields[1], 10, 64)
			switch fields[0] {
			case "VmRSS:":
				rss += n
			case "VmHWM:":
				peak += n
			}
		}
	}
	return rss, peak
}

// ResetPeak begins a new high-water mark.
func (g Group) ResetPeak() {
	pids, _ := g.pids()
	for _, dir := range pids {
		_ = os.WriteFile(dir+"/clear_refs", []byte("5"), 0) // else the mark is that of the whole life
	}
}

// Busy is what all processes of the machine have used so far.
func Busy() time.Duration {
	b, _ := os.ReadFile("/proc/stat")
	fields := strings.Fields(strings.SplitN(string(b), "\n", 2)[0])
	var total time.Duration
	for i, f := range fields {
		switch i {
		case 1, 2, 3, 6, 7: // user, nice, system, irq, softirq
			n, _ := strconv.ParseInt(f, 10, 64)
			total += time.Duration(n) * tick
		}
	}
	return total
}

// Self is what this process, the client, has used so far.
func Self() time.Duration {
	g, _ := filepath.Glob("/proc/self/task/*/schedstat")
	var total time.Duration
	for _, task := range g {
		b, _ := os.ReadFile(task)
		ns, _ := strconv.ParseInt(strings.SplitN(string(b), " ", 2)[0], 10, 64)
		total += time.Duration(ns)
	}
	return total
}

// Machine describes where the figures come from.
func Machine() string {
	model := "unknown CPU"
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.SplitSeq(string(b), "\n") {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	return fmt.Sprintf("%d × %s, %s", runtime.NumCPU(), model, runtime.Version())
}

// Descriptors is how many files and sockets a group has open.
func (g Group) Descriptors() int {
	pids, _ := g.pids()
	n := 0
	for _, dir := range pids {
		names, _ := os.ReadDir(dir + "/fd")
		n += len(names)
	}
	return n
}
