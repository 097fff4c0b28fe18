// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

// Package verifytest signs zones for tests.
package verifytest

import (
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// Signer signs zones with one key, so that the same set always has the same signature.
type Signer struct {
	Key  *dns.DNSKEY
	From time.Time // when signatures begin
	To   time.Time // when they end

	private crypto.Signer
	known   map[string]dns.RR // signatures by what they sign
}

// New returns the signer of a zone. Its signatures hold from 2020 to the end of 2037.
func New(apex string) *Signer {
	private := ed25519.NewKeyFromSeed([]byte("one key for all the tests, 32 oct"[:ed25519.SeedSize]))
	key := &dns.DNSKEY{
		Hdr: dns.RR_Header{Name: apex, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 3600}, Flags: 257, Protocol: 3,
		Algorithm: dns.ED25519, PublicKey: base64.StdEncoding.EncodeToString(private.Public().(ed25519.PublicKey)),
	}
	from, to := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2037, 12, 31, 0, 0, 0, 0, time.UTC)
	return &Signer{key, from, to, private, make(map[string]dns.RR)}
}

// Sign returns the signature of a set.
func (s *Signer) Sign(t testing.TB, set []dns.RR) dns.RR {
	t.Helper()
	lines := make([]string, len(set))
	for i, rr := range set {
		lines[i] = rr.String()
	}
	slices.Sort(lines)
	key := strings.Join(append(lines, s.To.String()), "\n")
	if sig := s.known[key]; sig != nil {
		return sig
	}
	sig := &dns.RRSIG{
		KeyTag: s.Key.KeyTag(), SignerName: s.Key.Hdr.Name, Algorithm: s.Key.Algorithm, Inception: uint32(s.From.Unix()), Expiration: uint32(s.To.Unix()),
	}
	if err := sig.Sign(s.private, set); err != nil {
		t.Fatal(err)
	}
	s.known[key] = sig
	return sig
}

// Zone signs the records of a zone with a chain of NSEC records. The first is its SOA.
func (s *Signer) Zone(t testing.TB, records []dns.RR) []dns.RR {
	t.Helper()
	apex := records[0].Header().Name
	byName := make(map[string][]dns.RR)
	for _, rr := range append(slices.Clone(records), s.Key) {
		byName[rr.Header().Name] = append(byName[rr.Header().Name], rr)
	}
	delegated := func(name string) bool {
		return name != apex && slices.ContainsFunc(byName[name], func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeNS })
	}
	var own []string // names that the zone speaks for
	for name := range byName {
		hidden := false
		for above := name; above != apex && !hidden; {
			_, above, _ = strings.Cut(above, ".")
			hidden = above != apex && delegated(above)
		}
		if !hidden {
			own = append(own, name)
		}
	}
	slices.SortFunc(own, func(a, b string) int { return compareText(a, b) })
	out := slices.Clone(records)
	out = append(out, s.Key)
	for i, name := range own {
		sets := make(map[uint16][]dns.RR)
		for _, rr := range byName[name] {
			rtype := rr.Header().Rrtype
			sets[rtype] = append(sets[rtype], rr)
		}
		types := []uint16{dns.TypeRRSIG, dns.TypeNSEC}
		for rtype, set := range sets {
			if delegated(name) && rtype != dns.TypeNS && rtype != dns.TypeDS {
				continue
			}
			types = append(types, rtype)
			if !delegated(name) || rtype == dns.TypeDS {
				out = append(out, s.Sign(t, set))
			}
		}
		slices.Sort(types)
		nsec := &dns.NSEC{
			Hdr:        dns.RR_Header{Name: name, Rrtype: dns.TypeNSEC, Class: dns.ClassINET, Ttl: 3600},
			NextDomain: own[(i+1)%len(own)], TypeBitMap: types,
		}
		out = append(out, nsec, s.Sign(t, []dns.RR{nsec}))
	}
	return out
}

// compareText compares names without escapes in canonical order.
func compareText(a, b string) int {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	slices.Reverse(x)
	slices.Reverse(y)
	return slices.Compare(x, y)
}
