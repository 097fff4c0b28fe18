// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/xfrguard/xfrguard/internal/trail"
)

const (
	lineQueue     = 4096            // appends waiting for a sink that is slow, and half as many posts: some 8 MB
	lineCloseWait = 2 * time.Second // for a writer that is slow, and once more for one that hangs
)

// lineSink gives the sinks that take one line after the other a sequence and a chain of
// their own, a bounded queue, an account of what they lost, and one writer, so that a
// write which blocks for ever blocks nobody else.
//
// A write that fails, or an append that gets no answer in time, and the sink is down:
// nothing is taken until the writer got a gap event through (sink_gap.go). Posts that
// wait by then are kept; whoever waits for an append still gets his try.
type lineSink struct {
	name  string
	write func(line []byte) error // of one sealed line with its newline; never called twice at once, may block
	out   io.Closer               // makes a write that blocks return; nil: there is nothing to close
	state func(error)             // see Opener; called under mu

	wake  chan struct{} // has room for one
	done  chan struct{}
	chain *trail.Chain // the writer's

	mu      sync.Mutex
	closing bool
	room    int         // how many appends may wait, and half as many posts
	queue   []*lineItem // in the order of writing
	posted  int         // how many of them nobody waits for
	account
}

// lineItem is one event on its way to the writer.
type lineItem struct {
	event  []byte
	result chan error // of Append, has room for one; nil: of Post
	gaveUp bool       // its caller did, while it was being written
}

// ToLines opens a sink that has one sealed line after the other written, each with its
// newline. write may block, fail and panic; it is never called twice at once.
func ToLines(write func(line []byte) error) Opener {
	return func(name string, state func(error)) (Sink, error) { return newLineSink(name, write, nil, state) }
}

func newLineSink(name string, write func([]byte) error, out io.Closer, state func(error)) (*lineSink, error) {
	chain, err := trail.NewChain()
	if err != nil {
		return nil, err
	}
	s := &lineSink{
		name: name, write: write, out: out, state: state, chain: chain, room: lineQueue,
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	go s.run()
	return s, nil
}

// Append implements Sink. An event whose turn did not come in time is taken back and will
// not be written; one that is being written then may arrive late.
func (s *lineSink) Append(ctx context.Context, event []byte) error {
	item := &lineItem{event: event, result: make(chan error, 1)}
	if err := s.enqueue(ctx, item); err != nil {
		return err
	}
	select {
	case err := <-item.result:
		return err
	case <-ctx.Done():
		return s.giveUp(item, ctx.Err())
	}
}

// Post implements Sink.
func (s *lineSink) Post(event []byte) error {
	return s.enqueue(context.Background(), &lineItem{event: event})
}

// Room implements Sink.
func (s *lineSink) Room() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.posted < s.room/2
}

// enqueue counts an event that it does not take as lost.
func (s *lineSink) enqueue(ctx context.Context, item *lineItem) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	full := len(s.queue)-s.posted >= s.room
	if item.result == nil {
		full = s.posted >= s.room/2
	}
	var err error
	switch {
	case s.closing:
		err = errSinkClosed
	case s.down:
		err = fmt.Errorf("%w: %w", errSinkDown, s.reason)
	case ctx.Err() != nil: // the caller is late: the machine was suspended, or is overloaded
		err = fmt.Errorf("%w: %w", errDeadline, ctx.Err())
	case full:
		err = errBusy
	}
	if err != nil {
		s.loseLocked(item.event, err)
		return err
	}
	s.queue = append(s.queue, item)
	if item.result == nil {
		s.posted++
	}
	s.poke()
	return nil
}

// giveUp is called when the caller of an Append cannot wait any longer.
func (s *lineSink) giveUp(item *lineItem, cause error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case err := <-item.result:
		return err
	default:
	}
	if i := slices.Index(s.queue, item); i >= 0 {
		s.queue = slices.Delete(s.queue, i, i+1)
	} else {
		item.gaveUp = true // the writer will know what came of it
	}
	err := fmt.Errorf("%w: %w", errDeadline, cause)
	s.loseLocked(item.event, err)
	if errors.Is(cause, context.DeadlineExceeded) {
		s.downLocked(err)
	}
	return err
}

func (s *lineSink) poke() {
	select {
	case s.wake <- struct{}{}:
	default: // it is poked already
	}
}

func (s *lineSink) run() {
	defer close(s.done)
	timer := time.NewTimer(lastProbe)
	defer timer.Stop()
	for {
		item, todo, at := s.next()
		switch todo {
		case todoItem:
			s.finish(item, s.put(item.event))
		case todoGap:
			s.tell()
		case todoEnd:
			return
		case todoWait:
			var due <-chan time.Time
			if !at.IsZero() {
				timer.Reset(time.Until(at))
				due = timer.C
			}
			select {
			case <-s.wake:
			case <-due:
			}
		}
	}
}

// What the writer does next.
type todo int

const (
	todoWait todo = iota // at the latest until the time, if there is one
	todoItem
	todoGap
	todoEnd
)

// next takes what is to be written now out of the queue. A gap event comes first, and
// once more when everything else is written: nobody tells of what is lost after it.
func (s *lineSink) next() (*lineItem, todo, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.probeAt.IsZero() && !time.Now().Before(s.probeAt) {
		return nil, todoGap, time.Time{}
	}
	i := slices.IndexFunc(s.queue, func(item *lineItem) bool { return item.result != nil || !s.down || s.closing })
	switch {
	case i >= 0:
		item := s.queue[i]
		s.queue = slices.Delete(s.queue, i, i+1)
		if item.result == nil {
			s.posted--
		}
		return item, todoItem, time.Time{}
	case s.closing && s.lost.any() && !s.lastTry:
		s.lastTry = true
		return nil, todoGap, time.Time{}
	case s.closing:
		return nil, todoEnd, time.Time{}
	}
	return nil, todoWait, s.probeAt
}

// finish tells the caller what became of his event, and counts what he cannot know.
func (s *lineSink) finish(item *lineItem, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil && item.gaveUp:
		s.lost.late++
		s.probeLocked()
	case err != nil:
		if !item.gaveUp {
			s.loseLocked(item.event, err)
		}
		s.downLocked(err)
	}
	switch {
	case item.result != nil:
		item.result <- err
	case err != nil:
		AuditFailures.WithLabelValues(s.name, failureClass(err)).Inc()
	}
}

// put seals and writes one event. Sequence and chain move only with a line that was
// written whole, so that the reader of the sink sees no hole where nothing was promised.
func (s *lineSink) put(event []byte) (err error) {
	before := *s.chain
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errPanic, p)
		}
		if err != nil {
			*s.chain = before
		}
	}()
	line, err := s.chain.Seal(event)
	if err != nil {
		return err
	}
	return s.write(line)
}

// Close implements Sink.
func (s *lineSink) Close() error {
	s.mu.Lock()
	if s.closing = true; s.lost.any() {
		s.probeAt = time.Now()
	}
	s.poke()
	s.mu.Unlock()
	if s.out != nil {
		defer s.out.Close()
	}
	if s.ends() {
		return nil
	}
	if s.out != nil {
		_ = s.out.Close()
		if s.ends() {
			return nil
		}
	}
	return fmt.Errorf("%w: its last events may be lost", errDeadline)
}

func (s *lineSink) ends() bool {
	t := time.NewTimer(lineCloseWait)
	defer t.Stop()
	select {
	case <-s.done:
		return true
	case <-t.C:
		return false
	}
}
