// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package zonegen

import (
	"fmt"
	"slices"
	"strings"
)

// change is one kind of change; make reports whether there was something to change.
type change struct {
	kind string
	make func(*Churn) bool
}

var changes = []change{
	{"new name", addName},
	{"new set at a name", addSet},
	{"record added", addRecord},
	{"record added", addRecord},
	{"record removed", removeRecord},
	{"record replaced", replaceRecord},
	{"set deleted", deleteSet},
	{"name deleted", deleteName},
	{"TTL", changeTTL},
	{"TTL", changeTTL},
	{"signatures", resign},
	{"signatures", resign},
	{"key rollover", rollKeys},
	{"owner case", changeCase},
	{"wildcard", addWildcard},
	{"long text", longText},
	{"alias to host", aliasToHost},
	{"host to alias", hostToAlias},
	{"delegation", delegate},
	{"delegation removed", undelegate},
	{"glue", changeGlue},
	{"SOA", changeSOA},
	{"name server", changeApex},
	{"renumbering", renumber},
	{"nothing but the serial", func(*Churn) bool { return true }},
}

// plain are the sets that changes of any kind may touch: not the apex, its server, and
// delegations, whose names would be left without what they need.
func plain(k setKey, _ *set) bool { return k.name != "@" && k.name != "ns1" && !delegated(k.name) }

func delegated(name string) bool {
	cut := name[strings.LastIndexByte(name, '.')+1:]
	return strings.HasPrefix(cut, "cut")
}

func (c *Churn) ttl() int { return 60 + c.rand.IntN(86400) }

// datum is data of a type that may have several records.
func (c *Churn) datum(rrtype string) string {
	n := c.rand.Uint32()
	switch rrtype {
	case "A":
		return v4(int(n))
	case "AAAA":
		return fmt.Sprintf("2001:db8:%x::%x", n>>16, n&0xffff)
	case "MX":
		return fmt.Sprintf("%d %s", n%100, c.mixed(fmt.Sprintf("mx%d.example.net.", n>>20)))
	case "SRV":
		return fmt.Sprintf("%d %d %d %s", n%10, n>>8%10, 1+n>>17, c.mixed(fmt.Sprintf("h%d", n%200)))
	case "TXT":
		return fmt.Sprintf(`"n=%d" "" "%s"`, n, strings.Repeat("x", int(n%40)))
	case "CAA":
		return fmt.Sprintf(`0 issue "ca%d.example.net"`, n)
	case "CNAME":
		return c.mixed(fmt.Sprintf("h%d", n%200))
	}
	return fmt.Sprintf(`\# 6 %08X%04X`, n, n&0xffff) // RFC 3597
}

var hostTypes = []string{"A", "A", "AAAA", "MX", "TXT", "CAA", "TYPE65400"}

// fill makes a set of one to three records, which may be signed.
func (c *Churn) fill(owner, rrtype string) *set {
	s := c.put(owner, rrtype, c.ttl(), c.datum(rrtype))
	if rrtype != "CNAME" {
		for range c.rand.IntN(3) {
			s.add(c.datum(rrtype))
		}
	}
	if c.rand.IntN(3) == 0 && rrtype != "TYPE65400" {
		s.tags = []int{1 + c.rand.IntN(65535)}
		c.sign(s)
	}
	return s
}

// add reports whether the record was not there, in any letter case.
func (s *set) add(d string) bool {
	if slices.ContainsFunc(s.data, func(x string) bool { return strings.EqualFold(x, d) }) {
		return false
	}
	s.data = append(s.data, d)
	return true
}

func addName(c *Churn) bool {
	n := c.rand.IntN(200)
	name, rrtype := fmt.Sprintf("h%d", n), pick(c, hostTypes)
	switch c.rand.IntN(6) {
	case 0: // with names between that have no records
		name = fmt.Sprintf("%d.deep.h%d", c.rand.IntN(9), n)
	case 1:
		name, rrtype = fmt.Sprintf("_sip._tcp.h%d", n), "SRV"
	case 2:
		rrtype = "CNAME"
	}
	if c.has(name) {
		return false
	}
	c.fill(c.mixed(name), rrtype)
	return true
}

func addSet(c *Churn) bool {
	k, s, ok := c.one(func(k setKey, s *set) bool { return plain(k, s) && k.rrtype != "CNAME" })
	rrtype := pick(c, hostTypes)
	if !ok || c.sets[setKey{k.name, rrtype}] != nil {
		return false
	}
	c.fill(s.owner, rrtype)
	return true
}

func several(k setKey, s *set) bool { return plain(k, s) && k.rrtype != "CNAME" }

func addRecord(c *Churn) bool {
	k, s, ok := c.one(func(k setKey, s *set) bool { return several(k, s) && len(s.data) < 8 })
	if !ok || !s.add(c.datum(k.rrtype)) {
		return false
	}
	c.sign(s)
	return true
}

func removeRecord(c *Churn) bool {
	_, s, ok := c.one(func(k setKey, s *set) bool { return plain(k, s) && len(s.data) > 1 })
	if !ok {
		return false
	}
	i := c.rand.IntN(len(s.data))
	s.data = slices.Delete(s.data, i, i+1)
	c.sign(s)
	return true
}

func replaceRecord(c *Churn) bool {
	k, s, ok := c.one(plain)
	if !ok {
		return false
	}
	s.data = slices.Delete(s.data, 0, 1)
	s.add(c.datum(k.rrtype))
	c.sign(s)
	return true
}

