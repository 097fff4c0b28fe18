// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// gateRun is a run of a server whose zone has a gate, and what it was told by it.
type gateRun struct {
	*process
	mu       sync.Mutex
	told     []uint32 // serials, each time another one
	held     []Held
	released []ReleaseReason
}

// cleaner is what a test and a property check have in common, with an end.
type cleaner interface {
	fatal
	Cleanup(fn func())
}

// startGate starts a store with these judges; dir is where its journal is, "" for none.
func startGate(t cleaner, src Source, dir, id string, judges ...Judge) *gateRun {
	t.Helper()
	g := &gateRun{process: &process{}}
	o := Options{
		Identity: func(string) string { return id },
		Judges:   func(string) []Judge { return judges },
		OnError: func(_ string, err error) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.errors = append(g.errors, err)
		},
		OnHeld: func(h Held) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.held = append(g.held, h)
		},
		OnReleased: func(_ Held, why ReleaseReason) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.released = append(g.released, why)
		},
	}
	if dir != "" {
		g.journal = openJournal(t, dir, 8<<20)
		o.Journal = func(string) Journal { return g.journal }
	}
	g.store = newStoreOf(src, o)
	t.Cleanup(g.store.Close)
	g.store.Watch(5*time.Millisecond, []string{apex}, func(_ string, soa *dns.SOA) {
		g.mu.Lock()
		defer g.mu.Unlock()
		if n := len(g.told); n == 0 || g.told[n-1] != soa.Serial {
			g.told = append(g.told, soa.Serial)
		}
	})
	return g
}

// stop ends the run as a server that is stopped does.
func (g *gateRun) stop(t fatal) {
	t.Helper()
	g.store.Close()
	if g.journal != nil {
		if err := g.journal.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// awaitHeld waits until this serial is held, and returns what is.
func (g *gateRun) awaitHeld(t fatal, serial uint32) Held {
	t.Helper()
	var h Held
	until(t, fmt.Sprintf("serial %d is held", serial), func() bool {
		all := g.store.Held()
		if len(all) != 1 || all[0].Serial != serial {
			return false
		}
		h = all[0]
		return true
	})
	return h
}

// awaitTold waits until this serial is the one that was told last.
func (g *gateRun) awaitTold(t fatal, serial uint32) {
	t.Helper()
	until(t, fmt.Sprintf("serial %d is told", serial), func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return len(g.told) > 0 && g.told[len(g.told)-1] == serial
	})
}

func (g *gateRun) notes() (told []uint32, held []Held, released []ReleaseReason) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.told), slices.Clone(g.held), slices.Clone(g.released)
}

