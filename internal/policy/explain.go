// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"crypto/tls"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Condition is one condition of a rule, looked at for a request.
type Condition struct {
	Text  string // as the Corefile has it: "key ns2.example.net."
	Holds bool
	Lack  Reason // why it does not hold; "" when it does
}

// Conditions looks at every condition of the rule, each for itself, in the order in which
// they are checked. The rule matches exactly when all of them hold; where some do not, the
// first of them is what the client is told.
func (r *Rule) Conditions(q *Request) (all []Condition) {
	add := func(text string, lack Reason) {
		all = append(all, Condition{Text: text, Holds: lack == "", Lack: lack})
	}
	add(r.netText(), r.lacksNet(q))
	if r.Deny {
		return all
	}
	// A condition for itself is the rule without the others.
	alone := func(keep func(only *Rule)) Reason {
		only := Rule{Unsigned: true}
		keep(&only)
		lack, _ := only.lacks(q)
		return lack
	}
	switch {
	case len(r.Keys) > 0:
		add("key "+strings.Join(r.Keys, " "), alone(func(only *Rule) { only.Keys, only.Unsigned = r.Keys, false }).among(ReasonTSIGRequired, ReasonTSIGKeyNotAllowed))
	case r.Unsigned:
		add("unsigned", "")
	case len(r.Certs) == 0:
		add("no proof", ReasonTSIGRequired)
	}
	if r.TLS || len(r.Certs) > 0 || q.Transport == TransportTLS {
		add(r.tlsText(q), alone(func(only *Rule) { only.TLS, only.TLSUntil, only.Certs = r.TLS, r.TLSUntil, r.Certs }).among(ReasonTLSRequired))
	}
	if len(r.Certs) > 0 {
		add(r.certText(), r.lacksCert(q))
	}
	if q.TSIG.Status == TSIGValid && q.Replayed {
		add("a signature that was not used before", ReasonTSIGReplay)
	}
	if len(r.Types) > 0 {
		lack := Reason("")
		if !r.allows(q.Type) && !(q.Type == dns.TypeIXFR && r.allows(dns.TypeAXFR)) {
			lack = ReasonTypeNotAllowed
		}
		add(r.typeText(), lack)
	}
	if !r.Expires.IsZero() {
		lack := Reason("")
		if r.Expired(q.Now) {
			lack = ReasonRuleExpired
		}
		add("expires "+r.Expires.UTC().Format(time.RFC3339), lack)
	}
	return all
}

// among is the reason when it is one of those, else "".
func (r Reason) among(some ...Reason) Reason {
	if slices.Contains(some, r) {
		return r
	}
	return ""
}

func (r *Rule) lacksNet(q *Request) Reason {
	switch {
	case q.ClientUntrusted && q.Client.IsValid() && (r.Deny || r.everywhere()):
		return "" // it may be any address
	case q.ClientUntrusted:
		return ReasonProxyUntrusted
	case !r.Nets.Contains(q.Client):
		return ReasonClientNotAllowed
	}
	return ""
}

func (r *Rule) lacksCert(q *Request) Reason {
	switch {
	case !q.TLS.HasCert:
		return ReasonCertRequired
	case !slices.ContainsFunc(r.Certs, q.TLS.Shows):
		return ReasonCertNotAllowed
	}
	return ""
}

func (r *Rule) netText() string {
	if r.Nets.implied {
		return "any address"
	}
	return "net" + r.Nets.list(summaryNets)
}

func (r *Rule) tlsText(q *Request) string {
	switch {
	case len(r.Certs) > 0:
		return "tls, because of cert"
	case !r.TLS:
		return "TLS 1.3, as the request is over TLS (RFC 9103 §7.2)"
	case !r.TLSUntil.IsZero() && r.needsTLS(q.Now):
		return "tls, since " + r.TLSUntil.UTC().Format(time.RFC3339)
	case !r.TLSUntil.IsZero():
		return "tls until " + r.TLSUntil.UTC().Format(time.RFC3339) + ": not needed yet"
	}
	return "tls"
}

func (r *Rule) certText() string {
	text := "cert"
	for _, c := range r.Certs {
		text += " " + c.String()
	}
	return text
}

func (r *Rule) typeText() string {
	text := "type"
	for _, t := range r.Types {
		text += " " + dns.TypeToString[t]
	}
	return text
}

// Dates are the moments at which the rule begins to ask for more than before.
func (r *Rule) Dates() (dates []time.Time) {
	if !r.TLSUntil.IsZero() {
		dates = append(dates, r.TLSUntil)
	}
	if !r.Expires.IsZero() {
		dates = append(dates, r.Expires)
	}
	return dates
}

// ProofOverTLS is the proof of a client over TLS 1.3 that shows a good certificate: one that
// is verified and has the names, or one of a public key; none without either.
func ProofOverTLS(names []string, spki [32]byte) TLSProof {
	t := TLSProof{Version: tls.VersionTLS13, ALPN: "dot", SPKI: spki}
	if len(names) == 0 && spki == [32]byte{} {
		return t
	}
	t.HasCert, t.Current = true, true
	t.Verified, t.ClientUse = len(names) > 0, len(names) > 0
	for _, name := range names {
		t.Names = append(t.Names, dns.CanonicalName(name))
	}
	return t
}
