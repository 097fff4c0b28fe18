// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package verify

import "time"

// maxEnds is how many times are told apart. A zone that has more gets them coarser, by
// powers of two seconds.
const maxEnds = 4096

// ends counts when the signatures of a zone end, so that the first one is known without
// looking at all of them.
type ends struct {
	shift  uint
	counts map[int64]*endCount
}

type endCount struct {
	n     int
	first int64 // the first of them; never later than it is
}

func (e *ends) add(t int64, n int) {
	if e.counts == nil {
		e.counts = make(map[int64]*endCount)
	}
	c := e.counts[t>>e.shift]
	if c == nil {
		c = &endCount{first: t}
		e.counts[t>>e.shift] = c
	}
	if n > 0 {
		c.first = min(c.first, t)
	}
	if c.n += n; c.n <= 0 {
		delete(e.counts, t>>e.shift)
	}
	for len(e.counts) > maxEnds {
		e.coarser()
	}
}

func (e *ends) coarser() {
	e.shift++
	counts := make(map[int64]*endCount, len(e.counts))
	for at, c := range e.counts {
		if other := counts[at>>1]; other != nil {
			other.n += c.n
			other.first = min(other.first, c.first)
			continue
		}
		counts[at>>1] = c
	}
	e.counts = counts
}

func (e *ends) clone() ends {
	out := ends{shift: e.shift, counts: make(map[int64]*endCount, len(e.counts))}
	for at, c := range e.counts {
		again := *c
		out.counts[at] = &again
	}
	return out
}

// first is when the first one ends; zero when there is none. After signatures were taken
// out it may be early, by less than what the times are told apart by.
func (e *ends) first() time.Time {
	first, some := int64(0), false
	for _, c := range e.counts {
		if !some || c.first < first {
			first, some = c.first, true
		}
	}
	if !some {
		return time.Time{}
	}
	return time.Unix(first, 0).UTC()
}
