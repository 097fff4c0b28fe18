// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"cmp"
	"slices"
)

// replayPast are the signatures that were accepted before the clock was set back. Their
// times say nothing any more, only their order does.
type replayPast struct {
	order []pastMAC // oldest first
	has   map[pastMAC]struct{}
}

// pastMAC is a signature with the canonical name of its key.
type pastMAC struct {
	key string
	mac macID
}

// take adds all of these in the order of their times, and keeps the last ones.
func (p *replayPast) take(keys map[string]*replayKey, keep int) {
	type dated struct {
		pastMAC
		signed int64
	}
	var all []dated
	for name, k := range keys {
		for _, s := range k.seconds {
			for _, id := range s.macs {
				all = append(all, dated{pastMAC{name, id}, s.signed})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b dated) int { return cmp.Compare(a.signed, b.signed) })
	for _, d := range all[max(0, len(all)-keep):] {
		p.order = append(p.order, d.pastMAC)
		p.has[d.pastMAC] = struct{}{}
	}
	p.shrink(keep)
}

// shrink forgets the oldest beyond that number.
func (p *replayPast) shrink(to int) {
	n := min(max(0, len(p.order)-max(0, to)), len(p.order))
	for _, d := range p.order[:n] {
		delete(p.has, d)
	}
	if p.order = p.order[n:]; len(p.order) == 0 {
		p.order = nil
	}
}
