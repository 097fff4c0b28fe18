// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"os"
	"sync"
	"time"

	"github.com/xfrguard/xfrguard/internal/coredns"
	"github.com/xfrguard/xfrguard/internal/lint"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/plugin"
)

// instances keeps what the setups of a Corefile leave for the parsing callbacks,
// which get nothing but the context. An entry goes with the last callback; one
// whose parse failed goes when a later parse begins.
var instances = struct {
	sync.Mutex
	byContext map[caddy.Context]*instance
}{byContext: make(map[caddy.Context]*instance)}

// parseTime is far longer than any Corefile takes to parse.
const parseTime = time.Minute

// instanceOf returns the instance that c belongs to.
func instanceOf(c *caddy.Controller) *instance {
	instances.Lock()
	defer instances.Unlock()
	now := time.Now()
	in, ok := instances.byContext[c.Context()]
	if !ok {
		in = newInstance(c, now)
		instances.byContext[c.Context()] = in
	}
	for ctx, other := range instances.byContext {
		if now.Sub(other.seen) > parseTime {
			delete(instances.byContext, ctx)
		}
	}
	return in
}

// newInstance arranges for all that befalls an instance after its setups. The shutdown
// is registered here and not at its startup, so that of all plugins' it runs early: one
// that fails ends the restart as failed, though the new instance serves.
func newInstance(c *caddy.Controller, now time.Time) *instance {
	in := &instance{controller: c, guards: make(map[int]*guard), seen: now, replaced: make(chan struct{}), statics: make(coredns.Statics)}
	in.follow(restarts.holder())
	hookEvents()
	in.files = newFollowing()
	in.rules = newExpiring()
	in.made = whatMakes(c)
	c.Set(instanceKey{}, in)
	if os.Getenv(lint.CheckVariable) != "" {
		c.OnFirstStartup(in.checkAndExit)
	}
	c.OnRestart(func() error { return restarts.take(in) })
	c.OnRestartFailed(func() error { in.restartFailed(); return nil })
	c.OnShutdown(func() error { in.leave(); return nil })
	c.OnFinalShutdown(func() error { in.shutdown(); return nil })
	return in
}

// follow makes this instance the one that is to take the place of another, nil for none.
func (in *instance) follow(previous *instance) {
	live.Lock()
	defer live.Unlock()
	if previous == nil {
		live.lines++
		in.line = live.lines
		return
	}
	in.line, in.previous = previous.line, previous
	previous.next = in
}

func lookupInstance(ctx caddy.Context) *instance {
	instances.Lock()
	defer instances.Unlock()
	return instances.byContext[ctx]
}

func forgetInstance(ctx caddy.Context) {
	instances.Lock()
	defer instances.Unlock()
	delete(instances.byContext, ctx)
}

// doorOf returns what makes the door of a block. It runs once a key and socket.
func (in *instance) doorOf(g *guard) plugin.Plugin {
	return func(next plugin.Handler) plugin.Handler {
		in.late.Do(func() {
			live.Lock()
			in.built = true
			live.Unlock()
			// Only now: every setup has added its own, and transfer has looked for its
			// sources when this one runs.
			in.controller.OnStartup(in.prepare)
		})
		in.statics.Note(coredns.Chain(next))
		return &door{guard: g, next: next}
	}
}
