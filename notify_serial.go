// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"fmt"

	"github.com/xfrguard/xfrguard/internal/finding"
	"github.com/xfrguard/xfrguard/internal/lint"
	"github.com/xfrguard/xfrguard/internal/zone"
)

// serialPast is what the serials of a zone were, across reloads.
type serialPast struct {
	last uint32
	high uint32 // the one that all others so far are behind (RFC 1982)
}

// followLocked notes the serial of a zone. When it went back it returns what was before.
// A secondary that has that takes no zone until the serial is past it, so what follows
// below it is told of once.
func (n *notifier) followLocked(apex string, serial uint32) *serialPast {
	past, known := n.past[apex]
	now := serialPast{serial, past.high}
	if !known || zone.Newer(serial, past.high) {
		now.high = serial
	}
	n.past[apex] = now
	if known && past.last == past.high && serial != past.last && now.high == past.high {
		return &past
	}
	return nil
}

// wentBack tells that a zone went back to a serial that its secondaries are ahead of.
func (n *notifier) wentBack(apex string, past *serialPast, serial uint32) {
	n.guard.tell(&lint.Finding{Code: finding.SerialBackwards, Zone: apex, Text: fmt.Sprintf(
		"zone %s went back from serial %d to %d: secondaries that have %d follow no serial up to that, nor a NOTIFY of it; write %d or more",
		apex, past.high, serial, past.high, past.high+1)}, serial)
}
