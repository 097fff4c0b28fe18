// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/wire"
	"github.com/xfrguard/xfrguard/internal/zone/journal"

	"github.com/miekg/dns"
)

var errKilled = errors.New("killed")

// mortal is a journal of a process that dies at one of its writes: nothing is written from
// there on, and nothing that is done from there on has ever been done.
type mortal struct {
	*journal.Journal

	mu   sync.Mutex
	left int // writes until death; below zero: none
	died chan struct{}
}

func (m *mortal) dead() bool {
	select {
	case <-m.died:
		return true
	default:
		return false
	}
}

func (m *mortal) write(fn func() error) error {
	m.mu.Lock()
	if m.left == 0 && !m.dead() {
		close(m.died)
	}
	m.left--
	dead := m.dead()
	m.mu.Unlock()
	if dead {
		return errKilled
	}
	return fn()
}

func (m *mortal) Update(zone string, c journal.Change) error {
	return m.write(func() error { return m.Journal.Update(zone, c) })
}

func (m *mortal) Forget(zone string) error {
	return m.write(func() error { return m.Journal.Forget(zone) })
}

// history is one server's life, and that of its secondaries.
type history struct {
	t      *testing.T
	rand   *rand.Rand
	src    settable
	dir    string // of the journal; "" for none
	id     string
	store  *Store
	disk   *mortal
	errors []error

	serial      uint32
	records     []dns.RR
	past        []uint32 // serials that there were
	secondaries []copyOfZone
	got         map[string]int
	log         []string
}

func (h *history) note(format string, args ...any) {
	h.log = append(h.log, fmt.Sprintf(format, args...))
}

func (h *history) fail(format string, args ...any) {
	h.t.Helper()
	for _, line := range h.log[max(0, len(h.log)-40):] {
		h.t.Log(line)
	}
	h.t.Fatalf(format, args...)
}

func (h *history) open() *Store {
	o := Options{Identity: func(string) string { return h.id }, OnError: func(_ string, err error) {
		if !errors.Is(err, errKilled) {
			h.errors = append(h.errors, err)
		}
	}}
	if h.disk != nil {
		disk := h.disk
		o.Journal = func(string) Journal { return disk }
	}
	return newStoreOf(h.src, o)
}

func (h *history) start() {
	if h.dir != "" {
		j, err := journal.Open(h.dir, journal.Options{})
		if err != nil {
			h.fail("the journal: %v", err)
		}
		h.disk = &mortal{Journal: j, left: -1, died: make(chan struct{})}
	}
	h.store = h.open()
}

// stop ends the process, as it should be or not.
func (h *history) stop(killed bool) {
	if killed && h.disk != nil {
		h.disk.mu.Lock()
		if !h.disk.dead() {
			close(h.disk.died)
		}
		h.disk.mu.Unlock()
	}
	h.store.Close()
	if killed { // what is being built ends in nothing
		settling := &h.store.slots[apex].settling
		settling.Lock() // to wait
		defer settling.Unlock()
	}
	if h.disk != nil {
		if err := h.disk.Close(); err != nil {
			h.fail("close the journal: %v", err)
		}
	}
	h.id = newIdentity() // nothing in memory outlives the process
	if h.disk != nil {
		h.id = "history" + h.dir
	}
}

// edit changes the zone in one of the ways in which zones are changed.
func (h *history) edit() {
	r := h.rand
	how := "forward"
	switch r.IntN(10) {
	case 0:
		how = "same serial"
	case 1:
		how = "back"
		h.serial = h.past[r.IntN(len(h.past))]
	case 2:
		how = "a little back"
		h.serial = h.past[max(0, len(h.past)-1-r.IntN(4))]
	default:
		h.serial += uint32(1 + r.IntN(2))
	}
	h.records = slices.Clone(h.records)
	for range 1 + r.IntN(3) {
		i := r.IntN(40)
		n := rr(h.t, "h%d.%s %d IN A 192.0.2.%d", i, apex, 300*(1+r.IntN(3)), r.IntN(3))
		if i := r.IntN(len(h.records)); r.IntN(3) == 0 || i == 0 {
			h.records = append(h.records, n)
		} else {
			h.records[i] = n
		}
	}
	if len(h.records) > 200 {
		h.records = slices.Delete(h.records, 1, 20)
	}
	h.past = append(h.past, h.serial)
	h.src.set(h.t, h.serial, h.records)
	h.note("edit %s: serial %d", how, h.serial)
}

// refresh is one poll of a secondary. One that the server's death has interrupted has got
// nothing.
func (h *history) refresh(i int) {
	c := &h.secondaries[i]
	had := *c
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	if h.disk != nil {
		died := h.disk.died // the next start has another disk
		go func() {
			select {
			case <-died:
				cancel()
			case <-ctx.Done():
			}
		}()
	}
	got, records, v, err := h.ask(ctx, c, fmt.Sprint("secondary ", i))
	if h.disk != nil && h.disk.dead() {
		h.note("secondary %d with %d: the server died", i, had.serial)
		return
	}
	if err != nil {
		h.fail("secondary %d: %v", i, err)
	}
	if records != nil {
		c.apply(failing{h.t}, records)
	}
	h.got[got]++
	h.note("secondary %d with %d: %s to %d", i, had.serial, got, c.serial)
	if got != "up-to-date" {
		if want := h.whole(v); !equalSets(c.set, want) {
			h.fail("secondary %d had %d, got %s, and has\n%v\nnot\n%v", i, had.serial, got, c.set, want)
		}
	}
}

