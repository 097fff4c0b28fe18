// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"fmt"
	"math"
	"testing"

	"github.com/miekg/dns"
	"pgregory.net/rapid"
)

// genRecord draws a record of a small world, so that names, types and data meet again.
func genRecord(t *rapid.T) dns.RR {
	owner := rapid.SampledFrom([]string{"a.", "A.", "b.", "*.", "x.y.", `\000.`, "", "deep.er.x.y."}).Draw(t, "owner") + apex
	ttl := rapid.SampledFrom([]int{300, 600}).Draw(t, "ttl")
	n := rapid.IntRange(1, 4).Draw(t, "n")
	switch rapid.IntRange(0, 8).Draw(t, "type") {
	case 0:
		return rr(t, "%s %d IN AAAA 2001:db8::%d", owner, ttl, n)
	case 1:
		return rr(t, "%s %d IN MX %d Mail%d.%s", owner, ttl, n, n, apex)
	case 2:
		return rr(t, "%s %d IN TXT \"text %d\"", owner, ttl, n)
	case 3:
		return rr(t, "%s %d IN SRV %d 1 1 sRv.%s", owner, ttl, n, apex)
	case 4:
		return rr(t, "%s %d IN NS ns%d.%s", "sub."+apex, ttl, n, apex)
	case 5:
		return rr(t, "%s %d IN RRSIG A 13 2 300 2026%02d01000000 20260101000000 1 %s c2lnbmF0dXJl", owner, ttl, n, apex)
	case 6:
		return rr(t, "%s %d IN TYPE65534 \\# 3 abcd%02d", owner, ttl, n)
	default:
		return rr(t, "%s %d IN A 192.0.2.%d", owner, ttl, n)
	}
}

// legal makes of records a set of sets (RFC 2181 §5): each once, and one TTL in each set,
// the lowest, never above the original TTL of a signature.
func legal(records []dns.RR) []dns.RR {
	setOf := func(r dns.RR) string {
		return fmt.Sprint(dns.CanonicalName(r.Header().Name), r.Header().Rrtype, covered(r))
	}
	lowest := map[string]uint32{}
	lower := func(set string, ttl uint32) {
		if before, ok := lowest[set]; !ok || ttl < before {
			lowest[set] = ttl
		}
	}
	for _, r := range records {
		lower(setOf(r), r.Header().Ttl)
	}
	for _, r := range records {
		if sig, ok := r.(*dns.RRSIG); ok {
			lower(setOf(r), sig.OrigTtl)
			lower(fmt.Sprint(dns.CanonicalName(sig.Hdr.Name), sig.TypeCovered, 0), sig.OrigTtl)
		}
	}
	seen := map[string]bool{}
	var out []dns.RR
	for _, r := range records {
		c := dns.Copy(r)
		c.Header().Ttl = lowest[setOf(r)]
		if k := keyOf(c); !seen[k] {
			seen[k] = true
			out = append(out, c)
		}
	}
	return out
}

// TestFollow lets two naive secondaries follow random edits, at random moments, through
// reloads, evictions, lost journals and serials that wrap around, and compares their copies
// with the zone record by record. A secondary that was given a version gets what changed
// since, as long as that is known.
func TestFollow(t *testing.T) {
	for _, kind := range []string{"memory", "channel"} {
		t.Run(kind, func(t *testing.T) { rapid.Check(t, func(t *rapid.T) { follow(t, kind) }) })
	}
}

func follow(t *rapid.T, kind string) {
	var src settable = newInMemory()
	if kind == "channel" {
		src = &channelSource{}
	}
	id := newIdentity()
	o := Options{Identity: func(string) string { return id }}
	s := newStoreOf(src, o)
	defer func() { s.Close() }()
	serial := rapid.SampledFrom([]uint32{1, math.MaxUint32 - 3, 1<<31 - 2}).Draw(t, "serial")
	records := rapid.SliceOfN(rapid.Custom(genRecord), 0, 12).Draw(t, "zone")
	src.set(t, serial, records)
	secondaries := []copyOfZone{{}, {}}
	steps := rapid.IntRange(1, 25).Draw(t, "steps")
	far := false
	known := map[int]bool{} // whose version is certainly still known
	for range steps {
		switch rapid.IntRange(0, 10).Draw(t, "step") {
		case 0: // reload: the new instance starts before the old one stops
			next := newStoreOf(src, o)
			s.Close()
			s = next
		case 1: // the new version leaves memory
			sl := s.slots[apex]
			sl.mu.Lock()
			v := sl.current
			sl.current = nil
			sl.mu.Unlock()
			if v != nil {
				sl.lineage.evict(v)
			}
			clear(known)
		case 10: // so does some of the past, in favour of other zones
			sl := s.slots[apex]
			s.shorten(sl, sl.lineage.past()*int64(rapid.IntRange(0, 3).Draw(t, "quarters"))/4)
			clear(known)
		case 2, 3, 4: // edit
			add := rapid.SliceOfN(rapid.Custom(genRecord), 0, 4).Draw(t, "added")
			drop := rapid.IntRange(0, min(3, len(records))).Draw(t, "dropped")
			records = append(add, records[drop:]...)
			// One large step at most: a secondary that is 2^31 behind passes for ahead.
			step := rapid.SampledFrom([]uint32{1, 1, 7, 1<<31 - 1000}).Draw(t, "step of the serial")
			if far && step > 7 {
				step = 1
			}
			far = far || step > 7
			serial += step
			src.set(t, serial, records)
			r := current(t, s)
			_, _ = readAll(r)
			<-r.Version.settled
			r.Close()
		default:
			i := rapid.IntRange(0, 1).Draw(t, "who")
			c := &secondaries[i]
			before := *c
			got := c.refresh(t, s, fmt.Sprint("rule", i))
			behind := before.has && Newer(serial, before.serial)
			if behind && known[i] && got == "axfr" && tooLong(s, &before) == false {
				t.Fatalf("secondary %d had serial %d, which is known, and got the whole zone", i, before.serial)
			}
			if !before.has && got != "axfr" {
				t.Fatalf("a secondary without the zone got %s", got)
			}
			known[i] = true
			if c.serial == serial && !equalSets(c.set, setOf(legal(records))) {
				t.Fatalf("secondary %d got %s and has\n%v\nnot\n%v", i, got, c.set, setOf(legal(records)))
			}
			if got != "up-to-date" && c.serial != serial {
				t.Fatalf("got %s with serial %d, not %d", got, c.serial, serial)
			}
		}
	}
}

// tooLong reports whether the store may rightly send the whole zone: the chain is longer
// than it, or has the serial twice.
func tooLong(s *Store, c *copyOfZone) bool {
	l := s.slots[apex].lineage
	l.mu.Lock()
	defer l.mu.Unlock()
	if messages, ok := l.packed[c.serial]; ok && messages == nil {
		return true
	}
	n := 0
	for i := range l.deltas {
		if l.deltas[i].From == c.serial {
			n++
		}
	}
	return n > 1
}
