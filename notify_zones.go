// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"maps"

	"github.com/xfrguard/xfrguard/internal/notify"
)

// targetsOf are those to whom a zone is told.
func (n *notifier) targetsOf(apex string) []*notify.Target {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.targets[apex]
}

// appear has a zone that has come be told to whom the pattern that stands for it names, and
// reports whether there is anybody.
func (n *notifier) appear(apex string) bool {
	d := n.guard.covering(apex)
	if d == nil {
		return false
	}
	targets := n.guard.targetsOf(d, apex)
	n.mu.Lock()
	defer n.mu.Unlock()
	shareWith(n.servers, targets)
	if len(targets) > 0 {
		n.targets[apex] = targets
		targetSeries.enter(n, targets)
	}
	return len(targets) > 0
}

// vanish ends what there is to tell of zones that are gone.
func (n *notifier) vanish(apexes []string) {
	n.mu.Lock()
	gone := make(map[string]bool, len(apexes))
	for _, apex := range apexes {
		gone[apex] = true
		delete(n.targets, apex)
		delete(n.seen, apex)
		delete(n.past, apex)
	}
	maps.DeleteFunc(n.told, func(k noticeKey, _ uint32) bool { return gone[k.apex] })
	n.mu.Unlock()
	n.sender.Forget(apexes...)
}
