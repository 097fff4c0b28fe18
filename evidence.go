// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/xfrguard/xfrguard/internal/wire"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/miekg/dns"
)

// maxFudge is the widest window of time that a signature may claim for itself:
// what RFC 8945 §10 recommends. A client that asks for more asks to be replayed.
const maxFudge = 300

// evidence is everything one message shows about itself, read once.
type evidence struct {
	req    Request
	tls    TLSFacts
	peer   *tls.ConnectionState // nil without TLS, and where nothing is known of it
	tsig   *dns.TSIG            // the last record, when it is a TSIG
	secret []byte               // of the key named; nil when this block has none
	mac    []byte               // the request's MAC, when it is proven or cut short

	port     uint16
	server   netip.AddrPort
	listener string // "dns://127.0.0.1:53"
	view     string
	idle     time.Duration // how long the listener keeps an idle connection; 0 is unknown
}

// examine reads the facts of the message. What cannot be known stays at its zero
// value, which no rule accepts.
func (g *guard) examine(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) *evidence {
	e := &evidence{}
	var listenerKeys map[string]string
	if srv, ok := ctx.Value(dnsserver.Key{}).(*dnsserver.Server); ok && srv != nil {
		e.listener, e.idle, listenerKeys = srv.Addr, srv.IdleTimeout, srv.TsigSecret
	}
	e.view, _ = ctx.Value(dnsserver.ViewKey{}).(string)
	client := addrPort(w.RemoteAddr())
	e.server = addrPort(w.LocalAddr())
	e.port = client.Port()

	q := r.Question[0]
	e.req = Request{
		Client:    client.Addr(),
		Zone:      dns.CanonicalName(q.Name),
		Type:      q.Qtype,
		Class:     q.Qclass,
		Transport: transportOf(e.listener, w.RemoteAddr()),
		Malformed: malformed(r),
		Now:       time.Now(),
	}
	if len(r.Ns) == 1 {
		if soa, ok := r.Ns[0].(*dns.SOA); ok {
			e.req.Serial = soa.Serial
		}
	}
	g.readTSIG(e, w, r, listenerKeys)
	if e.req.Transport == TransportTLS {
		g.readTLS(e, wire.TLSState(w))
	}
	return e
}

// addrPort returns the address of a connection's end, unmapped and without zone.
func addrPort(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := a.(type) {
	case nil:
		return ap
	case *net.TCPAddr:
		ap = a.AddrPort()
	case *net.UDPAddr:
		ap = a.AddrPort()
	default:
		var err error
		if ap, err = netip.ParseAddrPort(a.String()); err != nil {
			return netip.AddrPort{}
		}
	}
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}

// transportOf names the transport by the listener's scheme; request.Proto cannot
// tell DoT, DoH and gRPC apart.
func transportOf(listener string, remote net.Addr) Transport {
	scheme, _, ok := strings.Cut(listener, "://")
	if !ok {
		return ""
	}
	_, udp := remote.(*net.UDPAddr)
	switch {
	case scheme == "dns" && udp:
		return TransportUDP
	case scheme == "dns":
		return TransportTCP
	case scheme == "tls" && !udp:
		return TransportTLS
	}
	if t := Transport(scheme); t == TransportHTTPS || t == TransportHTTP3 || t == TransportQUIC || t == TransportGRPC {
		return t
	}
	return ""
}

// malformed reports whether the message is none that RFC 5936 §2.1 (AXFR), RFC
// 1995 §3 (IXFR) and RFC 8945 §5.1 (TSIG) know.
func malformed(r *dns.Msg) bool {
	if r.Opcode != dns.OpcodeQuery || len(r.Question) != 1 || len(r.Answer) != 0 {
		return true
	}
	opts := 0
	for i, rr := range r.Extra {
		switch rr.Header().Rrtype {
		case dns.TypeOPT:
			opts++
		case dns.TypeTSIG:
			if i != len(r.Extra)-1 {
				return true
			}
		case dns.TypeSIG:
		default:
			return true
		}
	}
	for _, rr := range r.Ns {
		if rr.Header().Rrtype == dns.TypeTSIG {
			return true
		}
	}
	if opts > 1 {
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
	e.req.TSIG = TSIGProof{Status: TSIGAbsent}
	n := 0
	for _, section := range [][]dns.RR{r.Answer, r.Ns, r.Extra} {
		for _, rr := range section {
			if rr.Header().Rrtype == dns.TypeTSIG {
				n++
			}
		}
	}
	if n == 0 {
		return
	}
	t := r.IsTsig()
	if n > 1 || t == nil || t.Hdr.Class != dns.ClassANY || t.Hdr.Ttl != 0 {
		e.req.TSIG.Status = TSIGMalformed
		e.req.Malformed = true
		return
	}
	e.tsig = t
	key := dns.CanonicalName(t.Hdr.Name)
	e.req.TSIG.Key = key
	e.req.TSIG.Algorithm = strings.TrimSuffix(dns.CanonicalName(t.Algorithm), ".")
	secret, ok := g.secrets[key]
	if !ok || listenerKeys[key] != secret.text {
		e.req.TSIG.Status = TSIGBadKey
		return
	}
	e.secret = secret.raw
	e.req.TSIG.Status = signatureStatus(w.TsigStatus(), r, secret.raw)
	if mac, err := hex.DecodeString(t.MAC); err == nil {
		e.mac = mac
	}
	if e.req.TSIG.Status == TSIGValid {
		if t.Fudge > maxFudge {
			e.req.TSIG.Status = TSIGBadTime
			return
		}
		e.req.Replayed = replays.Seen(key, e.mac)
	}
}

// signatureStatus turns what miekg/dns found into a status, and looks again
// where it is known to be wrong: MACs cut short, a fudge or a time of zero, and
// key names in upper case.
func signatureStatus(found error, r *dns.Msg, secret []byte) TSIGStatus {
	switch {
	case found == nil:
		return TSIGValid
	case errors.Is(found, dns.ErrTime):
		return TSIGBadTime
	}
	switch wire.VerifyRequest(r, secret, time.Now()) {
	case wire.VerifyOK:
		return TSIGValid
	case wire.VerifyBadTime:
		return TSIGBadTime
	case wire.VerifyTruncated:
		return TSIGBadTruncation
	case wire.VerifyMalformed:
		return TSIGBadSize
	case wire.VerifyBadKey:
		return TSIGBadAlgorithm
	}
	return TSIGBadSignature
}

// proven reports whether the signature's MAC is genuine, so that the answer is
// signed too (RFC 8945 §5.3).
func (e *evidence) proven() bool {
	switch e.req.TSIG.Status {
	case TSIGValid, TSIGBadTime, TSIGBadTruncation:
		return len(e.secret) > 0
	}
	return false
}
