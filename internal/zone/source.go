// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"errors"
	"fmt"
	"hash/maphash"
	"math/bits"
	"reflect"
	"slices"
	"strings"
	"time"
	"weak"

	"github.com/xfrguard/xfrguard/internal/wire"

	"github.com/coredns/coredns/plugin/auto"
	"github.com/coredns/coredns/plugin/file"
	"github.com/coredns/coredns/plugin/file/tree"
	"github.com/coredns/coredns/plugin/secondary"
	"github.com/coredns/coredns/plugin/transfer"
	"github.com/miekg/dns"
)

// stream is a transfer from a backend that has begun: its SOA is known. It must be
// ended with run or stop.
type stream struct {
	source int // index of the source it comes from: sources need not be comparable
	soa    *dns.SOA
	asked  time.Time
	origin origin
	same   bool // there is nothing new since the version that the opener keeps
	file   bool // the source has read the zone from a file

	// run hands out all records, both SOAs included, until emit fails.
	run func(emit func(dns.RR) error) error
	// stop lets go of the backend without having run.
	stop func()
}

// origin tells two contents of a zone in memory apart: whoever changes such a zone
// puts a new tree into it. It does not keep the old one alive. The zero value is no
// zone in memory.
type origin struct {
	soa  weak.Pointer[dns.SOA]
	tree weak.Pointer[tree.Tree]
}

// is reports whether this is still the content that is there now.
func (o origin) is(soa *dns.SOA, t *tree.Tree) bool {
	return soa != nil && t != nil && o.soa.Value() == soa && o.tree.Value() == t
}

// inMemory returns the zone that a file-like source has in memory. Only these very
// types are known: a plugin that embeds one may send something else.
func inMemory(src Source, apex string) (z *file.Zone, known bool) {
	var f *file.File
	switch src := src.(type) {
	case auto.Auto:
		return ofAuto(src.Zones, apex), true
	case *auto.Auto:
		return ofAuto(src.Zones, apex), true
	case *secondary.Secondary:
		f = &src.File
	case *file.File:
		f = src
	case file.File:
		f = &src
	default:
		return nil, false
	}
	if f.ZoneLookupFunc == nil {
		return f.Z[apex], true
	}
	name, z, ok := f.ZoneLookupFunc(apex) // zones of a catalog come and go
	if !ok || name != apex {
		return nil, true
	}
	return z, true
}

// ofAuto returns a zone of auto, which keeps the case that the name of the file has.
func ofAuto(zones *auto.Zones, apex string) *file.Zone {
	if z := zones.Zones(apex); z != nil {
		return z
	}
	for _, name := range zones.Names() {
		if len(name) == len(apex) && strings.EqualFold(name, apex) {
			return zones.Zones(name)
		}
	}
	return nil
}

// open begins a transfer from the source; kept is the version from it that the caller
// has, or nil. It fails with an error that notHere knows, or with ErrUnavailable.
func open(i int, src Source, apex string, kept *Version, how look) (*stream, error) {
	st := &stream{source: i, asked: time.Now()}
	z, known := inMemory(src, apex)
	switch {
	case !known:
		return st, st.openChannel(src, apex, kept, how)
	case z == nil:
		return nil, errNotHere
	}
	z.RLock()
	apexRecords, t, expired := z.Apex, z.Tree, z.Expired
	z.RUnlock()
	_, transferred := src.(*secondary.Secondary)
	switch {
	case transferred && expired: // RFC 1035 §3.3.13, EXPIRE: its Transfer would still send it
		return nil, fmt.Errorf("%w: %s has expired", ErrUnavailable, apex)
	case apexRecords.SOA == nil || t == nil:
		return nil, fmt.Errorf("%w: %s has no SOA yet", ErrUnavailable, apex)
	}
	st.soa, st.file = apexRecords.SOA, !transferred
	st.origin = origin{weak.Make(apexRecords.SOA), weak.Make(t)}
	st.same = kept != nil && kept.origin.is(apexRecords.SOA, t)
	st.stop = func() {}
	st.run = func(emit func(dns.RR) error) error { return walk(&apexRecords, t, emit) }
	return st, nil
}