func until(t fatal, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// eachSource runs a test with a zone in memory, and with a backend known by its Transfer.
func eachSource(t *testing.T, fn func(*testing.T, settable)) {
	for name, src := range map[string]settable{"memory": newInMemory(), "channel": &channelSource{}} {
		t.Run(name, func(t *testing.T) { fn(t, src) })
	}
}

// TestHeldVersion: secondaries go on with the last good version while a later one is held,
// also new ones and those who ask for what changed, over a restart too; nobody is told of
// what is held; approved or followed by a good one it goes out, and everybody is told.
func TestHeldVersion(t *testing.T) {
	eachSource(t, func(t *testing.T, src settable) {
		dir, id := t.TempDir(), newIdentity()
		judge := Shrink{Percent: 20}
		src.set(t, 1, many(t, 300))
		g := startGate(t, src, dir, id, judge)
		early, prompt := copyOfZone{}, copyOfZone{}
		early.refresh(t, g.store, "early")
		g.awaitTold(t, 1)
		src.set(t, 2, many(t, 310))
		prompt.refresh(t, g.store, "prompt")
		if prompt.serial != 2 {
			t.Fatalf("a good version: got serial %d", prompt.serial)
		}
		g.awaitTold(t, 2)

		src.set(t, 3, many(t, 200))
		h := g.awaitHeld(t, 3)
		if h.Reason != HeldShrunk || h.Records != 202 {
			t.Errorf("held: %+v", h)
		}
		good := setOf(many(t, 310))
		stays := func(g *gateRun) {
			t.Helper()
			late := copyOfZone{}
			if served := late.refresh(t, g.store, "late"); served != "axfr" || late.serial != 2 || !equalSets(late.set, good) {
				t.Errorf("a new secondary: %s, serial %d, %d records", served, late.serial, len(late.set))
			}
			if served := prompt.refresh(t, g.store, "prompt"); served != "up-to-date" || prompt.serial != 2 {
				t.Errorf("one that has the last good version: %s, serial %d", served, prompt.serial)
			}
			behind := copyOfZone{serial: early.serial, has: true, set: setOf(many(t, 300))}
			if served := behind.refresh(t, g.store, "early"); served != "ixfr" || behind.serial != 2 || !equalSets(behind.set, good) {
				t.Errorf("one that is behind: %s, serial %d, %d records", served, behind.serial, len(behind.set))
			}
		}
		stays(g)
		told, held, released := g.notes()
		if !slices.Equal(told, []uint32{1, 2}) || len(held) != 1 || len(released) != 0 {
			t.Errorf("told %v, held %v, released %v", told, held, released)
		}

		g.stop(t)
		g = startGate(t, src, dir, id, judge)
		g.awaitHeld(t, 3)
		stays(g)
		g.awaitTold(t, 2)

		if out := g.store.Approve(Digest{1}); out != nil {
			t.Fatalf("approved with another digest: %v", out)
		}
		if out := g.store.Approve(h.Digest); len(out) != 1 || out[0].Serial != 3 || len(g.store.Held()) != 0 {
			t.Fatalf("approved: %v, held: %v", out, g.store.Held())
		}
		if served := prompt.refresh(t, g.store, "prompt"); served != "ixfr" || prompt.serial != 3 || !equalSets(prompt.set, setOf(many(t, 200))) {
			t.Errorf("after the approval: %s, serial %d", served, prompt.serial)
		}
		g.awaitTold(t, 3)

		src.set(t, 4, many(t, 0))
		if h := g.awaitHeld(t, 4); h.Reason != HeldEmpty {
			t.Errorf("held: %+v", h)
		}
		src.set(t, 5, many(t, 190))
		g.awaitTold(t, 5)
		prompt.refresh(t, g.store, "prompt")
		if prompt.serial != 5 || !equalSets(prompt.set, setOf(many(t, 190))) || len(g.store.Held()) != 0 {
			t.Errorf("after a good one: serial %d, held %v", prompt.serial, g.store.Held())
		}
		told, held, released = g.notes()
		if !slices.Equal(told, []uint32{2, 3, 5}) || len(held) != 2 || !slices.Equal(released, []ReleaseReason{ReleasedApproved, ReleasedSuperseded}) {
			t.Errorf("told %v, held %v, released %v", told, held, released)
		}
	})
}

// judgeFunc is a judge made of a function.
type judgeFunc func(context.Context, *Case) *Objection

func (f judgeFunc) Judge(ctx context.Context, c *Case) *Objection { return f(ctx, c) }

// TestJudgeFails: a judge that panics or does not end holds the version, and a zone without
// a good one is not given at all.
func TestJudgeFails(t *testing.T) {
	defer func(d time.Duration) { judgeTime = d }(judgeTime)
	judgeTime = 50 * time.Millisecond
	never := make(chan struct{})
	defer close(never)
	for name, judge := range map[string]judgeFunc{
		"panics":        func(context.Context, *Case) *Objection { panic("broken") },
		"never ends":    func(context.Context, *Case) *Objection { <-never; return nil },
		"ends too late": func(ctx context.Context, _ *Case) *Objection { <-ctx.Done(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			src := newInMemory()
			src.set(t, 1, many(t, 3))
			g := startGate(t, src, "", newIdentity(), judgeFunc(func(ctx context.Context, c *Case) *Objection {
				if c.Version.Serial < 3 {
					return nil
				}
				return judge(ctx, c)
			}), Shrink{Percent: 50})
			c := copyOfZone{}
			c.refresh(t, g.store, "c")
			src.set(t, 3, many(t, 4))
			if h := g.awaitHeld(t, 3); h.Reason != HeldNotJudged {
				t.Errorf("held for %s", h.Reason)
			}
			if served := c.refresh(t, g.store, "c"); served != "up-to-date" {
				t.Errorf("served %s, serial %d", served, c.serial)
			}
			other := newInMemory()
			other.set(t, 3, many(t, 4))
			g = startGate(t, other, "", newIdentity(), judge)
			if _, err := g.store.Current(context.Background(), apex); !errors.Is(err, ErrHeld) {
				t.Errorf("without a good version: %v", err)
			}
		})
	}
}

// TestJudgingHinders nobody: while a version is judged clients get the last good one, and
// a judge whose version is superseded is told so.
func TestJudging(t *testing.T) {
	src := newInMemory()
	src.set(t, 1, many(t, 3))
	judging, ended := make(chan struct{}, 1), make(chan struct{}, 1)
	g := startGate(t, src, "", newIdentity(), judgeFunc(func(ctx context.Context, c *Case) *Objection {
		if c.Version.Serial == 2 {
			judging <- struct{}{}
			<-ctx.Done()
			ended <- struct{}{}
		}
		return nil
	}))
	c := copyOfZone{}
	c.refresh(t, g.store, "c")
	src.set(t, 2, many(t, 4))
	<-judging
	if served := c.refresh(t, g.store, "c"); served != "up-to-date" || c.serial != 1 {
		t.Errorf("while it is judged: %s, serial %d", served, c.serial)
	}
	if held := g.store.Held(); len(held) != 0 {
		t.Errorf("held before the verdict: %v", held)
	}
	src.set(t, 3, many(t, 5))
	g.awaitTold(t, 3)
	<-ended
	c.refresh(t, g.store, "c")
	if told, held, _ := g.notes(); c.serial != 3 || !slices.Equal(told, []uint32{1, 3}) || len(held) != 0 {
		t.Errorf("after the next one: serial %d, told %v, held %v", c.serial, told, held)
	}
}
