// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"crypto/tls"
	"net/netip"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/policy/policytest"

	"github.com/miekg/dns"
	"pgregory.net/rapid"
)

func decideLikeTheDesign(t *rapid.T) { decideLike(t, policytest.DrawBlock(t)) }

// decideLike holds the decisions about random requests against the naive reading.
func decideLike(t *rapid.T, spec map[string]policytest.Policy) {
	ps := policytest.Build(spec)
	for range drawn {
		req := policytest.DrawRequest(t)
		got, want := ps.Decide(&req), policytest.Decide(spec, &req)
		alone := spec[req.Zone]
		if gate := alone.FirstByAddress(&req); ps.Of(req.Zone) != nil &&
			ps.Of(req.Zone).Decide(&req).Known != (gate >= 0 && !alone.Rules[gate].Deny) {
			t.Fatalf("the policy alone says %+v", ps.Of(req.Zone).Decide(&req))
		}
		is := policytest.Decision{Allow: got.Allow, Reason: got.Reason, Rule: got.Rule, Near: got.Near, Full: got.Full, FullOnly: got.FullOnly, Known: got.Known}
		if is != want {
			t.Fatalf("\ngot  %+v\nwant %+v", is, want)
		}
		if got.Allow != (got.Reason == policy.ReasonAllowed) || (got.Full || got.FullOnly) && !got.Allow || got.FullOnly && got.By != got.FullBy || !slices.Contains(policy.Reasons, got.Reason) {
			t.Fatalf("contradicts itself: %+v", got)
		}
	}
}

func TestDecideLikeTheDesign(t *testing.T) { rapid.Check(t, decideLikeTheDesign) }

// TestManyRulesDecideLikeTheDesign has so many rules that every list of the index has
// several, and lists that are full.
func TestManyRulesDecideLikeTheDesign(t *testing.T) {
	for _, listed := range []int{1, 4, policy.MaxListed} {
		t.Run(strconv.Itoa(listed), func(t *testing.T) {
			policy.SetMaxListed(t, listed)
			rapid.Check(t, func(t *rapid.T) { decideLike(t, policytest.DrawBlockOf(t, 2, 3, 10, 20, 40)) })
		})
	}
}

// TestFullListsHideNobody: a rule that is listed by less than it asks for does not stand
// before the one behind it that came nearer.
func TestFullListsHideNobody(t *testing.T) {
	policy.SetMaxListed(t, 2) // one certificate by name, no three keys
	nets := policytest.Nets("10.0.0.0/8")
	ps := policy.NewPolicies(&policy.Policy{Zone: "example.org.", Rules: []policy.Rule{
		{Name: "many", Nets: nets, Keys: []string{"k1.", "k2.", "k3."}, Certs: []policy.Cert{{Name: "ns1.example.org."}}},
		{Name: "one", Nets: nets, Certs: []policy.Cert{{Name: "ns2.example.org."}}},
	}})
	req := with(axfr("10.0.0.1", ""), showing(policytest.PinA, "ns9.example.org."))
	if d := ps.Decide(&req); d.Near != "one" || d.Reason != policy.ReasonCertNotAllowed {
		t.Errorf("%+v", d)
	}
}

func FuzzDecide(f *testing.F) { f.Fuzz(rapid.MakeFuzz(decideLikeTheDesign)) }

// drawn is how many requests meet each random block in the properties below, most
// of which say something of some requests only.
const drawn = 20

