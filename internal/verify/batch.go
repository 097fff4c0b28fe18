// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
)

// batchSize is how many sets are checked at once; batchBytes is how large they may be.
const (
	batchSize  = 256
	batchBytes = 4 << 20
)

// batch is sets whose signatures wait to be checked, on all processors that judges may
// use.
type batch struct {
	run        *run
	arena      []byte
	candidates []candidate
	jobs       []job
}

type job struct {
	owner      []byte
	rtype      uint16
	first, end int // of candidates
}

func (b *batch) keep(x []byte) []byte { return bytes.Clone(x) }

// flush checks what waits.
func (b *batch) flush() error {
	if len(b.jobs) == 0 {
		return nil
	}
	var at, checked atomic.Int64
	work := func() {
		for {
			i := int(at.Add(1)) - 1
			if i >= len(b.jobs) || b.run.ctx.Err() != nil {
				return
			}
			j := &b.jobs[i]
			for c := j.first; c < j.end; c++ {
				cand := &b.candidates[c]
				if cand.status != pending {
					continue
				}
				checked.Add(1)
				cand.status = bogus
				if cand.key.check(b.arena[cand.message:cand.end], cand.sig) {
					cand.status = good
				}
			}
		}
	}
	var helpers sync.WaitGroup
	for range min(cap(processors)-1, len(b.jobs)/8) {
		helpers.Go(func() {
			select {
			case processors <- struct{}{}:
				defer func() { <-processors }()
				work()
			default: // others judge too
			}
		})
	}
	work()
	helpers.Wait()
	r := b.run
	r.report.Checked += int(checked.Load())
	if err := r.ctx.Err(); err != nil {
		return fmt.Errorf("judging %s: %w", text(r.apex), context.Cause(r.ctx))
	}
	for i := range b.jobs {
		j := &b.jobs[i]
		r.verdict(j.owner, j.rtype, b.candidates[j.first:j.end])
	}
	b.arena, b.candidates, b.jobs = b.arena[:0], b.candidates[:0], b.jobs[:0]
	r.leave()
	return r.enter()
}
