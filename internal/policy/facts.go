// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"crypto/tls"
	"regexp"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Reason says why a request was allowed or denied: a closed list, the same in
// events, metrics, schema and documents.
type Reason string

// The reasons of a decision, with what the client sees.
const (
	ReasonAllowed              Reason = "policy-allow"          // the transfer
	ReasonClientNotAllowed     Reason = "client-not-allowed"    // REFUSED, the same for every stranger
	ReasonProxyUntrusted       Reason = "proxy-untrusted"       // REFUSED: the address is out of a header that anybody may send
	ReasonBlockNotGuarded      Reason = "block-not-guarded"     // REFUSED: the server block has no directive
	ReasonNotAZone             Reason = "not-a-zone"            // REFUSED, the same for every stranger
	ReasonZoneNotGuarded       Reason = "zone-not-guarded"      // REFUSED: a backend here has the zone, and no directive names it
	ReasonTSIGRequired         Reason = "tsig-required"         // REFUSED, EDE 18
	ReasonTSIGKeyNotAllowed    Reason = "tsig-key-not-allowed"  // REFUSED, EDE 18, signed
	ReasonTSIGBadKey           Reason = "tsig-bad-key"          // NOTAUTH, BADKEY
	ReasonTSIGWeakAlgorithm    Reason = "tsig-weak-algorithm"   // NOTAUTH, BADKEY
	ReasonTSIGBadSignature     Reason = "tsig-bad-signature"    // NOTAUTH, BADSIG
	ReasonTSIGBadTime          Reason = "tsig-bad-time"         // NOTAUTH, BADTIME, signed
	ReasonTSIGReplay           Reason = "tsig-replay"           // NOTAUTH, BADTIME, signed
	ReasonTSIGBadTruncation    Reason = "tsig-bad-truncation"   // FORMERR, or NOTAUTH with BADTRUNC
	ReasonMalformed            Reason = "malformed"             // FORMERR
	ReasonTLSRequired          Reason = "tls-required"          // REFUSED, EDE 18
	ReasonCertRequired         Reason = "cert-required"         // REFUSED, EDE 18
	ReasonCertNotAllowed       Reason = "cert-not-allowed"      // REFUSED, EDE 18
	ReasonTypeNotAllowed       Reason = "type-not-allowed"      // REFUSED, EDE 18
	ReasonRuleExpired          Reason = "rule-expired"          // REFUSED, EDE 18
	ReasonFrozen               Reason = "frozen"                // REFUSED, EDE 18: by the operator
	ReasonTransportUnsupported Reason = "transport-unsupported" // NOTIMP, EDE 21
	ReasonRewritten            Reason = "rewritten"             // REFUSED: another plugin made it out of another query
	ReasonRateLimited          Reason = "rate-limited"          // SERVFAIL (RFC 9103 §6.3.3)
	ReasonConcurrencyLimited   Reason = "concurrency-limited"   // SERVFAIL
	ReasonShutdown             Reason = "shutdown"              // SERVFAIL
	ReasonAuditUnavailable     Reason = "audit-unavailable"     // SERVFAIL
	ReasonZoneUnavailable      Reason = "zone-unavailable"      // SERVFAIL
	ReasonZoneHeld             Reason = "zone-held"             // SERVFAIL: no good version to give
)

// Reasons is every Reason, in the order of the checks.
var Reasons = []Reason{
	ReasonAllowed,
	ReasonBlockNotGuarded, ReasonRewritten, ReasonTransportUnsupported, ReasonMalformed, ReasonNotAZone, ReasonZoneNotGuarded, ReasonClientNotAllowed, ReasonProxyUntrusted,
	ReasonTSIGBadKey, ReasonTSIGWeakAlgorithm, ReasonTSIGBadTruncation, ReasonTSIGBadSignature, ReasonTSIGBadTime,
	ReasonTSIGRequired, ReasonTSIGKeyNotAllowed, ReasonTLSRequired, ReasonCertRequired, ReasonCertNotAllowed,
	ReasonTSIGReplay, ReasonTypeNotAllowed, ReasonRuleExpired,
	ReasonFrozen,
	ReasonRateLimited, ReasonConcurrencyLimited, ReasonShutdown, ReasonZoneUnavailable, ReasonZoneHeld, ReasonAuditUnavailable,
}

// Transport is how a request came in.
type Transport string

// The transports of CoreDNS. The zero Transport carries nothing.
const (
	TransportUDP   Transport = "udp"
	TransportTCP   Transport = "tcp"
	TransportTLS   Transport = "tls"
	TransportHTTPS Transport = "https"
	TransportHTTP3 Transport = "https3"
	TransportQUIC  Transport = "quic"
	TransportGRPC  Transport = "grpc"

	TransportUnknown Transport = "unknown" // a plugin in front hides the connection
)

