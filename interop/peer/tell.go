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
	q := new(dns.Msg)
	q.SetNotify(zone)
	c := &dns.Client{Timeout: time.Second}
	r, _, err := c.ExchangeContext(ctx, q, s.Addr())
	if err != nil {
		return fmt.Errorf("notify %s of %s: %w", s.Name, zone, err)
	}
	if r.Rcode != dns.RcodeSuccess {
		return fmt.Errorf("notify %s of %s: %s", s.Name, zone, dns.RcodeToString[r.Rcode])
	}
	return nil
}
