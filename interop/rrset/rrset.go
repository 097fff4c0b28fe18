// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

// Package rrset compares the contents of two zones record by record, whatever
// the order, the letter case and the presentation format they came in.
package rrset

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"sort"
	"strings"

	"github.com/miekg/dns"
)

// Set is the content of one zone: each record once, the SOA included, keyed by
// its canonical wire form. The zero value is an empty zone.
type Set map[string]dns.RR

// Parse reads a zone in presentation format. It fails on what the parser of
// miekg/dns refuses, and on a record that is there twice, because a zone file of
// a test has no reason to repeat one.
func Parse(r io.Reader, origin, name string) (Set, error) {
	rrs, err := ParseAll(r, origin, name)
	if err != nil {
		return nil, err
	}
	return FromRecords(rrs)
}

// ParseFile is Parse of the file at path.
func ParseFile(path, origin string) (Set, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the zone file: %w", err)
	}
	defer f.Close()
	return Parse(f, origin, path)
}

// ParseAll reads records in presentation format and returns them in the order
// of the text, repeated ones included.
func ParseAll(r io.Reader, origin, name string) ([]dns.RR, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read zone %s: %w", origin, err)
	}
	var rrs []dns.RR
	zp := dns.NewZoneParser(bytes.NewReader(forMiekg(text)), origin, name)
	for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
		rrs = append(rrs, rr)
	}
	if err := zp.Err(); err != nil {
		return nil, fmt.Errorf("parse zone %s: %w", origin, err)
	}
	return rrs, nil
}

// FromTransfer makes a Set of the answer records of one AXFR. The SOA must be the
// first and the last record and nowhere between (RFC 5936 §2.2).
func FromTransfer(rrs []dns.RR) (Set, error) {
	if len(rrs) < 2 {
		return nil, fmt.Errorf("transfer of %d records, want at least the two SOAs", len(rrs))
	}
	last := len(rrs) - 1
	for i, rr := range rrs {
		if isSOA := rr.Header().Rrtype == dns.TypeSOA; isSOA != (i == 0 || i == last) {
			return nil, fmt.Errorf("record %d of %d is %s: a transfer has its SOA first and last and nowhere between", i+1, len(rrs), dns.Type(rr.Header().Rrtype))
		}
	}
	first, err := canonical(rrs[0])
	if err != nil {
		return nil, err
	}
	closing, err := canonical(rrs[last])
	if err != nil {
		return nil, err
	}
	if first != closing {
		return nil, fmt.Errorf("opening SOA %q and closing SOA %q differ", rrs[0], rrs[last])
	}
	return FromRecords(rrs[:last])
}

// FromRecords makes a Set of records; one that is there twice is an error.
func FromRecords(rrs []dns.RR) (Set, error) {
	set := make(Set, len(rrs))
	for _, rr := range rrs {
		key, err := canonical(rr)
		if err != nil {
			return nil, err
		}
		if _, twice := set[key]; twice {
			return nil, fmt.Errorf("record is there twice: %s", clip(rr))
		}
		set[key] = rr
	}
	return set, nil
}

// Records returns the records of s in a fixed order, the SOA first.
func (s Set) Records() []dns.RR {
	keys := make([]string, 0, len(s))
	for k := range s {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool {
		si, sj := isSOA(s[keys[i]]), isSOA(s[keys[j]])
		if si != sj {
			return si
		}
		return keys[i] < keys[j]
	})
	rrs := make([]dns.RR, len(keys))
	for i, k := range keys {
		rrs[i] = s[k]
	}
	return rrs
}

// Serial returns the serial of the zone's SOA, or an error when there is none.
func (s Set) Serial() (uint32, error) {
	for _, rr := range s {
		if soa, ok := rr.(*dns.SOA); ok {
			return soa.Serial, nil
		}
	}
	return 0, errors.New("zone without SOA")
}

// Diff returns "" when both zones hold the same records, TTLs included, and else
// the first few differences, one a line: "-" for what only want has, "+" for what
// only got has.
func Diff(want, got Set) string {
	missing, extra := want.Without(got).Records(), got.Without(want).Records()
	if len(missing)+len(extra) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d records wanted, %d got, %d missing, %d unexpected:\n", len(want), len(got), len(missing), len(extra))
	const show = 12
	for i, rr := range missing {
		if i == show {
			break
		}
		fmt.Fprintf(&b, "- %s\n", clip(rr))
	}
	for i, rr := range extra {
		if i == show {
			break
		}
		fmt.Fprintf(&b, "+ %s\n", clip(rr))
	}
	return b.String()
}

// Without returns the records of s that other does not have.
func (s Set) Without(other Set) Set {
	diff := Set{}
	for k, rr := range s {
		if _, both := other[k]; !both {
			diff[k] = rr
		}
	}
	return diff
}

func isSOA(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeSOA }

// clip keeps a 64 kB record from filling the screen.
func clip(rr dns.RR) string {
	s := rr.String()
	if len(s) > 300 {
		return fmt.Sprintf("%s… (%d characters)", s[:300], len(s))
	}
	return s
}

// canonical is the uncompressed wire form of rr with its domain names in lower
// case. Names compare without case (RFC 4343), and servers may or may not keep
// it, so case is not content; every other octet is, and so is the case of the next
// name of an NSEC record, which is signed as it stands (RFC 6840 §5.1).
func canonical(rr dns.RR) (string, error) {
	c := dns.Copy(rr)
	c.Header().Name = lowerName(c.Header().Name)
	if c.Header().Rrtype != dns.TypeNSEC {
		lowerNames(reflect.ValueOf(c).Elem())
	}
	buf := make([]byte, dns.Len(c)+16)
	n, err := dns.PackRR(c, buf, 0, nil, false)
	if err != nil {
		return "", fmt.Errorf("pack %s: %w", clip(rr), err)
	}
	return string(buf[:n]), nil
}

// lowerNames walks the fields that miekg/dns tags as domain names.
func lowerNames(v reflect.Value) {
	if v.Kind() != reflect.Struct {
		return
	}
	for i := range v.NumField() {
		field, value := v.Type().Field(i), v.Field(i)
		switch tag := field.Tag.Get("dns"); {
		case tag != "domain-name" && tag != "cdomain-name":
			if field.Anonymous { // HTTPS embeds SVCB, SPF-likes embed TXT
				lowerNames(value)
			}
		case value.Kind() == reflect.String:
			value.SetString(lowerName(value.String()))
		case value.Kind() == reflect.Slice: // HIP's rendezvous servers
			for j := range value.Len() {
				value.Index(j).SetString(lowerName(value.Index(j).String()))
			}
		}
	}
}

// lowerName lowers a name in presentation format. \DDD stands for an octet whose
// letter case counts like any other's (RFC 4343 §2.1), so names go through the
// wire form.
func lowerName(name string) string {
	if !strings.Contains(name, `\`) {
		return strings.ToLower(name)
	}
	var wire [256]byte
	n, err := dns.PackDomainName(name, wire[:], 0, nil, false)
	if err != nil {
		return name // packing the record says what is wrong
	}
	for i := 0; i < n; {
		size := int(wire[i])
		for j := i + 1; j <= i+size && j < n; j++ {
			if 'A' <= wire[j] && wire[j] <= 'Z' {
				wire[j] += 'a' - 'A'
			}
		}
		i += size + 1
	}
	low, _, err := dns.UnpackDomainName(wire[:n], 0)
	if err != nil {
		return name
	}
	return low
}
