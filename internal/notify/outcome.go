// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"github.com/miekg/dns"
)

// Outcome is what became of a notice.
type Outcome string

// The outcomes. A notice with a key is accepted only by an answer that is signed with
// it. A refusal may lack the proof, as BADKEY and BADSIG do (RFC 8945 §5.3.2), when it
// comes over TCP or TLS; in a datagram it ends nothing: see exchange and reply.again.
const (
	Accepted       Outcome = "accepted"        // NOERROR
	Superseded     Outcome = "superseded"      // a newer serial took its place before it was accepted
	Stopped        Outcome = "stopped"         // the sender was closed before it was accepted
	Timeout        Outcome = "timeout"         // no answer
	Unreachable    Outcome = "unreachable"     // no way there, or nobody listens
	TLSFailed      Outcome = "tls-failed"      // no TLS 1.3 session
	Refused        Outcome = "refused"         // REFUSED
	NotAuth        Outcome = "not-auth"        // NOTAUTH: the target has no such zone
	NotImplemented Outcome = "not-implemented" // NOTIMP: the target knows no NOTIFY (RFC 1996 §3.12)
	BadKey         Outcome = "bad-key"         // TSIG BADKEY: unknown, or bound to another algorithm
	BadSignature   Outcome = "bad-signature"   // TSIG BADSIG: another secret
	BadTime        Outcome = "bad-time"        // TSIG BADTIME: the clocks are apart
	ServerFailure  Outcome = "server-failure"  // SERVFAIL
	OtherAnswer    Outcome = "other-answer"    // another rcode, or what is no answer to a NOTIFY
	Unproven       Outcome = "unproven"        // NOERROR without a good signature, of a notice with a key
	Unsendable     Outcome = "unsendable"      // no message can be made of it
)

// outcomes is the one table: every Outcome; whether the target is asked again, which
// any answer spares it (RFC 1996 §3.6), but for one that fails for now or lacks proof;
// and whether the target was meant to take the notice and did not.
var outcomes = []struct {
	outcome Outcome
	again   bool
	failed  bool
}{
	{Accepted, false, false},
	{Superseded, false, false},
	{Stopped, false, false},
	{Timeout, true, true},
	{Unreachable, true, true},
	{TLSFailed, true, true},
	{Refused, false, true},
	{NotAuth, false, true},
	{NotImplemented, false, true},
	{BadKey, false, true},
	{BadSignature, false, true},
	{BadTime, false, true},
	{ServerFailure, true, true},
	{OtherAnswer, false, true},
	{Unproven, true, true},
	{Unsendable, false, true},
}

// Outcomes returns every Outcome.
func Outcomes() []Outcome {
	all := make([]Outcome, len(outcomes))
	for i, o := range outcomes {
		all[i] = o.outcome
	}
	return all
}

// Again reports whether the target is asked again.
func (o Outcome) Again() bool {
	for _, row := range outcomes {
		if row.outcome == o {
			return row.again
		}
	}
	return false
}

// Failed reports whether the target should have taken the notice, and did not.
func (o Outcome) Failed() bool {
	for _, row := range outcomes {
		if row.outcome == o {
			return row.failed
		}
	}
	return true
}

// outcomeOf names what an answer says; t is its TSIG, or nil.
func outcomeOf(rcode int, t *dns.TSIG) Outcome {
	switch rcode {
	case dns.RcodeSuccess:
		return Accepted
	case dns.RcodeRefused:
		return Refused
	case dns.RcodeNotImplemented:
		return NotImplemented
	case dns.RcodeServerFailure:
		return ServerFailure
	case dns.RcodeNotAuth:
		if t == nil {
			return NotAuth
		}
		switch t.Error {
		case dns.RcodeSuccess:
			return NotAuth
		case dns.RcodeBadKey:
			return BadKey
		case dns.RcodeBadSig, dns.RcodeBadTrunc:
			return BadSignature
		case dns.RcodeBadTime:
			return BadTime
		}
	}
	return OtherAnswer
}
