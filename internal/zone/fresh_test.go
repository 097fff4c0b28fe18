// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// sluggish is a backend that takes its time before it even begins to answer.
type sluggish struct {
	*channelSource
	asked chan struct{}
	gate  chan struct{}
}

func (s sluggish) Transfer(zone string, serial uint32) (<-chan []dns.RR, error) {
	ch, err := s.channelSource.Transfer(zone, serial)
	s.asked <- struct{}{}
	<-s.gate
	return ch, err
}

// TestAskedAfterTheChange: a look at the backend is under way when the zone changes. Who
// asks after the change gets the changed zone, not what the look will bring.
func TestAskedAfterTheChange(t *testing.T) {
	src := sluggish{&channelSource{}, make(chan struct{}, 10), make(chan struct{})}
	src.set(t, 1, many(t, 10))
	s := openStore(t, src, Options{})
	go func() { current(t, s).Close() }()
	<-src.asked
	src.set(t, 2, many(t, 10))
	got := make(chan uint32)
	go func() {
		r := current(t, s)
		defer r.Close()
		got <- r.Version.Serial
	}()
	time.Sleep(20 * time.Millisecond) // it has joined
	close(src.gate)
	if serial := <-got; serial != 2 {
		t.Errorf("got %d", serial)
	}
}

// TestBackendHangs: a Transfer that does not return is not waited for without end, by
// nobody: neither the clients, nor who closes the store.
func TestBackendHangs(t *testing.T) {
	for _, large := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			src := sluggish{&channelSource{}, make(chan struct{}, 10), make(chan struct{})}
			src.set(t, 1, many(t, 10))
			s := newStoreOf(src, Options{})
			s.slots[apex].large = large
			begin := time.Now()
			if _, err := s.Current(context.Background(), apex); !errors.Is(err, ErrUnavailable) {
				t.Errorf("got %v", err)
			}
			if took := time.Since(begin); took > 2*silence {
				t.Errorf("after %v", took)
			}
			s.Watch(time.Second, []string{apex}, nil)
			time.Sleep(5 * time.Second)
			begin = time.Now()
			s.Close()
			if took := time.Since(begin); took > time.Second {
				t.Errorf("closed after %v", took)
			}
			close(src.gate)
			synctest.Wait()
		})
	}
}
