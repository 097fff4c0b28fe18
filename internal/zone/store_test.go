// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/coredns/coredns/plugin/file"
	"github.com/miekg/dns"
)

// TestStalledReaderHoldsNobodyUp: the first client takes one message and no more; the
// build goes on, and the others get all.
func TestStalledReaderHoldsNobodyUp(t *testing.T) {
	src := &channelSource{}
	records := many(t, 60_000)
	src.set(t, 1, records)
	s := openStore(t, src, Options{})
	stalled := current(t, s)
	defer stalled.Close()
	if _, err := stalled.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			r, err := s.Current(t.Context(), apex)
			if err != nil {
				t.Error(err)
				return
			}
			defer r.Close()
			messages, err := readAll(r)
			if err != nil || len(answers(t, messages)) != len(records)+2 {
				t.Error(err)
			}
			if r.Version != stalled.Version {
				t.Error("not the same version")
			}
		})
	}
	group.Wait()
	rest, err := readAll(stalled)
	if err != nil || len(rest) < 10 {
		t.Errorf("the stalled one: %d messages, %v", len(rest), err)
	}
	if src.whole > 1+8 { // to be compared with what there is, once for those who came meanwhile
		t.Errorf("the backend was asked for the whole zone %d times", src.whole)
	}
}

// TestTooLargeForTheCache: under a limit that the zone does not fit, clients still get
// it, each at its own pace, in bounded memory.
func TestTooLargeForTheCache(t *testing.T) {
	for _, kind := range []string{"memory", "channel"} {
		t.Run(kind, func(t *testing.T) {
			const limit = 1 << 20
			var src settable = newInMemory()
			if kind == "channel" {
				src = &channelSource{}
			}
			records := many(t, 200_000)
			src.set(t, 1, records)
			s := openStore(t, src, Options{Limit: limit})
			for range 2 { // it is not known yet that the zone is too large; it is
				var group sync.WaitGroup
				for i := range 4 {
					group.Go(func() {
						r, err := s.Current(t.Context(), apex)
						if err != nil {
							t.Error(err)
							return
						}
						defer r.Close()
						var n int64
						for {
							m, err := r.Next(t.Context())
							if errors.Is(err, io.EOF) {
								break
							}
							if err != nil {
								t.Error(err)
								return
							}
							n += int64(m.Records)
							r.Version.mu.Lock()
							held := r.Version.size
							r.Version.mu.Unlock()
							if held > limit+window+1<<17 {
								t.Errorf("%d octets are held", held)
								return
							}
							if i == 0 && n%7 == 0 {
								runtime.Gosched()
							}
						}
						if n != int64(len(records)+2) {
							t.Errorf("%d records of %d", n, len(records)+2)
						}
						if d, ok := r.Version.Digest(t.Context()); !ok || d == (Digest{}) {
							t.Error("no digest of what came in canonical order")
						}
					})
				}
				group.Wait()
			}
			sl := s.slots[apex]
			if sl.current != nil || sl.kept != nil || !sl.large {
				t.Error("something is kept")
			}
			src.set(t, 2, many(t, 10)) // it becomes small
			for range 2 {
				r := current(t, s)
				if _, err := readAll(r); err != nil {
					t.Fatal(err)
				}
				<-r.Version.settled
				r.Close()
			}
			if sl.mu.Lock(); sl.large {
				t.Error("still too large")
			}
			sl.mu.Unlock()
		})
	}
}

