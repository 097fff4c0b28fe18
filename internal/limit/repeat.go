// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// RepeatMemory tells a signature that comes over UDP for the first time from one that
// whoever saw the datagram may have sent again. A client that got no answer sends it
// again too, so that this is no reason to refuse it.
type RepeatMemory struct {
	mu  sync.Mutex
	has *simplelru.LRU[pastMAC, struct{}]
}

func NewRepeatMemory(size int) *RepeatMemory {
	has, err := simplelru.NewLRU[pastMAC, struct{}](size, nil)
	if err != nil {
		panic(err) // only for a size below one
	}
	return &RepeatMemory{has: has}
}

// Again reports whether the signature was here before, and remembers it.
func (m *RepeatMemory) Again(key string, mac []byte) bool {
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
