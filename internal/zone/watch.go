// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"context"
	"time"

	"github.com/miekg/dns"
)

// Period is how often a watch reads the serials: backends tell nobody of a new one.
const Period = 2 * time.Second

// Watch begins to read the serials of all zones every period, until the store is closed.
// A new version of a zone that has been asked for is built at once, before the
// secondaries ask, and told when it is ready; of other zones only the serial is told.
func (s *Store) Watch(period time.Duration) {
	s.work.Add(1)
	go func() {
		defer s.work.Done()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		go func() {
			select {
			case <-s.closed:
				cancel()
			case <-ctx.Done():
			}
		}()
		tick := time.NewTicker(period)
		defer tick.Stop()
		for {
			for _, sl := range s.slots {
				s.look(ctx, sl)
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
}

// look reads the serial of one zone.
func (s *Store) look(ctx context.Context, sl *slot) {
	if ctx.Err() != nil {
		return
	}
	if err := sl.lineage.flush(); err != nil {
		s.report(sl.apex, err)
	}
	sl.mu.Lock()
	current, opening, large, seen := sl.current, sl.opening, sl.large, sl.seen
	sl.mu.Unlock()
	switch {
	case opening != nil:
	case current != nil && !large:
		_, _ = s.latest(ctx, sl) // what is wrong with it, a client is told
	case s.o.OnSerial != nil:
		st, err := openAny(s.sources, sl.apex, seen)
		if err != nil {
			return
		}
		st.stop()
		if !st.same {
			sl.mu.Lock()
			sl.seen = newVersion(sl.apex, st)
			sl.mu.Unlock()
		}
		s.tell(sl, st.soa)
	}
}

// tell calls OnSerial with a serial that it has not been told.
func (s *Store) tell(sl *slot, soa *dns.SOA) {
	if s.o.OnSerial == nil {
		return
	}
	sl.mu.Lock()
	again := sl.told != nil && *sl.told == soa.Serial
	sl.told = &soa.Serial
	sl.mu.Unlock()
	if !again {
		s.o.OnSerial(sl.apex, soa)
	}
}
