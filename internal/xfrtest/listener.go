// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrtest

import (
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// Listener is a secondary that is only told of serials. It answers as a server with the
// keys of these tests does, and takes no NOTIFY that is unsigned.
type Listener struct {
	*dns.Server
	Mute atomic.Bool // it answers nothing
	Mu   sync.Mutex
	Came []string // "example.org. 7 a.example.net. hmac-sha256."
	From []string // the addresses they came from
	At   []time.Time
}

// NewListener listens on a free port of 127.0.0.1.
func NewListener(t *testing.T) *Listener {
	t.Helper()
	return ListenerAt(t, "127.0.0.1:0")
}

// ListenerAt listens on the address until the end of the test.
func ListenerAt(t *testing.T, addr string) *Listener {
	t.Helper()
	conn, err := net.ListenPacket("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	l := &Listener{}
	l.Server = &dns.Server{
		PacketConn: conn, TsigSecret: map[string]string{"a.example.net.": SecretA, "b.example.net.": SecretB},
		MsgAcceptFunc: func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept }, // also with an answer section
		Handler:       dns.HandlerFunc(l.serve),
	}
	started := make(chan struct{})
	l.NotifyStartedFunc = func() { close(started) }
	go func() { _ = l.ActivateAndServe() }()
	<-started
	t.Cleanup(func() { _ = l.Shutdown() })
	return l
}

func (l *Listener) serve(w dns.ResponseWriter, r *dns.Msg) {
	m := new(dns.Msg).SetReply(r)
	key := "unsigned"
	if s := r.IsTsig(); s != nil && w.TsigStatus() == nil {
		key = s.Hdr.Name + " " + s.Algorithm
		m.SetTsig(s.Hdr.Name, s.Algorithm, 300, time.Now().Unix())
	} else {
		m.Rcode = dns.RcodeRefused
	}
	serial := "no serial"
	if len(r.Answer) == 1 {
		serial = fmt.Sprint(r.Answer[0].(*dns.SOA).Serial)
	}
	if l.Mute.Load() {
		return
	}
	l.Mu.Lock()
	l.Came = append(l.Came, r.Question[0].Name+" "+serial+" "+key)
	host, _, _ := net.SplitHostPort(w.RemoteAddr().String())
	l.From = append(l.From, host)
	l.At = append(l.At, time.Now())
	l.Mu.Unlock()
	_ = w.WriteMsg(m)
}

// Port returns the port it listens on.
func (l *Listener) Port() string {
	_, port, _ := net.SplitHostPort(l.PacketConn.LocalAddr().String())
	return port
}

// Wait waits for the NOTIFYs and fails on others; a moment later there must be no more.
func (l *Listener) Wait(t *testing.T, want ...string) {
	t.Helper()
	slices.Sort(want)
	var got []string
	for deadline := time.Now().Add(8 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		l.Mu.Lock()
		got = slices.Sorted(slices.Values(l.Came))
		l.Mu.Unlock()
		if len(got) >= len(want) {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got the NOTIFYs\n%q, want\n%q", got, want)
	}
	l.Mu.Lock()
	l.Came = nil
	l.Mu.Unlock()
}
