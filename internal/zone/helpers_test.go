// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/wire"

	"github.com/coredns/coredns/plugin/file"
	"github.com/coredns/coredns/plugin/transfer"
	"github.com/miekg/dns"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const apex = "example.org."

// fatal is what a test and a property check have in common.
type fatal interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func soaRecord(serial uint32) *dns.SOA {
	return &dns.SOA{
		Hdr: dns.RR_Header{Name: apex, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 3600},
		Ns:  "ns1." + apex, Mbox: "hostmaster." + apex,
		Serial: serial, Refresh: 7200, Retry: 3600, Expire: 1209600, Minttl: 300,
	}
}

func rr(t fatal, format string, args ...any) dns.RR {
	t.Helper()
	r, err := dns.NewRR(fmt.Sprintf(format, args...))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// inMemorySource is a file plugin whose zone a test changes.
type inMemorySource struct {
	file.File
	zone *file.Zone
}

func newInMemory() *inMemorySource {
	z := file.NewZone(apex, "stdin")
	return &inMemorySource{zone: z, File: file.File{Zones: file.Zones{Z: map[string]*file.Zone{apex: z}, Names: []string{apex}}}}
}

// set replaces the zone as a reload of its file does.
func (s *inMemorySource) set(t fatal, serial uint32, records []dns.RR) {
	z := file.NewZone(apex, "stdin")
	for _, r := range append([]dns.RR{soaRecord(serial)}, records...) {
		if err := z.Insert(dns.Copy(r)); err != nil {
			t.Fatal(err)
		}
	}
	s.zone.Lock()
	defer s.zone.Unlock()
	s.zone.Apex, s.zone.Tree = z.Apex, z.Tree
}

// channelSource is a backend that is known by its Transfer alone. Its records come in
// the order that the test gives.
type channelSource struct {
	mu      sync.Mutex
	serial  uint32
	records []dns.RR
	gate    chan struct{} // when not nil, one receive lets one batch go
	broken  bool          // ends without its SOA
	whole   int           // how often it was asked for the whole zone
}

func (s *channelSource) set(_ fatal, serial uint32, records []dns.RR) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serial, s.records = serial, records
}

