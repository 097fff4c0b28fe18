// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/wire"

	"github.com/miekg/dns"
)

// readOrigin says who asks and how the request came in. What shows it is the connection
// itself, below all plugins: neither what a writer in front says of it, nor the type of
// an address, is evidence.
func (g *Reader) readOrigin(e *Evidence, w dns.ResponseWriter) wire.Origin {
	o, known := wire.OriginOf(w)
	if !known { // DoH, gRPC, DoQ, and what cannot be followed: none of them carries a transfer
		o.Remote, o.Local = w.RemoteAddr(), w.LocalAddr()
	}
	e.Req.Transport = transportOf(e.Listener, &o, known)
	client, server := addrPort(o.Remote), addrPort(o.Local)
	if own, told := claimed(&o, known); told && (!client.IsValid() || g.believed(e.Listener)) {
		e.Req.ClientUntrusted = true
		if own {
			remote, local, _ := o.Ends()
			e.claimed, client, server = client.Addr(), addrPort(remote), addrPort(local)
		}
	}
	e.Req.Client, e.Port, e.Server = client.Addr(), client.Port(), server
	if client.Addr().IsLinkLocalUnicast() {
		e.Link = linkOf(o.Remote)
	}
	return o
}

// linkOf returns the zone identifier of a connection's end: the name of the interface.
func linkOf(a net.Addr) string {
	switch a := a.(type) {
	case *net.TCPAddr:
		return a.Zone
	case *net.UDPAddr:
		return a.Zone
	}
	return ""
}

// claimed reports whether the client's address may be out of a PROXY header (told), and
// whether that of the connection itself is known all the same (own). The packets of a
// listener with CoreDNS's proxyproto have a *net.UDPAddr as long as they come without a
// header.
func claimed(o *wire.Origin, known bool) (own, told bool) {
	switch {
	case !known:
		return false, true
	case o.Stream == nil:
		_, direct := o.Remote.(*net.UDPAddr)
		return false, !direct
	}
	remote, _, ok := o.Ends()
	return ok, !ok || addrPort(remote) != addrPort(o.Remote)
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

// ownWriters are the transports whose requests CoreDNS hands over with writers of its
// own. None of them carries a transfer, so that nothing has to be known of their
// connections.
var ownWriters = []policy.Transport{policy.TransportHTTPS, policy.TransportHTTP3, policy.TransportQUIC, policy.TransportGRPC}

// transportOf names how the request came in. TCP and TLS are what ends in a TCP
// connection; request.Proto cannot tell them apart, and takes for TCP what it does not
// know. Where the listener and its connection contradict each other nothing is known.
func transportOf(listener string, o *wire.Origin, known bool) policy.Transport {
	scheme, _, ok := strings.Cut(listener, "://")
	if t := policy.Transport(scheme); ok && slices.Contains(ownWriters, t) {
		return t
	}
	if !ok || !known {
		return policy.TransportUnknown
	}
	_, tcp := wire.TCPConnOf(o.Stream)
	switch {
	case scheme == "dns" && o.Stream == nil:
		return policy.TransportUDP
	case scheme == "dns" && tcp && o.TLS() == nil:
		return policy.TransportTCP
	case scheme == "tls" && tcp: // without TLS nothing is known of a session, and nothing allowed
		return policy.TransportTLS
	}
	return policy.TransportUnknown
}

// Claim is the address of the PROXY header that does not count, "" where there is none.
func (e *Evidence) Claim() string {
	if !e.claimed.IsValid() {
		return ""
	}
	return e.claimed.String()
}
