// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/xfrguard/xfrguard/interop/lab"
)

// watch follows what a server takes while it is attacked.
type watch struct {
	group       lab.Group
	before      lab.CPUTime
	begin       time.Time
	peak        int64 // KiB
	descriptors int

	stop context.CancelFunc
	done sync.WaitGroup
}

// watchServer begins to look twice a second.
func watchServer(ctx context.Context, s *server) (*watch, error) {
	w := &watch{group: s.group(), begin: time.Now()}
	var err error
	if w.before, err = w.group.CPU(); err != nil {
		return nil, err
	}
	ctx, w.stop = context.WithCancel(ctx)
	w.done.Go(func() {
		for ctx.Err() == nil {
			rss, _ := w.group.Memory()
			w.peak = max(w.peak, rss)
			w.descriptors = max(w.descriptors, w.group.Descriptors())
			pause(ctx, 500*time.Millisecond)
		}
	})
	return w, nil
}

// end returns the share of one CPU that the server has used.
func (w *watch) end() float64 {
	w.stop()
	w.done.Wait()
	after, err := w.group.CPU()
	if err != nil {
		return 0 // it has ended, which is told elsewhere
	}
	return float64(after.Since(w.before)) / float64(time.Since(w.begin))
}

// metrics is what a Prometheus endpoint of ours says: the sum of all series of a name, and
// each series.
type metrics map[string]float64

// scrape reads the metrics of ours.
func (s *server) scrape(ctx context.Context) (metrics, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/metrics", s.metrics), nil)
	if err != nil {
		return nil, err
	}
	req.Close = true // no connection of ours is counted as the server's growth
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("read the metrics: %w", err)
	}
	defer resp.Body.Close()
	m := metrics{}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		name, value, ok := cutLast(lines.Text(), " ")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			continue
		}
		m[name] = v
		if base, _, labelled := strings.Cut(name, "{"); labelled {
			m[base] += v
		}
	}
	return m, lines.Err()
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// size is what may grow in a server.
type size struct {
	goroutines, descriptors, heap float64
}

func (m metrics) size() size {
	return size{m["go_goroutines"], m["process_open_fds"], m["go_memstats_heap_inuse_bytes"]}
}

func (m metrics) inFlight() float64 { return m["coredns_xfrguard_in_flight"] }
