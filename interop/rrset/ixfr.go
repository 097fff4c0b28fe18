// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package rrset

import (
	"errors"
	"fmt"

	"github.com/miekg/dns"
)

// Answer is what an answer to an IXFR turned out to be (RFC 1995 §4).
type Answer string

// The three answers that there are.
const (
	Whole      Answer = "whole zone"
	Difference Answer = "difference"
	SOAOnly    Answer = "SOA alone"
)

// Apply does with the answer records of one IXFR what a secondary that has the zone have
// does, and returns the zone that comes out; have stays as it is. It is strict: what is to
// be removed must be there with that TTL, what is to be added must not, and each sequence
// must begin where the one before ends.
func Apply(have Set, rrs []dns.RR) (Set, Answer, error) {
	if len(rrs) == 0 || !isSOA(rrs[0]) {
		return nil, "", errors.New("answer that does not begin with a SOA")
	}
	if len(rrs) == 1 {
		return have, SOAOnly, nil
	}
	if !isSOA(rrs[1]) || len(rrs) == 2 {
		set, err := FromTransfer(rrs)
		return set, Whole, err
	}
	now := make(Set, len(have))
	for k, rr := range have {
		now[k] = rr
	}
	last := len(rrs) - 1
	if same, err := equal(rrs[0], rrs[last]); err != nil || !same {
		return nil, "", fmt.Errorf("answer begins with %q and ends with %q (%w)", rrs[0], rrs[last], err)
	}
	removing := false
	for i, rr := range rrs[1:last] {
		if isSOA(rr) {
			removing = !removing
		}
		if err := now.change(rr, removing); err != nil {
			return nil, "", fmt.Errorf("record %d of %d: %w", i+2, len(rrs), err)
		}
	}
	if removing {
		return nil, "", errors.New("answer that ends while it removes")
	}
	if _, ok := now[must(rrs[0])]; !ok {
		return nil, "", fmt.Errorf("the last sequence does not lead to %q", rrs[0])
	}
	return now, Difference, nil
}

// change removes or adds one record. The SOA that begins a part is removed and added
// like any other record.
func (s Set) change(rr dns.RR, remove bool) error {
	key, err := canonical(rr)
	if err != nil {
		return err
	}
	_, there := s[key]
	switch {
	case remove && !there:
		return fmt.Errorf("to be removed and not there: %s", clip(rr))
	case remove:
		delete(s, key)
	case there:
		return fmt.Errorf("to be added and there already: %s", clip(rr))
	default:
		s[key] = rr
	}
	return nil
}

func equal(a, b dns.RR) (bool, error) {
	x, err := canonical(a)
	if err != nil {
		return false, err
	}
	y, err := canonical(b)
	return x == y, err
}

// must is the canonical form of a record that has been packed before.
func must(rr dns.RR) string {
	key, _ := canonical(rr)
	return key
}
