// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/interop/peer"
	"github.com/xfrguard/xfrguard/interop/rrset"
)

// ttlSteps are the TTLs of two addresses of one name, version by version.
var ttlSteps = [][2]uint32{{300, 600}, {900, 600}, {900, 60}, {10, 60}, {60, 60}, {0, 600}, {300, 600}, {301, 600}}

// BIND, NSD and Knot DNS follow edits of the TTL of one record of a set, each time as a
// difference, and have one TTL for the set, the same in all of them.
func TestMixedTTLsFollow(t *testing.T) {
	t.Parallel()
	for name, update := range map[string]bool{"file": false, "dynupdate": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := func(serial int, ttls [2]uint32) string {
				var b strings.Builder
				fmt.Fprintf(&b, "$TTL 300\n@ SOA ns1 host %d 864000 864000 8640000 60\n@ NS ns1\nns1 A 192.0.2.1\n", serial)
				for i := range 60 { // a difference is shorter than all of them
					fmt.Fprintf(&b, "h%d A 192.0.2.%d\n", i, i)
				}
				for i, ttl := range ttls {
					fmt.Fprintf(&b, "a %d A 192.0.2.10%d\n", ttl, i)
				}
				return b.String()
			}
			ports := followerPorts(t)
			p := newIncremental(t, ports, "", text(1, ttlSteps[0]))
			if update {
				p.corefile = strings.Replace(p.corefile, fmt.Sprintf("file %s {\n\t\treload 20ms\n", p.path),
					fmt.Sprintf("dynupdate {\n\t\tfile %s\n\t\tallow %s * *\n", p.path, ixfrKeys["named"].Name), 1)
			}
			p.start(t)
			all := follow(t, p.port, ports, "")
			level := func(serial int, ttls [2]uint32) rrset.Set {
				ttls[0] = min(ttls[0], ttls[1])
				ttls[1] = ttls[0]
				return parseZone(t, text(serial, ttls))
			}
			all.hold(t, level(1, ttlSteps[0]), 1)
			var steps []step
			for i, ttls := range ttlSteps[1:] {
				serial := i + 2
				if update {
					updateTTLs(t, p, ttls)
				} else {
					p.write(t, text(serial, ttls))
				}
				all.hold(t, level(serial, ttls), uint32(serial))
				steps = append(steps, step{uint32(serial - 1), uint32(serial)})
			}
			onlyDeltas(t, p, steps)
			p.said(t, 1, `"event.reason":"mixed-ttl"`)
		})
	}
}

// updateTTLs replaces both addresses in one UPDATE, so that each has its own TTL.
func updateTTLs(t testing.TB, p *incremental, ttls [2]uint32) {
	t.Helper()
	key := ixfrKeys["named"]
	m := new(dns.Msg)
	m.SetUpdate(ixfrZone)
	for i, ttl := range ttls {
		rr, err := dns.NewRR(fmt.Sprintf("a.%s %d A 192.0.2.10%d", ixfrZone, ttl, i))
		if err != nil {
			t.Fatal(err)
		}
		m.Remove([]dns.RR{dns.Copy(rr)}) // which it changes
		m.Insert([]dns.RR{rr})
	}
	m.SetTsig(key.Name, key.Algorithm, 300, time.Now().Unix())
	c := &dns.Client{Net: "tcp", TsigSecret: map[string]string{key.Name: key.Secret}, Timeout: 10 * time.Second}
	r, _, err := c.ExchangeContext(context.Background(), m, peer.Loopback(p.port))
	if err != nil || r.Rcode != dns.RcodeSuccess {
		t.Fatalf("the update got %v (%v)", r, err)
	}
}
