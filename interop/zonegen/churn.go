// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zonegen

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Churn is a zone that is edited at random, the same way for the same seed. It holds a
// few hundred records, and one edit touches less than half of them, so that an
// incremental answer is always shorter than the zone.
//
// What servers rightly refuse never comes: a CNAME beside other data (RFC 1034 §3.6.2),
// several TTLs in a set (RFC 2181 §5.2), records below a delegation that are no glue,
// a signature whose original TTL is not that of its set (RFC 4034 §3.1.4; Knot DNS sends
// the original TTL for the other).
type Churn struct {
	Origin string
	Serial uint32
	Kinds  map[string]int // how often each kind of change was made

	rand    *rand.Rand
	sets    map[setKey]*set
	primary string // of the SOA
	minimum int
}

// setKey names a set of records: its owner, relative to the origin and in lower case.
type setKey struct{ name, rrtype string }

type set struct {
	owner string // as it is written
	ttl   int
	data  []string
	tags  []int    // key tags of its signatures
	sigs  []string // one for each tag
}

// NewChurn returns a zone with that serial.
func NewChurn(origin string, serial uint32, seed uint64) *Churn {
	c := &Churn{
		Origin: origin, Serial: serial, Kinds: make(map[string]int),
		rand: rand.New(rand.NewPCG(seed, 0)), sets: make(map[setKey]*set), primary: "ns1", minimum: 60,
	}
	c.put("@", "NS", 3600, "ns1", "ns2.example.net.")
	c.put("ns1", "A", 3600, "192.0.2.53")
	c.put("ns1", "AAAA", 3600, "2001:db8::53")
	for c.records() < least+20 {
		c.grow()
	}
	clear(c.Kinds)
	return c
}

// The zone's size is kept between these numbers of records.
const (
	least = 300
	most  = 450
)

// Edit changes the zone and gives it that serial.
func (c *Churn) Edit(serial uint32) {
	c.Serial = serial
	once := make(map[string]bool)
	for range 1 + c.rand.IntN(4) {
		ch := pick(c, changes)
		if once[ch.kind] { // the large ones would add up
			continue
		}
		if ch.make(c) {
			once[ch.kind] = true
			c.Kinds[ch.kind]++
		}
	}
	for c.records() < least {
		c.grow()
	}
	for c.records() > most {
		c.shrink()
	}
}

func (c *Churn) grow() { c.Kinds["new name"] += count(addName(c)) }

func (c *Churn) shrink() { c.Kinds["name deleted"] += count(deleteName(c)) }

func count(done bool) int {
	if done {
		return 1
	}
	return 0
}

// String is the zone file.
func (c *Churn) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "$ORIGIN %s\n@ 3600 IN SOA %s hostmaster %d 864000 864000 8640000 %d\n", c.Origin, c.primary, c.Serial, c.minimum)
	for _, k := range c.keys() {
		s := c.sets[k]
		for _, d := range s.data {
			fmt.Fprintf(&b, "%s %d IN %s %s\n", s.owner, s.ttl, k.rrtype, d)
		}
		for i, sig := range s.sigs {
			fmt.Fprintf(&b, "%s %d IN RRSIG %s 13 %d %d 20400101000000 20240101000000 %d %s %s\n",
				s.owner, s.ttl, k.rrtype, c.labels(k.name), s.ttl, s.tags[i], c.Origin, sig)
		}
	}
	return b.String()
}

// labels as a signature counts them (RFC 4034 §3.1.3).
func (c *Churn) labels(name string) int {
	n := dns.CountLabel(c.Origin)
	if name != "@" {
		n += dns.CountLabel(strings.TrimPrefix(name, "*.") + ".")
	}
	return n
}

// keys are those of all sets, in a fixed order.
func (c *Churn) keys() []setKey {
	keys := make([]setKey, 0, len(c.sets))
	for k := range c.sets {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b setKey) int {
		return cmp.Or(strings.Compare(a.name, b.name), strings.Compare(a.rrtype, b.rrtype))
	})
	return keys
}

// some are the keys that are wanted, in a fixed order.
func (c *Churn) some(want func(setKey, *set) bool) []setKey {
	return slices.DeleteFunc(c.keys(), func(k setKey) bool { return !want(k, c.sets[k]) })
}

// one is any of the sets that are wanted.
func (c *Churn) one(want func(setKey, *set) bool) (setKey, *set, bool) {
	keys := c.some(want)
	if len(keys) == 0 {
		return setKey{}, nil, false
	}
	k := pick(c, keys)
	return k, c.sets[k], true
}

func pick[T any](c *Churn, from []T) T { return from[c.rand.IntN(len(from))] }

func (c *Churn) records() int {
	n := 1
	for _, s := range c.sets {
		n += len(s.data) + len(s.sigs)
	}
	return n
}

// put makes a set, in the place of the one that is there.
func (c *Churn) put(owner, rrtype string, ttl int, data ...string) *set {
	s := &set{owner: owner, ttl: ttl, data: data}
	c.sets[setKey{strings.ToLower(owner), rrtype}] = s
	return s
}

// sign gives the set new signatures by the keys that it has.
func (c *Churn) sign(s *set) {
	s.sigs = s.sigs[:0]
	for range s.tags {
		sig := make([]byte, 64)
		for i := range sig {
			sig[i] = byte(c.rand.Uint32())
		}
		s.sigs = append(s.sigs, base64.StdEncoding.EncodeToString(sig))
	}
}

// has reports whether the name has a set.
func (c *Churn) has(name string) bool {
	return len(c.some(func(k setKey, _ *set) bool { return k.name == name })) > 0
}

// mixed is a name in any letter case.
func (c *Churn) mixed(name string) string {
	b := []byte(name)
	for i, x := range b {
		if 'a' <= x && x <= 'z' && c.rand.IntN(2) == 0 {
			b[i] = x - 'a' + 'A'
		}
	}
	return string(b)
}
