// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"time"

	"golang.org/x/time/rate"
)

// OfProcess is the one limiter of the process. It belongs to no plugin instance:
// a reload neither fills anybody's bucket nor forgets a running transfer.
var OfProcess = New(time.Now)

// Unproven bounds the requests over UDP that anybody may have sent, in the whole
// process: those that an `unsigned` rule allows, and signed ones that were answered over
// UDP before. An IXFR whose source address can be forged would otherwise write lines to
// the audit log for each packet, synced to the disk, at line rate. A rate per client
// does not help where the clients are forged. Who is over it is refused as by any other
// rate, which costs no line of its own, and has TCP.
var Unproven = rate.NewLimiter(10, 200)
