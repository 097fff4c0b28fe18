// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"os"
	"testing"

	"github.com/miekg/dns"
	"pgregory.net/rapid"
)

// gateModel says naively what a zone with a gate gives out.
type gateModel struct {
	percent int
	good    *worldVersion // the last one that passed
	given   *worldVersion // the last one that a client got
	held    *worldVersion
	why     HoldReason // it is held
}

// worldVersion is a version as the backend has it.
type worldVersion struct {
	serial uint32
	hosts  int
	ns     bool
	key    bool
}

func (w *worldVersion) records(t fatal) []dns.RR {
	var records []dns.RR
	if w.ns {
		records = append(records, rr(t, "%s 3600 IN NS ns1.elsewhere.", apex))
	}
	if w.key {
		records = append(records, rr(t, "%s 3600 IN DNSKEY 257 3 13 dGVzdA==", apex))
	}
	return append(records, many(t, w.hosts)[1:]...)
}

func (w *worldVersion) count() int {
	n := 1 + w.hosts
	if w.ns {
		n++
	}
	if w.key {
		n++
	}
	return n
}

// holds is why a version is held, "" when it passes.
func (m *gateModel) holds(w *worldVersion) HoldReason {
	was := m.given
	switch {
	case m.good != nil && *m.good == *w:
		return ""
	case w.count() == 1:
		return HeldEmpty
	case was == nil:
		return ""
	case was.hosts > 0 && w.hosts == 0:
		return HeldEmpty
	case was.ns && !w.ns:
		return HeldNSLost
	case was.key && !w.key:
		return HeldDNSKEYLost
	case w.serial != was.serial && int32(w.serial-was.serial) <= 0:
		return HeldSerialBackwards
	case was.count()-w.count() >= 10 && (was.count()-w.count())*100 > was.count()*m.percent:
		return HeldShrunk
	}
	return ""
}

// change enters what the backend has now.
func (m *gateModel) change(w *worldVersion) HoldReason {
	why := m.holds(w)
	if why != "" {
		m.held, m.why = w, why
	} else {
		m.good, m.held = w, nil
	}
	return why
}

// TestGateModel: whatever versions come, good or not, are approved or asked for, and
// however often the server is started anew: clients get what a naive reading of the rules
// says, and never what is held.
func TestGateModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "gate")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		id := newIdentity()
		m := &gateModel{percent: rapid.IntRange(1, 99).Draw(t, "percent")}
		src := newInMemory()
		var g *gateRun
		start := func() { g = startGate(t, src, dir, id, Shrink{Percent: m.percent}) }
		settles := func() {
			until(t, "the verdict", func() bool {
				held := g.store.Held()
				if m.held != nil {
					return len(held) == 1 && held[0].Serial == m.held.serial && held[0].Records == int64(m.held.count()) && held[0].Reason == m.why
				}
				return len(held) == 0 && (m.good == nil || g.store.slots[apex].settledIs(m.good.serial, int64(m.good.count())))
			})
		}
		now := &worldVersion{serial: 100, hosts: 40, ns: true, key: rapid.Bool().Draw(t, "signed")}
		src.set(t, now.serial, now.records(t))
		m.change(now)
		start()
		defer func() { g.stop(t) }()
		settles()
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0, 1, 2:
				next := &worldVersion{
					serial: now.serial + uint32(rapid.SampledFrom([]int{1, 1, 1, 1, 7, -3, 1 << 30, -1 << 31}).Draw(t, "by")),
					hosts:  max(0, now.hosts+rapid.SampledFrom([]int{1, 3, -3, -9, -10, -11, 20, -20, -200}).Draw(t, "hosts")),
					ns:     rapid.IntRange(0, 9).Draw(t, "ns") > 0,
					key:    now.key != (rapid.IntRange(0, 9).Draw(t, "key") == 0),
				}
				now = next
				src.set(t, now.serial, now.records(t))
				m.change(now)
			case 3:
				g.stop(t)
				start()
				m.change(now)
			case 4:
				for _, h := range g.store.Held() {
					if out := g.store.Approve(h.Digest); len(out) != 1 {
						t.Fatalf("approved %v of %v", out, h)
					}
					m.good, m.held = m.held, nil
				}
			default:
				if m.good == nil {
					continue
				}
				c := copyOfZone{}
				c.refresh(t, g.store, "c")
				if c.serial != m.good.serial || !equalSets(c.set, setOf(m.good.records(t))) {
					t.Fatalf("got serial %d with %d records, want %+v", c.serial, len(c.set), *m.good)
				}
				m.given = m.good
			}
			settles()
		}
	})
}

// settledIs reports whether the latest version is settled and is this one.
func (sl *slot) settledIs(serial uint32, records int64) bool {
	sl.mu.Lock()
	v := sl.current
	sl.mu.Unlock()
	return v != nil && v.Settled() && v.Serial == serial && v.Outline().Records == records
}
