// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestRemove: a zone that is removed is asked for in vain, and nothing of it stays: neither
// octets in the store's account nor its past in the process. Added again it is served anew.
func TestRemove(t *testing.T) {
	for name, src := range map[string]settable{"in memory": newInMemory(), "channel": &channelSource{}} {
		t.Run(name, func(t *testing.T) {
			src.set(t, 1, many(t, 500))
			id := newIdentity()
			s := openStore(t, src, Options{Identity: func(string) string { return id }})
			r := current(t, s)
			<-r.Version.settled
			s.Give(t.Context(), r.Version, "rule")
			s.Remove(apex)
			if _, err := s.Current(t.Context(), apex); !errors.Is(err, ErrUnavailable) {
				t.Errorf("after it is gone: %v", err)
			}
			if messages, err := readAll(r); err != nil || len(messages) == 0 {
				t.Errorf("a reader that had begun: %d messages, %v", len(messages), err)
			}
			r.Close()
			s.mu.Lock()
			size, loose, slots := s.size, s.loose.Load(), len(s.slots)
			s.mu.Unlock()
			if size != 0 || loose != 0 || slots != 0 {
				t.Errorf("%d octets are counted as kept and %d beside, in %d zones", size, loose, slots)
			}
			lineages.Lock()
			left := lineages.byID[id]
			lineages.Unlock()
			if left != nil {
				t.Error("its past is kept in the process")
			}
			s.Add(false, apex)
			again := current(t, s)
			if again.Version.Serial != 1 {
				t.Errorf("serial %d", again.Version.Serial)
			}
			again.Close()
		})
	}
}

// TestRemoveUnderLoad: zones come and go while they are built, watched and read.
func TestRemoveUnderLoad(t *testing.T) {
	src := &channelSource{}
	src.set(t, 1, many(t, 200))
	s := openStore(t, src, Options{})
	s.Watch(time.Millisecond, []string{apex}, func(string, *dns.SOA) {})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	stop := make(chan struct{})
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				r, err := s.Current(ctx, apex)
				if err != nil {
					if !errors.Is(err, ErrUnavailable) {
						t.Error(err)
					}
					continue
				}
				if _, err := readAll(r); err != nil {
					t.Error(err)
				}
				r.Close()
			}
		})
	}
	for range 200 {
		s.Remove(apex)
		s.Add(true, apex)
		time.Sleep(time.Millisecond)
	}
	close(stop)
	work.Wait()
	s.Remove(apex)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		s.mu.Lock()
		size, loose := s.size, s.loose.Load()
		s.mu.Unlock()
		if size == 0 && loose == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d octets are counted as kept and %d beside", size, loose)
		}
	}
}
