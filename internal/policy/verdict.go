// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package policy

import "github.com/miekg/dns"

// Verdict is what a refused client gets.
type Verdict struct {
	Rcode int
	TSIG  uint16 // error field of the TSIG record (RFC 8945 §3); 0 is a plain signature, when there is one
	EDE   uint16 // RFC 8914 code for clients with EDNS; 0 for none
}

// Verdicts has a row for every Reason to deny. EDE never says which rule, and what a
// stranger gets is the same whether the zone or the key exists or not.
var Verdicts = map[Reason]Verdict{
	ReasonClientNotAllowed:     {Rcode: dns.RcodeRefused},
	ReasonNotAZone:             {Rcode: dns.RcodeRefused},
	ReasonZoneNotGuarded:       {Rcode: dns.RcodeRefused},
	ReasonBlockNotGuarded:      {Rcode: dns.RcodeRefused},
	ReasonProxyUntrusted:       {Rcode: dns.RcodeRefused},
	ReasonRewritten:            {Rcode: dns.RcodeRefused},
	ReasonTSIGRequired:         {Rcode: dns.RcodeRefused, EDE: dns.ExtendedErrorCodeProhibited},
	ReasonTSIGKeyNotAllowed:    {Rcode: dns.RcodeRefused, EDE: dns.ExtendedErrorCodeProhibited},
	ReasonTLSRequired:          {Rcode: dns.RcodeRefused, EDE: dns.ExtendedErrorCodeProhibited},
	ReasonCertRequired:         {Rcode: dns.RcodeRefused, EDE: dns.ExtendedErrorCodeProhibited},
	ReasonCertNotAllowed:       {Rcode: dns.RcodeRefused, EDE: dns.ExtendedErrorCodeProhibited},
	ReasonTypeNotAllowed:       {Rcode: dns.RcodeRefused, EDE: dns.ExtendedErrorCodeProhibited},
	ReasonRuleExpired:          {Rcode: dns.RcodeRefused, EDE: dns.ExtendedErrorCodeProhibited},
	ReasonFrozen:               {Rcode: dns.RcodeRefused, EDE: dns.ExtendedErrorCodeProhibited},
	ReasonTSIGBadKey:           {Rcode: dns.RcodeNotAuth, TSIG: dns.RcodeBadKey},
	ReasonTSIGWeakAlgorithm:    {Rcode: dns.RcodeNotAuth, TSIG: dns.RcodeBadKey},
	ReasonTSIGBadSignature:     {Rcode: dns.RcodeNotAuth, TSIG: dns.RcodeBadSig},
	ReasonTSIGBadTime:          {Rcode: dns.RcodeNotAuth, TSIG: dns.RcodeBadTime},
	ReasonTSIGReplay:           {Rcode: dns.RcodeNotAuth, TSIG: dns.RcodeBadTime},
	ReasonTSIGBadTruncation:    {Rcode: dns.RcodeNotAuth, TSIG: dns.RcodeBadTrunc},
	ReasonMalformed:            {Rcode: dns.RcodeFormatError},
	ReasonTransportUnsupported: {Rcode: dns.RcodeNotImplemented, EDE: dns.ExtendedErrorCodeNotSupported},
	ReasonRateLimited:          {Rcode: dns.RcodeServerFailure},
	ReasonConcurrencyLimited:   {Rcode: dns.RcodeServerFailure},
	ReasonShutdown:             {Rcode: dns.RcodeServerFailure},
	ReasonAuditUnavailable:     {Rcode: dns.RcodeServerFailure},
	ReasonZoneUnavailable:      {Rcode: dns.RcodeServerFailure},
	ReasonZoneHeld:             {Rcode: dns.RcodeServerFailure},
}

// Verdict returns the row of a denial. A MAC whose very length RFC 8945 §5.2.2.1 forbids
// is a format error, not a truncation.
func (d *Decision) Verdict(status TSIGStatus) Verdict {
	if d.Reason == ReasonTSIGBadTruncation && status == TSIGBadSize {
		return Verdict{Rcode: dns.RcodeFormatError}
	}
	v, ok := Verdicts[d.Reason]
	if !ok {
		return Verdict{Rcode: dns.RcodeRefused}
	}
	return v
}
