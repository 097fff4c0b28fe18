// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"fmt"
	"time"

	"github.com/miekg/dns"
)

// Notify tells s over UDP that zone has changed (RFC 1996), as its primary would.
func (s *Secondary) Notify(ctx context.Context, zone string) error {
	if err := NotifyAt(ctx, s.Addr(), zone); err != nil {
		return fmt.Errorf("notify %s: %w", s.Name, err)
	}
	return nil
}

// NotifyAt tells the secondary at HOST:PORT over UDP that zone has changed (RFC 1996).
func NotifyAt(ctx context.Context, addr, zone string) error {
	q := new(dns.Msg)
	q.SetNotify(zone)
	c := &dns.Client{Timeout: time.Second}
	r, _, err := c.ExchangeContext(ctx, q, addr)
	if err != nil {
		return fmt.Errorf("notify %s of %s: %w", addr, zone, err)
	}
	if r.Rcode != dns.RcodeSuccess {
		return fmt.Errorf("notify %s of %s: %s", addr, zone, dns.RcodeToString[r.Rcode])
	}
	return nil
}
