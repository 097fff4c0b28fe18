// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"sync"
	"time"

	"github.com/xfrguard/xfrguard/internal/zone"

	"github.com/coredns/coredns/plugin/file"
	"github.com/coredns/coredns/plugin/secondary"
	"github.com/miekg/dns"
)

// watchInterval is how often serials are read: no plugin tells of new ones.
const watchInterval = 2 * time.Second

// watchSerials reads the SOA of each apex from the first source that has it, at once
// and every watchInterval, and hands it to seen. The function it returns stops that and
// does not wait for a source that takes its time; seen is not called after it, but for a
// call under way.
func watchSerials(sources []zone.Source, apexes []string, seen func(apex string, soa *dns.SOA)) (stop func()) {
	stopped := make(chan struct{})
	go func() {
		tick := time.NewTicker(watchInterval)
		defer tick.Stop()
		kept := make(map[string]uint32)
		for {
			for _, apex := range apexes {
				soa := currentSOA(sources, apex, kept[apex])
				select {
				case <-stopped:
					return
				default:
				}
				if soa != nil {
					kept[apex] = soa.Serial
					seen(apex, soa)
				}
			}
			select {
			case <-stopped:
				return
			case <-tick.C:
			}
		}
	}()
	return sync.OnceFunc(func() { close(stopped) })
}

// currentSOA returns the zone's SOA, nil when no source has it now. A source that
// keeps its zones to itself is asked for what is new since the serial.
func currentSOA(sources []zone.Source, apex string, serial uint32) *dns.SOA {
	for _, src := range sources {
		if z := fileZone(src, apex); z != nil {
			z.RLock()
			soa, expired := z.SOA, z.Expired
			z.RUnlock()
			if soa == nil || expired {
				return nil
			}
			return soa
		}
		records, err := src.Transfer(apex, serial)
		if err != nil || records == nil {
			continue
		}
		var soa *dns.SOA
		for batch := range records { // to the end, or the source's goroutine would wait for ever
			if soa == nil && len(batch) > 0 {
				soa, _ = batch[0].(*dns.SOA)
			}
		}
		if soa != nil {
			return soa
		}
	}
	return nil
}

// fileZone returns the zone of a source that keeps it as the file plugin does.
func fileZone(src zone.Source, apex string) *file.Zone {
	switch s := src.(type) {
	case interface{ Zones(string) *file.Zone }: // auto
		return s.Zones(apex)
	case *secondary.Secondary:
		if s.ZoneLookupFunc != nil { // zones of a catalog come and go
			if name, z, ok := s.ZoneLookupFunc(apex); ok && name == apex {
				return z
			}
			return nil
		}
		return s.Z[apex]
	case file.File:
		return s.Z[apex]
	}
	return nil
}
