// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/plugin"
)

// restarts lets one restart of CoreDNS run after the other. The reload plugin and a
// SIGUSR1 begin one each, and Caddy keeps neither from the other: a restart takes as
// long as its startups, and up to five seconds for connections of the old servers.
var restarts = restartLock{slot: make(chan struct{}, 1)}

// restartLock is taken by the instance that a restart begins with, before anything else
// happens, and given back when that restart is over: by the instance's own shutdown, or
// where the restart failed. CoreDNS runs one of the two in every case, also after a panic.
type restartLock struct {
	slot chan struct{}

	mu  sync.Mutex
	by  *instance
	ran string // the goroutine of the restart that has it
}

// restartWait bounds the wait for another restart. Signals wait as well meanwhile.
const restartWait = 10 * time.Second

var (
	errReplaced   = errors.New("another reload has replaced this server meanwhile: what it was to load is given up")
	errRestarting = fmt.Errorf("another reload is still under way after %s: try again when the log says that it is over", restartWait)
)

// take has a restart of this instance begin, or says why it must not. Caddy calls a
// restart that does not begin a failed one, which must touch nothing: see begun.
func (r *restartLock) take(in *instance) error {
	live.Lock()
	replaced := in.replaced
	live.Unlock()
	wait := time.NewTimer(restartWait)
	defer wait.Stop()
	select {
	case r.slot <- struct{}{}:
	case <-replaced:
		return plugin.Error(pluginName, errReplaced)
	case <-wait.C:
		in.reloadFailed(failure{audit.FailedStart, errRestarting})
		return plugin.Error(pluginName, errRestarting)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if in.stage.Load() > stageLive {
		<-r.slot
		return plugin.Error(pluginName, errReplaced)
	}
	r.by, r.ran = in, goroutine()
	return nil
}

func (r *restartLock) giveBack(in *instance) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.by == in {
		r.by, r.ran = nil, ""
		<-r.slot
	}
}

// holder returns the instance that is being restarted, or nil.
func (r *restartLock) holder() *instance {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.by
}

func (r *restartLock) heldBy(in *instance) bool { return r.holder() == in }

// begun reports whether the restart that asks is the one that has the lock. Another one of
// the same instance may fail meanwhile, in this lock or in a plugin before it.
func (r *restartLock) begun(in *instance) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.by == in && r.ran == goroutine()
}

// goroutine names the one that calls it. Caddy runs all callbacks of a restart in one, and
// tells them nothing else by which two restarts of one instance could be told apart.
func goroutine() string {
	b := make([]byte, 40) // "goroutine 4711 [running]:"
	name, _, _ := strings.Cut(string(b[:runtime.Stack(b, false)]), " [")
	return name
}

// failed notes why the instance cannot start, for the record that the old one makes, and
// returns the error for CoreDNS.
func (in *instance) failed(reason audit.ReloadFailure, err error) error {
	if err == nil {
		return nil
	}
	switch {
	case errors.Is(err, errFindings):
		reason = audit.FailedFinding
	case errors.Is(err, errExpect):
		reason = audit.FailedExpect
	}
	live.Lock()
	in.failure = failure{reason, err}
	live.Unlock()
	return plugin.Error(pluginName, err)
}

// Caddy tells its callbacks that a restart failed, and not why.
var (
	errOtherParse  = errors.New("CoreDNS or another plugin did not accept the new Corefile: see its log")
	errOtherStart  = errors.New("CoreDNS or another plugin could not start: see its log")
	errOtherListen = errors.New("CoreDNS could not open its listeners: see its log")
)

// reasonLocked says why an instance that was to take over did not. A Corefile without
// xfrguard leaves none, and nothing to tell how far it came.
func (in *instance) reasonLocked() failure {
	switch {
	case in == nil:
		return failure{audit.FailedParse, errOtherParse}
	case in.failure.err != nil:
		return in.failure
	case in.stage.Load() != stagePlaced:
		return failure{audit.FailedListen, errOtherListen}
	case in.built:
		return failure{audit.FailedStart, errOtherStart}
	}
	return failure{audit.FailedParse, errOtherParse}
}

