// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"net"
	"testing"

	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"
)

// BenchmarkWithin is what the limits around an answer of one message cost beside writing
// it, which here is nothing.
func BenchmarkWithin(b *testing.B) {
	server, _ := pairAsIs(b)
	b.ReportAllocs()
	for b.Loop() {
		if err := Within(b.Context(), server, SendOptions{}, func() error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOriginOf walks from CoreDNS's writer down to the connection.
func BenchmarkOriginOf(b *testing.B) {
	mux := make(chan dns.ResponseWriter, 1)
	over := make(chan struct{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := &dns.Server{Listener: l, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, _ *dns.Msg) {
		mux <- w
		<-over
	})}
	done := make(chan error, 1)
	go func() { done <- s.ActivateAndServe() }()
	c, err := dns.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	if err = c.WriteMsg(new(dns.Msg).SetAxfr("example.org.")); err != nil {
		b.Fatal(err)
	}
	w := request.NewScrubWriter(nil, <-mux)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := OriginOf(w); !ok {
			b.Fatal("no origin")
		}
	}
	close(over)
	c.Close()
	_ = s.Shutdown()
	<-done
}
