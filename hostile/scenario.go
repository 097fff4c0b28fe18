// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/xfrguard/xfrguard/interop/lab"
)

// scenario is one way to hurt a server.
type scenario struct {
	name    string
	attacks []attack
	span    time.Duration // of the attack
	tls     bool          // everybody comes over TLS
	guard   bool          // about the guard alone: no peer has what is attacked, or TLS
	lost    bool          // events may be lost, if they are counted
	setup   setup

	// act does something to the server in the middle of the attack, and takes its time.
	act func(ctx context.Context, h *hostile, s *server, r *result) error

	// down: the server is away for a while, so that transfers fail; killed: decisions may
	// stay without an end, as promised; disk: the audit file is on a small disk of its own.
	down, killed, disk bool
}

// Spans of attacks at -scale 1.
const (
	shortSpan = 8 * time.Second
	idleSpan  = 2 * time.Second // of the own secondary alone
	rampSpan  = 3 * time.Second // until the attackers are there
	leastSpan = time.Second     // of each of these
)

// scenarios is the whole suite.
func scenarios() []scenario {
	list := readerScenarios()
	flooding := func(c crowd) []attack { return []attack{c.run} }
	list = append(list,
		scenario{name: "200 cut connections", attacks: flooding(crowd{count: 200, addresses: true, keys: true, once: leave})},
		scenario{name: "200 cut connections, TLS", tls: true, guard: true, attacks: flooding(crowd{count: 200, addresses: true, keys: true, tls: true, once: leave})},
		scenario{name: "200 dripping requests", attacks: flooding(crowd{count: 200, addresses: true, keys: true, once: drip})},
		scenario{name: "40 pipelines of 100, unread", attacks: flooding(crowd{count: 40, addresses: true, keys: true, once: pipeline})},
		scenario{name: "40 pipelines of 100, unread, TLS", tls: true, guard: true, attacks: flooding(crowd{count: 40, addresses: true, keys: true, tls: true, once: pipeline})},
		scenario{name: "every refusal, 2,000 a second", attacks: []attack{floodAll(floodRate)}},
		scenario{name: "mutated requests", attacks: flooding(crowd{count: 20, addresses: true, keys: true, once: mutate})},
		scenario{name: "mutated requests, TLS", tls: true, guard: true, attacks: flooding(crowd{count: 20, addresses: true, keys: true, tls: true, once: mutate})},
	)
	list = append(list, lifeScenarios()...)
	for i := range list {
		if list[i].span == 0 {
			list[i].span = shortSpan
		}
	}
	return list
}

// readerScenarios: stalled and trickling readers, few to many, from one address with one
// key to many addresses with many keys.
func readerScenarios() (list []scenario) {
	manners := []struct {
		name string
		once func(context.Context, *server, identity)
	}{{"stalled", stall}, {"trickling", trickle}}
	for _, count := range []int{10, 200, 2000} {
		for _, m := range manners {
			for _, who := range []struct {
				name            string
				addresses, keys bool
			}{{"one address, one key", false, false}, {"many addresses, one key", true, false}, {"many addresses, many keys", true, true}} {
				c := crowd{count: count, addresses: who.addresses, keys: who.keys, once: m.once}
				list = append(list, scenario{name: fmt.Sprintf("%d %s, %s", count, m.name, who.name), attacks: []attack{c.run}})
			}
		}
	}
	for _, m := range manners {
		c := crowd{count: 200, addresses: true, keys: true, tls: true, once: m.once}
		list = append(list, scenario{
			name: fmt.Sprintf("200 %s, many addresses, many keys, TLS", m.name), tls: true, guard: true, attacks: []attack{c.run},
		})
	}
	return list
}

// result is what one scenario did to one server.
type result struct {
	scenario *scenario
	server   string
	idle     tally // the own secondary before
	own      tally
	shared   tally
	plain    tally // ordinary queries
	cpu      float64
	peak     int64
	fds      int
	faults   []string
	remark   string
}

func (r *result) fault(format string, args ...any) {
	r.faults = append(r.faults, fmt.Sprintf(format, args...))
}

