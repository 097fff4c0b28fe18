// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

// Package policy decides who may have a zone. It is pure: facts in, a decision with its
// reason out; no I/O, no clock, nothing of CoreDNS.
package policy

import (
	"net/netip"
	"slices"
	"time"
)

// Request holds the facts of one AXFR or IXFR message: who asks for what, how,
// and with what proof. It is a plain value; the zero Request is refused.
type Request struct {
	Client netip.Addr // source address: IPv4-mapped addresses unmapped, no zone identifier

	// ClientUntrusted says that Client is no evidence of who asks: anybody may have put an
	// address in front of this request.
	ClientUntrusted bool

	Zone      string // the name asked for, canonical (lower case, fully qualified)
	Type      uint16 // dns.TypeAXFR or dns.TypeIXFR
	Class     uint16 // query class
	Serial    uint32 // the client's serial; IXFR only
	Transport Transport
	Malformed bool // the message breaks RFC 5936 §2.1, RFC 1995 §3 or RFC 8945 §5.1
	TSIG      TSIGProof
	TLS       TLSProof
	Replayed  bool      // this very signature was accepted before (RFC 8945 §10)
	Now       time.Time // the moment of the decision, for `tls until` and `expires`
}

// TSIGProof is what is known about the request's transaction signature.
type TSIGProof struct {
	Status    TSIGStatus
	Key       string // canonical key name; meaningful as an identity only when Status is TSIGValid
	Algorithm string // canonical, without the trailing dot: "hmac-sha256"
}

// TLSProof is what is known about the TLS session the request came in.
// The zero value means that there is none, or that nothing is known of it.
type TLSProof struct {
	Version  uint16   // tls.VersionTLS13, …
	ALPN     string   // negotiated protocol, "dot" for XoT (RFC 9103 §7.1)
	HasCert  bool     // the client presented a certificate
	Verified bool     // a chain to the listener's CA was verified, now, for client authentication
	Root     [32]byte // SHA-256 of the SubjectPublicKeyInfo of the root of that chain
	Names    []string // canonical DNS SANs of the verified leaf: lower case, fully qualified
	SPKI     [32]byte // SHA-256 of the leaf's SubjectPublicKeyInfo
	Current  bool     // the leaf is inside its validity period

	ClientUse bool // the leaf may be used for client authentication (RFC 5280 §4.2.1.12); names need it
}

// Rule is one line of the policy. All of its conditions must hold; the values
// within one condition are alternatives.
type Rule struct {
	Name     string
	Deny     bool      // a deny rule has Nets and nothing else
	Nets     Nets      // empty: nobody; a rule without `net` has every address
	Types    []uint16  // empty: AXFR and IXFR
	Keys     []string  // canonical key names; empty: no key needed, which only Unsigned or Certs may say
	Certs    []Cert    // empty: no certificate needed
	TLS      bool      // TLS 1.3 is needed
	TLSUntil time.Time // the first moment at which TLS is needed; zero: TLS needs it at once
	Unsigned bool      // a request without a TSIG can match
	Notify   bool      // its addresses, which are single ones, are told of new serials
	Expires  time.Time // the first moment at which it allows nobody any more; zero: never

	Rate       *Rate // nil: the block's
	Concurrent int   // 0: the block's per-client limit
}

// Rate is a number of requests in a period, with a burst.
type Rate struct {
	Count  int
	Period time.Duration
	Burst  int
}

// Cert names a client certificate, by DNS SAN or by public key.
type Cert struct {
	Name string   // canonical DNS name, maybe with a wildcard as its left-most label; "" when pinned
	SPKI [32]byte // SHA-256 of the SubjectPublicKeyInfo
}

// Policy is the ordered rules of one server block for one zone: a pure value.
// The zero Policy denies everything.
type Policy struct {
	Zone       string // the apex, canonical
	Rules      []Rule
	Algorithms []string // the TSIG algorithms that count: "hmac-sha256", …

	index *index // of the rules; nil before NewPolicies
}

// Decision is the answer of a policy. The zero Decision is a denial.
type Decision struct {
	Allow  bool
	Rule   string // the rule that decided; empty when none did
	Reason Reason
	Near   string // denied: the allow rule that came closest, whose first missing condition is Reason
	Full   bool   // allowed: a whole zone may be sent, also as the fallback of an IXFR
	// FullOnly says that an IXFR is allowed as an AXFR only: it gets no differences.
	FullOnly bool
	Known    bool // the address gate of some policy of the block is open to the client: the answer may be signed

	By     *Rule // the rule that decided, or came closest; nil when none did
	FullBy *Rule // the one that allows a whole zone
}

