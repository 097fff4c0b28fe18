// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"fmt"

	"github.com/miekg/dns"
)

// cell is one combination.
type cell struct {
	mode      string // client_auth
	transport string // "tcp", "tls1.2", "tls1.3"
	alpn      string // "", "dot", "h2"
	cert      string // a key of certKinds, "" is none
	tsig      string // "", "wrong" (the right key's name, another secret), "other" (a good key of no rule), "right"
	inside    bool   // the client's address is in the rule
	zone      string // a key of ruleKinds
}

func (c *cell) String() string {
	return fmt.Sprintf("client_auth %s, %s, ALPN %q, cert %q, TSIG %q, inside %v, zone %s", c.mode, c.transport, c.alpn, c.cert, c.tsig, c.inside, c.zone)
}

// certKind says what is true of a certificate, by RFC 5280 and RFC 9525.
type certKind struct {
	verifies bool   // chains to the listener's CA, within its dates, for client authentication
	name     string // the only DNS SAN
	pinned   bool   // has the public key that the rules pin
	dated    bool   // within its validity
	forUse   bool   // not limited to servers
}

var certKinds = map[string]certKind{
	"expired":       {name: "ns2.example.net", forUse: true},
	"not yet valid": {name: "ns2.example.net", forUse: true},
	"server only":   {name: "ns2.example.net", dated: true},
	"other CA":      {name: "ns2.example.net", dated: true, forUse: true},
	"self-signed":   {name: "ns2.example.net", dated: true, forUse: true},
	"wrong SAN":     {verifies: true, name: "ns3.example.com", dated: true, forUse: true},
	"CN only":       {verifies: true, dated: true, forUse: true},
	"right SAN":     {verifies: true, name: "ns2.example.net", dated: true, forUse: true},
	"upper case":    {verifies: true, name: "NS2.Example.NET", dated: true, forUse: true},
	"wildcard SAN":  {verifies: true, name: "*.example.net", dated: true, forUse: true},
	"below":         {verifies: true, name: "a.ns2.example.net", dated: true, forUse: true},
	"right pin":     {name: "whatever.invalid", pinned: true, dated: true, forUse: true},
	"old pin":       {name: "whatever.invalid", pinned: true, forUse: true},
	"server pin":    {name: "whatever.invalid", pinned: true, dated: true},
}

// ruleKind is a rule in the words of the design.
type ruleKind struct {
	name  string
	text  string // as in the Corefile, PIN, PIN2 and PIN3 in place of the pins
	key   bool
	tls   bool // TLS is needed today
	names []string
	pin   bool
}

// ruleKinds are the rules of each zone, all for 127.0.0.1 only.
var ruleKinds = map[string][]ruleKind{
	"plain":    {{name: "plain", text: "key a.example.net.", key: true}},
	"sealed":   {{name: "sealed", text: "key a.example.net. tls", key: true, tls: true}},
	"past":     {{name: "past", text: "key a.example.net. tls until 2020-01-01", key: true, tls: true}},
	"future":   {{name: "future", text: "key a.example.net. tls until 2999-01-01", key: true}},
	"open":     {{name: "open", text: "unsigned"}},
	"opentls":  {{name: "opentls", text: "tls unsigned", tls: true}},
	"named":    {{name: "named", text: "cert ns2.example.net", tls: true, names: []string{"ns2.example.net"}}},
	"star":     {{name: "star", text: "cert *.example.net", tls: true, names: []string{"*.example.net"}}},
	"pinned":   {{name: "pinned", text: "cert PIN PIN2 PIN3", tls: true, pin: true}},
	"namedkey": {{name: "namedkey", text: "cert ns2.example.net key a.example.net.", key: true, tls: true, names: []string{"ns2.example.net"}}},
	"either": {
		{name: "bycert", text: "cert ns2.example.net", tls: true, names: []string{"ns2.example.net"}},
		{name: "bykey", text: "key a.example.net. tls", key: true, tls: true},
	},
}

var clientAuths = []string{"nocert", "request", "require", "verify_if_given", "require_and_verify"}

// wantHandshake says whether a connection comes about: RFC 7301 §3.2 refuses clients
// whose protocols are all foreign, and the names of the modes say the rest. It holds
// for TLS 1.2 too, which the listener speaks with those that ask for no transfer.
func (c *cell) wantHandshake() bool {
	if c.transport == "tcp" {
		return true
	}
	given := c.cert != ""
	ok := c.alpn != "h2"
	switch c.mode {
	case "require":
		return ok && given
	case "verify_if_given":
		return ok && (!given || certKinds[c.cert].verifies)
	case "require_and_verify":
		return ok && given && certKinds[c.cert].verifies
	}
	return ok
}

// answer is what the design's table of answers promises for a cell.
type answer struct {
	rcode  int
	reason string
	rule   string // allowed: that decided; denied: that came closest
}

// wantAnswer follows the order of checks: address, TSIG, TLS, certificate.
func (c *cell) wantAnswer() answer {
	if !c.inside {
		return answer{dns.RcodeRefused, "client-not-allowed", ""}
	}
	if c.tsig == "wrong" {
		return answer{dns.RcodeNotAuth, "tsig-bad-signature", ""}
	}
	var closest answer
	got := -1
	for _, r := range ruleKinds[c.zone] {
		reason, stage := c.lacking(r)
		if reason == "" {
			return answer{dns.RcodeSuccess, "policy-allow", r.name}
		}
		if stage > got {
			closest, got = answer{dns.RcodeRefused, reason, r.name}, stage
		}
	}
	return closest
}

func (c *cell) lacking(r ruleKind) (reason string, stage int) {
	switch {
	case r.key && c.tsig == "":
		return "tsig-required", 0
	case r.key && c.tsig == "other":
		return "tsig-key-not-allowed", 0
	case c.transport == "tls1.2", c.transport == "tcp" && r.tls: // RFC 9103 §7.2
		return "tls-required", 1
	case r.names == nil && !r.pin:
		return "", 0
	case c.cert == "" || c.mode == "nocert": // never asked for, never sent
		return "cert-required", 2
	case !c.shown(r):
		return "cert-not-allowed", 2
	}
	return "", 0
}

// shown says whether the certificate is the one named: a verified name, one label for
// a star on either side, whatever the case; or the public key, inside its validity.
func (c *cell) shown(r ruleKind) bool {
	k := certKinds[c.cert]
	if !k.dated || !r.pin && !k.forUse {
		return false
	}
	if r.pin {
		return k.pinned
	}
	if !k.verifies {
		return false
	}
	switch r.names[0] {
	case "ns2.example.net":
		return c.cert == "right SAN" || c.cert == "upper case" || c.cert == "wildcard SAN"
	case "*.example.net":
		return c.cert == "right SAN" || c.cert == "upper case" || c.cert == "wildcard SAN"
	}
	panic("a rule without an oracle")
}