// restartFailed runs when a restart of this instance has failed: what that restart opened
// is closed, and nothing else.
func (in *instance) restartFailed() {
	if !restarts.begun(in) {
		in.announceHeir()
		return // it never began, or it was over before something else failed
	}
	live.Lock()
	next := in.next
	why := next.reasonLocked()
	live.Unlock()
	if next != nil && next.certain.Load() {
		// It serves: what failed is the shutdown of a plugin.
		in.leave()
		in.announceHeir()
		return
	}
	defer restarts.giveBack(in)
	if next != nil {
		forgetInstance(next.controller.Context())
		next.stop()
	}
	live.Lock()
	in.next = nil
	again := in.stage.CompareAndSwap(stageSuperseded, stageLive)
	if again {
		in.replaced = make(chan struct{})
	}
	live.Unlock()
	if again {
		scopes.keep(in.scoped)
		in.announce(in)
		in.obeyFirst()
	}
	if !ending.Load() { // else it is the end that it failed for
		in.reloadFailed(why)
	}
}

// reloadFailed puts on record that the policy in force is not the one that was to be
// loaded.
func (in *instance) reloadFailed(why failure) {
	reloadFailures.WithLabelValues(string(why.reason)).Inc()
	in.record(audit.Event{Action: audit.ActionReloadFailed, Reason: string(why.reason), Error: why.err.Error()})
}

// record puts what is about the whole instance on record, once in each set of sinks.
func (in *instance) record(e audit.Event) {
	var told []*audit.Recorder
	for _, g := range in.sorted() {
		for _, d := range g.directives {
			if a := d.audit; a != nil && !slices.Contains(told, a.Recorder) {
				told = append(told, a.Recorder)
				a.Lifecycle(&e)
			}
		}
	}
}

// instanceKey is where Caddy's instance keeps ours.
type instanceKey struct{}

// hookEvents has Caddy say when an instance has started, and when the process ends. It is
// done in every setup and once more before an instance is said to have started, for SIGUSR1
// removes all hooks at any time. Caddy panics when the hook is there still.
func hookEvents() {
	defer func() { _ = recover() }()
	caddy.RegisterEventHook(pluginName, func(event caddy.EventName, info any) error {
		if event == caddy.ShutdownEvent {
			ending.Store(true)
		}
		i, ok := info.(*caddy.Instance)
		if !ok || event != caddy.InstanceStartupEvent {
			return nil
		}
		if in := instanceIn(i); in != nil {
			in.enter()
			in.followFiles(i)
		}
		return nil
	})
}

// instanceIn returns our part of one of Caddy's instances, nil where it has none.
func instanceIn(i *caddy.Instance) *instance {
	i.StorageMu.RLock()
	defer i.StorageMu.RUnlock()
	in, _ := i.Storage[instanceKey{}].(*instance)
	return in
}

// ending says that the process ends: the shutdowns that run are not those of a restart.
var ending atomic.Bool

// The end of the process. Requests may come until it is gone.
const (
	endWait   = time.Second // for transfers to end by themselves
	abortWait = time.Second // for those whose connections are cut
)

// shutdown runs at the end of the process, for the instance that Caddy knows: what it
// replaced may still have transfers under way.
func (in *instance) shutdown() {
	live.Lock()
	if in.stage.Load() == stagePlaced {
		in.stage.Store(stageStopped) // its startup gives up
	}
	family := slices.DeleteFunc(slices.Clone(live.instances), func(other *instance) bool { return other.line != in.line })
	live.Unlock()
	end(family)
}

// endAll runs when a signal ends the process. Caddy runs no shutdowns for SIGQUIT, and
// none of ours where the latest Corefile has no xfrguard.
func endAll() {
	ending.Store(true) // SIGINT comes here first, and at any moment of a restart
	live.Lock()
	all := slices.Clone(live.instances)
	live.Unlock()
	end(all)
}

// end stops instances within a bound, each transfer with its end on record.
func end(all []*instance) {
	if len(all) == 0 {
		return
	}
	var guards []*guard
	for _, in := range all {
		guards = append(guards, in.sorted()...)
	}
	limits.Shutdown()
	transfers.cancel(guards, errShutdown)
	if !transfers.drained(endWait, guards) {
		transfers.abort(guards)
		transfers.drained(abortWait, guards)
	}
	var stopping sync.WaitGroup
	for _, in := range all {
		stopping.Go(in.stop)
	}
	stopping.Wait()
}

// failure is why an instance did not come to serve.
type failure struct {
	reason audit.ReloadFailure
	err    error
}
