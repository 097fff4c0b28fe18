// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package policy

import "time"

// Limits bound what an allowed client may take.
type Limits struct {
	Rate      Rate          // per client (address; /64 in IPv6) and zone
	Total     int           // transfers at once, all clients
	PerClient int           // transfers at once, one client
	Wait      time.Duration // how long a request over the limit waits for its turn
	Bandwidth int64         // one transfer, in bytes a second; 0 is unlimited
	Timeout   time.Duration // a whole transfer
	Stall     time.Duration // without any progress
	Pace      int64         // bytes a second below which a transfer makes room for who waits; 0 is never
}

// DefaultLimits are those of a directive that says nothing else, as the README has
// them.
var DefaultLimits = Limits{
	Rate:      Rate{Count: 60, Period: time.Minute, Burst: 10},
	Total:     16,
	PerClient: 4,
	Wait:      5 * time.Second,
	Timeout:   2 * time.Hour,
	Stall:     30 * time.Second,
	Pace:      4 << 10,
}
