// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/xfrguard/xfrguard/internal/trail"
)

const (
	lineQueue     = 4096        // events waiting for a sink that is slow: some 5 MB
	lineCloseWait = time.Second // for a writer that hangs
)

// lineSink gives the sinks that take one line after the other a sequence and a
// chain of their own, a bounded queue and one writer, so that a write which
// blocks for ever blocks nobody else.
type lineSink struct {
	// write puts out one sealed line, its newline included. It may block; it is
	// never called twice at once.
	write func(line []byte) error
	// unblock, when not nil, makes a write that blocks return; called when closing takes too long.
	unblock func() error

	queue chan *lineItem
	room  chan struct{} // slots that posted events may take: half of the queue, the rest is for Append
	quit  chan struct{}
	done  chan struct{}
	chain *trail.Chain // the writer's

	posting sync.RWMutex
	closed  bool // guarded by posting
}

// lineItem is one event on its way to the writer.
type lineItem struct {
	event  []byte
	state  atomic.Int32
	result chan error  // of Append
	failed func(error) // of Post
	posted bool
}

// The states of a lineItem. Whoever moves it out of waiting decides its fate.
const (
	itemWaiting int32 = iota
	itemTaken
	itemAbandoned
)

func newLineSink(write func([]byte) error, unblock func() error) (*lineSink, error) {
	chain, err := trail.NewChain()
	if err != nil {
		return nil, err
	}
	s := &lineSink{
		write: write, unblock: unblock, chain: chain,
		queue: make(chan *lineItem, lineQueue), room: make(chan struct{}, lineQueue/2),
		quit: make(chan struct{}), done: make(chan struct{}),
	}
	go s.run()
	return s, nil
}

// Append implements sink. An event whose turn did not come in time is taken back
// and will not be written; one that is being written is waited for.
func (s *lineSink) Append(ctx context.Context, event []byte) error {
	item := &lineItem{event: event, result: make(chan error, 1)}
	select {
	case <-s.quit:
		return errSinkClosed
	default:
	}
	select {
	case s.queue <- item:
	case <-s.quit:
		return errSinkClosed
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", errDeadline, ctx.Err())
	}
	select {
	case err := <-item.result:
		return err
	case <-s.done:
		return item.giveUp(errSinkClosed)
	case <-ctx.Done():
		return item.giveUp(fmt.Errorf("%w: %w", errDeadline, ctx.Err()))
	}
}

// giveUp takes the item back, or waits for its result when it is too late for that.
func (i *lineItem) giveUp(err error) error {
	if i.state.CompareAndSwap(itemWaiting, itemAbandoned) {
		return err
	}
	return <-i.result
}

// Post implements sink.
func (s *lineSink) Post(event []byte) error { return s.post(event, func(error) {}) }

func (s *lineSink) post(event []byte, failed func(error)) error {
	s.posting.RLock() // so that nothing gets into the queue after the writer emptied it for the last time
	defer s.posting.RUnlock()
	if s.closed {
		return errSinkClosed
	}
	select {
	case s.room <- struct{}{}:
	default:
		return errBusy
	}
	item := &lineItem{event: event, failed: failed, posted: true}
	select {
	case s.queue <- item:
		return nil
	default:
		<-s.room
		return errBusy
	}
}

func (s *lineSink) hasRoom() bool { return len(s.room) < cap(s.room) }

func (s *lineSink) run() {
	defer close(s.done)
	for {
		select {
		case item := <-s.queue:
			s.handle(item)
		case <-s.quit:
			for { // what was posted before is still written
				select {
				case item := <-s.queue:
					s.handle(item)
				default:
					return
				}
			}
		}
	}
}

func (s *lineSink) handle(item *lineItem) {
	if item.posted {
		<-s.room
	}
	if !item.state.CompareAndSwap(itemWaiting, itemTaken) {
		return
	}
	err := s.put(item.event)
	switch {
	case item.result != nil:
		item.result <- err
	case err != nil:
		item.failed(err)
	}
}

// put seals and writes one event. Sequence and chain move only with a line that
// was written whole, so that the reader of the sink sees no hole where nothing was promised.
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

// Close implements sink.
func (s *lineSink) Close() error {
	s.posting.Lock()
	if !s.closed {
		s.closed = true
		close(s.quit)
	}
	s.posting.Unlock()
	timer := time.NewTimer(lineCloseWait)
	defer timer.Stop()
	select {
	case <-s.done:
		return nil
	case <-timer.C:
	}
	if s.unblock != nil {
		_ = s.unblock()
		timer.Reset(lineCloseWait)
		select {
		case <-s.done:
			return nil
		case <-timer.C:
		}
	}
	return fmt.Errorf("%w: its last events may be lost", errDeadline)
}

// streamSink is a lineSink over something that is to be closed at the end.
type streamSink struct {
	*lineSink
	out io.Closer
}

func newStreamSink(write func([]byte) error, out io.Closer) (*streamSink, error) {
	s, err := newLineSink(write, out.Close)
	if err != nil {
		return nil, err
	}
	return &streamSink{lineSink: s, out: out}, nil
}

// Close implements sink.
func (s *streamSink) Close() error {
	err := s.lineSink.Close()
	_ = s.out.Close()
	return err
}