var errNotHere = fmt.Errorf("%w: not a zone of this source", transfer.ErrNotAuthoritative)

// walk goes through a zone in memory as its Transfer does, without its channel: in
// the order of names, and within a name in that of types.
func walk(a *file.Apex, t *tree.Tree, emit func(dns.RR) error) error {
	if err := emit(a.SOA); err != nil {
		return err
	}
	for _, rrs := range [...][]dns.RR{a.SIGSOA, a.NS, a.SIGNS} {
		if err := emitAll(rrs, emit); err != nil {
			return err
		}
	}
	var types []uint16
	err := t.Walk(func(_ *tree.Elem, records map[uint16][]dns.RR) error {
		if len(records) == 1 { // most names
			for _, rrs := range records {
				return emitAll(rrs, emit)
			}
		}
		types = types[:0]
		for rrtype := range records {
			types = append(types, rrtype)
		}
		slices.Sort(types)
		for _, rrtype := range types {
			if err := emitAll(records[rrtype], emit); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err //nolint:wrapcheck // emit's own
	}
	return emit(a.SOA)
}

func emitAll(rrs []dns.RR, emit func(dns.RR) error) error {
	for _, rr := range rrs {
		if err := emit(rr); err != nil {
			return err
		}
	}
	return nil
}

// silence is how long a backend may send nothing before it counts as broken. What one
// client waits for has a clock of its own: backend_wait.go.
const silence = time.Minute

// look is what a look at a source is for.
type look int

const (
	forClient look = iota // whose answer must be what is there now
	forWatch              // of serials, which may miss what changes without one
)

// keepsSerial reports whether a source never has two contents under one serial, as long as
// the process lives: *dynupdate* counts each change. Of other sources that is not known.
func keepsSerial(src Source) bool {
	t := reflect.TypeOf(src)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.PkgPath() == "github.com/coredns/coredns/plugin/dynupdate" && t.Name() == "DynUpdate"
}

// openChannel asks a source that is not known better, and waits for its first batch,
// which tells the serial. Where the serial does not say that nothing is new, all is read and
// compared with what is kept.
func (st *stream) openChannel(src Source, apex string, kept *Version, how look) error {
	var serial uint32 // 0 asks for the whole zone
	if kept != nil && (how == forWatch || keepsSerial(src)) {
		serial = kept.Serial
	}
	records, err := src.Transfer(apex, serial)
	if notHere(err) {
		return err //nolint:wrapcheck // notHere knows it
	}
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrUnavailable, apex, err)
	}
	first, more, err := next(apex, records)
	if err == nil && serial != 0 && len(first) == 1 { // a lone SOA, or one in a batch of its own
		var second []dns.RR
		second, more, err = next(apex, records)
		first = append(slices.Clone(first), second...)
	}
	switch {
	case err != nil:
		drain(records)
		return err
	case len(first) == 0:
		return fmt.Errorf("%w: %s is empty", ErrInvalid, apex)
	}
	soa, ok := first[0].(*dns.SOA)
	if !ok {
		drain(records)
		return fmt.Errorf("%w: %s begins with %s, not its SOA", ErrInvalid, apex, dns.Type(first[0].Header().Rrtype))
	}
	st.soa = soa
	st.stop = func() { drain(records) }
	switch lone := !more && len(first) == 1; {
	case lone && serial != 0 && soa.Serial == serial:
		st.same, st.stop = true, func() {}
		return nil
	case lone && serial != 0, serial != 0 && isDifference(first):
		// It thinks that ours is newer than its own (coredns' k8s_external compares
		// serials as plain numbers), or tells what has changed in its own way.
		drain(records)
		return st.openChannel(src, apex, nil, how)
	case kept != nil && how == forWatch && soa.Serial == kept.Serial:
		st.same = true
		return nil
	case kept != nil && soa.Serial == kept.Serial:
		if st.same, err = kept.isWhat(apex, first, records); err != nil || st.same {
			st.stop = func() {}
			return err
		}
		return st.openChannel(src, apex, nil, how) // it has been read
	}
	st.run = func(emit func(dns.RR) error) error {
		defer drain(records)
		return receive(apex, first, records, emit)
	}
	return nil
}