// Transports is every Transport.
var Transports = []Transport{
	TransportUDP, TransportTCP, TransportTLS, TransportHTTPS, TransportHTTP3, TransportQUIC, TransportGRPC,
	TransportUnknown,
}

// Carries reports whether a transfer of this type can be answered on the transport:
// AXFR over UDP is undefined (RFC 5936 §4.2), and the others of CoreDNS keep one
// message of an answer only. It is false for every other query type.
func (t Transport) Carries(qtype uint16) bool {
	switch t {
	case TransportTCP, TransportTLS:
		return qtype == dns.TypeAXFR || qtype == dns.TypeIXFR
	case TransportUDP:
		return qtype == dns.TypeIXFR
	}
	return false
}

// Stream reports whether an answer may have many messages and any length.
func (t Transport) Stream() bool { return t == TransportTCP || t == TransportTLS }

// Forgeable reports whether a request may come from another address than it says: where
// nothing shows that there has been a handshake.
func (t Transport) Forgeable() bool {
	switch t {
	case TransportTCP, TransportTLS, TransportHTTPS, TransportHTTP3, TransportQUIC, TransportGRPC:
		return false
	}
	return true
}

// TSIGStatus is what became of a request's signature. The zero value is none of
// them, so that a forgotten status denies.
type TSIGStatus string

// The outcomes of looking at a signature.
const (
	TSIGAbsent        TSIGStatus = "absent"
	TSIGValid         TSIGStatus = "valid"
	TSIGBadKey        TSIGStatus = "badkey"    // no such key in this server block
	TSIGBadAlgorithm  TSIGStatus = "badalg"    // an algorithm nobody here knows
	TSIGBadSize       TSIGStatus = "badsize"   // a MAC length that RFC 8945 §5.2.2.1 forbids
	TSIGBadTruncation TSIGStatus = "badtrunc"  // a genuine MAC, cut short
	TSIGBadSignature  TSIGStatus = "badsig"    // not made with this key
	TSIGBadTime       TSIGStatus = "badtime"   // genuine, but outside its window, or the window is too wide
	TSIGMalformed     TSIGStatus = "malformed" // not the last record, more than one, or not whole
	TSIGUnchecked     TSIGStatus = "unchecked" // of no request, or from an address that no rule knows; not good as it is
)

// TSIGStatuses is every TSIGStatus.
var TSIGStatuses = []TSIGStatus{
	TSIGAbsent, TSIGValid, TSIGBadKey, TSIGBadAlgorithm, TSIGBadSize, TSIGBadTruncation,
	TSIGBadSignature, TSIGBadTime, TSIGMalformed, TSIGUnchecked,
}

// strong reports whether the request came in over TLS 1.3 or later (RFC 9103 §7.2),
// in a session that was negotiated for nothing else: "dot" (§7.1), or nothing at all,
// as some secondaries have it.
func (t *TLSProof) strong(via Transport) bool {
	return via == TransportTLS && t.Version >= tls.VersionTLS13 && (t.ALPN == "dot" || t.ALPN == "")
}

// Shows reports whether the client's certificate is the one named. A SAN counts
// only in a verified certificate for client authentication. A pin names a key: what
// the certificate says about its use does not count, its validity does.
func (t *TLSProof) Shows(c Cert) bool {
	if !t.HasCert || !t.Current {
		return false
	}
	if c.Name == "" {
		return c.SPKI != [32]byte{} && c.SPKI == t.SPKI
	}
	return t.Verified && t.ClientUse && slices.ContainsFunc(t.Names, func(san string) bool { return sameHost(c.Name, san) })
}

// sameHost compares a configured name with a SAN of a certificate, both canonical
// (lower case, fully qualified). A wildcard, on either side, is a whole left-most
// label and stands for exactly one (RFC 9525 §6.3), below two labels or more.
func sameHost(want, san string) bool {
	if want == san {
		return true
	}
	wantLabel, wantParent, _ := strings.Cut(want, ".")
	sanLabel, sanParent, _ := strings.Cut(san, ".")
	if wantParent != sanParent || strings.Count(wantParent, ".") < 2 {
		return false
	}
	return wantLabel == "*" && sanLabel != "" || sanLabel == "*" && wantLabel != ""
}

// Passes reports whether an allowed client that is refused for this reason has only
// come at the wrong moment.
func (r Reason) Passes() bool {
	switch r {
	case ReasonRateLimited, ReasonConcurrencyLimited, ReasonShutdown, ReasonAuditUnavailable, ReasonZoneUnavailable, ReasonZoneHeld:
		return true
	}
	return false
}

// HostPattern matches a name of a host as a certificate has it: letters, digits, hyphens
// and underscores in labels, with a wildcard as the whole first label at most.
var HostPattern = regexp.MustCompile(`^(\*\.)?([A-Za-z0-9_-]+\.)*[A-Za-z0-9_-]+\.?$`)
