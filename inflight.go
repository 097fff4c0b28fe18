// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/policy"
)

// Why a transfer under way is ended.
var (
	errRevoked  = errors.New("no longer allowed by the policy")
	errShutdown = errors.New("server is shutting down")
)

// transfers are the requests for one that are under way in this process, the denied
// ones too until they are answered: they outlive the instance of CoreDNS that met them.
var transfers = inflight{running: make(map[*underWay]struct{})}

type inflight struct {
	mu      sync.Mutex
	running map[*underWay]struct{}
	changed chan struct{} // closed at the next change; nil when nobody waits
}

// underWay is one request, from its evidence to the record of its end.
type underWay struct {
	ctx    context.Context // done when the transfer has to end
	cancel context.CancelCauseFunc
	x      *exchange
}

// begin returns nil once the guard is shut: nothing can be put on record any more, so
// the request must get no answer.
func (t *inflight) begin(ctx context.Context, x *exchange) *underWay {
	u := &underWay{x: x}
	// The values of ctx count, and not its end: CoreDNS's cancel means queries, and would
	// cut transfers. A transfer has limits of its own.
	u.ctx, u.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	t.mu.Lock()
	defer t.mu.Unlock()
	if x.guard.shut {
		u.cancel(nil)
		return nil
	}
	x.run = u
	t.running[u] = struct{}{}
	return u
}

func (t *inflight) end(u *underWay) {
	u.cancel(nil)
	t.recorded(u)
}

// recorded is called when nothing more of the request goes on record. A client that was
// denied and does not read the answer keeps nothing open.
func (t *inflight) recorded(u *underWay) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.running, u)
	if t.changed != nil {
		close(t.changed)
		t.changed = nil
	}
}

// of returns the transfers of these guards.
func (t *inflight) of(guards []*guard) []*underWay {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ofLocked(guards)
}

func (t *inflight) ofLocked(guards []*guard) []*underWay {
	var found []*underWay
	for u := range t.running {
		if slices.Contains(guards, u.x.guard) {
			found = append(found, u)
		}
	}
	return found
}

func (t *inflight) cancel(guards []*guard, cause error) {
	for _, u := range t.of(guards) {
		u.cancel(cause)
	}
}

// gone ends the transfers of zones that are gone: those of this guard, and those of an older
// instance whose requests would come to it.
func (t *inflight) gone(g *guard, zones map[string]*member) {
	t.mu.Lock()
	var found []*underWay
	for u := range t.running {
		if _, ok := zones[u.x.Req.Zone]; ok {
			found = append(found, u)
		}
	}
	t.mu.Unlock()
	for _, u := range found {
		if u.x.guard == g || slices.Contains(nearest(u.x, g.in.sorted()), g) {
			u.cancel(errZoneGone)
		}
	}
}

// abort cuts the connections of these guards' transfers.
func (t *inflight) abort(guards []*guard) {
	for _, u := range t.of(guards) {
		if u.x.conn != nil {
			u.x.abort()
		}
	}
}

// drained waits until none of these guards has a transfer under way, and reports whether
// it was so within the time.
func (t *inflight) drained(within time.Duration, guards []*guard) bool {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	return t.idle(ctx, guards, false)
}

// drain waits as long as transfers of these guards are under way, and shuts them then.
func (t *inflight) drain(guards []*guard) { t.idle(context.Background(), guards, true) }

func (t *inflight) idle(ctx context.Context, guards []*guard, shut bool) bool {
	for {
		t.mu.Lock()
		if len(t.ofLocked(guards)) == 0 {
			if shut {
				shutLocked(guards)
			}
			t.mu.Unlock()
			return true
		}
		if t.changed == nil {
			t.changed = make(chan struct{})
		}
		changed := t.changed
		t.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// shut has these guards meet no request any more.
func (t *inflight) shut(guards []*guard) {
	t.mu.Lock()
	defer t.mu.Unlock()
	shutLocked(guards)
}

func shutLocked(guards []*guard) {
	for _, g := range guards {
		g.shut = true
	}
}

// review decides every transfer under way again, under the policies of a new
// instance: one that would not be allowed now is closed.
func (t *inflight) review(guards []*guard) {
	t.mu.Lock()
	var old []*underWay
	for u := range t.running {
		if !slices.Contains(guards, u.x.guard) {
			old = append(old, u)
		}
	}
	t.mu.Unlock()
	reviewed(old, guards)
}

func reviewed(list []*underWay, guards []*guard) {
	for _, u := range list {
		if !stillAllowed(u.x, guards) {
			u.cancel(errRevoked)
		}
	}
}

// stillAllowed asks the guards that would get the request again. One of another view has
// another content, and allows nothing.
func stillAllowed(x *exchange, guards []*guard) bool {
	for _, g := range nearest(x, guards) {
		if g.Policies.Of(x.Req.Zone) == nil || g.Config.ViewName != x.View {
			continue
		}
		if g.mode == corefile.ModeObserve {
			return true
		}
		req := x.Req
		req.Now, req.Replayed = time.Now(), false
		if x.Peer != nil {
			req.TLS = g.ProofOf(x.Peer, req.Client, req.Now) // the CA may be another one now
		}
		if req.TSIG.Status == policy.TSIGValid && string(g.Secrets[req.TSIG.Key].Raw) != string(x.Secret) {
			continue // the key is another one now
		}
		if d := g.Policies.Decide(&req); d.Allow && x.permits(&d) {
			return true
		}
	}
	return false
}

// permits reports whether an allowed request may be answered with what it gets. A whole
// zone needs the permission for AXFR, also where differences were asked for; differences
// need that for IXFR.
func (x *exchange) permits(d *policy.Decision) bool {
	switch x.content.Load() {
	case audit.ServedAXFR, audit.ServedAXFRFallback:
		return d.Full
	case audit.ServedIXFR:
		return !d.FullOnly
	}
	return true
}

// overruled reports whether a newer instance has taken over that would not give the
// client its answer: until its listeners are closed, the old one meets requests that
// began after review has looked. Either review sees what this one is about to send, or
// this one sees the new instance, which was there before review.
func (x *exchange) overruled() bool {
	latest := x.guard.successor()
	return latest != nil && !stillAllowed(x, latest.sorted())
}