// run is all scenarios on all servers.
func (h *hostile) run(ctx context.Context) error {
	stopSlow := h.startSlow(ctx)
	for _, sc := range scenarios() {
		for _, soft := range h.servers {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if !h.only.MatchString(sc.name) || sc.guard && !soft.ours {
				continue
			}
			r := &result{scenario: &sc, server: soft.name}
			if err := h.one(ctx, soft, &sc, r); err != nil {
				r.fault("%v", err)
			}
			h.results = append(h.results, r)
			lab.Progress("%s: %s: %s; %s", sc.name, soft.name, r.brief(), strings.Join(r.faults, "; "))
		}
	}
	return stopSlow(ctx)
}

// one runs a scenario on a server of its own.
func (h *hostile) one(ctx context.Context, soft software, sc *scenario, r *result) error {
	set := sc.setup
	if sc.disk {
		dir, unmount, err := h.mountDisk()
		if err != nil {
			h.note("%s: not tried: %v", sc.name, err)
			return nil
		}
		defer unmount()
		set.audit = dir
	}
	s, err := h.start(ctx, soft, set)
	if err != nil {
		return err
	}
	defer s.stop()
	own := ownID.over(sc.tls)
	for range 2 { // the first one builds the version
		if err := fetchOnce(ctx, s, own); err != nil {
			return fmt.Errorf("the own secondary gets no zone from an idle server: %w", err)
		}
	}
	during(ctx, max(leastSpan, h.scaled(idleSpan)), func(ctx context.Context) { poll(ctx, s, own, 50*time.Millisecond, &r.idle) })
	before, err := h.settled(ctx, s, nil)
	if err != nil {
		return err
	}

	if err := h.underAttack(ctx, s, sc, r); err != nil {
		return err
	}
	if soft.ours {
		h.judge(ctx, s, r, before)
	}
	return nil
}

// underAttack measures the honest secondaries, and the server, while a scenario's attacks run.
func (h *hostile) underAttack(ctx context.Context, s *server, sc *scenario, r *result) error {
	own, shared := ownID.over(sc.tls), sharing.over(sc.tls)
	attackCtx, endAttack := context.WithCancel(ctx)
	attacks := parallel()
	for _, a := range sc.attacks {
		attacks.Go(func() { a(attackCtx, s) })
	}
	pause(ctx, max(leastSpan, h.scaled(rampSpan)))
	w, err := watchServer(ctx, s)
	if err != nil {
		endAttack()
		return err
	}
	span := h.scaled(sc.span)
	measure := parallel()
	measured, endMeasure := context.WithCancel(ctx)
	measure.Go(func() { poll(measured, s, own, 100*time.Millisecond, &r.own) })
	measure.Go(func() { poll(measured, s, shared, 1500*time.Millisecond, &r.shared) })
	measure.Go(func() { ask(measured, s, &r.plain) })
	if sc.act != nil {
		err = sc.act(ctx, h, s, r)
	} else {
		pause(ctx, span)
	}
	endMeasure()
	measure.Wait()
	r.cpu, r.peak, r.fds = w.end(), w.peak, w.descriptors
	endAttack()
	attacks.Wait()
	return err
}

func fetchOnce(ctx context.Context, s *server, id identity) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return fetch(ctx, s, id)
}

// during calls f with a context of that length.
func during(ctx context.Context, d time.Duration, f func(context.Context)) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	f(ctx)
}

// ask sends an ordinary query ten times a second.
func ask(ctx context.Context, s *server, t *tally) {
	for ctx.Err() == nil {
		begin := time.Now()
		err := answered(context.WithoutCancel(ctx), s)
		t.add(time.Since(begin), err)
		pause(ctx, time.Until(begin.Add(100*time.Millisecond)))
	}
}

// What an attack may do to the honest ones.
const (
	noise     = 25 * time.Millisecond // a median this much above the idle one is the machine's
	ownP99    = time.Second
	lineWait  = 5 * time.Second // the guard's wait
	growFew   = 12              // goroutines and descriptors that come and go
	growHeap  = 96 << 20        // bytes: what the collector has not come to
	settleFor = 45 * time.Second
)

