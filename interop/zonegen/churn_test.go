// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zonegen

import (
	"math/rand/v2"
	"testing"

	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/interop/rrset"
)

// A thousand edits hold to what a zone may be, every kind of change is among them, and
// what changes is always much less than the zone.
func TestChurn(t *testing.T) {
	const origin = "churn.test."
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	a, b := NewChurn(origin, 1, seed), NewChurn(origin, 1, seed)
	before := parse(t, a.String(), origin)
	for serial := uint32(2); serial <= 1001; serial++ {
		a.Edit(serial)
		b.Edit(serial)
		if a.String() != b.String() {
			t.Fatal("one seed gave different zones")
		}
		now := parse(t, a.String(), origin)
		lawful(t, now)
		changed, whole := size(now.Without(before))+size(before.Without(now)), size(now)
		if changed*2 > whole {
			t.Errorf("serial %d: %d octets changed of %d", serial, changed, whole)
		}
		if before = now; t.Failed() {
			t.FailNow()
		}
	}
	for _, ch := range changes {
		if a.Kinds[ch.kind] < 10 {
			t.Errorf("%q was made %d times only", ch.kind, a.Kinds[ch.kind])
		}
	}
	if NewChurn(origin, 1, seed).String() == NewChurn(origin, 1, seed+1).String() {
		t.Error("two seeds gave the same zone")
	}
}

// lawful checks what servers demand of a zone.
func lawful(t *testing.T, zone rrset.Set) {
	t.Helper()
	type key struct {
		name    string
		rrtype  uint16
		covered uint16
	}
	ttls := map[key]uint32{}
	types := map[string]map[uint16]bool{}
	for _, rr := range zone {
		h := rr.Header()
		k := key{dns.CanonicalName(h.Name), h.Rrtype, 0}
		if sig, ok := rr.(*dns.RRSIG); ok {
			k.covered = sig.TypeCovered
			if sig.OrigTtl != h.Ttl {
				t.Errorf("signature with another original TTL: %s", rr)
			}
		} else if types[k.name] == nil {
			types[k.name] = map[uint16]bool{h.Rrtype: true}
		} else {
			types[k.name][h.Rrtype] = true
		}
		if ttl, ok := ttls[k]; ok && ttl != h.Ttl {
			t.Errorf("two TTLs in the set of %s", rr)
		}
		ttls[k] = h.Ttl
	}
	for name, has := range types {
		if has[dns.TypeCNAME] && len(has) > 1 {
			t.Errorf("CNAME and other data at %s", name)
		}
	}
	for k, ttl := range ttls {
		if k.covered != 0 && ttls[key{k.name, k.covered, 0}] != ttl {
			t.Errorf("signature at %s without its set of %s, or with another TTL", k.name, dns.Type(k.covered))
		}
	}
}

func size(set rrset.Set) (n int) {
	for wire := range set {
		n += len(wire)
	}
	return n
}
