// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"time"

	"golang.org/x/time/rate"

	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/limit"
)

// limits is the one limiter of the process. It belongs to no plugin instance:
// a reload neither fills anybody's bucket nor forgets a running transfer.
var limits = limit.New(time.Now)

// replays is the one memory of the process: a request accepted before a reload,
// or by another server block, is a replay after it.
var replays = limit.NewReplayMemory(65_536, 262_144)

func memoryOfReplays() *limit.ReplayMemory { return replays }

func init() { watchClock(audit.Clock) }

// watchClock tells the replay memory when the clock is set back: that makes old signatures
// young again.
func watchClock(c *audit.ClockWatch) {
	c.Subscribe(func(step time.Duration) {
		if step < 0 {
			replays.SetBack()
		}
	})
}

// unproven bounds the requests over UDP that anybody may have sent, in the whole
// process: those that an `unsigned` rule allows, and signed ones that were answered over
// UDP before. An IXFR whose source address can be forged would otherwise write lines to
// the audit log for each packet, synced to the disk, at line rate. A rate per client
// does not help where the clients are forged. Who is over it is refused as by any other
// rate, which costs no line of its own, and has TCP.
var unproven = rate.NewLimiter(10, 200)

// repeats are the signatures that were answered over UDP lately.
var repeats = limit.NewRepeatMemory(4096)

// scopes are the names that the limits of directives are counted under.
var scopes scopeNames
