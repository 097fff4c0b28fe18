// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import "errors"

// errTooSlow ends a transfer below the pace whose place somebody waits for.
var errTooSlow = errors.New("slower than the pace while others wait")

// Watch lets the limiter end the transfer of the lease while somebody waits who could
// use its place. progress returns how many octets the client has taken so far; end is
// called at most once, with errTooSlow, and must end the transfer soon, so that the
// lease is released. Both are called from a goroutine of the limiter, without a lock,
// and never after Release has returned. A lease that is not watched is never ended.
func (s *lease) Watch(progress func() int64, end func(cause error)) {
	if s == nil {
		return
	}
	s.limiter.mu.Lock()
	defer s.limiter.mu.Unlock()
	s.progress, s.end = progress, end
}
