// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/xfrguard/xfrguard/interop/lab"
)

// load is what one run asks of a server.
type load struct {
	request request
	clients int
	each    int           // transfers of each client, one after another
	span    time.Duration // in the place of each: go on that long
	settle  time.Duration // how long the server's CPU is counted after the last octet
}

// run makes the transfers and measures the server meanwhile.
func (l load) run(ctx context.Context, s *server) (sample, error) {
	l.request.addr = s.addr()
	before, err := s.group().CPU()
	if err != nil {
		return sample{}, err
	}
	busyBefore, selfBefore, begin := lab.Busy(), lab.Self(), time.Now()
	answers, err := l.transfers(ctx)
	elapsed, client := time.Since(begin), lab.Self()-selfBefore
	if err != nil {
		return sample{}, err
	}
	time.Sleep(l.settle)
	after, err := s.group().CPU()
	if err != nil {
		return sample{}, err
	}
	used := after.Since(before)
	foreign := lab.Busy() - busyBefore - used - (lab.Self() - selfBefore)
	firsts := make([]time.Duration, len(answers))
	for i, a := range answers {
		firsts[i] = a.First
	}
	_, peak := s.group().Memory()
	n := time.Duration(len(answers))
	return sample{
		Transfers: len(answers), Clients: l.clients, Elapsed: elapsed, First: median(firsts),
		CPU: used / n, Client: client / n, Peak: peak, answer: answers[len(answers)-1],
		Foreign: max(0, float64(foreign)/float64(time.Since(begin))/float64(runtime.NumCPU())),
	}, nil
}

// transfers runs all clients at once and returns when the last one has ended.
func (l load) transfers(ctx context.Context) ([]answer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, transferLimit, errSlow)
	defer cancel()
	if l.clients == 1 && l.span == 0 { // no goroutine has to wake up
		var answers []answer
		for range l.each {
			a, err := fetch(ctx, l.request)
			if err != nil {
				return nil, err
			}
			answers = append(answers, a)
		}
		return answers, nil
	}
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		answers []answer
		failure error
		over    atomic.Bool
	)
	if l.span > 0 {
		defer time.AfterFunc(l.span, func() { over.Store(true) }).Stop()
	}
	for range l.clients {
		wg.Go(func() {
			var own []answer
			var err error
			for n := 0; err == nil && (l.span > 0 && !over.Load() || l.span == 0 && n < l.each); n++ {
				var a answer
				if a, err = fetch(ctx, l.request); err == nil {
					own = append(own, a)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			answers = append(answers, own...)
			if err != nil && failure == nil {
				failure = err
				cancel() // the others need not go on
			}
		})
	}
	wg.Wait()
	return answers, failure
}