// Decide tries the rules in order: the first whose conditions all hold decides,
// and when none does the answer is no. An IXFR that is not allowed as such is decided
// once more as the AXFR that its client may ask for. A signature that is present must be good
// whatever the rules say, also where none is needed. What the transport carries,
// the message's shape and the apex are checked by Policies.Decide.
func (p *Policy) Decide(r *Request) Decision {
	x := p.index
	if x == nil {
		x = newIndex(p.Rules)
	}
	s := x.search(r)
	if first := s.first(); first == nil || first.Deny {
		return first.stranger(r)
	}
	if fault := p.signatureFault(&r.TSIG); fault != "" {
		return Decision{Reason: fault, Known: true}
	}
	s.run()
	d := s.decision()
	d.Known = true
	return d
}

// signatureFault returns why a signature that is present cannot be believed, or "".
// An algorithm below the floor counts like an unknown key (RFC 8945 §5.2.1),
// before anything that was computed with it.
func (p *Policy) signatureFault(t *TSIGProof) Reason {
	switch {
	case t.Status == TSIGAbsent:
		return ""
	case t.Status == TSIGBadKey:
		return ReasonTSIGBadKey
	case t.Status == TSIGBadAlgorithm || !slices.Contains(p.Algorithms, t.Algorithm):
		return ReasonTSIGWeakAlgorithm
	case t.Status == TSIGBadSize || t.Status == TSIGBadTruncation:
		return ReasonTSIGBadTruncation
	case t.Status == TSIGBadTime:
		return ReasonTSIGBadTime
	case t.Status == TSIGValid:
		return ""
	}
	return ReasonTSIGBadSignature // a bad one, and any status that is not known here
}

// everywhere reports whether the rule matches every address.
func (r *Rule) everywhere() bool { return r.Nets.any }

// stranger is the denial of a client whose address no rule allows (r is nil), or r
// denies.
func (r *Rule) stranger(q *Request) Decision {
	d := Decision{Reason: ReasonClientNotAllowed}
	if r != nil {
		d.Rule, d.By = r.Name, r
	}
	if q.ClientUntrusted && (r == nil || !r.everywhere()) {
		d.Reason = ReasonProxyUntrusted
	}
	return d
}

// The order of a rule's conditions, cheapest and least telling first.
const (
	stageKey = iota
	stageTLS
	stageCert
	stageReplay
	stageType
	stageExpires
)

// lacks returns the first condition but for the type and the end that does not hold and where it
// stands in the order of checks, or "". Every condition counts on every transport. A transfer
// over TLS is one of RFC 9103, which knows only TLS 1.3 (§7.2), whether the rule asks
// for TLS or not; and without evidence of the session there is none.
func (r *Rule) lacks(q *Request) (Reason, int) {
	signed := q.TSIG.Status == TSIGValid
	switch {
	case len(r.Keys) > 0 && !signed:
		return ReasonTSIGRequired, stageKey
	case len(r.Keys) > 0 && !slices.Contains(r.Keys, q.TSIG.Key):
		return ReasonTSIGKeyNotAllowed, stageKey
	case len(r.Keys) == 0 && len(r.Certs) == 0 && !r.Unsigned:
		return ReasonTSIGRequired, stageKey // parse refuses such a rule; here it allows nobody
	case (r.needsTLS(q.Now) || q.Transport == TransportTLS) && !q.TLS.strong(q.Transport):
		return ReasonTLSRequired, stageTLS
	case len(r.Certs) > 0 && !q.TLS.HasCert:
		return ReasonCertRequired, stageCert
	case len(r.Certs) > 0 && !slices.ContainsFunc(r.Certs, q.TLS.Shows):
		return ReasonCertNotAllowed, stageCert
	case signed && q.Replayed:
		return ReasonTSIGReplay, stageReplay
	}
	return "", 0
}

// allows reports whether the rule is about requests of the type.
func (r *Rule) allows(qtype uint16) bool {
	return len(r.Types) == 0 || slices.Contains(r.Types, qtype)
}

// Expired reports whether the rule has ended, the last condition. It has, too, when the
// moment is not known.
func (r *Rule) Expired(now time.Time) bool {
	return !r.Expires.IsZero() && (now.IsZero() || !now.Before(r.Expires))
}

// needsTLS reports whether the rule asks for TLS at this moment: a migration
// with `tls until DATE` lets plain TCP in before the date and no longer, and
// never when the moment is not known.
func (r *Rule) needsTLS(now time.Time) bool {
	return len(r.Certs) > 0 || r.TLS && (r.TLSUntil.IsZero() || now.IsZero() || !now.Before(r.TLSUntil))
}

// PlainUntil is the moment until which the deciding rule, or the nearest, lets plain
// TCP in, for requests that came in without TLS; zero for all others.
func (d *Decision) PlainUntil(q *Request) time.Time {
	if d.By == nil || q.Transport == TransportTLS {
		return time.Time{}
	}
	return d.By.TLSUntil
}

// Refuse turns an allowed decision around.
func (d *Decision) Refuse(why Reason) {
	d.Allow, d.Full, d.FullOnly, d.Reason = false, false, false, why
}
