// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// signer signs zones with one key, so that the same set always has the same signature.
type signer struct {
	key     *dns.DNSKEY
	private crypto.Signer
	known   map[string]dns.RR // signatures by what they sign
}

func newSigner(apex string) *signer {
	private := ed25519.NewKeyFromSeed([]byte("one key for all the tests, 32 oct"[:ed25519.SeedSize]))
	key := &dns.DNSKEY{
		Hdr: dns.RR_Header{Name: apex, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 3600}, Flags: 257, Protocol: 3,
		Algorithm: dns.ED25519, PublicKey: base64.StdEncoding.EncodeToString(private.Public().(ed25519.PublicKey)),
	}
	return &signer{key, private, make(map[string]dns.RR)}
}

func (s *signer) sign(t testing.TB, set []dns.RR) dns.RR {
	t.Helper()
	lines := make([]string, len(set))
	for i, rr := range set {
		lines[i] = rr.String()
	}
	slices.Sort(lines)
	key := strings.Join(lines, "\n")
	if sig := s.known[key]; sig != nil {
		return sig
	}
	sig := &dns.RRSIG{KeyTag: s.key.KeyTag(), SignerName: s.key.Hdr.Name, Algorithm: s.key.Algorithm, Inception: 1577836800, Expiration: 2145830400}
	if err := sig.Sign(s.private, set); err != nil {
		t.Fatal(err)
	}
	s.known[key] = sig
	return sig
}

// zone signs the records of a zone with a chain of NSEC records. The first is its SOA.
func (s *signer) zone(t testing.TB, records []dns.RR) []dns.RR {
	t.Helper()
	apex := records[0].Header().Name
	byName := make(map[string][]dns.RR)
	for _, rr := range append(slices.Clone(records), s.key) {
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
	out = append(out, s.key)
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
				out = append(out, s.sign(t, set))
			}
		}
		slices.Sort(types)
		nsec := &dns.NSEC{
			Hdr:        dns.RR_Header{Name: name, Rrtype: dns.TypeNSEC, Class: dns.ClassINET, Ttl: 3600},
			NextDomain: own[(i+1)%len(own)], TypeBitMap: types,
		}
		out = append(out, nsec, s.sign(t, []dns.RR{nsec}))
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
