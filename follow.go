// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/finding"
	"github.com/xfrguard/xfrguard/internal/lint"

	"github.com/coredns/caddy"
)

// following is the part of an instance that sees to it that the keys and certificates in
// force are those on disk. CoreDNS reads them when it starts: without it a key that was
// stolen, and replaced in its file, goes on working.
type following struct {
	once sync.Once
	quit chan struct{}
	end  func()
}

func newFollowing() *following {
	f := &following{quit: make(chan struct{})}
	f.end = sync.OnceFunc(func() { close(f.quit) })
	return f
}

// reloadHears reports whether the reload plugin is told of instances that start. Its event
// hook is registered once in a process. A restart by SIGUSR1 removes it for good, and for
// a while where that restart fails.
func reloadHears() bool {
	return slices.Contains(caddy.ListPlugins()["event_hooks"], "reload")
}

// How often to look.
const (
	lookAnyway = 30 * time.Second // where there is no reload, and a look only tells
	confirmMax = time.Second      // from one look to the other that has to find the same
	retryMin   = time.Minute      // after a restart that has failed with the same files
	retryMax   = time.Hour
)

// follower looks for an instance that serves.
type follower struct {
	in     *instance
	server *caddy.Instance
	untold bool // the reload plugin does not know of this instance

	files    map[string]string // what the last look found
	corefile string
	told     string            // what it has said last that nobody loads
	failed   map[string]string // what a restart has failed with
	wait     time.Duration     // until it is tried again
	again    time.Time
}

// followFiles begins to look. Caddy gives the instance to its event hooks alone.
func (in *instance) followFiles(server *caddy.Instance) {
	in.files.once.Do(func() { go newFollower(in, server).run() })
}

func newFollower(in *instance, server *caddy.Instance) *follower {
	return &follower{
		in: in, server: server, untold: in.made.interval > 0 && !reloadHears(),
		files: in.made.files, corefile: in.made.text,
	}
}

func (f *follower) run() {
	every := f.in.made.interval
	if every == 0 {
		every = lookAnyway
	}
	for wait := time.Duration(0); ; {
		select {
		case <-f.in.files.quit:
			return
		case <-time.After(wait):
		}
		if wait = every; f.look() {
			wait = min(every/4, confirmMax)
		}
	}
}

// look compares what is on disk with what is in force, and has CoreDNS load it when two
// looks find the same. It reports whether the next look should not wait.
func (f *follower) look() (soon bool) {
	if f.in.stage.Load() != stageLive {
		return false
	}
	if f.untold && reloadHears() { // it came up while a signal was on its way to fail
		f.untold = false
		caddy.EmitEvent(caddy.InstanceStartupEvent, f.server)
	}
	made := &f.in.made
	files, corefile := made.now()
	settled := maps.Equal(files, f.files) && corefile == f.corefile
	f.files, f.corefile = files, corefile

	changed := differing(made.files, files)
	edited := corefile != made.text
	pending := 0.0
	if edited || len(changed) > 0 {
		pending = 1
	}
	filesPending.Set(pending)
	switch {
	case pending == 0:
		f.told, f.failed = "", nil
		return false
	case !settled:
		return true
	case made.interval == 0:
		if edited {
			changed = append(changed, made.corefile)
		}
		f.notLoaded(changed, errNoReload)
		return false
	case edited && f.untold:
		f.notLoaded([]string{made.corefile}, errReloadGone)
	}
	return len(changed) > 0 && f.restart(changed)
}

var (
	errNoReload   = errors.New("reload is not in the Corefile: what has changed counts when CoreDNS is restarted, or gets SIGUSR1")
	errReloadGone = errors.New("a SIGUSR1 has ended CoreDNS's reload plugin: what has changed counts when CoreDNS is restarted, or gets SIGUSR1")
	errNotLoaded  = errors.New("CoreDNS has not taken the new files, the old ones stay in force: see policy-reload-failed and CoreDNS's log")
)

