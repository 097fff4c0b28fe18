// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrtest

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/miekg/dns"
)

// Caller is the writer of a request that is being handled, over a real connection: what
// the guard knows of a client it knows from that.
type Caller struct {
	dns.ResponseWriter
	Client net.Conn
}

// NewCaller connects from the address, over TLS when there is a server's configuration.
func NewCaller(t *testing.T, from string, conf *tls.Config) *Caller {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if conf != nil {
		l = tls.NewListener(l, conf)
	}
	met, done, ended := make(chan dns.ResponseWriter), make(chan struct{}), make(chan struct{})
	s := &dns.Server{Listener: l, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, _ *dns.Msg) {
		met <- w
		<-done
	})}
	go func() {
		defer close(ended)
		_ = s.ActivateAndServe()
	}()
	d := net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Close()
		close(done)
		_ = s.Shutdown()
		<-ended
	})
	if conf != nil {
		c = tls.Client(c, ClientTLS("dot"))
	}
	if err := (&dns.Conn{Conn: c}).WriteMsg(new(dns.Msg).SetQuestion(".", dns.TypeNS)); err != nil {
		t.Fatal(err)
	}
	select {
	case w := <-met:
		return &Caller{ResponseWriter: w, Client: c}
	case <-time.After(10 * time.Second):
		t.Fatal("the server never met the request")
		return nil
	}
}

// Got is the first message of the answer, nil when the connection was closed.
func (c *Caller) Got(t *testing.T) *dns.Msg {
	t.Helper()
	_ = c.Client.SetReadDeadline(time.Now().Add(10 * time.Second))
	var length uint16
	if binary.Read(c.Client, binary.BigEndian, &length) != nil {
		return nil
	}
	b := make([]byte, length)
	if _, err := io.ReadFull(c.Client, b); err != nil {
		t.Fatal(err)
	}
	return Unpack(t, b)
}

// LateRequest is a request as the server of the tests' block meets it.
func LateRequest(t *testing.T, from string) (context.Context, *Caller) {
	t.Helper()
	ctx := context.WithValue(t.Context(), dnsserver.Key{}, &dnsserver.Server{Addr: "dns://127.0.0.1:0"})
	return ctx, NewCaller(t, from, nil)
}
