// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"time"
)

// sample is one measured run: some transfers of one server.
type sample struct {
	Transfers int
	Clients   int
	Elapsed   time.Duration // from the beginning of the first to the end of the last
	First     time.Duration // to the first message, median of the run's transfers
	CPU       time.Duration // of the server for one transfer
	Client    time.Duration // CPU of the client for one transfer
	Peak      int64         // KiB, of the server so far
	Foreign   float64       // share of the machine's CPU that others used
	answer    answer        // the last one, for sizes
}

// wall is the time for one transfer to each client.
func (s sample) wall() time.Duration {
	return s.Elapsed * time.Duration(s.Clients) / time.Duration(s.Transfers)
}

// rate is transfers a second.
func (s sample) rate() float64 { return float64(s.Transfers) / s.Elapsed.Seconds() }

// A run is quiet when others use no more of the machine than this.
const quietShare = 0.35

// enough quiet runs let the others be dropped.
const enough = 3

// quiet returns the quiet samples if there are enough, else all.
func quiet(samples []sample) []sample {
	kept := slices.DeleteFunc(slices.Clone(samples), func(s sample) bool { return s.Foreign > quietShare })
	if len(kept) < enough {
		return samples
	}
	return kept
}

// spread is the middle and the ends of some values.
type spread struct{ median, low, high float64 }

// spreadOf returns the spread of what of takes from each sample.
func spreadOf(samples []sample, of func(sample) float64) spread {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = of(s)
	}
	m := median(values) // sorted now
	return spread{median: m, low: values[0], high: values[len(values)-1]}
}

// median of some values, the mean of the middle two if their number is even; it sorts
// them.
func median[T ~int64 | ~float64](values []T) T {
	n := len(values)
	if n == 0 {
		return 0
	}
	slices.Sort(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
