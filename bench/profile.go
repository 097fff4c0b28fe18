// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/xfrguard/xfrguard/interop/peer"
)

// profileSeconds is how long each CPU profile takes.
const profileSeconds = 5

// profiles has ours serve the zone without a break, plain and with TSIG, and writes CPU
// profiles of that.
func (b *bench) profiles(ctx context.Context, z *zone) {
	clients := 1
	if z.records <= rateLimit {
		clients = b.rateClients
	}
	for _, s := range b.running {
		if s.pprof == 0 {
			continue
		}
		for how, signed := range map[string]bool{"plain": false, "tsig": true} {
			path := filepath.Join(b.profile, fmt.Sprintf("%s-%s-%s.pprof", s.name, z.label, how))
			l := load{request: request{addr: s.addr(), signed: signed, records: z.axfr()}, clients: clients, span: (profileSeconds + 1) * time.Second}
			if err := profile(ctx, s, l, path); err != nil {
				b.fail(fmt.Errorf("profile %s: %w", s.name, err))
			}
		}
	}
}

func profile(ctx context.Context, s *server, l load, path string) error {
	var wg sync.WaitGroup
	var loadErr error
	wg.Go(func() { _, loadErr = l.transfers(ctx) })
	err := download(ctx, fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", peer.Loopback(s.pprof), profileSeconds), path)
	wg.Wait()
	if err == nil {
		err = loadErr
	}
	return err
}

func download(ctx context.Context, url, path string) error {
	ctx, cancel := context.WithTimeout(ctx, 4*profileSeconds*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Do(req)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, r.Status)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, r.Body); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
