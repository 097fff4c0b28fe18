// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Digest names the policy: "sha256:" and the hash of its rules, every address
// included. The zones of one directive share it. Policies that decide alike but are
// written differently may differ.
func (p *Policy) Digest() string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n", strings.Join(p.Algorithms, " "))
	for i := range p.Rules {
		r := &p.Rules[i]
		fmt.Fprintf(h, "%s\n", r.line(-1))
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// summaryNets is how many prefixes of a rule a summary shows.
const summaryNets = 8

// Summary is the policy in the words of the Corefile, one rule a line, with long
// lists of addresses cut short.
func (p *Policy) Summary() string {
	var b strings.Builder
	for i := range p.Rules {
		fmt.Fprintln(&b, p.Rules[i].line(summaryNets))
	}
	b.WriteString("deny")
	return b.String()
}

// line is the rule as the Corefile has it, with at most nets prefixes; -1 is all.
func (r *Rule) line(nets int) string {
	var b strings.Builder
	verb := "allow"
	if r.Deny {
		verb = "deny"
	}
	fmt.Fprintf(&b, "%s as %s", verb, r.Name)
	if len(r.Types) > 0 {
		b.WriteString(" type")
		for _, t := range r.Types {
			b.WriteString(" " + dns.TypeToString[t])
		}
	}
	if !r.Nets.implied {
		b.WriteString(" net" + r.Nets.list(nets))
	}
	if len(r.Keys) > 0 {
		b.WriteString(" key " + strings.Join(r.Keys, " "))
	}
	if len(r.Certs) > 0 {
		b.WriteString(" cert")
		for _, c := range r.Certs {
			b.WriteString(" " + c.String())
		}
	}
	if r.TLS {
		b.WriteString(" tls")
		if !r.TLSUntil.IsZero() {
			b.WriteString(" until " + r.TLSUntil.UTC().Format(time.RFC3339Nano))
		}
	}
	if r.Unsigned {
		b.WriteString(" unsigned")
	}
	if !r.Expires.IsZero() {
		b.WriteString(" expires " + r.Expires.UTC().Format(time.RFC3339Nano))
	}
	if r.Notify {
		b.WriteString(" notify")
	}
	if r.Rate != nil {
		fmt.Fprintf(&b, " rate %d/%s burst %d", r.Rate.Count, r.Rate.Period, r.Rate.Burst)
	}
	if r.Concurrent > 0 {
		fmt.Fprintf(&b, " concurrent %d", r.Concurrent)
	}
	return b.String()
}

// Identity names what rule i of a directive asks of a client, in 64 octets. It stays
// the same for two rules only if every client that the second allows was allowed by the
// first: it covers the conditions, the denials before the rule that overlap its
// addresses, the accepted algorithms, and a MAC under the secret of each key, because a
// name may get another secret. Limits do not count, nor does the rule's end: when that is
// put off, the same clients are allowed for longer. secret returns the octets of a
// key's secret.
func Identity(rules []Rule, i int, algorithms []string, secret func(key string) []byte) string {
	asks := rules[i]
	asks.Rate, asks.Concurrent, asks.Notify, asks.Expires = nil, 0, false, time.Time{}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n", asks.line(-1), strings.Join(algorithms, " "))
	for j := range rules[:i] {
		if deny := &rules[j]; deny.Deny && asks.Nets.Overlaps(&deny.Nets) {
			fmt.Fprintf(h, "deny%s\n", deny.Nets.list(-1))
		}
	}
	for _, key := range asks.Keys {
		mac := hmac.New(sha256.New, secret(key))
		mac.Write([]byte("xfrguard: identity of a rule"))
		h.Write(mac.Sum(nil))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// String is the certificate as the Corefile has it.
func (c Cert) String() string {
	if c.Name != "" {
		return c.Name
	}
	return "sha256:" + hex.EncodeToString(c.SPKI[:])
}
