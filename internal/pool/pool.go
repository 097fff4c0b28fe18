// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

// Package pool shares values that must exist once in a process: the first user opens
// one, the last user closes it.
package pool

import "sync"

// Pool shares what must exist once per process, whatever server blocks use it
// and while two instances overlap during a reload: the first user opens it, the
// last one closes it. The zero pool is ready.
type Pool[V any] struct {
	mu      sync.Mutex
	entries map[string]*pooled[V]
}

type pooled[V any] struct {
	mu sync.Mutex // held while opening and closing, so that a new user waits for the end of the old one

	// What follows is guarded by pool.mu, and changed with mu held, but for users.

	users int // open or waiting for it
	open  bool
	value V
}

// Acquire returns the value of the key, opening it for the first user, and a
// function that gives it back. A failed open leaves nothing behind.
func (p *Pool[V]) Acquire(key string, open func() (V, error), closeLast func(V) error) (V, func() error, error) {
	p.mu.Lock()
	if p.entries == nil {
		p.entries = make(map[string]*pooled[V])
	}
	entry := p.entries[key]
	if entry == nil {
		entry = &pooled[V]{}
		p.entries[key] = entry
	}
	entry.users++
	p.mu.Unlock()

	entry.mu.Lock()
	defer entry.mu.Unlock()
	if !entry.open {
		v, err := open()
		if err != nil {
			p.leave(key, entry)
			return v, nil, err
		}
		p.mu.Lock()
		entry.value, entry.open = v, true
		p.mu.Unlock()
	}
	var once sync.Once
	release := func() (err error) {
		once.Do(func() { err = p.release(key, entry, closeLast) })
		return err
	}
	return entry.value, release, nil
}

func (p *Pool[V]) release(key string, entry *pooled[V], closeLast func(V) error) error {
	entry.mu.Lock()
	defer entry.mu.Unlock()
	if !p.leave(key, entry) {
		return nil
	}
	err := closeLast(entry.value)
	p.mu.Lock()
	var zero V
	entry.value = zero
	if entry.users == 0 { // nobody came while it was closing
		delete(p.entries, key)
	}
	p.mu.Unlock()
	return err
}

// leave takes one user off and reports whether that was the last. The value is to be
// closed then, and the entry stays in the map until it is, so that a new user waits for
// the close to finish. It is called with entry.mu held.
func (p *Pool[V]) leave(key string, entry *pooled[V]) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	entry.users--
	if entry.users > 0 {
		return false
	}
	if !entry.open {
		delete(p.entries, key)
	}
	entry.open = false
	return true
}

// Len returns how many keys have users, or are being closed.
func (p *Pool[V]) Len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.entries)
}

// ForEach calls fn for every open value. One that its last user gives back meanwhile may
// be among them.
func (p *Pool[V]) ForEach(fn func(V)) {
	p.mu.Lock()
	values := make([]V, 0, len(p.entries))
	for _, e := range p.entries {
		if e.open {
			values = append(values, e.value)
		}
	}
	p.mu.Unlock()
	for _, v := range values {
		fn(v)
	}
}
