// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/coredns/coredns/plugin/file"
	"github.com/coredns/coredns/plugin/secondary"
	"github.com/miekg/dns"
)

// TestStreams: a client reads what is ready while the backend is still sending.
func TestStreams(t *testing.T) {
	gate := make(chan struct{})
	src := &channelSource{gate: gate}
	src.set(t, 1, many(t, 120_000))
	s := openStore(t, src, Options{})
	let := make(chan struct{})
	go func() {
		defer close(let)
		for range 80_000 / 3 {
			gate <- struct{}{}
		}
	}()
	r := current(t, s) // the zone is not complete, and cannot be
	defer r.Close()
	for range 60 {
		if _, err := r.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if done, _ := r.Version.finished(); done {
		t.Fatal("the whole zone is there, though the backend has not sent it")
	}
	<-let
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	for {
		if _, err := r.Next(ctx); err != nil {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			break
		}
	}
	close(gate)
	if _, err := readAll(r); err != nil {
		t.Fatal(err)
	}
}

// TestBrokenStreams: what is no zone is never handed out whole, wherever it breaks.
func TestBrokenStreams(t *testing.T) {
	for name, tt := range map[string]struct {
		records []dns.RR
		broken  bool
		want    error
	}{
		"no closing SOA":     {many(t, 10), true, ErrInvalid},
		"SOA inside":         {append(many(t, 10), soaRecord(1), rr(t, "x.%s 1 IN A 192.0.2.1", apex)), false, ErrInvalid},
		"another SOA inside": {append(many(t, 10), soaRecord(2)), false, ErrInvalid},
		"another class":      {append(many(t, 10), rr(t, "www.example.org. 1 CH A 192.0.2.1")), false, ErrInvalid},
		"late, after 1 MiB":  {append(many(t, 60_000), rr(t, "www.example.org. 1 CH A 192.0.2.1")), false, ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			src := &channelSource{broken: tt.broken}
			src.set(t, 1, tt.records)
			s := openStore(t, src, Options{})
			for range 3 {
				r, err := s.Current(t.Context(), apex)
				if err == nil {
					var messages int
					for err == nil {
						_, err = r.Next(t.Context())
						messages++
					}
					r.Close()
					if len(tt.records) < 1000 {
						t.Errorf("began to send, %d messages", messages)
					}
				}
				if !errors.Is(err, tt.want) || errors.Is(err, io.EOF) {
					t.Fatalf("got %v, want %v", err, tt.want)
				}
			}
			src.mu.Lock()
			src.broken, src.records = false, many(t, 10)
			src.mu.Unlock()
			r := current(t, s)
			defer r.Close()
			if _, err := readAll(r); err != nil {
				t.Errorf("mended: %v", err)
			}
		})
	}
}

// TestAbandoned: nobody reads on; the build of what is not kept ends, and its goroutines
// with it (TestMain looks).
func TestAbandoned(t *testing.T) {
	src := &channelSource{}
	src.set(t, 1, many(t, 200_000))
	s := openStore(t, src, Options{Limit: 1 << 20})
	for range 3 {
		r := current(t, s)
		if _, err := r.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.Close()
		r = current(t, s)
		r.Close() // has not begun
	}
}

// TestSilentBackend: a client does not wait longer than it wants to.
func TestSilentBackend(t *testing.T) {
	gate := make(chan struct{})
	src := &channelSource{gate: gate}
	src.set(t, 1, many(t, 10))
	s := openStore(t, src, Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Current(ctx, apex); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	close(gate)
	r := current(t, s)
	defer r.Close()
	if _, err := readAll(r); err != nil {
		t.Error(err)
	}
}

// TestExpiredSecondary: RFC 1035 §3.3.13. Its Transfer would still send the zone.
func TestExpiredSecondary(t *testing.T) {
	src := newInMemory()
	src.set(t, 1, many(t, 10))
	s := openStore(t, &secondary.Secondary{File: src.File}, Options{})
	r := current(t, s)
	r.Close()
	src.zone.Lock()
	src.zone.Expired = true
	src.zone.Unlock()
	if _, err := s.Current(t.Context(), apex); !errors.Is(err, ErrUnavailable) {
		t.Errorf("expired: %v", err)
	}
	src.zone.Lock()
	src.zone.Expired = false
	src.zone.Unlock()
	r = current(t, s)
	r.Close()
}

// TestNoSuchZone: no backend has it, or it has no SOA yet.
func TestNoSuchZone(t *testing.T) {
	empty := file.NewZone(apex, "stdin")
	for name, src := range map[string]Source{
		"none":  file.File{Zones: file.Zones{Z: map[string]*file.Zone{}}},
		"empty": file.File{Zones: file.Zones{Z: map[string]*file.Zone{apex: empty}}},
	} {
		s := openStore(t, src, Options{})
		if _, err := s.Current(t.Context(), apex); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := s.Current(t.Context(), "example.net."); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s, not of the block: %v", name, err)
		}
	}
}

// TestInside: the short way to tell whether a name is in the zone agrees with the long one.
func TestInside(t *testing.T) {
	for _, zone := range []string{apex, "org.", "."} {
		c := checker{apex: zone}
		for _, name := range []string{
			"example.org.", "a.example.org.", "aexample.org.", `a\.example.org.`, `a\\.example.org.`, `\.example.org.`, "A.EXAMPLE.org.",
			"org.", ".", "example.net.", "org.example.org.", `x\.org.`, `\\.org.`, "", ".org.", "x.", "*.example.org.",
		} {
			if got, want := c.inside(name), dns.IsSubDomain(zone, name); got != want {
				t.Errorf("%q in %q: %v, want %v", name, zone, got, want)
			}
		}
	}
}
