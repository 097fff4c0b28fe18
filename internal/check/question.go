// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package check

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/internal/corefile"
	"github.com/xfrguard/xfrguard/internal/policy"
)

// Question is a request in the words of an operator.
type Question struct {
	Zone      string
	From      string
	Type      string // AXFR or IXFR
	Key       string // "" for none
	Algorithm string
	UDP, TLS  bool
	SANs      []string
	SPKI      string // a pin, as behind `cert`
}

// Request is the question as the policy is asked it: everything that it claims is taken
// for proven.
func (q *Question) Request(at time.Time) (*policy.Request, error) {
	if q.Zone == "" || q.From == "" {
		return nil, errors.New("expected --zone ZONE and --from ADDRESS")
	}
	if _, ok := dns.IsDomainName(q.Zone); !ok {
		return nil, fmt.Errorf("%q is no zone, expected a name such as example.org", q.Zone)
	}
	client, err := netip.ParseAddr(q.From)
	if err != nil {
		return nil, fmt.Errorf("%q is no address, expected one such as 192.0.2.53", q.From)
	}
	r := &policy.Request{
		Client: client.WithZone("").Unmap(), Zone: dns.CanonicalName(q.Zone), Class: dns.ClassINET, Transport: policy.TransportTCP, Now: at,
		TSIG: policy.TSIGProof{Status: policy.TSIGAbsent},
	}
	switch strings.ToUpper(q.Type) {
	case "AXFR":
		r.Type = dns.TypeAXFR
	case "IXFR":
		r.Type = dns.TypeIXFR
	default:
		return nil, fmt.Errorf("unknown type %q, expected AXFR or IXFR", q.Type)
	}
	if q.Key != "" {
		r.TSIG = policy.TSIGProof{Status: policy.TSIGValid, Key: dns.CanonicalName(q.Key), Algorithm: strings.TrimSuffix(strings.ToLower(q.Algorithm), ".")}
	}
	if q.UDP {
		r.Transport = policy.TransportUDP
	}
	return r, q.overTLS(r)
}

// overTLS adds what --tls, --san and --spki say.
func (q *Question) overTLS(r *policy.Request) error {
	if !q.TLS && len(q.SANs) == 0 && q.SPKI == "" {
		return nil
	}
	if q.UDP {
		return errors.New("--udp and TLS contradict each other")
	}
	r.Transport = policy.TransportTLS
	var pin [32]byte
	if q.SPKI != "" {
		var err error
		if pin, err = corefile.ParsePin(q.SPKI); err != nil {
			return fmt.Errorf("--spki: %w", err)
		}
	}
	r.TLS = policy.ProofOverTLS(q.SANs, pin)
	return nil
}

// ParseDate reads a day or a moment as the Corefile has them.
func ParseDate(s string) (time.Time, error) { return corefile.ParseDate(s) } //nolint:wrapcheck // says all