// isDifference reports whether a stream is an incremental one (RFC 1995 §4): its second
// record is a SOA too.
func isDifference(first []dns.RR) bool {
	if len(first) < 2 {
		return false
	}
	_, second := first[1].(*dns.SOA)
	return second && len(first) > 2 || second && first[0].(*dns.SOA).Serial != first[1].(*dns.SOA).Serial
}

// isWhat reads all that a source sends, and reports whether the version was made of the same
// records, in whatever order.
func (v *Version) isWhat(apex string, first []dns.RR, records <-chan []dns.RR) (bool, error) {
	defer drain(records)
	if v.isPassing() {
		return false, errPasses
	}
	var now pile
	if err := receive(apex, first, records, now.add); err != nil {
		return false, err
	}
	select {
	case <-v.built:
	case <-v.outgrew: // its build waits for clients
		return false, errPasses
	}
	_, err := v.finished()
	return err == nil && now.same(&v.content), nil
}

// errPasses means that a version is too large to be kept, and to be compared with.
var errPasses = errors.New("too large to be kept")

// pile stands for records without regard to their order: the sum of their hashes, whose
// seeds nobody outside knows.
type pile struct {
	low, high, count uint64
	broken           bool // a record has no wire format
	encoder          wire.Encoder
	buf              []byte
}

func (p *pile) add(rr dns.RR) error {
	b, err := p.encoder.Append(p.buf[:0], rr)
	if err != nil {
		p.broken = true
		return nil
	}
	p.buf = b
	var carry uint64
	p.low, carry = bits.Add64(p.low, maphash.Bytes(seeds[0], b), 0)
	p.high, _ = bits.Add64(p.high, maphash.Bytes(seeds[1], b), carry)
	p.count++
	return nil
}

func (p *pile) same(other *pile) bool {
	return !p.broken && !other.broken && p.count == other.count && p.low == other.low && p.high == other.high
}

// next takes the next batch that has records; more is false at the end.
func next(apex string, records <-chan []dns.RR) (batch []dns.RR, more bool, err error) {
	timeout := time.NewTimer(silence)
	defer timeout.Stop()
	for {
		select {
		case batch, more := <-records:
			if !more || len(batch) > 0 {
				return batch, more, nil
			}
		case <-timeout.C:
			return nil, false, errSilent(apex)
		}
	}
}

func errSilent(apex string) error {
	return fmt.Errorf("%w: the backend of %s has sent nothing for %s", ErrUnavailable, apex, silence)
}

// receive hands out what comes through a channel.
func receive(apex string, first []dns.RR, records <-chan []dns.RR, emit func(dns.RR) error) error {
	if err := emitAll(first, emit); err != nil {
		return err
	}
	tick := time.NewTicker(silence / 2)
	defer tick.Stop()
	for quiet := 0; ; {
		select {
		case batch, ok := <-records:
			if !ok {
				return nil
			}
			quiet = 0
			if err := emitAll(batch, emit); err != nil {
				return err
			}
		case <-tick.C:
			if quiet++; quiet > 2 {
				return errSilent(apex)
			}
		}
	}
}

// drain takes the rest of a channel, for the goroutine at its other end would
// wait for ever.
func drain(records <-chan []dns.RR) {
	go func() {
		for range records { //nolint:revive // nothing to do with them
		}
	}()
}

// openAny asks the sources in order. One that does not have the zone is not the end:
// the next may.
func openAny(sources []Source, apex string, kept *Version, how look) (st *stream, err error) {
	defer caught(apex, ErrUnavailable, &err)
	for i, src := range sources {
		mine := kept
		if kept != nil && kept.source != i {
			mine = nil
		}
		st, err := open(i, src, apex, mine, how)
		if !notHere(err) {
			return st, err
		}
	}
	return nil, fmt.Errorf("%w: %s", ErrUnavailable, apex)
}

var errUnread = errors.New("nobody reads it")

// FileOf is the file that a file-like source has read a zone from; "" when there is none.
func FileOf(sources []Source, apex string) string {
	for _, src := range sources {
		if z, _ := inMemory(src, apex); z != nil {
			return z.File()
		}
	}
	return ""
}
