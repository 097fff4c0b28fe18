// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package pool_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/pool"
)

// The pool opens once and closes once, whatever the order, and opening waits for
// closing.
func TestPool(t *testing.T) {
	var p pool.Pool[*int]
	var open, opens, most int
	var mu sync.Mutex
	get := func() (*int, error) {
		mu.Lock()
		defer mu.Unlock()
		open++
		opens++
		most = max(most, open)
		return new(int), nil
	}
	put := func(*int) error {
		time.Sleep(time.Millisecond)
		mu.Lock()
		defer mu.Unlock()
		open--
		return nil
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				_, release, err := p.Acquire("k", get, put)
				if err != nil {
					t.Error(err)
				}
				p.ForEach(func(*int) {})
				if err := errors.Join(release(), release()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if open != 0 || most != 1 || p.Len() != 0 {
		t.Errorf("%d open, at most %d at once, %d entries, %d opens", open, most, p.Len(), opens)
	}
	bad := errors.New("no")
	if _, _, err := p.Acquire("k", func() (*int, error) { return nil, bad }, put); !errors.Is(err, bad) || p.Len() != 0 {
		t.Errorf("%v, %d entries", err, p.Len())
	}
}

// TestForEachMissesNobody: whoever has the value, or asks for it at that moment, an open
// one is found.
func TestForEachMissesNobody(t *testing.T) {
	var p pool.Pool[int]
	open, closeLast := func() (int, error) { return 1, nil }, func(int) error { return nil }
	_, release, err := p.Acquire("k", open, closeLast)
	if err != nil {
		t.Fatal(err)
	}
	const rounds = 50_000
	var found atomic.Int64
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range rounds {
				p.ForEach(func(n int) { found.Add(int64(n)) })
			}
		})
	}
	wg.Go(func() {
		for range rounds {
			_, again, err := p.Acquire("k", open, closeLast)
			if err == nil {
				err = again()
			}
			if err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	if n := found.Load(); n != 2*rounds {
		t.Errorf("found %d times of %d", n, 2*rounds)
	}
	if err := release(); err != nil {
		t.Error(err)
	}
	p.ForEach(func(int) { t.Error("a closed one is found") })
}
