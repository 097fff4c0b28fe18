// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

// Package zone turns what CoreDNS's backends send into versions: one serial of a
// zone each, checked, packed ready to send, and shared by all who ask for it; and
// into what changed from one version to the next.
//
// A [Store] belongs to one server block. It opens a [stream] of a backend's records,
// builds a [Version] from it while the first clients already read, indexes it, and
// settles it: compares it with the version before, so that an IXFR can be answered
// with the difference. What outlives a store, through reloads and with a journal
// through restarts, is the zone's lineage.
package zone

import (
	"errors"
	"fmt"

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

var (
	// ErrUnavailable means that no backend has the zone, or not yet, or no longer.
	ErrUnavailable = errors.New("no backend has the zone")
	// ErrTooSlow means that the zone has changed again and again while a client read it, and
	// there is no room for what it has not read.
	ErrTooSlow = errors.New("too slow for a zone that changes, with no room for its old versions")
	// ErrInvalid means that a backend sent what is not a zone.
	ErrInvalid = errors.New("the backend's records are no zone")
)

// Newer reports whether serial a is newer than b in RFC 1982 §3.2 arithmetic.
// Of two serials exactly 2^31 apart neither is newer.
func Newer(a, b uint32) bool {
	return a != b && a-b < 1<<31
}

// notHere reports whether a source's error says that the zone is not its own.
func notHere(err error) bool { return errors.Is(err, transfer.ErrNotAuthoritative) }

// caught turns a panic into an error of this kind: a fault in a backend, or in what it
// sent, is met in goroutines of our own, where it would end the process.
func caught(apex string, kind error, err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: %s: panic: %v", kind, apex, p)
	}
}

func equalName(a, b string) bool {
	return a == b || dns.CanonicalName(a) == dns.CanonicalName(b)
}
