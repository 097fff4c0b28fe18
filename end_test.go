// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"
)

// slowBackend sends its zone of serial 7 and about 8 MiB up to where it is held.
type slowBackend struct{ gate chan struct{} }

const slowRecords = 80_000

func (b slowBackend) Transfer(name string, serial uint32) (<-chan []dns.RR, error) {
	ch := make(chan []dns.RR)
	go func() {
		defer close(ch)
		soa, _ := dns.NewRR(name + " 3600 IN SOA ns1 hostmaster 7 7200 3600 1209600 300")
		ch <- []dns.RR{soa}
		if serial == 7 {
			return
		}
		for i := range slowRecords {
			if i == slowRecords/4 {
				<-b.gate
			}
			ch <- []dns.RR{&dns.TXT{
				Hdr: dns.RR_Header{Name: fmt.Sprintf("h%06d.%s", i, name), Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60},
				Txt: []string{strings.Repeat("x", 80)},
			}}
		}
		ch <- []dns.RR{soa}
	}()
	return ch, nil
}

// ServeDNS implements plugin.Handler: no queries are asked of it.
func (slowBackend) ServeDNS(context.Context, dns.ResponseWriter, *dns.Msg) (int, error) {
	return dns.RcodeRefused, nil
}

// Name implements plugin.Handler.
func (slowBackend) Name() string { return "slowbackend" }

// slowGate is of the server that is started next.
var slowGate chan struct{}

func init() {
	dnsserver.Directives = append(dnsserver.Directives, "slowbackend")
	plugin.Register("slowbackend", func(c *caddy.Controller) error {
		b := slowBackend{slowGate}
		dnsserver.GetConfig(c).AddPlugin(func(plugin.Handler) plugin.Handler { return b })
		return nil
	})
}

// slowServer has a backend that is held, and a cache of this size.
func slowServer(t *testing.T, cache string) (*xfrtest.Server, *guard, slowBackend) {
	t.Helper()
	slowGate = make(chan struct{})
	corefile := strings.Replace(xfrtest.Guarded(xfrtest.UnsignedRule+"\n\t\tcache "+cache, ""), "file DIR/db", "slowbackend", 1)
	s := xfrtest.Serve(t, corefile, nil)
	return s, latestInstance().sorted()[0], slowBackend{slowGate}
}

// TestCanceledWhileItWaits: a client waits for the zone, or for what changed in it, when it
// has to go. It gets an answer, and the record says why.
func TestCanceledWhileItWaits(t *testing.T) {
	for cause, want := range map[error]policy.Reason{errShutdown: policy.ReasonShutdown, errRevoked: policy.ReasonClientNotAllowed} {
		s, g, b := slowServer(t, "64MiB")
		got := make(chan *dns.Msg, 1)
		go func() {
			got <- xfrtest.Ask1(t, "tcp", s.Addr(t, "tcp", 0), "", xfrtest.Packed(t, xfrtest.Question(dns.TypeIXFR, xfrtest.WithSerial(7))))
		}()
		for len(transfers.of([]*guard{g})) == 0 {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(300 * time.Millisecond) // it waits until the version is compared
		transfers.cancel([]*guard{g}, cause)
		m := <-got
		e := s.Events(t, 1)[0]
		if e["event.reason"] != string(want) || len(m.Answer) != 0 {
			t.Errorf("%v: %v, %v", cause, e["event.reason"], m)
		}
		close(b.gate)
	}
}

// TestEndDoesNotHold: what is left to do for a client that has its answer neither holds up
// those who still read, nor the end of the server.
func TestEndDoesNotHold(t *testing.T) {
	current := xfrtest.Packed(t, xfrtest.Question(dns.TypeIXFR, xfrtest.WithSerial(7)))
	t.Run("readers", func(t *testing.T) {
		s, _, b := slowServer(t, "4MiB")
		got := make(chan error, 1)
		begin := time.Now()
		if m := xfrtest.Ask1(t, "udp", s.Addr(t, "udp", 0), "", current); len(m.Answer) != 1 {
			t.Fatal(m)
		}
		go func() { // behind it: who comes first has the only read of the backend
			_, err := xfrtest.TransferIn(t, s.Addr(t, "tcp", 0), xfrtest.Question(dns.TypeAXFR), "", "")
			got <- err
		}()
		close(b.gate)
		if err := <-got; err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took > patience*9/10 { // whoever is held is held for all of it
			t.Errorf("it took %v", took)
		}
	})
	t.Run("shutdown", func(t *testing.T) {
		s, g, b := slowServer(t, "64MiB")
		defer close(b.gate)
		if m := xfrtest.Ask1(t, "udp", s.Addr(t, "udp", 0), "", current); len(m.Answer) != 1 {
			t.Fatal(m)
		}
		s.Events(t, 1)
		transfers.cancel([]*guard{g}, errShutdown)
		if !transfers.drained(patience/2, []*guard{g}) {
			t.Error("it holds up the end of the server")
		}
		if e := s.Events(t, 1); len(e) != 1 || e[0]["coredns.xfr.served"] != "up-to-date" || e[0]["coredns.xfr.complete"] != true {
			t.Error(e)
		}
	})
}
