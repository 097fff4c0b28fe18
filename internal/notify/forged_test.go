// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// TestSenderForgedRefusal: a datagram that proves nothing ends no notice, whatever it
// says; a refusal over a connection does, and so does a proven one.
func TestSenderForgedRefusal(t *testing.T) {
	for _, o := range []Outcome{Refused, NotAuth, NotImplemented, BadKey, BadSignature, BadTime, OtherAnswer} {
		for _, c := range []struct {
			via    Transport
			proven bool
			tries  int
		}{{UDP, false, 5}, {UDP, true, 1}, {TCP, false, 1}, {OverTLS, false, 1}} {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(Options{Pause: secondsApart}, func(context.Context, *Target, *request) reply {
					return reply{answer: answer{outcome: o, proven: c.proven}, transport: c.via}
				})
				defer l.Close()
				l.Send(target(1), "example.org.", testSOA(7), 0)
				time.Sleep(time.Hour)
				synctest.Wait()
				if r := l.results; len(r) != 1 || r[0].Outcome != o || r[0].Tries != c.tries {
					t.Errorf("%s over %s, proven %v: %+v, want %d tries", o, c.via, c.proven, r, c.tries)
				}
			})
		}
	}
}

// TestSenderForgedOnce: somebody forges a refusal of the first try, which gets lost;
// the notice arrives with the next.
func TestSenderForgedOnce(t *testing.T) {
	tries := 0
	p := startPeer(t, nil, closed{tcp: true}, func(_ Transport, b []byte, _ net.Addr) [][]byte {
		if tries++; tries == 1 {
			return [][]byte{packPlain(t, respond(t, b, withRcode(dns.RcodeRefused)))}
		}
		return [][]byte{packSigned(t, respond(t, b), b)}
	})
	ended := make(chan Result, 1)
	s := NewSender(Options{
		Done: func(r Result) { ended <- r }, Wait: time.Second,
		Pause: func(int) time.Duration { return time.Millisecond },
	})
	defer s.Close()
	s.Send(&Target{Addr: p.addr, Key: testKey()}, "example.org.", testSOA(7), 0)
	if r := <-ended; r.Outcome != Accepted || r.Tries < 2 || !r.Proven {
		t.Errorf("%+v", r)
	}
}

// TestNoticePorts: who does not see a notice has to guess the port that it leaves from.
func TestNoticePorts(t *testing.T) {
	var mu sync.Mutex
	ports := make(map[string]bool)
	p := startPeer(t, nil, closed{}, func(_ Transport, b []byte, from net.Addr) [][]byte {
		mu.Lock()
		defer mu.Unlock()
		ports[from.String()] = true
		return [][]byte{packPlain(t, respond(t, b))}
	})
	for range 20 {
		if got := exchange(t.Context(), &Target{Addr: p.addr}, mustRequest(t, nil), 5*time.Second); got.outcome != Accepted {
			t.Fatalf("%+v", got)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(ports) < 15 {
		t.Errorf("%d different ports of 20", len(ports))
	}
}
