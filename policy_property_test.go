// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"crypto/tls"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"
	"pgregory.net/rapid"
)

func decideLikeTheDesign(t *rapid.T) {
	spec := drawBlock(t)
	ps := buildBlock(spec)
	for range drawn {
		req := drawRequest(t)
		got, want := ps.Decide(&req), specDecide(spec, &req)
		alone := spec[req.Zone]
		if gate := alone.firstByAddress(&req); ps[req.Zone] != nil &&
			ps[req.Zone].Decide(&req).Known != (gate >= 0 && !alone.rules[gate].deny) {
			t.Fatalf("the policy alone says %+v", ps[req.Zone].Decide(&req))
		}
		is := specDecision{got.Allow, got.Reason, got.Rule, got.Near, got.Full, got.Known}
		if is != want {
			t.Fatalf("\ngot  %+v\nwant %+v", is, want)
		}
		if got.Allow != (got.Reason == ReasonAllowed) || got.Full && !got.Allow || !slices.Contains(Reasons, got.Reason) {
			t.Fatalf("contradicts itself: %+v", got)
		}
	}
}

func TestDecideLikeTheDesign(t *testing.T) { rapid.Check(t, decideLikeTheDesign) }

func FuzzDecide(f *testing.F) { f.Fuzz(rapid.MakeFuzz(decideLikeTheDesign)) }

// drawn is how many requests meet each random block in the properties below, most
// of which say something of some requests only.
const drawn = 20

// TestLessProofNeverAllows takes good evidence away from denied requests: no rule
// may be written so that a client gains by hiding who it is. Bad evidence is
// another matter: it denies by itself, and without it an unsigned rule may hold. So
// does TLS below 1.3 or for another protocol, which no transfer may use.
func TestLessProofNeverAllows(t *testing.T) {
	faults := []Reason{
		ReasonTSIGBadKey, ReasonTSIGWeakAlgorithm, ReasonTSIGBadSignature, ReasonTSIGBadTime,
		ReasonTSIGBadTruncation, ReasonMalformed, ReasonTransportUnsupported,
	}
	less := map[string]func(*Request){
		"signature":    func(r *Request) { r.TSIG = TSIGProof{Status: TSIGAbsent} },
		"certificate":  func(r *Request) { r.TLS = TLSProof{Version: r.TLS.Version, ALPN: r.TLS.ALPN} },
		"verification": func(r *Request) { r.TLS.Verified = false },
		"validity":     func(r *Request) { r.TLS.Current = false },
		"usage":        func(r *Request) { r.TLS.ClientUse = false },
		"names":        func(r *Request) { r.TLS.Names = nil },
		"TLS":          func(r *Request) { r.Transport, r.TLS = TransportTCP, TLSProof{} },
		"everything": func(r *Request) {
			r.Transport, r.TLS, r.TSIG = TransportTCP, TLSProof{}, TSIGProof{Status: TSIGAbsent}
		},
	}
	rapid.Check(t, func(t *rapid.T) {
		ps := buildBlock(drawBlock(t))
		for range drawn {
			req := drawRequest(t)
			if d := ps.Decide(&req); d.Allow || req.Replayed || slices.Contains(faults, d.Reason) ||
				req.Transport == TransportTLS && (req.TLS.Version < tls.VersionTLS13 || req.TLS.ALPN == "h2") {
				continue
			}
			for what, take := range less {
				if r := req.with(take); ps.Decide(&r).Allow {
					t.Fatalf("allowed without its %s, denied with it", what)
				}
			}
		}
	})
}

