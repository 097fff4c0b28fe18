// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"sync"

	"github.com/xfrguard/xfrguard/internal/policy"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"
)

// unproven bounds the requests over UDP that anybody may have sent, in the whole
// process: those that an `unsigned` rule allows, and signed ones that were answered over
// UDP before. An IXFR whose source address can be forged would otherwise write lines to
// the audit log for each packet, synced to the disk, at line rate. A rate per client
// does not help where the clients are forged. Who is over it is refused as by any other
// rate, which costs no line of its own, and has TCP.
var unproven = rate.NewLimiter(10, 200)

// repeats are the signatures that were answered over UDP lately.
var repeats = newRepeatMemory(4096)

// repeatMemory tells a signature that comes over UDP for the first time from one that
// whoever saw the datagram may have sent again. A client that got no answer sends it
// again too, so that this is no reason to refuse it.
type repeatMemory struct {
	mu  sync.Mutex
	has *simplelru.LRU[pastMAC, struct{}]
}

func newRepeatMemory(size int) *repeatMemory {
	has, err := simplelru.NewLRU[pastMAC, struct{}](size, nil)
	if err != nil {
		panic(err) // only for a size below one
	}
	return &repeatMemory{has: has}
}

// again reports whether the signature was here before, and remembers it.
func (m *repeatMemory) again(key string, mac []byte) bool {
	if len(mac) < minMAC {
		return true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	id := pastMAC{key, macID(mac)}
	_, again := m.has.Get(id)
	m.has.Add(id, struct{}{})
	return again
}

// takeUnproven takes a token for a request that is not over a connection, so that anybody
// may have sent it, and reports whether there was one. Any other request needs none.
func (x *exchange) takeUnproven() bool {
	if !x.req.Transport.Forgeable() {
		return true
	}
	if x.req.TSIG.Status == policy.TSIGValid && !repeats.again(x.req.TSIG.Key, x.mac) {
		return true
	}
	x.unproven = true
	return unproven.Allow()
}