// whole is what an AXFR of the version gives.
func (h *history) whole(v *Version) set {
	if v.Serial != h.serial {
		h.fail("served %d, not %d", v.Serial, h.serial)
	}
	r := current(h.t, h.store)
	defer r.Close()
	messages, err := readAll(r)
	if err != nil && !(h.disk != nil && h.disk.dead()) {
		h.fail("the whole zone: %v", err)
	}
	c := copyOfZone{}
	c.apply(h.t, answers(h.t, messages))
	return c.set
}

// ask decides as the server does, and returns what it sends.
func (h *history) ask(ctx context.Context, c *copyOfZone, client string) (got string, records []dns.RR, v *Version, err error) {
	r, err := h.store.Current(ctx, apex)
	if err != nil {
		return "", nil, nil, err
	}
	defer r.Close()
	v = r.Version
	if c.has && !Newer(v.Serial, c.serial) && !(v.Serial == c.serial && h.store.Ambiguous(ctx, v)) {
		return "up-to-date", nil, v, nil
	}
	give := func() {
		if h.disk == nil || !h.disk.dead() {
			h.store.Give(ctx, v, client)
		}
	}
	if c.has {
		messages, err := h.store.Since(ctx, v, c.serial, []string{client})
		if err != nil {
			return "", nil, v, err
		}
		if messages != nil {
			give()
			return "ixfr", answers(h.t, messages), v, nil
		}
	}
	for {
		m, err := r.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", nil, v, err
		}
		records = append(records, answers(h.t, []wire.Message{m})...)
	}
	give()
	return "axfr", records, v, nil
}

// step is one thing that happens.
func (h *history) step() {
	r := h.rand
	switch n := r.IntN(40); {
	case n < 12:
		h.edit()
	case n < 33:
		h.refresh(r.IntN(len(h.secondaries)))
	case n == 33: // a reload
		next := h.open()
		h.store.Close()
		h.store = next
		h.note("reload")
	case n == 34: // the version leaves memory
		sl := h.store.slots[apex]
		sl.mu.Lock()
		v := sl.current
		sl.current = nil
		sl.mu.Unlock()
		if v != nil {
			sl.lineage.evict(v)
		}
		h.note("evicted")
	case n == 35:
		sl := h.store.slots[apex]
		h.store.shorten(sl, sl.lineage.past()*int64(r.IntN(4))/4)
		h.note("shortened")
	default:
		killed := n > 37
		if killed && h.disk != nil && r.IntN(2) == 0 { // at one of the next writes
			h.disk.mu.Lock()
			h.disk.left = r.IntN(3)
			h.disk.mu.Unlock()
			for range 4 {
				if h.disk.dead() {
					break
				}
				if r.IntN(2) == 0 {
					h.edit()
				}
				h.refresh(r.IntN(len(h.secondaries)))
			}
		}
		h.note("stop, killed %v", killed)
		h.stop(killed)
		for range r.IntN(3) {
			h.edit()
		}
		h.start()
	}
}

// TestHistories: whatever happens to a zone and to its server, a secondary that was given
// something has the zone as it is, record by record and TTL by TTL. The zone is edited
// forward, back and under one serial, also while the server is down, which is stopped,
// killed at any of its writes, and reloaded. XFRGUARD_HISTORIES is how many edits there are.
func TestHistories(t *testing.T) {
	edits := 400
	if s := os.Getenv("XFRGUARD_HISTORIES"); s != "" {
		var err error
		if edits, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	for _, kind := range []string{"memory", "channel"} {
		for _, kept := range []string{"journal", "no journal"} {
			t.Run(kind+"/"+kept, func(t *testing.T) {
				seed := rand.Uint64()
				t.Logf("seed %d", seed)
				got := make(map[string]int)
				r := rand.New(rand.NewPCG(seed, 0))
				for done := 0; done < edits/4; {
					h := &history{t: t, rand: r, got: got, id: newIdentity(), secondaries: make([]copyOfZone, 4)}
					if h.src = newInMemory(); kind == "channel" {
						h.src = &channelSource{}
					}
					if kept == "journal" {
						h.dir = t.TempDir()
						h.id = "history" + h.dir
					}
					h.records = many(t, 100)
					h.serial = 7
					h.past = []uint32{7}
					h.src.set(t, 7, h.records)
					h.start()
					for len(h.past) < 60 {
						h.step()
					}
					h.stop(false)
					if done += len(h.past); len(h.errors) > 0 {
						t.Error(h.errors)
					}
				}
				t.Logf("%v", got)
				if got["ixfr"] == 0 || got["axfr"] == 0 || got["up-to-date"] == 0 {
					t.Error("something never happened")
				}
			})
		}
	}
}
