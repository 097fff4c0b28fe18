// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package notify

import "net/netip"

// Target is a secondary to notify. It must not change once a Sender has it.
type Target struct {
	Addr   netip.AddrPort
	Source netip.Addr // the address to send from; the zero Addr leaves that to the kernel
	Key    *Key       // signs the notices; nil for unsigned ones

	// TLS sends over TLS 1.3 and over nothing else. There is no name to hold the
	// target's certificate against, so it is not authenticated: TLS hides zone and
	// serial from who only listens, and the key proves the answer.
	TLS bool
}

// Key is a TSIG key.
type Key struct {
	Name   string
	Secret []byte

	// Algorithms are those to try, in order, without or with the last dot. Most servers
	// bind a key to one algorithm, and do not say which; what one has accepted is tried
	// first from then on.
	Algorithms []string
}
