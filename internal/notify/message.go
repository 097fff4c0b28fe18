// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

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
	mac       string // of the request, hexadecimal
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
		r.mac = sent.IsTsig().MAC
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
// unproven NOERROR is none: whoever sees the request could have sent that.
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
	t, single := signature(m)
	a := answer{outcome: outcomeOf(m.Rcode, t), tc: m.Truncated, rcode: m.Rcode}
	a.proven = r.key == nil || single && r.verify(b, t)
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

// signature returns the TSIG of a message, and whether it is the only one and the last
// record: miekg/dns verifies the first, and IsTsig has the last.
func signature(m *dns.Msg) (*dns.TSIG, bool) {
	n := 0
	for _, section := range [...][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			if rr.Header().Rrtype == dns.TypeTSIG {
				n++
			}
		}
	}
	t := m.IsTsig()
	return t, t != nil && n == 1
}

// verify reports whether the message is signed with the key of the request, over the
// request's MAC (RFC 8945 §5.3). dns.TsigVerify looks at everything but whose key and
// which algorithm it is.
func (r *request) verify(b []byte, t *dns.TSIG) bool {
	if dns.CanonicalName(t.Hdr.Name) != dns.CanonicalName(r.key.Name) || dns.CanonicalName(t.Algorithm) != dns.CanonicalName(r.algorithm) {
		return false
	}
	if mac, err := hex.DecodeString(t.MAC); err != nil || len(mac) == 0 {
		return false
	}
	return dns.TsigVerify(append([]byte(nil), b...), r.key.base64(), r.mac, false) == nil
}
