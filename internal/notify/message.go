// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/xfrguard/xfrguard/internal/wire"

	"github.com/miekg/dns"
)

// maxUDP is what a message over UDP may have without EDNS, in octets (RFC 1035 §4.2.1).
const maxUDP = 512

// request is one NOTIFY on its way.
type request struct {
	id     uint16
	zone   string
	packed []byte
	udp    bool // it fits a datagram

	key       *Key // nil: unsigned
	algorithm string
	mac       []byte // of the request
}

// newRequest packs a NOTIFY: AA, the zone's SOA in question, and in the answer section
// the new one as a hint (RFC 1996 §3.7). The hint is left out where a datagram would
// have no room for it. The error wraps those of internal/wire and holds no secret.
func newRequest(zone string, soa *dns.SOA, key *Key, algorithm string) (*request, error) {
	m := new(dns.Msg).SetNotify(zone)
	m.Compress = true
	hint := *soa
	hint.Hdr = dns.RR_Header{Name: zone, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: soa.Hdr.Ttl}
	m.Answer = []dns.RR{&hint}
	r := &request{id: m.Id, zone: zone, key: key, algorithm: algorithm}
	err := r.pack(m)
	if err == nil && !r.udp {
		m.Answer = nil
		err = r.pack(m)
	}
	if err != nil {
		return nil, fmt.Errorf("NOTIFY of %s: %w", zone, err)
	}
	return r, nil
}

func (r *request) pack(m *dns.Msg) error {
	packed, err := m.Pack()
	if err != nil {
		return err
	}
	if r.key != nil {
		signer, err := wire.NewSigner(r.key.Name, r.algorithm, r.key.Secret, nil, nil)
		if err != nil {
			return err
		}
		packed = signer.AppendSigned(nil, packed)
		sent := new(dns.Msg)
		if err := sent.Unpack(packed); err != nil {
			return err
		}
		if r.mac, err = hex.DecodeString(sent.IsTsig().MAC); err != nil {
			return err
		}
	}
	r.packed, r.udp = packed, len(packed) <= maxUDP
	return nil
}

// answer is what a message says that came back.
type answer struct {
	outcome Outcome
	proven  bool // it is signed with the request's key, or the request had none
	tc      bool // cut short: ask over TCP
	rcode   int
}

// errForeign says that a message is no answer to the request: another's, a forged one,
// or noise. Over UDP there may be a better one behind it (RFC 8945 §5.3).
var errForeign = errors.New("no answer to this NOTIFY")

// read takes a message for the answer to the request, or fails with errForeign. It has
// to have the ID, opcode and question of the request (RFC 1996 §3.6); an error may lack
// the question. A key that does not fit, a bad MAC or time make it unproven, and an
// unproven NOERROR is no answer: everyone who sees the request could have sent it. What
// other unproven answers are worth depends on how they came, see exchange.
func (r *request) read(b []byte) (answer, error) {
	m := new(dns.Msg)
	if err := m.Unpack(b); err != nil {
		return answer{}, fmt.Errorf("%w: %w", errForeign, err)
	}
	switch {
	case m.Id != r.id:
		return answer{}, fmt.Errorf("%w: another ID", errForeign)
	case !m.Response || m.Opcode != dns.OpcodeNotify:
		return answer{}, fmt.Errorf("%w: no response to a NOTIFY", errForeign)
	case !r.asks(m):
		return answer{}, fmt.Errorf("%w: another question", errForeign)
	}
	a := answer{outcome: outcomeOf(m.Rcode, m.IsTsig()), tc: m.Truncated, rcode: m.Rcode}
	a.proven = r.key == nil || wire.VerifyResponse(b, r.key.Name, r.algorithm, r.key.Secret, r.mac, time.Now()) == wire.VerifyOK
	if !a.proven && a.outcome == Accepted {
		a.outcome = Unproven
	}
	return a, nil
}

// asks reports whether the message has the request's question, or, as an error, none.
func (r *request) asks(m *dns.Msg) bool {
	if len(m.Question) == 0 {
		return m.Rcode != dns.RcodeSuccess
	}
	q := m.Question[0]
	return len(m.Question) == 1 && q.Qtype == dns.TypeSOA && q.Qclass == dns.ClassINET && strings.EqualFold(q.Name, r.zone)
}
