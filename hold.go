// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/coredns"
	"github.com/xfrguard/xfrguard/internal/finding"
	"github.com/xfrguard/xfrguard/internal/lint"
	"github.com/xfrguard/xfrguard/internal/zone"

	"github.com/coredns/coredns/plugin"

	"github.com/prometheus/client_golang/prometheus"
)

// judges are those who say whether a version of a zone may go out.
func (g *guard) judges(apex string) (all []zone.Judge) {
	d := g.covering(apex)
	if d == nil {
		return nil
	}
	if d.HoldShrink > 0 {
		all = append(all, zone.Shrink{Percent: d.HoldShrink})
	}
	if d.Verify.Refuses() {
		all = append(all, verifier{g, d})
	}
	return all
}

// held puts on record that a version is held back.
func (g *guard) held(h zone.Held) {
	e := &audit.Event{Action: audit.ActionHeld, Reason: string(h.Reason), Message: h.Text, SerialServed: &h.Serial}
	if h.Digest != (zone.Digest{}) {
		e.Digest = digestText(h.Digest)
	}
	log.Warningf("Zone %s, serial %d, is held back, and secondaries keep the last good version: %s: %s; its digest is %s", h.Apex, h.Serial, h.Reason, h.Text, e.Digest)
	g.aboutZone(h.Apex, e)
}

// released puts on record that nothing of a zone is held back any more.
func (g *guard) released(h zone.Held, why zone.ReleaseReason) {
	text := releaseTexts[why]
	log.Infof("Zone %s, serial %d, goes out: %s", h.Apex, h.Serial, text)
	g.aboutZone(h.Apex, &audit.Event{
		Action: audit.ActionReleased, Reason: string(why), Message: text, SerialServed: &h.Serial, Digest: digestText(h.Digest),
	})
}

// releaseTexts say why a hold is over.
var releaseTexts = map[zone.ReleaseReason]string{
	zone.ReleasedApproved:   "the version that was held back is approved",
	zone.ReleasedSuperseded: "a good version has taken the place of the one that was held back",
}

// lintHold finds addresses that transfer tells of a version before it is judged.
func (g *guard) lintHold(fs *lint.Findings) {
	h := g.Config.Handler("transfer")
	if h == nil {
		return
	}
	for _, d := range g.directives {
		for _, apex := range g.apexesOf(d, maxSample) {
			if len(g.judges(apex)) == 0 {
				continue
			}
			if to := coredns.NotifyToOf(h, apex); len(to.Addrs) > 0 {
				fs.Add(finding.TransferBesideHold, d.At("hold"), "transfer tells %s of a version of %s before it is known whether it is held back: write 'notify %s' here in place of 'to' there",
					to.Addrs[0].Addr(), apex, fmt.Sprint(to.Addrs[0].Addr()))
				break
			}
		}
	}
}

// heldZones are the series of zones of which versions may be held back, read from the
// stores when they are asked for.
var heldZones = func() *zonesHeld {
	z := &zonesHeld{desc: prometheus.NewDesc(prometheus.BuildFQName(plugin.Namespace, subsystem, "zone_held"),
		"Gauge of whether a version of a zone is held back: 1, or 0.", []string{"server", "zone", "view"}, nil)}
	prometheus.MustRegister(z)
	return z
}()

// zonesHeld implements prometheus.Collector.
type zonesHeld struct {
	desc   *prometheus.Desc
	mu     sync.Mutex
	guards []*guard // in the order in which they began
}

func (z *zonesHeld) enter(g *guard) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.guards = append(z.guards, g)
}

func (z *zonesHeld) leave(g *guard) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.guards = slices.DeleteFunc(z.guards, func(other *guard) bool { return other == g })
}

// Describe implements prometheus.Collector.
func (z *zonesHeld) Describe(to chan<- *prometheus.Desc) { to <- z.desc }

// Collect implements prometheus.Collector. Of two loads of one block during a reload the
// later counts.
func (z *zonesHeld) Collect(to chan<- prometheus.Metric) {
	z.mu.Lock()
	guards := slices.Clone(z.guards)
	z.mu.Unlock()
	type series struct{ server, apex, view string }
	seen := make(map[series]bool)
	for _, g := range slices.Backward(guards) {
		held := make(map[string]bool)
		for _, h := range g.store.Held() {
			held[h.Apex] = true
		}
		for _, d := range g.directives {
			for _, apex := range g.apexesOf(d, math.MaxInt) {
				k := series{g.server(), apex, g.Config.ViewName}
				if seen[k] || len(g.judges(apex)) == 0 {
					continue
				}
				seen[k] = true
				value := 0.0
				if held[apex] {
					value = 1
				}
				to <- prometheus.MustNewConstMetric(z.desc, prometheus.GaugeValue, value, k.server, k.apex, k.view)
			}
		}
	}
}
