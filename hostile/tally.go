// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// tally is what became of one client's transfers.
type tally struct {
	mu     sync.Mutex
	took   []time.Duration // of those that succeeded
	failed map[string]int  // by kind

	// excuse reports whether a failure that began then is CoreDNS's own at a reload
	// (docs/COMPATIBILITY.md, quirk 19). Such ones are counted apart.
	excuse  func(begun time.Time, kind string) bool
	excused int
}

func (t *tally) add(took time.Duration, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		t.took = append(t.took, took)
		return
	}
	if t.failed == nil {
		t.failed = map[string]int{}
	}
	t.failed[kindOf(err)]++
}

// addAt is add for one that began then.
func (t *tally) addAt(begun time.Time, err error) {
	t.mu.Lock()
	excused := err != nil && t.excuse != nil && t.excuse(begun, kindOf(err))
	if excused {
		t.excused++
	}
	t.mu.Unlock()
	if !excused {
		t.add(time.Since(begun), err)
	}
}

// tried is how many transfers there were.
func (t *tally) tried() int {
	n := len(t.took)
	for _, c := range t.failed {
		n += c
	}
	return n
}

// quantile is the time that the share q of the successful ones did not exceed.
func (t *tally) quantile(q float64) time.Duration {
	if len(t.took) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(t.took))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func (t *tally) median() time.Duration { return t.quantile(0.5) }

// success as a table has it.
func (t *tally) success() string {
	if t.excused > 0 {
		return fmt.Sprintf("%d of %d (and %d lost at a reload)", len(t.took), t.tried(), t.excused)
	}
	return fmt.Sprintf("%d of %d", len(t.took), t.tried())
}

// failures lists the kinds.
func (t *tally) failures() string {
	var list []string
	for _, k := range slices.Sorted(maps.Keys(t.failed)) {
		list = append(list, fmt.Sprintf("%s %d", k, t.failed[k]))
	}
	return strings.Join(list, ", ")
}

// patience is how long an honest secondary waits for a transfer of 2 MB.
const patience = 12 * time.Second

// poll transfers the zone as id again and again until ctx ends. The last one is not cut short.
func poll(ctx context.Context, s *server, id identity, every time.Duration, t *tally) {
	for ctx.Err() == nil {
		begin := time.Now()
		one, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		err := fetch(one, s, id)
		cancel()
		t.addAt(begin, err)
		pause(ctx, time.Until(begin.Add(every)))
	}
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
