// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package policytest

import (
	"crypto/tls"
	"net/netip"
	"time"

	"github.com/xfrguard/xfrguard/internal/policy"

	"github.com/miekg/dns"
	"pgregory.net/rapid"
)

// MigrationEnd is the moment until which some rules take plain TCP.
var MigrationEnd = time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)

// PinA and PinB are the pins of two certificates.
var PinA, PinB = [32]byte{1}, [32]byte{2}

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func addrs(list ...string) (out []netip.Addr) {
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// Chance is true so many times in a hundred. Integers of rapid lean to the small ones.
func Chance(t *rapid.T, label string, percent int) bool {
	return rapid.SampledFrom(hundred).Draw(t, label) >= 100-percent
}

var hundred = func() (list []int) {
	for i := range 100 {
		list = append(list, i)
	}
	return list
}()

// Few draws up to three different values of the list, often none.
func Few[T comparable](t *rapid.T, label string, list []T) []T {
	if Chance(t, label+"?", 50) {
		return nil
	}
	return rapid.SliceOfNDistinct(rapid.SampledFrom(list), 1, min(3, len(list)), rapid.ID[T]).Draw(t, label)
}

// DrawRule draws a rule as parse lets it through, or any rule that a Go program could
// build.
func DrawRule(t *rapid.T, name string, parseable bool) Rule {
	s := Rule{Name: name, Deny: Chance(t, "deny", 20), Nets: Few(t, "nets", SomeNets)}
	if Chance(t, "all nets", 5) {
		s.Nets = Everywhere
	}
	if s.Deny {
		if parseable && s.Nets == nil {
			s.Nets = Everywhere
		}
		return s
	}
	s.Types = Few(t, "types", []uint16{dns.TypeAXFR, dns.TypeIXFR})
	s.Keys = Few(t, "keys", SomeKeys)
	s.Names = Few(t, "names", SomeNames)
	s.Pins = Few(t, "pins", SomePins)
	s.TLS = rapid.Bool().Draw(t, "tls")
	if s.TLS {
		s.Until = rapid.SampledFrom([]time.Time{{}, SomeTimes[0], SomeTimes[1]}).Draw(t, "until")
	}
	if Chance(t, "expires?", 30) {
		s.Expires = rapid.SampledFrom(SomeTimes).Draw(t, "expires")
	}
	s.Unsigned = rapid.Bool().Draw(t, "unsigned")
	if parseable {
		certs := len(s.Names)+len(s.Pins) > 0
		s.Unsigned = len(s.Keys) == 0 && (s.Unsigned || !certs)
		if certs {
			s.TLS, s.Until = true, time.Time{}
		}
	}
	return s
}

// DrawBlock draws the policies of up to three zones, of a few rules each.
func DrawBlock(t *rapid.T) map[string]Policy { return DrawBlockOf(t, 0, 1, 2, 3, 4, 5) }

// DrawBlockOf is DrawBlock with one of these counts of rules for each zone.
func DrawBlockOf(t *rapid.T, counts ...int) map[string]Policy {
	block := map[string]Policy{}
	for _, zone := range someZones {
		if Chance(t, "no "+zone, 20) {
			continue
		}
		p := Policy{algorithms: mostly(t, "algorithms", []string{"hmac-sha256"}, [][]string{nil, {"hmac-sha1"}, {"hmac-sha1", "hmac-sha256"}})}
		for i := range rapid.SampledFrom(counts).Draw(t, "rules") {
			p.Rules = append(p.Rules, DrawRule(t, string(rune('a'+i)), false))
		}
		block[zone] = p
	}
	return block
}

func mostly[T any](t *rapid.T, label string, usual T, list []T) T {
	if !Chance(t, label+"?", 15) {
		return usual
	}
	return rapid.SampledFrom(list).Draw(t, label)
}

func DrawRequest(t *rapid.T) policy.Request {
	client := rapid.SampledFrom(SomeAddrs).Draw(t, "client")
	switch {
	case Chance(t, "mapped", 10):
		client = netip.AddrFrom16(client.As16()) // an IPv4 address becomes IPv4-mapped
	case Chance(t, "no address", 5):
		client = netip.Addr{}
	}
	r := policy.Request{
		Client:    client,
		Zone:      mostly(t, "zone", rapid.SampledFrom(someZones).Draw(t, "a zone"), []string{"www.example.org.", ""}),
		Type:      mostly(t, "type", rapid.SampledFrom([]uint16{dns.TypeAXFR, dns.TypeIXFR}).Draw(t, "a type"), []uint16{dns.TypeSOA, 0}),
		Class:     mostly(t, "class", uint16(dns.ClassINET), []uint16{dns.ClassCHAOS, dns.ClassANY, 0}),
		Serial:    rapid.Uint32().Draw(t, "serial"),
		Transport: mostly(t, "transport", rapid.SampledFrom([]policy.Transport{policy.TransportTCP, policy.TransportTLS, policy.TransportTLS}).Draw(t, "a transport"), append([]policy.Transport{""}, policy.Transports...)),
		Malformed: Chance(t, "malformed", 3),

		ClientUntrusted: Chance(t, "untrusted", 10),

		Replayed: Chance(t, "replayed", 10),
		Now:      rapid.SampledFrom([]time.Time{{}, MigrationEnd.Add(-1), MigrationEnd, MigrationEnd.Add(time.Minute), MigrationEnd.Add(2 * time.Hour)}).Draw(t, "now"),
	}
	r.TSIG.Status = mostly(t, "status", rapid.SampledFrom([]policy.TSIGStatus{policy.TSIGValid, policy.TSIGValid, policy.TSIGAbsent}).Draw(t, "a status"),
		append([]policy.TSIGStatus{"", "new"}, policy.TSIGStatuses...))
	if r.TSIG.Status != policy.TSIGAbsent {
		r.TSIG.Key = mostly(t, "key", rapid.SampledFrom(SomeKeys).Draw(t, "a key"), []string{"", "k9."})
		r.TSIG.Algorithm = mostly(t, "algorithm", "hmac-sha256", []string{"hmac-sha1", "hmac-md5", ""})
	}
	r.TLS = drawTLS(t)
	return r
}

func drawTLS(t *rapid.T) policy.TLSProof {
	p := policy.TLSProof{
		Version: mostly(t, "version", uint16(tls.VersionTLS13), []uint16{0, tls.VersionTLS12}),
		HasCert: mostly(t, "cert", true, []bool{false}),
		ALPN:    mostly(t, "alpn", "dot", []string{"", "h2"}),
	}
	if p.HasCert {
		p.Verified = mostly(t, "verified", true, []bool{false})
		p.Current = mostly(t, "current", true, []bool{false})
		p.ClientUse = mostly(t, "client use", true, []bool{false})
		p.Names = Few(t, "sans", SomeNames)
		p.SPKI = rapid.SampledFrom([][32]byte{PinA, PinB, {3}}).Draw(t, "spki")
	}
	return p
}

// Nets is a set of these prefixes.
func Nets(prefixes ...string) (n policy.Nets) {
	for _, p := range prefixes {
		n.Add(netip.MustParsePrefix(p))
	}
	return n
}

// AnyNet is the set of all addresses.
func AnyNet() policy.Nets {
	n := policy.Nets{}
	n.AddAny()
	return n
}

// The universe is small, so that random requests and random rules meet often.
var (
	SomeNets = prefixes("10.0.0.0/8", "10.0.0.0/30", "10.0.0.0/31", "10.0.0.2/31", "10.0.0.0/32", "10.0.0.1/32", "10.0.0.2/32",
		"0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "2001:db8::/127", "2001:db8::/128", "2001:db8::1/128", "::/0", "::ffff:10.0.0.0/104")
	SomeAddrs = addrs("10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.9.9.9", "11.0.0.1", "200.0.0.1",
		"2001:db8::", "2001:db8::1", "2001:db8::2", "fe80::1")
	someZones  = []string{"example.org.", "sub.example.org.", "."}
	Everywhere = prefixes("0.0.0.0/0", "::/0")
	SomeKeys   = []string{"k1.", "k2.", "k3."}
	SomeNames  = []string{"ns1.example.org.", "ns2.example.org.", "*.example.org.", "*.b.example.org.", "ns1.b.example.org."}
	SomePins   = [][32]byte{PinA, PinB}
	SomeTimes  = []time.Time{MigrationEnd, MigrationEnd.Add(time.Hour)}
)
