// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// slowName is the name by which -only chooses the slow lines.
const slowName = "slow honest lines"

// startSlow has honest clients with slow lines fetch a zone of 4 MB from a server of its own,
// over TCP and TLS, while a crowd stalls there; what it returns waits for them and judges.
func (h *hostile) startSlow(ctx context.Context) func(context.Context) error {
	nothing := func(context.Context) error { return nil }
	if !h.slow || !h.selected(slowName) || !h.servers[0].ours {
		return nothing
	}
	s, err := h.start(ctx, h.servers[0], setup{big: slowRecords})
	if err != nil {
		return func(context.Context) error { return err }
	}
	r := &result{scenario: &scenario{name: slowName}, server: s.name}
	h.results = append(h.results, r)
	attackCtx, endAttack := context.WithCancel(ctx)
	attacks, lines := parallel(), parallel()
	attacks.Go(func() { crowd{count: 20, addresses: true, keys: true, once: stall}.run(attackCtx, s) })
	attacks.Go(func() { crowd{count: 20, addresses: true, keys: true, tls: true, once: stall}.run(attackCtx, s) })
	var all []*slowSecondary
	for i, kilo := range []int{8, 20, 32} {
		for _, overTLS := range []bool{false, true} {
			// Each is a client of the crowd's rule with an address of its own: no configured
			// identity, but an honest one.
			c := &slowSecondary{identity: identity{address: fmt.Sprintf("127.127.1.%d", i+1), key: crowdKey(i), tls: overTLS, zone: bigOrigin}, speed: kilo * 1000}
			all = append(all, c)
			lines.Go(func() {
				pause(ctx, 2*time.Second)
				for range 20 { // the crowd came first
					if c.pull(ctx, s); c.bytes.Load() > 100 || ctx.Err() != nil {
						return
					}
				}
			})
		}
	}
	return func(ctx context.Context) error {
		lines.Wait()
		endAttack()
		attacks.Wait()
		s.stop()
		return h.judgeSlow(ctx, r, all)
	}
}

func (h *hostile) judgeSlow(ctx context.Context, r *result, all []*slowSecondary) error {
	var list []string
	for _, c := range all {
		transport := "TCP"
		if c.tls {
			transport = "TLS"
		}
		text := fmt.Sprintf("%d kB/s over %s: %.1f MB in %v", c.speed/1000, transport, float64(c.bytes.Load())/1e6, c.took.Round(time.Second))
		if c.err != nil {
			text += fmt.Sprintf(" (%s)", kindOf(c.err))
			r.fault("%s", text)
		}
		list = append(list, text)
	}
	h.note("Honest clients with slow lines, beside 40 stalled ones: %s.", strings.Join(list, "; "))
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}
