// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import "golang.org/x/time/rate"

// unproven bounds the requests over UDP that an `unsigned` rule allows, in the whole
// process: an IXFR whose source address can be forged would otherwise write two lines
// to the audit log for each packet, synced to the disk, at line rate. A rate per client
// does not help where the clients are forged. Who is over it is refused as by any other
// rate, which costs no line of its own, and has TCP.
var unproven = rate.NewLimiter(10, 200)

// forged reports whether the request may have been sent by anybody, and too many such
// are. A signature is good for one request: see replay.go.
func (x *exchange) forged() bool {
	return x.req.Transport == TransportUDP && x.req.TSIG.Status != TSIGValid && !unproven.Allow()
}