// TestDenyFirstNeverAllowsMore puts a deny rule in front: it takes its own
// addresses away, and changes nothing else.
func TestDenyFirstNeverAllowsMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec, ban := drawBlock(t), specRule{name: "ban", deny: true, nets: few(t, "banned", someNets)}
		ps := buildBlock(spec)
		for zone, p := range spec {
			p.rules = append([]specRule{ban}, p.rules...)
			spec[zone] = p
		}
		banning := buildBlock(spec)
		for range drawn {
			req := drawRequest(t)
			before, after := ps.Decide(&req), banning.Decide(&req)
			switch banned := ban.hasAddress(&req); {
			case banned && (after.Allow || after.Known):
				t.Fatalf("banned, and yet %+v", after)
			case !banned && (after.Allow != before.Allow || after.Reason != before.Reason || after.Known != before.Known):
				t.Fatalf("not banned, and yet %+v became %+v", before, after)
			}
		}
	})
}

// TestMoreRulesBehind shows that order is precedence: what a rule decides stays
// so, whatever rules come behind.
func TestMoreRulesBehind(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := drawBlock(t)
		ps := buildBlock(spec)
		for zone, p := range spec {
			p.rules = append(slices.Clone(p.rules), drawRule(t, "more", false))
			spec[zone] = p
		}
		longer := buildBlock(spec)
		for range drawn {
			req := drawRequest(t)
			before, after := ps.Decide(&req), longer.Decide(&req)
			if before.Rule != "" && (after.Allow != before.Allow || after.Rule != before.Rule) {
				t.Fatalf("%+v became %+v", before, after)
			}
		}
	})
}

// TestMappedIsIPv4 asks from the same address, written in both ways.
func TestMappedIsIPv4(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ps := buildBlock(drawBlock(t))
		for range drawn {
			req := drawRequest(t)
			if !req.Client.Is4() {
				continue
			}
			mapped := req.with(func(r *Request) { r.Client = netip.AddrFrom16(r.Client.As16()) })
			if a, b := ps.Decide(&req), ps.Decide(&mapped); a != b {
				t.Fatalf("from %v %+v, from %v %+v", req.Client, a, mapped.Client, b)
			}
		}
	})
}

// TestStrangersLearnNothing gives strangers every proof and any zone: what they
// are told depends on neither.
func TestStrangersLearnNothing(t *testing.T) {
	told := func(d Decision) Reason { // what shows on the wire
		if d.Reason == ReasonNotAZone || d.Reason == ReasonProxyUntrusted {
			return ReasonClientNotAllowed
		}
		return d.Reason
	}
	answers := []Reason{ReasonClientNotAllowed, ReasonTransportUnsupported, ReasonMalformed}
	rapid.Check(t, func(t *rapid.T) {
		spec := drawBlock(t)
		ps := buildBlock(spec)
		for range drawn {
			req, other := drawRequest(t), drawRequest(t)
			known := false
			for _, p := range spec {
				i := p.firstByAddress(&req)
				known = known || i >= 0 && !p.rules[i].deny
			}
			if known || req.TSIG.Status == TSIGMalformed || other.TSIG.Status == TSIGMalformed {
				continue // the shape of a message is judged first, whoever sends it
			}
			changed := req
			changed.TSIG, changed.TLS, changed.Replayed, changed.Now = other.TSIG, other.TLS, other.Replayed, other.Now
			a, b := ps.Decide(&req), ps.Decide(&changed)
			if a != b {
				t.Fatalf("%+v became %+v with another proof", a, b)
			}
			if a.Allow || a.Known || !slices.Contains(answers, told(a)) {
				t.Fatalf("a stranger gets %+v", a)
			}
			changed.Zone = other.Zone
			if c := ps.Decide(&changed); c.Known || told(c) != told(a) {
				t.Fatalf("%+v became %+v for another zone", a, c)
			}
		}
	})
}

// TestKnownDependsOnTheAddressAlone holds for every request: else the signature of
// a refusal would tell zones that exist from those that do not.
func TestKnownDependsOnTheAddressAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ps := buildBlock(drawBlock(t))
		for range drawn {
			a, b := drawRequest(t), drawRequest(t)
			b.Client, b.ClientUntrusted = a.Client, a.ClientUntrusted
			if ps.Decide(&a).Known != ps.Decide(&b).Known {
				t.Fatalf("%+v and %+v", ps.Decide(&a), ps.Decide(&b))
			}
		}
	})
}

