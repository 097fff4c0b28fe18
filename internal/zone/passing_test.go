// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"context"
	"sync"
	"testing"
	"time"
)

// TestSinceOfWhatGrows: a client asks what changed while the zone grows out of the cache.
// The build waits for its readers then, of which it is one, so it must not wait for the build.
func TestSinceOfWhatGrows(t *testing.T) {
	for name, ask := range map[string]func(context.Context, *Store, *Version){
		"since": func(ctx context.Context, s *Store, v *Version) {
			if m, err := s.Since(ctx, v, 1, []string{"rule"}); m != nil || err != nil {
				t.Errorf("%d messages, %v", len(m), err)
			}
		},
		"ambiguous": func(ctx context.Context, s *Store, v *Version) {
			if s.Ambiguous(ctx, v) {
				t.Error("ambiguous")
			}
		},
		"give": func(ctx context.Context, s *Store, v *Version) { s.Give(ctx, v, "rule") },
	} {
		t.Run(name, func(t *testing.T) {
			gate := make(chan struct{})
			src := &channelSource{}
			s := openStore(t, src, Options{Limit: 4 << 20})
			s.Give(t.Context(), edit(t, s, src, 1, many(t, 100)), "rule")
			src.mu.Lock()
			src.gate = gate
			src.mu.Unlock()
			src.set(t, 2, many(t, 200_000))
			let := func(batches int) {
				for range batches {
					gate <- struct{}{}
				}
			}
			go let(60_000 / 3) // 1 MiB: not too large yet
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			r := current(t, s)
			defer r.Close()
			if r.Version.isPassing() {
				t.Fatal("too large already")
			}
			var rest sync.WaitGroup
			defer rest.Wait()
			stop := make(chan struct{})
			defer close(stop)
			rest.Go(func() { letAll(gate, stop) })
			ask(ctx, s, r.Version)
			if ctx.Err() != nil {
				t.Fatal("waited for what waits for it")
			}
			if _, err := readAll(r); err != nil {
				t.Error(err)
			}
		})
	}
}

// letAll opens a gate for good, once what asks has begun to wait.
func letAll(gate, stop chan struct{}) {
	time.Sleep(50 * time.Millisecond)
	for {
		select {
		case gate <- struct{}{}:
		case <-stop:
			return
		}
	}
}

// TestSlowReaderOfWhatIsTooLarge: somebody reads a zone slowly that turns out to be too
// large for the cache; who comes after does not wait for that one, nor spins.
func TestSlowReaderOfWhatIsTooLarge(t *testing.T) {
	src := &channelSource{}
	src.set(t, 1, many(t, 200_000))
	s := openStore(t, src, Options{Limit: 1 << 20})
	slow := current(t, s)
	defer slow.Close()
	for slow.next < 20 {
		if _, err := slow.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for !func() bool { // until its beginning is gone
		slow.Version.mu.Lock()
		defer slow.Version.mu.Unlock()
		return slow.Version.gone > 0
	}() {
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r, err := s.Current(ctx, apex)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if m, err := readAll(r); err != nil || len(m) < 100 {
		t.Errorf("%d messages, %v", len(m), err)
	}
	src.mu.Lock()
	defer src.mu.Unlock()
	if src.whole > 3 { // once to be compared with what is there
		t.Errorf("the backend was asked for the whole zone %d times", src.whole)
	}
}
