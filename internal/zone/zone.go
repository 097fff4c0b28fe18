// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

// Package zone turns what CoreDNS's backends send into versions: one serial of a
// zone each, checked, packed ready to send, and shared by all who ask for it.
//
// A version is built by draining a Source to its end before a byte is sent: a slow
// client never holds a backend up, and what is not a whole zone is never sent.
package zone

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/xfrguard/xfrguard/internal/wire"

	"github.com/coredns/coredns/plugin/transfer"
	"github.com/miekg/dns"
)

// Source is a backend that can hand out whole zones; it is what CoreDNS calls a
// transfer.Transferer.
type Source interface {
	// Transfer sends a zone's records, from SOA to SOA, or the SOA alone when the
	// serial is the current one. The channel must be drained.
	Transfer(zone string, serial uint32) (<-chan []dns.RR, error)
}

// ErrUnavailable means that no backend has the zone, or not yet, or no longer.
var ErrUnavailable = errors.New("no backend has the zone")

// errStale means that a source sent a lone SOA which is not that of the version
// kept: it thinks that ours is newer than its own (coredns' k8s_external compares
// serials as plain numbers).
var errStale = errors.New("lone SOA of another serial")

// ErrInvalid means that a backend sent what is not a zone.
var ErrInvalid = errors.New("the backend's records are no zone")

// Version is one serial of a zone. It is immutable.
type Version struct {
	Apex     string
	Serial   uint32
	SOA      *dns.SOA
	Messages []wire.Message
	Records  int64 // both SOAs included
	Size     int64 // bytes of all messages, without what a transfer adds
	Largest  int   // bytes of the largest message

	asked  time.Time // when the source was asked for it
	source int       // index of the source it came from: sources need not be comparable
}

// settled reports whether the version can still be told from the next by its serial.
// A serial that is the time in seconds, as kubernetes has it, is final only once that
// second is over: until then the zone may change and keep it.
func (v *Version) settled() bool {
	age := v.asked.Unix() - int64(v.Serial)
	return age < -1 || age > 0
}

// Newer reports whether serial a is newer than b in RFC 1982 §3.2 arithmetic.
// Of two serials exactly 2^31 apart neither is newer.
func Newer(a, b uint32) bool {
	return a != b && a-b < 1<<31
}

// build drains the records of one transfer into a version. When kept is still
// current, the source sends a single SOA and kept itself is returned.
func build(source int, apex string, kept *Version, records <-chan []dns.RR) (*Version, error) {
	defer drain(records)
	b := builder{v: &Version{Apex: apex, source: source}}
	p := wire.NewPacker(apex, 0, b.keep)
	defer p.Discard()
	for batch := range records {
		for _, rr := range batch {
			if err := b.check(rr); err != nil {
				return nil, err
			}
			if err := p.Add(rr); err != nil {
				return nil, err
			}
		}
	}
	switch {
	case b.v.SOA == nil:
		return nil, fmt.Errorf("%w: %s is empty", ErrInvalid, apex)
	case b.v.Records == 1 && kept != nil && b.v.Serial == kept.Serial:
		return kept, nil
	case b.v.Records == 1 && kept != nil:
		return nil, errStale
	case !b.closed:
		return nil, fmt.Errorf("%w: %s ends without its SOA after %d records", ErrInvalid, apex, b.v.Records)
	}
	if err := p.Close(); err != nil {
		return nil, err
	}
	return b.v, nil
}

// drain takes the rest of a channel, for the goroutine at its other end would
// wait for ever.
func drain(records <-chan []dns.RR) {
	go func() {
		for range records { //nolint:revive // nothing to do with them
		}
	}()
}

// builder checks a stream of records while it becomes a version (RFC 5936 §2.2).
type builder struct {
	v      *Version
	closed bool
}

func (b *builder) check(rr dns.RR) error {
	h := rr.Header()
	soa, isSOA := rr.(*dns.SOA)
	switch v := b.v; {
	case b.closed:
		return fmt.Errorf("%w: %s goes on after its closing SOA", ErrInvalid, v.Apex)
	case v.SOA == nil && !isSOA:
		return fmt.Errorf("%w: %s begins with %s, not its SOA", ErrInvalid, v.Apex, dns.Type(h.Rrtype))
	case h.Class != dns.ClassINET:
		return fmt.Errorf("%w: %s has a record of class %s", ErrInvalid, v.Apex, dns.Class(h.Class))
	case isSOA && !equalName(h.Name, v.Apex), !dns.IsSubDomain(v.Apex, h.Name):
		return fmt.Errorf("%w: %s has a record at %s", ErrInvalid, v.Apex, h.Name)
	case isSOA && v.SOA == nil:
		v.SOA, v.Serial = soa, soa.Serial
	case isSOA && soa.Serial != v.Serial:
		return fmt.Errorf("%w: %s begins with serial %d and ends with %d", ErrInvalid, v.Apex, v.Serial, soa.Serial)
	case isSOA:
		b.closed = true
	}
	b.v.Records++
	return nil
}

func equalName(a, b string) bool {
	return a == b || dns.CanonicalName(a) == dns.CanonicalName(b)
}

func (b *builder) keep(m wire.Message) error {
	m.Bytes = slices.Clone(m.Bytes)
	b.v.Messages = append(b.v.Messages, m)
	b.v.Size += int64(len(m.Bytes))
	b.v.Largest = max(b.v.Largest, len(m.Bytes))
	return nil
}

// notHere reports whether a source's error says that the zone is not its own.
func notHere(err error) bool { return errors.Is(err, transfer.ErrNotAuthoritative) }