func (s *channelSource) Transfer(zone string, serial uint32) (<-chan []dns.RR, error) {
	if zone != apex {
		return nil, transfer.ErrNotAuthoritative
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if serial == 0 {
		s.whole++
	}
	soa, records, gate, broken := soaRecord(s.serial), s.records, s.gate, s.broken
	ch := make(chan []dns.RR)
	go func() {
		defer close(ch)
		ch <- []dns.RR{soa}
		if serial != 0 && serial == soa.Serial {
			return
		}
		for batch := range slices.Chunk(records, 3) {
			if gate != nil {
				<-gate
			}
			ch <- batch
		}
		if !broken {
			ch <- []dns.RR{soa}
		}
	}()
	return ch, nil
}

type settable interface {
	Source
	set(t fatal, serial uint32, records []dns.RR)
}

// identities are different for each test.
var identities struct {
	sync.Mutex
	n int
}

func newIdentity() string {
	identities.Lock()
	defer identities.Unlock()
	identities.n++
	return fmt.Sprint("test ", identities.n)
}

// openStore opens a store that looks as often as it is told to.
func openStore(t testing.TB, src Source, o Options) *Store {
	t.Helper()
	s := newStoreOf(src, o)
	t.Cleanup(s.Close)
	return s
}

func newStoreOf(src Source, o Options) *Store {
	if o.Limit == 0 {
		o.Limit = 64 << 20
	}
	if o.Identity == nil {
		id := newIdentity()
		o.Identity = func(string) string { return id }
	}
	if m, ok := src.(*inMemorySource); ok {
		src = &m.File
	}
	return NewStore([]Source{src}, []string{apex}, o)
}

func current(t fatal, s *Store) *Reader {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	r, err := s.Current(ctx, apex)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// readAll takes the rest of the messages.
func readAll(r *Reader) (messages []wire.Message, err error) {
	for {
		m, err := r.Next(context.Background())
		if errors.Is(err, io.EOF) {
			return messages, nil
		}
		if err != nil {
			return messages, err
		}
		messages = append(messages, m)
	}
}

// answers takes the records out of messages with miekg/dns.
func answers(t fatal, messages []wire.Message) (rrs []dns.RR) {
	t.Helper()
	for _, m := range messages {
		var msg dns.Msg
		if err := msg.Unpack(m.Bytes); err != nil {
			t.Fatal(err)
		}
		rrs = append(rrs, msg.Answer...)
	}
	return rrs
}

// set is a zone's content as a secondary keeps it: without the SOA, names in lower case.
type set map[string]bool

func keyOf(r dns.RR) string {
	buf := make([]byte, dns.Len(r)+64)
	n, err := dns.PackRR(dns.Copy(r), buf, 0, nil, false)
	if err != nil {
		panic(err)
	}
	return strings.ToLower(string(buf[:n]))
}

func setOf(records []dns.RR) set {
	s := make(set)
	for _, r := range records {
		if r.Header().Rrtype != dns.TypeSOA {
			s[keyOf(r)] = true
		}
	}
	return s
}

// copyOfZone is a naive secondary.
type copyOfZone struct {
	serial uint32
	has    bool
	set    set
}

// apply takes an answer to IXFR or AXFR as RFC 1995 §4 and RFC 5936 §2.2 tell a client to
// read it, and fails where it is not as they say.
func (c *copyOfZone) apply(t fatal, rrs []dns.RR) (incremental bool) {
	t.Helper()
	first, ok := rrs[0].(*dns.SOA)
	if !ok || len(rrs) < 2 {
		t.Fatalf("%d records, first %v", len(rrs), rrs[0])
	}
	last, ok := rrs[len(rrs)-1].(*dns.SOA)
	if !ok || last.Serial != first.Serial {
		t.Fatalf("ends with %v, not SOA %d", rrs[len(rrs)-1], first.Serial)
	}
	body := rrs[1 : len(rrs)-1]
	c.has, c.serial = true, first.Serial
	if old, ok := second(body); !ok {
		for _, r := range body {
			if r.Header().Rrtype == dns.TypeSOA {
				t.Fatalf("a SOA inside a whole zone: %v", r)
			}
		}
		c.set = setOf(body)
		return false
	} else if old.Serial == first.Serial {
		t.Fatalf("from %d to %d", old.Serial, first.Serial)
	}
	adding := true
	for i, r := range body {
		if r.Header().Rrtype == dns.TypeSOA {
			adding = !adding
			if i > 0 && adding && r.(*dns.SOA).Serial != first.Serial {
				t.Fatalf("one difference leads to %d, not %d", r.(*dns.SOA).Serial, first.Serial)
			}
			continue
		}
		k := keyOf(r)
		switch {
		case adding && c.set[k]:
			t.Fatalf("added twice: %v", r)
		case adding:
			c.set[k] = true
		case !c.set[k]:
			t.Fatalf("removed, but not there: %v", r)
		default:
			delete(c.set, k)
		}
	}
	return true
}

// second returns the SOA that follows the opening one in an incremental answer.
func second(body []dns.RR) (*dns.SOA, bool) {
	if len(body) == 0 {
		return nil, false
	}
	soa, ok := body[0].(*dns.SOA)
	return soa, ok
}

// refresh asks as a secondary with one rule does: up to date, incremental, or whole.
func (c *copyOfZone) refresh(t fatal, s *Store, rule string) (served string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	r := current(t, s)
	defer r.Close()
	v := r.Version
	if c.has && !Newer(v.Serial, c.serial) && !(v.Serial == c.serial && s.Ambiguous(ctx, v)) {
		return "up-to-date"
	}
	if c.has {
		messages, err := s.Since(ctx, v, c.serial, []string{rule})
		if err != nil {
			t.Fatal(err)
		}
		if messages != nil {
			if !c.apply(t, answers(t, messages)) {
				t.Fatal("Since gave a whole zone")
			}
			s.Give(ctx, v, rule)
			return "ixfr"
		}
	}
	messages, err := readAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if c.apply(t, answers(t, messages)) {
		t.Fatal("a whole zone with two SOAs at its beginning")
	}
	s.Give(ctx, v, rule)
	return "axfr"
}

func equalSets(a, b set) bool {
	if len(a) != len(b) {
		return false
	}
	for k := range a {
		if !b[k] {
			return false
		}
	}
	return true
}

// many makes a zone of n addresses in canonical order.
func many(t fatal, n int) (records []dns.RR) {
	records = append(records, rr(t, "%s 3600 IN NS ns1.%s", apex, apex))
	for i := range n {
		r := &dns.A{
			Hdr: dns.RR_Header{Name: fmt.Sprintf("h%07d.%s", i, apex), Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 300},
			A:   []byte{10, byte(i >> 16), byte(i >> 8), byte(i)},
		}
		records = append(records, r)
	}
	return records
}