// everyRequest is the whole universe of requests that can tell two rules apart.
func everyRequest(yield func(*Request) bool) {
	proofs := []TLSProof{{Version: tls.VersionTLS13}}
	for _, san := range append(slices.Clone(someNames), "ns3.example.org.", "x.b.example.org.") {
		proofs = append(proofs, TLSProof{Version: tls.VersionTLS13, HasCert: true, Verified: true, Current: true, ClientUse: true, Names: []string{san}})
	}
	for _, spki := range somePins {
		proofs = append(proofs, TLSProof{Version: tls.VersionTLS13, HasCert: true, Current: true, ClientUse: true, SPKI: spki})
	}
	for _, client := range someAddrs {
		for _, key := range append([]string{"", "k9."}, someKeys...) {
			for _, typ := range []uint16{dns.TypeAXFR, dns.TypeIXFR} {
				for _, now := range []time.Time{migrationEnd.Add(-1), migrationEnd, migrationEnd.Add(time.Hour)} {
					r := axfr("192.0.2.1", key)
					r.Client, r.Type, r.Now = client, typ, now
					if !yield(&r) {
						return
					}
					r.Transport = TransportTLS
					for _, p := range proofs {
						if r.TLS = p; !yield(&r) {
							return
						}
					}
				}
			}
		}
	}
}

// TestShadows is exact in both directions: a rule is dead behind another one if
// and only if no request in the world matches it and not the other.
func TestShadows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first, later := drawRule(t, "first", true), drawRule(t, "later", true)
		if chance(t, "alike", 75) { // two random rules are seldom close
			name := later.name
			later = first
			later.name = name
			switch rapid.SampledFrom([]int{0, 1, 2, 3, 4, 5, 6}).Draw(t, "change") {
			case 0:
				later.nets = few(t, "nets", someNets)
				if later.nets == nil {
					later.nets = everywhere
				}
			case 1:
				later.types = few(t, "types", []uint16{dns.TypeAXFR, dns.TypeIXFR})
			case 2:
				later.keys = few(t, "keys", someKeys)
			case 3:
				later.names = few(t, "names", someNames)
			case 4:
				later.pins = few(t, "pins", somePins)
			case 5:
				later.tls = true
				later.until = rapid.SampledFrom([]time.Time{{}, someTimes[0], someTimes[1]}).Draw(t, "until")
			}
			if certs := len(later.names)+len(later.pins) > 0; !later.deny {
				later.unsigned = len(later.keys) == 0 && !certs
				if certs {
					later.tls, later.until = true, time.Time{}
				}
			} else {
				later = specRule{name: name, deny: true, nets: later.nets}
			}
		}
		a, b := first.build(), later.build()
		dead := true
		for r := range everyRequest {
			if later.matches(r) && !first.matches(r) {
				dead = false
				break
			}
		}
		if got := a.shadows(&b); got != dead {
			t.Fatalf("shadows = %v, by trying every request %v", got, dead)
		}
	})
}

// TestUniverse makes sure that the random requests above reach every decision of
// a policy; a generator that never allows proves nothing.
func TestUniverse(t *testing.T) {
	seen := map[Reason]int{}
	one := rapid.Custom(func(t *rapid.T) Reason {
		spec, req := drawBlock(t), drawRequest(t)
		return specDecide(spec, &req).reason
	})
	for seed := range 3000 {
		seen[one.Example(seed)]++
	}
	later := []Reason{ReasonRewritten, ReasonRateLimited, ReasonConcurrencyLimited, ReasonShutdown, ReasonZoneUnavailable, ReasonAuditUnavailable}
	for _, r := range Reasons {
		if seen[r] == 0 && !slices.Contains(later, r) {
			t.Errorf("never %s, only %v", r, seen)
		}
	}
}