// TestLessProofNeverAllows takes good evidence away from denied requests: no rule
// may be written so that a client gains by hiding who it is. Bad evidence is
// another matter: it denies by itself, and without it an unsigned rule may hold. So
// does TLS below 1.3 or for another protocol, which no transfer may use.
func TestLessProofNeverAllows(t *testing.T) {
	faults := []policy.Reason{
		policy.ReasonTSIGBadKey, policy.ReasonTSIGWeakAlgorithm, policy.ReasonTSIGBadSignature, policy.ReasonTSIGBadTime,
		policy.ReasonTSIGBadTruncation, policy.ReasonMalformed, policy.ReasonTransportUnsupported,
	}
	less := map[string]func(*policy.Request){
		"signature":    func(r *policy.Request) { r.TSIG = policy.TSIGProof{Status: policy.TSIGAbsent} },
		"certificate":  func(r *policy.Request) { r.TLS = policy.TLSProof{Version: r.TLS.Version, ALPN: r.TLS.ALPN} },
		"verification": func(r *policy.Request) { r.TLS.Verified = false },
		"validity":     func(r *policy.Request) { r.TLS.Current = false },
		"usage":        func(r *policy.Request) { r.TLS.ClientUse = false },
		"names":        func(r *policy.Request) { r.TLS.Names = nil },
		"TLS":          func(r *policy.Request) { r.Transport, r.TLS = policy.TransportTCP, policy.TLSProof{} },
		"everything": func(r *policy.Request) {
			r.Transport, r.TLS, r.TSIG = policy.TransportTCP, policy.TLSProof{}, policy.TSIGProof{Status: policy.TSIGAbsent}
		},
	}
	rapid.Check(t, func(t *rapid.T) {
		ps := policytest.Build(policytest.DrawBlock(t))
		for range drawn {
			req := policytest.DrawRequest(t)
			if d := ps.Decide(&req); d.Allow || req.Replayed || slices.Contains(faults, d.Reason) ||
				req.Transport == policy.TransportTLS && (req.TLS.Version < tls.VersionTLS13 || req.TLS.ALPN == "h2") {
				continue
			}
			for what, take := range less {
				if r := with(req, take); ps.Decide(&r).Allow {
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
		spec, ban := policytest.DrawBlock(t), policytest.Rule{Name: "ban", Deny: true, Nets: policytest.Few(t, "banned", policytest.SomeNets)}
		ps := policytest.Build(spec)
		for zone, p := range spec {
			p.Rules = append([]policytest.Rule{ban}, p.Rules...)
			spec[zone] = p
		}
		banning := policytest.Build(spec)
		for range drawn {
			req := policytest.DrawRequest(t)
			before, after := ps.Decide(&req), banning.Decide(&req)
			switch banned := ban.HasAddress(&req); {
			case banned && (after.Allow || after.Known):
				t.Fatalf("banned, and yet %+v", after)
			case !banned && (after.Allow != before.Allow || after.Reason != before.Reason || after.Known != before.Known):
				t.Fatalf("not banned, and yet %+v became %+v", before, after)
			}
		}
	})
}

// TestMoreRulesBehind shows that order is precedence: what a rule decides stays
// so, whatever rules come behind. An IXFR that is allowed as an AXFR stays allowed; a rule
// behind may allow it as it is.
func TestMoreRulesBehind(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := policytest.DrawBlock(t)
		ps := policytest.Build(spec)
		for zone, p := range spec {
			p.Rules = append(slices.Clone(p.Rules), policytest.DrawRule(t, "more", false))
			spec[zone] = p
		}
		longer := policytest.Build(spec)
		for range drawn {
			req := policytest.DrawRequest(t)
			before, after := ps.Decide(&req), longer.Decide(&req)
			if before.Rule != "" && (after.Allow != before.Allow || after.Rule != before.Rule && (!before.FullOnly || after.FullOnly)) {
				t.Fatalf("%+v became %+v", before, after)
			}
		}
	})
}

// TestMappedIsIPv4 asks from the same address, written in both ways.
func TestMappedIsIPv4(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ps := policytest.Build(policytest.DrawBlock(t))
		for range drawn {
			req := policytest.DrawRequest(t)
			if !req.Client.Is4() {
				continue
			}
			mapped := with(req, func(r *policy.Request) { r.Client = netip.AddrFrom16(r.Client.As16()) })
			if a, b := ps.Decide(&req), ps.Decide(&mapped); a != b {
				t.Fatalf("from %v %+v, from %v %+v", req.Client, a, mapped.Client, b)
			}
		}
	})
}

