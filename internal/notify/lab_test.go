// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// lab is a Sender whose exchanges are scripted; it belongs into a synctest bubble.
type lab struct {
	*Sender
	began time.Time

	mu      sync.Mutex
	sent    []string // "2s example.org. 7", in order
	results []Result
}

func newLab(o Options, exchange func(context.Context, *Target, *request) reply) *lab {
	l := &lab{began: time.Now()}
	o.Done = func(r Result) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.results = append(l.results, r)
	}
	o.exchange = func(ctx context.Context, t *Target, r *request, _ time.Duration) reply {
		l.mu.Lock()
		l.sent = append(l.sent, fmt.Sprint(time.Since(l.began), " ", r.zone, " ", serialIn(r)))
		l.mu.Unlock()
		return exchange(ctx, t, r)
	}
	l.Sender = NewSender(o)
	return l
}

// outcomes are the ends so far, as "outcome serial tries".
func (l *lab) outcomes() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []string
	for _, r := range l.results {
		all = append(all, fmt.Sprint(r.Outcome, " ", r.Serial, " ", r.Tries))
	}
	return all
}

func (l *lab) expect(t *testing.T, sent, outcomes []string) {
	t.Helper()
	synctest.Wait()
	l.mu.Lock()
	got := slices.Clone(l.sent)
	l.mu.Unlock()
	if !slices.Equal(got, sent) {
		t.Errorf("sent\n%q, want\n%q", got, sent)
	}
	if got := l.outcomes(); !slices.Equal(got, outcomes) {
		t.Errorf("ended\n%q, want\n%q", got, outcomes)
	}
}

func serialIn(r *request) uint32 {
	m := new(dns.Msg)
	if err := m.Unpack(r.packed); err != nil || len(m.Answer) == 0 {
		return 0
	}
	return m.Answer[0].(*dns.SOA).Serial
}

func says(o Outcome) reply { return reply{answer: answer{outcome: o, proven: true}, transport: UDP} }

func always(o Outcome) func(context.Context, *Target, *request) reply {
	return func(context.Context, *Target, *request) reply { return says(o) }
}

func secondsApart(tries int) time.Duration { return time.Duration(tries) * 10 * time.Second }

func target(n int) *Target {
	return &Target{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, byte(n >> 8), byte(n)}), 53)}
}