// TestEviction: what was asked for longest ago goes first, and the sum stays below the
// limit.
func TestEviction(t *testing.T) {
	const zones = 6
	z := make(map[string]*file.Zone)
	var names []string
	for i := range zones {
		name := fmt.Sprintf("z%d.%s", i, apex)
		names = append(names, name)
		z[name] = file.NewZone(name, "stdin")
		soa := soaRecord(1)
		soa.Hdr.Name = name
		if err := z[name].Insert(soa); err != nil {
			t.Fatal(err)
		}
		for k := range 3000 {
			if err := z[name].Insert(rr(t, "h%d.%s 1 IN A 192.0.2.1", k, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	id := newIdentity()
	one := int64(3000 * (16 + 10 + 24))
	s := NewStore([]Source{file.File{Zones: file.Zones{Z: z}}}, names,
		Options{Limit: 3 * one, Identity: func(a string) string { return id + a }})
	defer s.Close()
	read := func(name string) {
		r, err := s.Current(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		<-r.Version.settled
	}
	held := func() (kept []string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		var sum int64
		for _, name := range names {
			if v := s.slots[name].kept; v != nil {
				kept = append(kept, name)
				sum += v.memory()
			}
		}
		if sum != s.size || sum > s.o.Limit {
			t.Errorf("%d octets kept, %d counted, limit %d", sum, s.size, s.o.Limit)
		}
		return kept
	}
	for _, name := range names {
		read(name)
		held()
	}
	n := len(held())
	if n < 2 || n >= zones {
		t.Fatalf("%d of %d versions are kept", n, zones)
	}
	first := held()[0]
	read(first)    // now it is the youngest
	read(names[0]) // takes the place of another
	if kept := held(); !slices.Contains(kept, first) || !slices.Contains(kept, names[0]) {
		t.Errorf("kept are %v, not %s", kept, first)
	}
}

// TestOneVersionEach: clients that come while the zone is replaced 100 times get one
// version each, whole, and the digest of the records they got.
func TestOneVersionEach(t *testing.T) {
	for _, kind := range []string{"memory", "channel"} {
		t.Run(kind, func(t *testing.T) {
			var src settable = newInMemory()
			if kind == "channel" {
				src = &channelSource{}
			}
			content := func(serial uint32) []dns.RR {
				records := many(t, 3000)
				for i := range records {
					records[i].Header().Ttl = serial
				}
				return records
			}
			src.set(t, 1, content(1))
			s := openStore(t, src, Options{})
			stop := make(chan struct{})
			var group sync.WaitGroup
			for range 4 {
				group.Go(func() {
					for n := 0; ; n++ {
						select {
						case <-stop:
							if n < 10 {
								t.Error("read only", n)
							}
							return
						default:
						}
						r, err := s.Current(t.Context(), apex)
						if err != nil {
							t.Error(err)
							return
						}
						messages, err := readAll(r)
						if err != nil {
							t.Error(err)
						}
						for _, a := range answers(t, messages) {
							if h := a.Header(); h.Rrtype != dns.TypeSOA && h.Ttl != r.Version.Serial {
								t.Errorf("a record of %d in version %d", h.Ttl, r.Version.Serial)
							}
						}
						d, ok := r.Version.Digest(t.Context())
						if want, good := digestUnordered(messages); !ok || !good || d != want {
							t.Error("the digest is not that of the messages")
						}
						r.Close()
					}
				})
			}
			for serial := uint32(2); serial <= 100; serial++ {
				src.set(t, serial, content(serial))
				time.Sleep(5 * time.Millisecond)
			}
			close(stop)
			group.Wait()
		})
	}
}

// TestCurrentIsCurrent: a request that comes after a change gets the changed zone.
func TestCurrentIsCurrent(t *testing.T) {
	src := newInMemory()
	s := openStore(t, src, Options{})
	for serial := uint32(1); serial < 50; serial++ {
		src.set(t, serial, many(t, int(serial)))
		r := current(t, s)
		if r.Version.Serial != serial {
			t.Fatalf("serial %d, the zone has %d", r.Version.Serial, serial)
		}
		r.Close()
	}
	src.set(t, 49, many(t, 100)) // other content, the same serial
	r := current(t, s)
	defer r.Close()
	if n := len(answers(t, must(readAll(r)))); n != 103 {
		t.Errorf("%d records", n)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
