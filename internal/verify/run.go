// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"context"
	"fmt"
	"runtime"
	"slices"
)

// run is one judgement.
type run struct {
	ctx    context.Context //nolint:containedctx // a run lives as long as one call
	in     *Input
	o      *Options
	zone   Zone
	apex   []byte
	now    int64 // seconds
	report *Report

	keys     []*key
	required []uint8 // algorithms of which each set needs a signature; none: any one
	nsec     bool    // the zone has a chain of NSEC records
	hashes   *hashes // its NSEC3 records; nil: it has none that can be checked
	touched  touched // what changed; nil: everything counts as new
	must     bool    // what is looked at is checked, also when it did not change
	batch    batch
	state    *State

	work    int // records since the last breath
	entered bool
	scratch [2][]uint16
}

// State is what is remembered of a version that was judged.
type State struct {
	signed   bool
	clean    bool // nothing was wrong with signatures and chain
	nsec     bool // a chain of NSEC records, and of no others
	keys     []*key
	required []uint8
	anchor   string // its meaning
	ends     ends
	failed   map[string]struct{} // sets, as setKey names them
	unproven map[string]struct{} // good sets that have a signature beside the good one that is not
	overflow bool                // there are more of them than are remembered
}

// maxFailed is how many sets of each kind a state remembers.
const maxFailed = 4096

func newRun(ctx context.Context, in *Input, o *Options) *run {
	r := &run{
		ctx: ctx, in: in, o: o, zone: in.Zone, apex: in.Zone.Apex(), now: o.Now.Unix(), report: &Report{},
		state: &State{failed: make(map[string]struct{}), unproven: make(map[string]struct{}), anchor: o.Anchor.meaning(in.Zone.Apex())},
	}
	r.batch.run = r
	return r
}

// processors are what all judges of the process may use at once: who asks first is served
// first, so a small zone does not wait for the end of a large one.
var processors = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))

// breath is how many records are looked at before others get the processor.
const breath = 4096

func (r *run) enter() error {
	select {
	case processors <- struct{}{}:
		r.entered = true
		return nil
	case <-r.ctx.Done():
		return fmt.Errorf("judging %s: %w", text(r.apex), context.Cause(r.ctx))
	}
}

func (r *run) leave() {
	if r.entered {
		r.entered = false
		<-processors
	}
}

// breathe counts work, and lets others have the processor now and then.
func (r *run) breathe(records int) error {
	if r.work += records; r.work < breath {
		return nil
	}
	r.work = 0
	r.leave()
	return r.enter()
}

func (r *run) fail(why Reason, owner []byte, rtype uint16, what string) {
	r.report.Total++
	known := slices.ContainsFunc(r.report.Failures, func(f Failure) bool { return f.Reason == why })
	if len(r.report.Failures) < maxFailures-len(Reasons) || !known {
		r.report.Failures = append(r.report.Failures, Failure{why, text(owner), rtype, what})
	}
	if why.OfDigest() {
		return
	}
	r.state.remember(r.state.failed, owner, rtype)
}

func (s *State) remember(sets map[string]struct{}, owner []byte, rtype uint16) {
	if len(sets) >= maxFailed {
		s.overflow = true
		return
	}
	sets[setKey(owner, rtype)] = struct{}{}
}

// unchecked notes what cannot be checked, once.
func (r *run) unchecked(what string) {
	if !slices.Contains(r.report.Unchecked, what) {
		r.report.Unchecked = append(r.report.Unchecked, what)
	}
}

// setKey names a set.
func setKey(owner []byte, rtype uint16) string {
	return string(owner) + string([]byte{byte(rtype >> 8), byte(rtype)})
}
