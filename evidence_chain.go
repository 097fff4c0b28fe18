// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"sync"
	"time"
)

const (
	badChainTime = 10 * time.Second // for which a chain that leads nowhere is remembered
	maxBadChains = 1024
)

// badChains remembers certificates that lead to no CA of the listener. Whoever gets
// past an address gate may send them once and ask as often as he likes, at some thirty
// octets a request, while finding out that no chain can be built of them takes
// milliseconds: x509 tries up to a hundred signatures. The zero value is ready.
type badChains struct {
	mu    sync.Mutex
	until map[[sha256.Size]byte]time.Time
}

// verify is check, or false for what it has found to be bad a moment ago.
func (b *badChains) verify(presented []*x509.Certificate, now time.Time, check func() bool) bool {
	id := chainID(presented)
	if b.knows(id, now) {
		return false
	}
	ok := check()
	if !ok {
		b.remember(id, presented, now)
	}
	return ok
}

func (b *badChains) knows(id [sha256.Size]byte, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return now.Before(b.until[id])
}

// remember holds until the next moment at which the answer could be another one.
func (b *badChains) remember(id [sha256.Size]byte, presented []*x509.Certificate, now time.Time) {
	until := now.Add(badChainTime)
	for _, c := range presented {
		if c.NotBefore.After(now) && c.NotBefore.Before(until) {
			until = c.NotBefore
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.until == nil || len(b.until) >= maxBadChains { // each was worth a handshake to somebody
		b.until = make(map[[sha256.Size]byte]time.Time)
	}
	b.until[id] = until
}

// chainID names the certificates in their order, all octets of them.
func chainID(presented []*x509.Certificate) (id [sha256.Size]byte) {
	h := sha256.New()
	for _, c := range presented {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(c.Raw))))
		h.Write(c.Raw)
	}
	h.Sum(id[:0])
	return id
}
