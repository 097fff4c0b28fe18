// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/wire"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/miekg/dns"
)

// maxFudge is the widest window of time that a signature may claim for itself:
// what RFC 8945 §10 recommends. A client that asks for more asks to be replayed.
const maxFudge = 300

// evidence is everything one message shows about itself, read once.
type evidence struct {
	req    policy.Request
	tls    TLSFacts
	peer   *tls.ConnectionState // nil without TLS, and where nothing is known of it
	tsig   *dns.TSIG            // the last record, when it is a TSIG
	secret []byte               // of the key named; nil when this block has none
	mac    []byte               // the request's MAC, when it is proven
	known  *bool                // what knows has found; nil when nobody has asked

	claimed  netip.Addr // what a PROXY header says in place of req.Client, when anybody may have sent it
	port     uint16
	server   netip.AddrPort
	listener string // "dns://127.0.0.1:53"
	view     string
	idle     time.Duration // how long the listener keeps an idle connection; 0 is unknown
}

// examine reads the facts of the message, the cheap ones first: whoever is unknown, and
// whatever is no request, causes no work on signatures and certificates. What cannot be
// known stays at its zero value, which no rule accepts.
func (g *guard) examine(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) *evidence {
	e := &evidence{}
	var listenerKeys map[string]string
	if srv, ok := ctx.Value(dnsserver.Key{}).(*dnsserver.Server); ok && srv != nil {
		e.listener, e.idle, listenerKeys = srv.Addr, srv.IdleTimeout, srv.TsigSecret
	}
	e.view, _ = ctx.Value(dnsserver.ViewKey{}).(string)
	q := r.Question[0]
	e.req = policy.Request{
		Zone:      dns.CanonicalName(q.Name),
		Type:      q.Qtype,
		Class:     q.Qclass,
		Malformed: malformed(r),
		Now:       time.Now(),
	}
	if len(r.Ns) == 1 {
		if soa, ok := r.Ns[0].(*dns.SOA); ok {
			e.req.Serial = soa.Serial
		}
	}
	origin := g.readOrigin(e, w)
	g.readTSIG(e, w, r, listenerKeys)
	if conn := origin.TLS(); conn != nil && e.req.Transport == policy.TransportTLS {
		cs := conn.ConnectionState()
		g.readTLS(e, &cs)
	}
	return e
}

// malformed reports whether the message breaks RFC 5936 §2.1 (AXFR), RFC 1995 §3 (IXFR)
// or RFC 6891 §6.1.1 (EDNS). Its TSIG is looked at by readTSIG.
func malformed(r *dns.Msg) bool {
	if r.Opcode != dns.OpcodeQuery || len(r.Question) != 1 || len(r.Answer) != 0 {
		return true
	}
	opts, sigs := 0, 0
	for _, rr := range r.Extra {
		switch h := rr.Header(); {
		case h.Rrtype == dns.TypeOPT && h.Name == ".":
			opts++
		case h.Rrtype == dns.TypeSIG:
			sigs++
		case h.Rrtype != dns.TypeTSIG:
			return true
		}
	}
	if opts > 1 || sigs > 1 {
		return true
	}
	if r.Question[0].Qtype == dns.TypeAXFR {
		return len(r.Ns) != 0
	}
	if len(r.Ns) != 1 {
		return true
	}
	soa, ok := r.Ns[0].(*dns.SOA)
	return !ok || dns.CanonicalName(soa.Hdr.Name) != dns.CanonicalName(r.Question[0].Name)
}

// readTSIG says what the signature is worth. miekg/dns has verified the first
// TSIG of the message with the secrets of the whole listener; it counts here only
// when it is the only one, the last record, and of a key of this very block: blocks
// on one listener overwrite each other's secrets.
func (g *guard) readTSIG(e *evidence, w dns.ResponseWriter, r *dns.Msg, listenerKeys map[string]string) {
	e.req.TSIG = policy.TSIGProof{Status: policy.TSIGAbsent}
	t, err := wire.FindTSIG(r)
	if err != nil {
		e.req.TSIG.Status = policy.TSIGMalformed
		e.req.Malformed = true
	}
	if t == nil {
		return
	}
	e.tsig = t
	key := dns.CanonicalName(t.Hdr.Name)
	e.req.TSIG.Key = key
	e.req.TSIG.Algorithm = strings.TrimSuffix(dns.CanonicalName(t.Algorithm), ".")
	secret, ok := g.secrets[key]
	if !ok || listenerKeys[key] != secret.text {
		e.req.TSIG.Status = policy.TSIGBadKey
		return
	}
	e.secret = secret.raw
	e.req.TSIG.Status = g.signatureStatus(e, w.TsigStatus(), r)
	if e.req.TSIG.Status != policy.TSIGValid {
		return
	}
	if t.Fudge > maxFudge {
		e.req.TSIG.Status = policy.TSIGBadTime
		return
	}
	if e.mac, err = hex.DecodeString(t.MAC); err == nil {
		e.req.Replayed = replays.Seen(key, e.mac)
	}
}

// signatureStatus turns what miekg/dns found into a status, and looks again
// where it is known to be wrong: MACs cut short, a fudge or a time of zero, and
// key names in upper case. That costs as much as miekg/dns's own look, and the client
// says how much: it is done for requests that can be answered, from addresses that some
// rule knows.
func (g *guard) signatureStatus(e *evidence, found error, r *dns.Msg) policy.TSIGStatus {
	asSent := e.tsig.TimeSigned != 0 && e.tsig.Fudge != 0 // of a zero miekg/dns makes another value
	switch {
	case asSent && found == nil:
		return policy.TSIGValid
	case asSent && errors.Is(found, dns.ErrTime):
		return policy.TSIGBadTime
	case e.req.Malformed || !e.req.Transport.Carries(e.req.Type) || !g.knows(e):
		return policy.TSIGUnchecked
	}
	switch wire.VerifyRequest(r, e.secret, time.Now()) {
	case wire.VerifyOK:
		return policy.TSIGValid
	case wire.VerifyBadTime:
		return policy.TSIGBadTime
	case wire.VerifyTruncated:
		return policy.TSIGBadTruncation
	case wire.VerifyMalformed:
		return policy.TSIGBadSize
	case wire.VerifyBadKey:
		return policy.TSIGBadAlgorithm
	}
	return policy.TSIGBadSignature
}

// proven reports whether the signature's MAC is genuine, so that the answer is
// signed too (RFC 8945 §5.3).
func (e *evidence) proven() bool {
	switch e.req.TSIG.Status {
	case policy.TSIGValid, policy.TSIGBadTime, policy.TSIGBadTruncation:
		return len(e.secret) > 0
	}
	return false
}

// knows reports whether any rule of the block knows the client's address. It is asked
// once a request: it walks all zones.
func (g *guard) knows(e *evidence) bool {
	if e.known == nil {
		known := g.policies.Knows(&e.req)
		e.known = &known
	}
	return *e.known
}

// decide asks the policies about the request.
func (g *guard) decide(e *evidence) policy.Decision {
	return g.policies.DecideKnowing(&e.req, func() bool { return g.knows(e) })
}
