// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

// Package evidence reads what a message and its connection show: where from, over what,
// with which signature and certificate. It gives the facts that a policy decides by.
package evidence

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/limit"
	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/wire"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/miekg/dns"
)

// maxFudge is the widest window of time that a signature may claim for itself. A client
// that asks for more asks to be replayed.
const maxFudge = limit.ReplayWindow

// Evidence is everything one message shows about itself, read once.
type Evidence struct {
	Req       policy.Request
	Cert      *sessionLeaf // of the client; nil without one
	Session   audit.TLSFacts
	Peer      *tls.ConnectionState // nil without TLS, and where nothing is known of it
	Signature *dns.TSIG            // the last record, when it is a TSIG
	Secret    []byte               // of the key named; nil when this block has none
	MAC       []byte               // the request's MAC, when it is proven

	claimed  netip.Addr // what a PROXY header says in place of req.Client, when anybody may have sent it
	Port     uint16
	Link     string // zone identifier of a link-local client, which rules know nothing of
	Server   netip.AddrPort
	Listener string // "dns://127.0.0.1:53"
	View     string
	Idle     time.Duration // how long the listener keeps an idle connection; 0 is unknown
}

// Reader reads the evidence of one server block's messages. What a message shows
// depends on the block: on its keys, its rules' addresses, its listener's CA.
type Reader struct {
	Config   *dnsserver.Config // of the block's first key
	Policies policy.Policies
	Secrets  map[string]Secret // the block's own TSIG keys, by canonical name
	replays  func() *limit.ReplayMemory
	Anybody  func(listener string) bool // whether it believes PROXY headers of anybody; nil: yes

	sessions *sessions // of the connections with client certificates, under this listener's CA
	chains   chains
	weakKeys weakKeys
}

// NewReader returns the reader of a block whose config and keys are set later. replays
// is asked for the memory of signatures at each message.
func NewReader(replays func() *limit.ReplayMemory, anybody func(listener string) bool) Reader {
	return Reader{sessions: newSessions(), replays: replays, Anybody: anybody}
}

// Secret is one TSIG secret, as written and decoded.
type Secret struct {
	Text string
	Raw  []byte
}

func (g *Reader) believed(listener string) bool { return g.Anybody == nil || g.Anybody(listener) }

func (g *Reader) replayed(key string, mac []byte) bool { return g.replays().Seen(key, mac) }

// Examine reads the facts of the message, the cheap ones first: whoever is unknown, and
// whatever is no request, causes no work on signatures and certificates. What cannot be
// known stays at its zero value, which no rule accepts.
func (g *Reader) Examine(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) *Evidence {
	e := &Evidence{}
	var listenerKeys map[string]string
	if srv, ok := ctx.Value(dnsserver.Key{}).(*dnsserver.Server); ok && srv != nil {
		e.Listener, e.Idle, listenerKeys = srv.Addr, srv.IdleTimeout, srv.TsigSecret
	}
	e.View, _ = ctx.Value(dnsserver.ViewKey{}).(string)
	q := r.Question[0]
	e.Req = policy.Request{
		Zone:      dns.CanonicalName(q.Name),
		Type:      q.Qtype,
		Class:     q.Qclass,
		Malformed: malformed(r),
		Now:       time.Now(),
	}
	if len(r.Ns) == 1 {
		if soa, ok := r.Ns[0].(*dns.SOA); ok {
			e.Req.Serial = soa.Serial
		}
	}
	origin := g.readOrigin(e, w)
	g.readTSIG(e, w, r, listenerKeys)
	if conn := origin.TLS(); conn != nil && e.Req.Transport == policy.TransportTLS {
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
func (g *Reader) readTSIG(e *Evidence, w dns.ResponseWriter, r *dns.Msg, listenerKeys map[string]string) {
	e.Req.TSIG = policy.TSIGProof{Status: policy.TSIGAbsent}
	t, err := wire.FindTSIG(r)
	if err != nil {
		e.Req.TSIG.Status = policy.TSIGMalformed
		e.Req.Malformed = true
	}
	if t == nil {
		return
	}
	e.Signature = t
	key := dns.CanonicalName(t.Hdr.Name)
	e.Req.TSIG.Key = key
	e.Req.TSIG.Algorithm = strings.TrimSuffix(dns.CanonicalName(t.Algorithm), ".")
	secret, ok := g.Secrets[key]
	if !ok || listenerKeys[key] != secret.Text {
		e.Req.TSIG.Status = policy.TSIGBadKey
		return
	}
	e.Secret = secret.Raw
	e.Req.TSIG.Status = g.signatureStatus(e, w.TsigStatus(), r)
	if e.Req.TSIG.Status != policy.TSIGValid {
		return
	}
	if t.Fudge > maxFudge {
		e.Req.TSIG.Status = policy.TSIGBadTime
		return
	}
	if e.MAC, err = hex.DecodeString(t.MAC); err == nil {
		e.Req.Replayed = g.replayed(key, e.MAC)
	}
}

// signatureStatus turns what miekg/dns found into a status, and looks again
// where it is known to be wrong: MACs cut short, a fudge or a time of zero, and
// key names in upper case. That costs as much as miekg/dns's own look, and the client
// says how much: it is done for requests that can be answered, from addresses that some
// rule knows.
func (g *Reader) signatureStatus(e *Evidence, found error, r *dns.Msg) policy.TSIGStatus {
	asSent := e.Signature.TimeSigned != 0 && e.Signature.Fudge != 0 // of a zero miekg/dns makes another value
	switch {
	case asSent && found == nil:
		return policy.TSIGValid
	case asSent && errors.Is(found, dns.ErrTime):
		return policy.TSIGBadTime
	case e.Req.Malformed || !e.Req.Transport.Carries(e.Req.Type) || !g.Policies.Knows(&e.Req):
		return policy.TSIGUnchecked
	}
	switch wire.VerifyRequest(r, e.Secret, time.Now()) {
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

// Proven reports whether the signature's MAC is genuine, so that the answer is
// signed too (RFC 8945 §5.3).
func (e *Evidence) Proven() bool {
	switch e.Req.TSIG.Status {
	case policy.TSIGValid, policy.TSIGBadTime, policy.TSIGBadTruncation:
		return len(e.Secret) > 0
	}
	return false
}

// Decide asks the policies about the request.
func (g *Reader) Decide(e *Evidence) policy.Decision { return g.Policies.Decide(&e.Req) }
