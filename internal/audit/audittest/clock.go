// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audittest

import (
	"sync"
	"time"

	"github.com/xfrguard/xfrguard/internal/trail"
)

// FakeClock is a machine's clock that a test sets.
type FakeClock struct {
	mu sync.Mutex
	At trail.Clock
}

func (c *FakeClock) Read() trail.Clock {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.At
}

// Pass lets time pass, and sets the clock by so much beside that.
func (c *FakeClock) Pass(d, step time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.At.Mono += d
	c.At.Wall = c.At.Wall.Add(d + step)
}