// TestStrangersLearnNothing gives strangers every proof and any zone: what they
// are told depends on neither.
func TestStrangersLearnNothing(t *testing.T) {
	told := func(d policy.Decision) policy.Reason { // what shows on the wire
		if d.Reason == policy.ReasonNotAZone || d.Reason == policy.ReasonProxyUntrusted {
			return policy.ReasonClientNotAllowed
		}
		return d.Reason
	}
	answers := []policy.Reason{policy.ReasonClientNotAllowed, policy.ReasonTransportUnsupported, policy.ReasonMalformed}
	rapid.Check(t, func(t *rapid.T) {
		spec := policytest.DrawBlock(t)
		ps := policytest.Build(spec)
		for range drawn {
			req, other := policytest.DrawRequest(t), policytest.DrawRequest(t)
			known := false
			for _, p := range spec {
				i := p.FirstByAddress(&req)
				known = known || i >= 0 && !p.Rules[i].Deny
			}
			if known || req.TSIG.Status == policy.TSIGMalformed || other.TSIG.Status == policy.TSIGMalformed {
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
		ps := policytest.Build(policytest.DrawBlock(t))
		for range drawn {
			a, b := policytest.DrawRequest(t), policytest.DrawRequest(t)
			b.Client, b.ClientUntrusted = a.Client, a.ClientUntrusted
			if ps.Decide(&a).Known != ps.Decide(&b).Known {
				t.Fatalf("%+v and %+v", ps.Decide(&a), ps.Decide(&b))
			}
		}
	})
}

// everyRequest is the whole universe of requests that can tell two rules apart.
func everyRequest(yield func(*policy.Request) bool) {
	proofs := []policy.TLSProof{{Version: tls.VersionTLS13}}
	for _, san := range append(slices.Clone(policytest.SomeNames), "ns3.example.org.", "x.b.example.org.") {
		proofs = append(proofs, policy.TLSProof{Version: tls.VersionTLS13, HasCert: true, Verified: true, Current: true, ClientUse: true, Names: []string{san}})
	}
	for _, spki := range policytest.SomePins {
		proofs = append(proofs, policy.TLSProof{Version: tls.VersionTLS13, HasCert: true, Current: true, ClientUse: true, SPKI: spki})
	}
	for _, client := range policytest.SomeAddrs {
		for _, key := range append([]string{"", "k9."}, policytest.SomeKeys...) {
			for _, typ := range []uint16{dns.TypeAXFR, dns.TypeIXFR} {
				for _, now := range []time.Time{{}, policytest.MigrationEnd.Add(-1), policytest.MigrationEnd, policytest.MigrationEnd.Add(time.Hour)} {
					r := axfr("192.0.2.1", key)
					r.Client, r.Type, r.Now = client, typ, now
					if !yield(&r) {
						return
					}
					r.Transport = policy.TransportTLS
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
		first, later := policytest.DrawRule(t, "first", true), policytest.DrawRule(t, "later", true)
		if policytest.Chance(t, "alike", 75) { // two random rules are seldom close
			name := later.Name
			later = first
			later.Name = name
			switch rapid.SampledFrom([]int{0, 1, 2, 3, 4, 5, 6, 7}).Draw(t, "change") {
			case 0:
				later.Nets = policytest.Few(t, "nets", policytest.SomeNets)
				if later.Nets == nil {
					later.Nets = policytest.Everywhere
				}
			case 1:
				later.Types = policytest.Few(t, "types", []uint16{dns.TypeAXFR, dns.TypeIXFR})
			case 2:
				later.Keys = policytest.Few(t, "keys", policytest.SomeKeys)
			case 3:
				later.Names = policytest.Few(t, "names", policytest.SomeNames)
			case 4:
				later.Pins = policytest.Few(t, "pins", policytest.SomePins)
			case 5:
				later.TLS = true
				later.Until = rapid.SampledFrom([]time.Time{{}, policytest.SomeTimes[0], policytest.SomeTimes[1]}).Draw(t, "until")
			case 6:
				later.Expires = rapid.SampledFrom([]time.Time{{}, policytest.SomeTimes[0], policytest.SomeTimes[1]}).Draw(t, "expires")
			}
			if certs := len(later.Names)+len(later.Pins) > 0; !later.Deny {
				later.Unsigned = len(later.Keys) == 0 && !certs
				if certs {
					later.TLS, later.Until = true, time.Time{}
				}
			} else {
				later = policytest.Rule{Name: name, Deny: true, Nets: later.Nets}
			}
		}
		a, b := first.Build(), later.Build()
		dead := true
		for r := range everyRequest {
			if later.Matches(r) && !first.Matches(r) {
				dead = false
				break
			}
		}
		if got := a.Shadows(&b); got != dead {
			t.Fatalf("shadows = %v, by trying every request %v", got, dead)
		}
	})
}

// TestUniverse makes sure that the random requests above reach every decision of
// a policy; a generator that never allows proves nothing.
func TestUniverse(t *testing.T) {
	seen := map[policy.Reason]int{}
	one := rapid.Custom(func(t *rapid.T) policy.Reason {
		spec, req := policytest.DrawBlock(t), policytest.DrawRequest(t)
		return policytest.Decide(spec, &req).Reason
	})
	for seed := range 3000 {
		seen[one.Example(seed)]++
	}
	later := []policy.Reason{policy.ReasonZoneHeld, policy.ReasonBlockNotGuarded, policy.ReasonZoneNotGuarded, policy.ReasonRewritten, policy.ReasonFrozen, policy.ReasonRateLimited, policy.ReasonConcurrencyLimited, policy.ReasonShutdown, policy.ReasonZoneUnavailable, policy.ReasonAuditUnavailable}
	for _, r := range policy.Reasons {
		if seen[r] == 0 && !slices.Contains(later, r) {
			t.Errorf("never %s, only %v", r, seen)
		}
	}
}
