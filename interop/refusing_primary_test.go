// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/interop/peer"
)

// refusal is one way to tell a secondary that it does not get the zone now.
type refusal string

const (
	refuseServfail refusal = "SERVFAIL"
	refuseRefused  refusal = "REFUSED"
	refuseClose    refusal = "close (FIN)"
	refuseReset    refusal = "reset (RST)"
	refuseTrunc    refusal = "empty, TC"
)

var refusals = []refusal{refuseServfail, refuseRefused, refuseClose, refuseReset, refuseTrunc}

const (
	refusedZone    = "refused.test."
	refusedRefresh = 300 // seconds, as the retry
	refusedRetry   = 60
)

// attempt is a transfer that a secondary has asked for.
type attempt struct {
	at     time.Time
	what   string // type and transport
	served bool
}

// refusingPrimary is a primary of one small zone that follows a script: from the next
// serial on it refuses every transfer in one way, until some time after the first.
type refusingPrimary struct {
	port int
	way  refusal
	span time.Duration // for which the refusals go on after the first

	conns sync.Map // *net.TCPConn by the other end's address

	mu       sync.Mutex
	serial   uint32
	refusing bool
	first    chan struct{} // closed at the first refusal
	begun    time.Time     // of it
	attempts []attempt     // since the new serial
}

func startRefusingPrimary(t testing.TB, way refusal, span time.Duration) *refusingPrimary {
	t.Helper()
	p := &refusingPrimary{port: peer.Port(t), way: way, span: span, serial: 1, first: make(chan struct{})}
	l, err := net.Listen("tcp", peer.Loopback(p.port))
	if err != nil {
		t.Fatal(err)
	}
	u, err := net.ListenPacket("udp", peer.Loopback(p.port))
	if err != nil {
		t.Fatal(err)
	}
	secrets := map[string]string{sha256Key.Name: sha256Key.Secret}
	for _, s := range []*dns.Server{{Listener: knownConns{l, &p.conns}}, {PacketConn: u}} {
		s.TsigSecret, s.Handler = secrets, p
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		done := make(chan error, 1)
		go func() { done <- s.ActivateAndServe() }()
		<-started
		t.Cleanup(func() {
			_ = s.Shutdown()
			<-done
		})
	}
	return p
}

// knownConns remembers the connections that it accepts.
type knownConns struct {
	net.Listener
	conns *sync.Map
}

// Accept implements net.Listener.
func (l knownConns) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.conns.Store(c.RemoteAddr().String(), c)
	}
	return c, err
}

// advance gives the zone its next serial, which nobody gets at first.
func (p *refusingPrimary) advance() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.serial++
	p.refusing = true
}

// seen returns the attempts since then, as times after the first refusal.
func (p *refusingPrimary) seen() (list []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.attempts {
		text := fmt.Sprintf("%s at %.2f s", a.what, a.at.Sub(p.begun).Seconds())
		if a.served {
			text += " served"
		}
		list = append(list, text)
	}
	return list
}

func (p *refusingPrimary) records(serial uint32) []dns.RR {
	text := fmt.Sprintf("%[1]s 3600 IN SOA ns.%[1]s host.%[1]s %d %d %d 86400 60\n%[1]s 3600 IN NS ns.%[1]s\nns.%[1]s 3600 IN A 192.0.2.53\n",
		refusedZone, serial, refusedRefresh, refusedRetry)
	var rrs []dns.RR
	for line := range strings.Lines(text) {
		rr, err := dns.NewRR(line)
		if err != nil {
			panic(err) // the text is ours
		}
		rrs = append(rrs, rr)
	}
	return append(rrs, rrs[0])
}

// ServeDNS implements dns.Handler.
func (p *refusingPrimary) ServeDNS(w dns.ResponseWriter, r *dns.Msg) {
	m := new(dns.Msg)
	m.SetReply(r)
	m.Authoritative = true
	if t := r.IsTsig(); t != nil && w.TsigStatus() == nil {
		m.SetTsig(t.Hdr.Name, t.Algorithm, 300, time.Now().Unix())
	}
	q := r.Question[0]
	p.mu.Lock()
	rrs := p.records(p.serial)
	transfer := q.Qtype == dns.TypeAXFR || q.Qtype == dns.TypeIXFR
	refuse := transfer && p.attemptLocked(w, q.Qtype)
	p.mu.Unlock()
	switch {
	case refuse:
		p.refuse(w, m)
		return
	case transfer && w.LocalAddr().Network() == "tcp":
		m.Answer = rrs
	default:
		m.Answer = rrs[:1]
	}
	_ = w.WriteMsg(m)
}

// attemptLocked notes a transfer that is asked for and reports whether to refuse it.
func (p *refusingPrimary) attemptLocked(w dns.ResponseWriter, qtype uint16) bool {
	if p.serial == 1 {
		return false
	}
	now := time.Now()
	if p.refusing && p.begun.IsZero() {
		p.begun = now
		close(p.first)
	}
	p.refusing = p.refusing && now.Sub(p.begun) < p.span
	p.attempts = append(p.attempts, attempt{now, dns.TypeToString[qtype] + "/" + w.LocalAddr().Network(), !p.refusing})
	return p.refusing
}

func (p *refusingPrimary) refuse(w dns.ResponseWriter, m *dns.Msg) {
	switch p.way {
	case refuseServfail:
		m.Rcode = dns.RcodeServerFailure
	case refuseRefused:
		m.Rcode = dns.RcodeRefused
	case refuseTrunc:
		m.Truncated = true
	case refuseReset:
		if c, ok := p.conns.Load(w.RemoteAddr().String()); ok {
			_ = c.(*net.TCPConn).SetLinger(0)
		}
		_ = w.Close()
		return
	case refuseClose:
		_ = w.Close()
		return
	}
	_ = w.WriteMsg(m)
}
