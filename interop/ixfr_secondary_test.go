// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/interop/peer"
	"github.com/xfrguard/xfrguard/interop/rrset"
	"github.com/xfrguard/xfrguard/interop/zonegen"
)

const ixfrEdits = 1000

// ixfrSeed is a seed to be printed, or the one that XFRGUARD_SEED names.
func ixfrSeed(t testing.TB) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("XFRGUARD_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("XFRGUARD_SEED: %v", err)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the same edits again: XFRGUARD_SEED=%d", seed)
		}
	})
	return seed
}

// followers are BIND, NSD and Knot DNS as secondaries of one primary.
type followers []*peer.Secondary

// startFollowers starts CoreDNS with the zone, and then its secondaries.
func startFollowers(t testing.TB, options, zone string) (*incremental, followers) {
	t.Helper()
	ports := followerPorts(t)
	p := newIncremental(t, ports, options, zone)
	p.start(t)
	return p, follow(t, p.port, ports, "")
}

// followerPorts are ports for a secondary of each kind.
func followerPorts(t testing.TB) (ports []int) {
	t.Helper()
	for range ixfrNames {
		ports = append(ports, peer.Port(t))
	}
	return ports
}

// follow starts a secondary of each kind, which pull from that address.
func follow(t testing.TB, primary int, ports []int, source string) (all followers) {
	t.Helper()
	for _, software := range peer.Secondaries() {
		if key, ok := ixfrKeys[software.Name]; ok {
			zone := peer.Zone{Origin: ixfrZone, Key: key, Source: source}
			all = append(all, peer.StartSecondary(t, software, ports[len(all)], primary, []peer.Zone{zone}))
		}
	}
	if len(all) != len(ixfrNames) {
		t.Fatalf("%d secondaries, want %v", len(all), ixfrNames)
	}
	return all
}

// hold waits until every secondary has the serial, and compares what each holds.
func (all followers) hold(t *testing.T, want rrset.Set, serial uint32) {
	t.Helper()
	var wg sync.WaitGroup
	for _, s := range all {
		wg.Go(func() {
			if err := s.Holds(t.Context(), ixfrZone, serial, want, ixfrPatience); err != nil {
				t.Errorf("%s, serial %d: %v", s.Name, serial, err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// step is one version as it must be on record.
type step struct{ from, to uint32 }

// onlyDeltas checks that each secondary got the whole zone once and then every step as
// a difference, and nothing else but that it has the latest.
func onlyDeltas(t *testing.T, p *incremental, steps []step) {
	t.Helper()
	digests := make(map[uint32]string)
	for rule, ends := range p.ends(t) {
		next := 0
		for i, e := range ends {
			switch {
			case p.signals > 0 && !e.Complete: // cut off by a reload, and asked again
				continue
			case e.Outcome != "success" || !e.Complete:
				t.Errorf("%s: %s", rule, e.Line)
			case e.Served == "up-to-date":
			case i == 0 && e.Served == "axfr":
			case next < len(steps) && e.Served == "ixfr" && e.Asked == steps[next].from && e.Serial == steps[next].to:
				next++
			case p.signals > 0 && next > 0 && e.Served == "ixfr" && e.Asked == steps[next-1].from && e.Serial == steps[next-1].to:
			default:
				t.Errorf("%s: not the difference of step %d: %s", rule, next, e.Line)
			}
			if e.Digest == "" && e.Served == "up-to-date" {
				continue // the digest was not known when it was answered
			}
			if d := digests[e.Serial]; e.Digest == "" || d != "" && d != e.Digest {
				t.Errorf("%s: serial %d with digest %q, another had %q", rule, e.Serial, e.Digest, d)
			}
			digests[e.Serial] = e.Digest
			if t.Failed() {
				t.FailNow()
			}
		}
		if next != len(steps) {
			t.Errorf("%s got %d differences, want %d", rule, next, len(steps))
		}
	}
	if got := len(p.ends(t)); got != len(ixfrNames) {
		t.Errorf("%d rules on record, want %v", got, ixfrNames)
	}
}

// BIND, NSD and Knot DNS follow a thousand edits as differences, across the end of the
// serials (RFC 1982), and hold the zone file after each.
func TestIXFRSecondariesFollow(t *testing.T) {
	seed := ixfrSeed(t)
	serial := ^uint32(0) - ixfrEdits/2
	zone := zonegen.NewChurn(ixfrZone, serial, seed)
	p, all := startFollowers(t, "", zone.String())
	all.hold(t, p.write(t, zone.String()), serial)

	var steps []step
	begun := time.Now()
	for i := range ixfrEdits {
		next := serial + 1
		if i%50 == 17 && i > ixfrEdits/2 { // as far as it may be ahead (RFC 1982 §3.2)
			next = serial + 1<<31 - 1
		}
		zone.Edit(next)
		steps = append(steps, step{serial, next})
		serial = next
		all.hold(t, p.write(t, zone.String()), serial)
	}
	t.Logf("seed %d: %d edits in %v: %v", seed, len(steps), time.Since(begun).Round(time.Second), zone.Kinds)
	onlyDeltas(t, p, steps)
}
