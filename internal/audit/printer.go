// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"sync"
	"time"
)

const (
	printerRoom = 256         // lines that wait for a log that hangs
	printerWait = time.Second // for it, at the end
)

// printer writes lines to CoreDNS's log for somebody who must not wait for it: the
// log may go to a pipe that nobody reads. The zero printer is ready.
type printer struct {
	say func(line string)

	mu      sync.Mutex
	waiting []string
	dropped int
	idle    chan struct{} // closed when the last line is out; nil while there is none
}

// print hands a line over. When too many wait the oldest goes.
func (p *printer) print(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) == printerRoom {
		p.waiting = p.waiting[1:]
		p.dropped++
	}
	p.waiting = append(p.waiting, line)
	if p.idle == nil {
		p.idle = make(chan struct{})
		go p.run()
	}
}

func (p *printer) run() {
	for {
		p.mu.Lock()
		if len(p.waiting) == 0 {
			close(p.idle)
			p.idle = nil
			p.mu.Unlock()
			return
		}
		line, dropped := p.waiting[0], p.dropped
		p.waiting, p.dropped = p.waiting[1:], 0
		p.mu.Unlock()
		if dropped > 0 {
			log.Warningf("%d earlier lines were not printed: this log did not take them", dropped)
		}
		p.say(line)
	}
}

// wait gives what was handed over a bounded time to get out.
func (p *printer) wait() {
	p.mu.Lock()
	idle := p.idle
	p.mu.Unlock()
	if idle != nil {
		waitFor(idle, printerWait)
	}
}
