// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package coredns

import (
	"context"
	"net"
	"net/netip"
	"reflect"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/acl"

	"github.com/miekg/dns"
)

// LetsThrough reports whether acl lets a query for the SOA of a zone through, when it comes
// from an address. A copy of the handler is asked, with an end of ours behind it; what it
// counts of that is taken out of its metrics.
func LetsThrough(h plugin.Handler, from netip.Addr, apex string) bool {
	v := reflect.Indirect(reflect.ValueOf(h))
	if v.Kind() != reflect.Struct {
		return true
	}
	own := reflect.New(v.Type()).Elem()
	own.Set(v)
	next := own.FieldByName("Next")
	if !next.IsValid() || !next.CanSet() {
		return true
	}
	through := false
	next.Set(reflect.ValueOf(plugin.HandlerFunc(func(context.Context, dns.ResponseWriter, *dns.Msg) (int, error) {
		through = true
		return dns.RcodeSuccess, nil
	})))
	asked, ok := own.Interface().(plugin.Handler)
	if !ok {
		return true
	}
	q := new(dns.Msg).SetQuestion(apex, dns.TypeSOA)
	_, err := asked.ServeDNS(context.Background(), &asker{from: from}, q)
	nobody := map[string]string{"server": ""} // every query that CoreDNS gets has one
	acl.RequestBlockCount.DeletePartialMatch(nobody)
	acl.RequestFilterCount.DeletePartialMatch(nobody)
	acl.RequestDropCount.DeletePartialMatch(nobody)
	acl.RequestAllowCount.DeletePartialMatch(nobody)
	return through || err != nil
}

// asker is a client that asks over UDP and reads no answer.
type asker struct{ from netip.Addr }

func (a *asker) LocalAddr() net.Addr { return &net.UDPAddr{IP: net.IPv6loopback, Port: 53} }
func (a *asker) RemoteAddr() net.Addr {
	return &net.UDPAddr{IP: a.from.AsSlice(), Port: 1024, Zone: a.from.Zone()}
}
func (*asker) WriteMsg(*dns.Msg) error     { return nil }
func (*asker) Write(b []byte) (int, error) { return len(b), nil }
func (*asker) Close() error                { return nil }
func (*asker) TsigStatus() error           { return nil }
func (*asker) TsigTimersOnly(bool)         {}
func (*asker) Hijack()                     {}