// judge holds what was measured against what was promised.
func (h *hostile) judge(ctx context.Context, s *server, r *result, before size) {
	if !r.scenario.down {
		r.judgeHonest(h.timing)
	}
	if n := r.plain.tried() - len(r.plain.took); n > 0 && !r.scenario.down {
		r.fault("%d of %d ordinary queries failed (%s)", n, r.plain.tried(), r.plain.failures())
	}
	if _, err := h.settled(ctx, s, &before); err != nil {
		r.fault("%v", err)
	}
	last, err := s.scrape(ctx)
	if err != nil {
		r.fault("%v", err)
	}
	requests := last["coredns_xfrguard_requests_total"]
	if r.scenario.down {
		requests = -1 // those of a killed one are gone
	}
	s.end(ctx, r)
	h.judgeBooks(s, r, requests)
}

func (r *result) judgeHonest(timing bool) {
	if r.own.tried() == 0 || len(r.own.took) != r.own.tried() {
		r.fault("the own secondary has %s (%s)", r.own.success(), r.own.failures())
	}
	if m, idle := r.own.median(), r.idle.median(); timing && m > 2*idle && m > idle+noise {
		r.fault("its median is %v, idle %v", round(m), round(idle))
	}
	if p := r.own.quantile(0.99); timing && p > ownP99 {
		r.fault("its p99 is %v", round(p))
	}
	if r.shared.tried() == 0 || len(r.shared.took) != r.shared.tried() {
		r.fault("the one with the attackers' key has %s (%s)", r.shared.success(), r.shared.failures())
	} else if p := r.shared.quantile(1); timing && p > lineWait+ownP99 {
		r.fault("the one with the attackers' key waits %v", round(p))
	}
}

// judgeBooks looks at the audit file of a server that has ended.
func (h *hostile) judgeBooks(s *server, r *result, requests float64) {
	b, err := readBooks(s.audit)
	if err != nil {
		r.fault("%v", err)
		return
	}
	if r.scenario.killed {
		b.unpaired = 0
	}
	if r.scenario.lost {
		b.lost = 0
	}
	r.faults = append(r.faults, b.faults(requests)...)
	if err := h.verify(s.audit); err != nil && !r.scenario.lost {
		r.fault("%v", err)
	}
}

// steadyFor is how many looks in a row must find no new request: what clients sent before they
// left may still stand in a socket's buffer.
const steadyFor = 4

// settled waits until nobody is served or waits any more, no request comes and, when before
// is given, the server has come back to that size. It returns the size; an error says what
// did not come back.
func (h *hostile) settled(ctx context.Context, s *server, before *size) (size, error) {
	if !s.ours {
		return size{}, nil
	}
	var now size
	var wrong error
	requests, steady := -1.0, 0
	for deadline := time.Now().Add(settleFor); ; pause(ctx, 250*time.Millisecond) {
		m, err := s.scrape(ctx) // nobody answers while a reload is under way
		now = m.size()
		steady++
		if n := m["coredns_xfrguard_requests_total"]; n != requests {
			requests, steady = n, 0
		}
		switch {
		case err != nil:
			wrong = err
		case m.inFlight() != 0:
			wrong = fmt.Errorf("%.0f transfers still under way %v after the attack", m.inFlight(), settleFor)
		case m["coredns_xfrguard_waiting"] != 0:
			wrong = fmt.Errorf("%.0f requests still wait %v after the attack", m["coredns_xfrguard_waiting"], settleFor)
		case before != nil && now.goroutines > before.goroutines+growFew:
			wrong = fmt.Errorf("%.0f goroutines %v after the attack, %.0f before", now.goroutines, settleFor, before.goroutines)
		case before != nil && now.descriptors > before.descriptors+growFew:
			wrong = fmt.Errorf("%.0f descriptors %v after the attack, %.0f before", now.descriptors, settleFor, before.descriptors)
		case steady < steadyFor:
			wrong = fmt.Errorf("requests still come %v after the attack", settleFor)
		default:
			return now, nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return now, wrong
		}
	}
}

// selected reports whether a scenario of that name runs.
func (h *hostile) selected(names ...string) bool {
	return slices.ContainsFunc(names, h.only.MatchString)
}
