// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package notify

import "slices"

// Forget ends the notices of zones that are gone: none is begun or repeated, and one that
// is under way ends with its answer.
func (s *Sender) Forget(zones ...string) {
	defer s.tell()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lanes {
		for _, zone := range zones {
			if n := l.notices[zone]; n != nil {
				s.forgetLocked(n)
			}
		}
	}
}

func (s *Sender) forgetLocked(n *notice) {
	n.forgotten, n.next = true, nil
	if n.running || s.closed {
		return
	}
	l := n.lane
	if n.timer != nil {
		n.timer.Stop()
	}
	n.waiting = false // its place in the lane's begun is passed over
	l.due = slices.DeleteFunc(l.due, func(other *notice) bool { return other == n })
	delete(l.notices, n.zone)
	s.overLocked(n, reply{answer: answer{outcome: Stopped}}, "", n.tries)
}
