// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/xfrguard/xfrguard/internal/policy"

	"github.com/miekg/dns"
)

// paddingBlock is what responses over TLS are padded to a multiple of (RFC 8467 §4.1).
const paddingBlock = 468

// opt is the OPT record of an answer, nil for a client without EDNS. It is made here
// and not left to CoreDNS, which would send the client's own options back.
func (x *exchange) opt(why policy.Reason) *dns.OPT {
	asked := x.r.IsEdns0()
	if asked == nil {
		return nil
	}
	opt := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
	opt.SetUDPSize(max(asked.UDPSize(), dns.MinMsgSize))
	if asked.Do() {
		opt.SetDo()
	}
	if k := x.keepalive(why); k != nil {
		opt.Option = append(opt.Option, k)
	}
	return opt
}

// keepalive is the option that tells a client how long its connection may be idle
// (RFC 7828): over TCP and TLS, to those that have it themselves, and 0 ("close soon")
// when this server is about to go.
func (x *exchange) keepalive(why policy.Reason) dns.EDNS0 {
	if t := x.Req.Transport; t != policy.TransportTCP && t != policy.TransportTLS || !x.asks(dns.EDNS0TCPKEEPALIVE) {
		return nil
	}
	units := x.Idle / (100 * time.Millisecond)
	switch {
	case why == policy.ReasonShutdown || x.guard.leaving():
		units = 0
	case units == 0:
		return nil // unknown: no promise
	}
	// miekg/dns has a type for this option, which cannot say 0.
	data := binary.BigEndian.AppendUint16(nil, uint16(min(units, math.MaxUint16)))
	return &dns.EDNS0_LOCAL{Code: dns.EDNS0TCPKEEPALIVE, Data: data}
}

// padding is the length that the answer's has to be a multiple of: 0 is any. Only
// encrypted answers are padded, and only for clients that pad (RFC 7830 §4, §6).
func (x *exchange) padding() int {
	if x.Peer == nil || !x.asks(dns.EDNS0PADDING) {
		return 0
	}
	return paddingBlock
}

// asks reports whether the request has the EDNS option.
func (x *exchange) asks(option uint16) bool {
	opt := x.r.IsEdns0()
	if opt == nil {
		return false
	}
	for _, o := range opt.Option {
		if o.Option() == option {
			return true
		}
	}
	return false
}

// leaving reports whether the server that met the request is on its way out: the
// process stops, or another instance has taken over.
func (g *guard) leaving() bool {
	if limits.Stopped() {
		return true
	}
	return g.successor() != nil
}