// notLoaded says once of each content that nobody loads it.
func (f *follower) notLoaded(paths []string, why error) {
	text := f.corefile
	for _, p := range paths {
		text += p + f.files[p]
	}
	if text == f.told {
		return
	}
	f.told = text
	log.Warningf("Changed on disk and not in force: %v: %v", paths, why)
	f.in.filesChanged(audit.FilesNoReload, paths, why)
}

// restart has CoreDNS load its Corefile again, the one in force: an edit of it is for the
// reload plugin. A signal would end that one. It reports whether to look again soon.
func (f *follower) restart(changed []string) (soon bool) {
	again := maps.Equal(f.files, f.failed)
	switch {
	case again && time.Now().Before(f.again) || ending.Load():
		return false
	case restarts.holder() != nil: // it may load them
		return true
	}
	log.Infof("Changed on disk: %v: reloading", changed)
	next, err := f.server.Restart(f.server.Caddyfile())
	if err == nil && next != nil || f.in.stage.Load() != stageLive || ending.Load() {
		return false // another one is in force
	}
	if !again {
		f.failed, f.wait = f.files, retryMin
		f.in.filesChanged(audit.FilesFailed, changed, errNotLoaded)
	}
	f.again = time.Now().Add(f.wait)
	f.wait = min(2*f.wait, retryMax)
	return false
}

// tellLoaded puts on record which files have other content than those that the instance
// before was made of, whatever has made CoreDNS read them.
func (in *instance) tellLoaded(previous *instance) {
	if previous == nil {
		return
	}
	var changed []string
	for _, path := range differing(previous.made.files, in.made.files) {
		_, before := previous.made.files[path]
		if _, now := in.made.files[path]; before && now {
			changed = append(changed, path)
		}
	}
	if len(changed) > 0 {
		in.filesChanged(audit.FilesLoaded, changed, nil)
	}
}

// maxListed bounds the paths in an event.
const maxListed = 16

func (in *instance) filesChanged(what audit.FilesChange, paths []string, why error) {
	e := audit.Event{Action: audit.ActionFilesChanged, Reason: string(what), Extra: map[string]any{
		audit.ExtraFiles:      paths[:min(len(paths), maxListed)],
		audit.ExtraFilesTotal: len(paths),
	}}
	if why != nil {
		e.Error = why.Error()
	}
	in.record(e)
}

// differing returns the paths that the maps do not have alike, in their order.
func differing(a, b map[string]string) (paths []string) {
	for p, v := range a {
		if w, ok := b[p]; !ok || v != w {
			paths = append(paths, p)
		}
	}
	for p := range b {
		if _, ok := a[p]; !ok {
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	return paths
}

// announceHeir is called when a restart is said to have failed. Where the shutdown of a
// plugin has failed after the new instance was up, Caddy tells nobody that it has started:
// the reload plugin would look no more, and nobody would follow its files. It is told here.
func (in *instance) announceHeir() {
	live.Lock()
	heir := in.heir
	if in.leftIn != goroutine() { // another restart, which has not failed
		heir = nil
	} else {
		in.heir = nil
	}
	live.Unlock()
	if heir == nil {
		return
	}
	for _, i := range caddy.Instances() {
		if instanceIn(i) == heir {
			caddy.EmitEvent(caddy.InstanceStartupEvent, i)
		}
	}
}

// lintReload finds what the Corefile seems to promise, and nobody does. One block says it
// for all.
func (g *guard) lintReload(fs *lint.Findings, in *instance) {
	switch {
	case g != in.sorted()[0]:
	case in.made.interval == 0 && len(in.made.files) > 0:
		fs.Add(finding.ReloadMissing, g.pos, "keys and certificates are read at start, and new files count when CoreDNS is restarted or gets SIGUSR1: "+
			"write reload into the Corefile, and they are followed")
	case in.made.interval > 0 && !reloadHears():
		fs.Add(finding.ReloadAfterSignal, g.pos, "SIGUSR1 ends CoreDNS's reload plugin, and no edit of the Corefile is seen until CoreDNS is restarted: "+
			"send no SIGUSR1 where the Corefile has reload")
	}
}