func deleteSet(c *Churn) bool {
	k, _, ok := c.one(plain)
	delete(c.sets, k)
	return ok
}

func deleteName(c *Churn) bool {
	gone, _, ok := c.one(plain)
	for _, k := range c.some(func(k setKey, _ *set) bool { return k.name == gone.name }) {
		delete(c.sets, k)
	}
	return ok
}

func changeTTL(c *Churn) bool {
	_, s, ok := c.one(func(setKey, *set) bool { return true })
	if ok {
		s.ttl = c.ttl()
		c.sign(s)
	}
	return ok
}

func isSigned(_ setKey, s *set) bool { return len(s.tags) > 0 }

// resign is what a signer does every few hours: the data stay, the signatures do not.
func resign(c *Churn) bool {
	keys := c.some(isSigned)
	for range min(len(keys), 1+c.rand.IntN(15)) {
		c.sign(c.sets[pick(c, keys)])
	}
	return len(keys) > 0
}

// rollKeys adds a second signature to a set, or takes the older one away.
func rollKeys(c *Churn) bool {
	_, s, ok := c.one(isSigned)
	switch {
	case !ok:
	case len(s.tags) > 1:
		s.tags, s.sigs = s.tags[1:], s.sigs[1:]
	default:
		s.tags = append(s.tags, s.tags[0]%65535+1)
		c.sign(s)
	}
	return ok
}

// changeCase writes a name in other letters: to the DNS that is the same zone.
func changeCase(c *Churn) bool {
	k, _, ok := c.one(plain)
	if !ok {
		return false
	}
	owner := c.mixed(k.name)
	for _, k := range c.some(func(x setKey, _ *set) bool { return x.name == k.name }) {
		c.sets[k].owner = owner
	}
	return true
}

func addWildcard(c *Churn) bool {
	name := fmt.Sprintf("*.w%d", c.rand.IntN(20))
	if c.has(name) {
		return false
	}
	c.fill(name, pick(c, []string{"A", "MX", "TXT", "CNAME"}))
	return true
}

// longText has up to 8 strings of 255 octets.
func longText(c *Churn) bool {
	name := fmt.Sprintf("long%d", c.rand.IntN(5))
	if c.sets[setKey{name, "CNAME"}] != nil {
		return false
	}
	strs := make([]string, 2+c.rand.IntN(7))
	for i := range strs {
		strs[i] = `"` + strings.Repeat(string(rune('a'+c.rand.IntN(26))), 255) + `"`
	}
	c.put(name, "TXT", c.ttl(), strings.Join(strs, " "))
	return true
}

func aliasToHost(c *Churn) bool {
	k, s, ok := c.one(func(k setKey, s *set) bool { return plain(k, s) && k.rrtype == "CNAME" })
	if ok {
		delete(c.sets, k)
		c.fill(s.owner, "A")
	}
	return ok
}

func hostToAlias(c *Churn) bool {
	k, s, ok := c.one(func(k setKey, s *set) bool { return plain(k, s) && (k.rrtype == "A" || k.rrtype == "AAAA") })
	if !ok {
		return false
	}
	for _, k := range c.some(func(x setKey, _ *set) bool { return x.name == k.name }) {
		delete(c.sets, k)
	}
	c.fill(s.owner, "CNAME")
	return true
}

func delegate(c *Churn) bool {
	name := fmt.Sprintf("cut%d", c.rand.IntN(20))
	if c.has(name) {
		return false
	}
	c.put(c.mixed(name), "NS", c.ttl(), c.mixed("ns1."+name), fmt.Sprintf("ns%d.example.net.", c.rand.IntN(9)))
	c.put(c.mixed("ns1."+name), "A", c.ttl(), c.datum("A"))
	c.put(c.mixed("ns1."+name), "AAAA", c.ttl(), c.datum("AAAA"))
	return true
}

func undelegate(c *Churn) bool {
	cut, _, ok := c.one(func(k setKey, _ *set) bool { return k.rrtype == "NS" && delegated(k.name) })
	for _, k := range c.some(func(k setKey, _ *set) bool { return k.name == cut.name || strings.HasSuffix(k.name, "."+cut.name) }) {
		if ok {
			delete(c.sets, k)
		}
	}
	return ok
}

func changeGlue(c *Churn) bool {
	k, s, ok := c.one(func(k setKey, _ *set) bool { return k.rrtype != "NS" && delegated(k.name) })
	if ok {
		s.data = []string{c.datum(k.rrtype)}
	}
	return ok
}

func changeSOA(c *Churn) bool {
	c.primary, c.minimum = c.mixed(pick(c, []string{"ns1", "ns2.example.net."})), 30+c.rand.IntN(300)
	return true
}

func changeApex(c *Churn) bool {
	s := c.sets[setKey{"@", "NS"}]
	if len(s.data) > 3 {
		s.data = slices.Delete(s.data, 1, 2)
		return true
	}
	return s.add(fmt.Sprintf("ns%d.example.net.", 3+c.rand.IntN(9)))
}

// renumber moves up to twenty hosts to other addresses.
func renumber(c *Churn) bool {
	keys := c.some(func(k setKey, s *set) bool { return plain(k, s) && k.rrtype == "A" })
	for range min(len(keys), 20) {
		s := c.sets[pick(c, keys)]
		s.data = []string{c.datum("A")}
		c.sign(s)
	}
	return len(keys) > 0
}
