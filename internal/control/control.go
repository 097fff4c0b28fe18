// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

// Package control reads what an operator says in the files of a directory: that transfers
// are frozen, all or those of some zones, and which held versions may go out.
//
// It fails closed. A freeze counts as soon as its file is there, whatever else is wrong
// with it; it ends when two looks find it gone. A directory that cannot be read leaves the
// last state as it is, and at start everything is frozen. Files are read through a handle
// of the directory. A link is followed only where it is one of a Kubernetes mount.
package control

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// The files of the directory.
const (
	FreezeFile  = "freeze"       // while it is there all transfers are refused; its text is why
	ZonesFile   = "freeze.zones" // a zone a line, and why
	ApproveFile = "approve"      // the digest of a held version a line, and why
)

// Note is what a file says of who wants something, and why.
type Note struct {
	Text string // why; "" when it does not say
	By   string // who: as the text has it, else the owner of the file
}

// Approval is one line of the file approve.
type Approval struct {
	Note
	Digest [48]byte
	Given  time.Time // when the line was first there, as the file system has it

	key  string
	gone time.Time // since when it is not in the file; zero: it is
}

// State is what the directory says. It does not change.
type State struct {
	All   *Note           // nil: transfers are not frozen as a whole
	Zones map[string]Note // the frozen zones, canonical
	Err   error           // why the directory, or a file of it, cannot be read
}

// Frozen returns why transfers of a zone are frozen, nil when they are not.
func (s *State) Frozen(apex string) *Note {
	if s.All != nil {
		return s.All
	}
	if n, ok := s.Zones[apex]; ok {
		return &n
	}
	return nil
}

// The times of looking. Inotify is faster where there is one.
const (
	lookEvery = 500 * time.Millisecond
	thawAfter = 200 * time.Millisecond // for so long a freeze has to be gone
)

// Dir is a directory that is looked at. Its methods are safe for concurrent use.
type Dir struct {
	path    string
	changed func(*Dir)
	state   atomic.Pointer[State]
	quit    chan struct{}
	done    sync.WaitGroup

	mu      sync.Mutex
	given   map[string]Approval // the lines of the last look, by text
	used    map[string]bool
	thawing string // what has been found that freezes less than the state does
	since   time.Time
}

// Open looks at a directory, and goes on looking until Close. Changed is called in that
// goroutine after each change of the state, and after each look while approvals wait.
func Open(path string, changed func(*Dir)) *Dir {
	d := &Dir{path: path, changed: changed, quit: make(chan struct{}), given: make(map[string]Approval), used: make(map[string]bool)}
	d.look(time.Now())
	d.done.Go(d.run)
	return d
}

// Path is the directory's.
func (d *Dir) Path() string { return d.path }

// State returns what the last look has found.
func (d *Dir) State() *State { return d.state.Load() }

// Close ends the looking.
func (d *Dir) Close() error {
	close(d.quit)
	d.done.Wait()
	return nil
}

// Approvals returns the lines of approve that have let nothing out yet.
func (d *Dir) Approvals() (waiting []Approval) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(d.given)) {
		if !d.used[key] && d.given[key].gone.IsZero() {
			waiting = append(waiting, d.given[key])
		}
	}
	return waiting
}

// Use notes that an approval has let a version out: it will let out no other.
func (d *Dir) Use(a Approval) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.used[a.key] = true
}

func (d *Dir) run() {
	var events watch
	defer events.close()
	for {
		events.follow(d.path)
		wait := lookEvery
		if d.unsettled() {
			wait = thawAfter / 2
		}
		timer := time.NewTimer(wait)
		select {
		case <-d.quit:
			timer.Stop()
			return
		case <-events.told():
			timer.Stop()
		case <-timer.C:
		}
		if d.look(time.Now()) || len(d.Approvals()) > 0 {
			d.changed(d)
		}
	}
}

func (d *Dir) unsettled() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.thawing != ""
}

// look reads the directory and reports whether the state is another one.
func (d *Dir) look(now time.Time) (changed bool) {
	before := d.State()
	found, lines := read(d.path, before)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.enterLocked(lines, now)
	if before != nil {
		found = d.settleLocked(before, found, now)
		if same(before, found) {
			return false
		}
	}
	d.state.Store(found)
	return true
}

// settleLocked keeps a freeze until it has been gone for a while: who writes a file anew
// empties it first.
func (d *Dir) settleLocked(before, found *State, now time.Time) *State {
	kept := &State{All: found.All, Zones: maps.Clone(found.Zones), Err: found.Err}
	if kept.All == nil {
		kept.All = before.All
	}
	for apex, n := range before.Zones {
		if _, ok := kept.Zones[apex]; !ok {
			kept.Zones[apex] = n
		}
	}
	if same(kept, found) {
		d.thawing = ""
		return found
	}
	if is := "to " + fingerprint(found); d.thawing != is {
		d.thawing, d.since = is, now
	}
	if now.Sub(d.since) < thawAfter {
		return kept
	}
	d.thawing = ""
	return found
}

// enterLocked notes the lines of approve. One that was there before keeps its time, also
// when it has been gone for a moment: who writes a file anew empties it first.
func (d *Dir) enterLocked(lines []Approval, now time.Time) {
	if lines == nil {
		return // not read
	}
	given := make(map[string]Approval, len(lines))
	for _, a := range lines {
		if old, ok := d.given[a.key]; ok {
			a.Given = old.Given
		}
		given[a.key] = a
	}
	for key, old := range d.given {
		if _, still := given[key]; still {
			continue
		}
		if old.gone.IsZero() {
			old.gone = now
		}
		if now.Sub(old.gone) < thawAfter {
			given[key] = old
		}
	}
	d.given = given
	maps.DeleteFunc(d.used, func(key string, _ bool) bool { _, ok := given[key]; return !ok })
}

func same(a, b *State) bool { return fingerprint(a) == fingerprint(b) }
