// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"slices"
	"sync"
)

// maxOld is how many contents of a zone that the backend itself has let go of may be kept
// in its memory by transfers that stream them. One takes ten times what a version takes,
// so a client that is further behind is too slow.
const maxOld = 1

// streams are the versions that read contents of a zone which the backend has in memory,
// oldest first: as long as one streams for somebody, the backend's copy cannot go.
type streams struct {
	mu  sync.Mutex
	all []*Version
}

// enter takes a version of the current content, or one that goes on with an older one for
// a client that cannot keep up, and ends those that are too far behind.
func (s *streams) enter(v *Version) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(slices.DeleteFunc(s.all, func(other *Version) bool { return !other.streams() }), v)
	slices.SortStableFunc(s.all, func(a, b *Version) int { return a.asked.Compare(b.asked) })
	var contents []origin // newest first
	for _, other := range slices.Backward(s.all) {
		if !slices.Contains(contents, other.origin) {
			contents = append(contents, other.origin)
		}
	}
	if len(contents) <= 1+maxOld {
		return
	}
	contents = contents[:1+maxOld]
	for _, other := range s.all {
		if !slices.Contains(contents, other.origin) {
			other.abandon()
		}
	}
}

// streams reports whether the version still holds what it is built from.
func (v *Version) streams() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return !v.over || (v.passing && v.reopen != nil && v.clients > 0)
}

// abandon ends the transfers of a version that streams as soon as it would wait for one
// of them: what is small is built before. One that is kept needs nothing of the backend
// any more.
func (v *Version) abandon() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.passing {
		return
	}
	v.reopen = nil
	v.abandoned = !v.done // else its readers have what is left in memory
	v.changeLocked()
}

// loseLocked takes their places from all clients.
func (v *Version) loseLocked() {
	for r := range v.listeners {
		if !r.quiet {
			r.lost = true
			delete(v.listeners, r)
		}
	}
	v.changeLocked()
}
