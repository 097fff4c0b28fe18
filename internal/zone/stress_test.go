// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coredns/coredns/plugin/file"
	"github.com/miekg/dns"
)

// stress is a server with several zones that change all the time. What each version has is
// known by its serial: in a version n, the record i has a TTL that is made of both.
type stress struct {
	src     *file.File
	serials map[string]*atomic.Uint32
	names   []string

	mu    sync.RWMutex
	store *Store // of the latest instance
}

const stressRecords = 400

func stressTTL(serial uint32, i int) uint32 { return (serial + uint32(i*7)) / 50 }

func (x *stress) edit(t fatal, name string) {
	serial := x.serials[name].Load() + 1
	z := file.NewZone(name, "stdin")
	soa := soaRecord(serial)
	soa.Hdr.Name = name
	_ = z.Insert(soa)
	for i := range stressRecords {
		_ = z.Insert(&dns.A{
			Hdr: dns.RR_Header{Name: fmt.Sprintf("h%d.%s", i, name), Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: stressTTL(serial, i)},
			A:   []byte{192, 0, 2, byte(serial / 100)},
		})
	}
	live := x.src.Z[name]
	live.Lock()
	live.Apex, live.Tree = z.Apex, z.Tree
	live.Unlock()
	x.serials[name].Store(serial)
}

// wrong says what is not as version n has it.
func (x *stress) wrong(name string, c *copyOfZone) string {
	want := make(set)
	for i := range stressRecords {
		want[keyOf(&dns.A{
			Hdr: dns.RR_Header{Name: fmt.Sprintf("h%d.%s", i, name), Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: stressTTL(c.serial, i)},
			A:   []byte{192, 0, 2, byte(c.serial / 100)},
		})] = true
	}
	if !equalSets(want, c.set) {
		return fmt.Sprintf("%s: %d records that are not those of version %d", name, len(c.set), c.serial)
	}
	return ""
}

// refresh is one request of a secondary; it says what it got.
func (x *stress) refresh(ctx context.Context, t fatal, name, rule string, c *copyOfZone) (string, error) {
	x.mu.RLock()
	s := x.store
	x.mu.RUnlock()
	r, err := s.Current(ctx, name)
	if err != nil {
		return "", err
	}
	defer r.Close()
	v := r.Version
	if c.has && !Newer(v.Serial, c.serial) && !(v.Serial == c.serial && s.Ambiguous(ctx, v)) {
		return "up-to-date", nil
	}
	if c.has {
		messages, err := s.Since(ctx, v, c.serial, []string{rule})
		if err != nil {
			return "", err
		}
		if messages != nil {
			c.apply(t, answers(t, messages))
			s.Give(ctx, v, rule)
			return "ixfr", nil
		}
	}
	messages, err := readAll(r)
	if err != nil {
		return "", err
	}
	c.apply(t, answers(t, messages))
	s.Give(ctx, v, rule)
	return "axfr", nil
}

// TestStress mixes all that can happen at once: edits, secondaries that follow and that give
// up, a watch, a journal, too little room for all zones, and reloads. Every secondary has
// one version, whole, after every answer.
func TestStress(t *testing.T) {
	x := &stress{src: &file.File{Zones: file.Zones{Z: make(map[string]*file.Zone)}}, serials: make(map[string]*atomic.Uint32)}
	for i := range 3 {
		name := fmt.Sprintf("z%d.example.", i)
		x.names = append(x.names, name)
		x.src.Z[name], x.serials[name] = file.NewZone(name, "stdin"), new(atomic.Uint32)
		x.edit(t, name)
	}
	j := openJournal(t, t.TempDir(), 1<<20)
	id := newIdentity()
	opened := func() *Store {
		s := NewStore([]Source{x.src}, x.names, Options{
			Limit: 50_000, Identity: func(name string) string { return id + name }, Journal: func(string) Journal { return j },
			OnLineage: func(name string, serial uint32, _ Digest) { t.Errorf("%s %d: other content", name, serial) },
			OnError:   func(name string, err error) { t.Errorf("%s: %v", name, err) },
		})
		s.Watch(3*time.Millisecond, x.names, func(string, *dns.SOA) {})
		return s
	}
	x.store = opened()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var group sync.WaitGroup
	var got [3]atomic.Int64
	for n := range 6 {
		group.Go(func() { x.follow(ctx, t, n, &got) })
	}
	for ctx.Err() == nil {
		for range 5 {
			x.edit(t, x.names[rand.IntN(len(x.names))])
			time.Sleep(time.Duration(rand.IntN(4)) * time.Millisecond)
		}
		if rand.IntN(3) == 0 {
			old := x.store
			next := opened()
			x.mu.Lock()
			x.store = next
			x.mu.Unlock()
			group.Go(func() {
				time.Sleep(5 * time.Millisecond)
				old.Close()
			})
		}
	}
	group.Wait()
	for i, what := range []string{"up-to-date", "ixfr", "axfr"} {
		if t.Logf("%s: %d", what, got[i].Load()); got[i].Load() == 0 {
			t.Errorf("nobody got %s", what)
		}
	}
	for range 3 { // the latest instance alone
		for _, name := range x.names {
			x.edit(t, name)
			if _, err := x.refresh(t.Context(), t, name, "rule", &copyOfZone{}); err != nil {
				t.Error(err)
			}
		}
	}
	x.store.Close()
	for name, sl := range x.store.slots { // what is not counted is not held
		sl.settling.Lock()
		sl.lineage.mu.Lock()
		if newest := sl.lineage.newest; newest != nil && newest != sl.kept {
			t.Errorf("%s: a version is held that is not kept", name)
		}
		sl.lineage.mu.Unlock()
		sl.settling.Unlock()
	}
}

// follow is a secondary of all zones until ctx is done.
func (x *stress) follow(ctx context.Context, t *testing.T, n int, got *[3]atomic.Int64) {
	copies := make(map[string]*copyOfZone)
	for ctx.Err() == nil {
		name := x.names[rand.IntN(len(x.names))]
		c := copies[name]
		if c == nil || rand.IntN(200) == 0 {
			c = &copyOfZone{}
			copies[name] = c
		}
		mine, cancel := context.WithCancel(ctx)
		if rand.IntN(10) == 0 {
			go cancel()
		}
		what, err := x.refresh(mine, failing{t}, name, fmt.Sprint("rule ", n%3), c)
		cancel()
		if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if why := x.wrong(name, c); c.has && why != "" {
			t.Errorf("%s, after %s", why, what)
			return
		}
		if i := strings.Index("u i a", what[:min(1, len(what))]); what != "" {
			got[i/2].Add(1)
		}
	}
}

// failing is a test whose Fatal may be called by any goroutine.
type failing struct{ *testing.T }

func (f failing) Fatal(args ...any)                 { f.Error(args...) }
func (f failing) Fatalf(format string, args ...any) { f.Errorf(format, args...) }
