// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// peer is a secondary on loopback: UDP, and TCP or TLS, on one port.
type peer struct {
	addr   netip.AddrPort
	answer func(via Transport, b []byte, from net.Addr) [][]byte // messages to send back

	mu   sync.Mutex
	came []Transport
	last []byte
}

// closed says that nobody listens there.
type closed struct{ udp, tcp bool }

func startPeer(t *testing.T, config *tls.Config, off closed, answer func(Transport, []byte, net.Addr) [][]byte) *peer {
	t.Helper()
	p := &peer{answer: answer}
	udp, l := listenBoth(t)
	p.addr = l.Addr().(*net.TCPAddr).AddrPort()
	via := TCP
	if config != nil {
		l, via = tls.NewListener(l, config), OverTLS
	}
	var running sync.WaitGroup
	if off.udp {
		udp.Close()
	} else {
		running.Go(func() { p.serveUDP(udp) })
	}
	if off.tcp {
		l.Close()
	} else {
		running.Go(func() { p.serveStream(l, via, &running) })
	}
	t.Cleanup(func() {
		udp.Close()
		l.Close()
		running.Wait()
	})
	return p
}

func listenBoth(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if udp, err := net.ListenPacket("udp", l.Addr().String()); err == nil {
			return udp, l
		}
		l.Close()
	}
	t.Fatal("no port is free for UDP and TCP")
	return nil, nil
}

func (p *peer) note(via Transport, b []byte, from net.Addr) [][]byte {
	p.mu.Lock()
	p.came, p.last = append(p.came, via), append([]byte(nil), b...)
	p.mu.Unlock()
	return p.answer(via, b, from)
}

func (p *peer) serveUDP(conn net.PacketConn) {
	b := make([]byte, dns.MaxMsgSize)
	for {
		n, from, err := conn.ReadFrom(b)
		if err != nil {
			return
		}
		for _, m := range p.note(UDP, b[:n], from) {
			_, _ = conn.WriteTo(m, from)
		}
	}
}

func (p *peer) serveStream(l net.Listener, via Transport, running *sync.WaitGroup) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		running.Go(func() {
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
			b, err := readFramed(conn)
			if err != nil {
				return
			}
			for _, m := range p.note(via, b, conn.RemoteAddr()) {
				framed := binary.BigEndian.AppendUint16(nil, uint16(len(m)))
				_, _ = conn.Write(append(framed, m...))
			}
			_, _ = io.Copy(io.Discard, conn) // until the client closes
		})
	}
}

func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// exchangeWait is the patience where nothing comes.
const exchangeWait = 1500 * time.Millisecond

// answers makes the answers of a peer to a NOTIFY that came over a transport.
type answers = func(t *testing.T, via Transport, b []byte, from net.Addr) [][]byte

// maker makes one answer.
type maker = func(t *testing.T, b []byte) []byte

func one(make maker) answers {
	return func(t *testing.T, _ Transport, b []byte, _ net.Addr) [][]byte { return [][]byte{make(t, b)} }
}

func both(first, then maker) answers {
	return func(t *testing.T, via Transport, b []byte, _ net.Addr) [][]byte {
		if via == TCP { // asked as well, where the first one proves nothing
			time.Sleep(exchangeWait / 2)
			return [][]byte{then(t, b)}
		}
		return [][]byte{first(t, b), then(t, b)}
	}
}

func onTCP(udp, tcp maker) answers {
	return func(t *testing.T, via Transport, b []byte, _ net.Addr) [][]byte {
		if via == UDP && udp == nil || via == TCP && tcp == nil {
			return nil
		} else if via == UDP {
			return [][]byte{udp(t, b)}
		}
		return [][]byte{tcp(t, b)}
	}
}

func flood(forged, last maker) answers {
	return func(t *testing.T, via Transport, b []byte, _ net.Addr) (all [][]byte) {
		if via == TCP {
			return [][]byte{last(t, b)}
		}
		for range maxForged {
			all = append(all, forged(t, b))
		}
		return append(all, last(t, b))
	}
}

func truncated(m *dns.Msg) { m.Truncated = true }

func badMAC(t *testing.T, b []byte) []byte {
	got := signed()(t, b)
	got[2] ^= 4 // AA
	return got
}

func badKey(t *testing.T, b []byte) []byte { return packTSIGError(t, respond(t, b), dns.RcodeBadKey) }

var (
	refused = withRcode(dns.RcodeRefused)
	wrongID = plain(func(m *dns.Msg) { m.Id++ })
)

var exchangeCases = map[string]struct {
	keyed bool
	off   closed
	peer  answers
	want  Outcome
	via   Transport
	slow  bool // takes the whole wait, once or twice
}{
	"unsigned, over UDP":                           {false, closed{}, one(plain()), Accepted, UDP, false},
	"signed, over UDP":                             {true, closed{}, one(signed()), Accepted, UDP, false},
	"REFUSED":                                      {true, closed{}, one(signed(withRcode(dns.RcodeRefused))), Refused, UDP, false},
	"NOTAUTH":                                      {true, closed{}, one(signed(withRcode(dns.RcodeNotAuth))), NotAuth, UDP, false},
	"NOTIMP, no signature":                         {true, closed{}, one(plain(withRcode(dns.RcodeNotImplemented))), NotImplemented, TCP, false},
	"BADKEY":                                       {true, closed{}, one(badKey), BadKey, TCP, false},
	"a lost answer: TCP":                           {true, closed{}, onTCP(nil, signed()), Accepted, TCP, true},
	"cut short: TCP":                               {true, closed{}, onTCP(signed(truncated), signed()), Accepted, TCP, false},
	"cut short, refused over TCP":                  {true, closed{}, onTCP(signed(truncated), signed(withRcode(dns.RcodeRefused))), Refused, TCP, false},
	"cut short, no TCP":                            {true, closed{tcp: true}, one(signed(truncated)), Accepted, UDP, false},
	"UDP closed: TCP":                              {true, closed{udp: true}, one(signed()), Accepted, TCP, false},
	"nobody there":                                 {true, closed{udp: true, tcp: true}, one(signed()), Unreachable, UDP, false},
	"no answer, TCP closed":                        {true, closed{tcp: true}, onTCP(nil, nil), Timeout, UDP, true},
	"no answer at all":                             {true, closed{}, onTCP(nil, nil), Timeout, UDP, true},
	"another ID before the true one":               {true, closed{}, both(wrongID, signed()), Accepted, UDP, false},
	"another ID alone":                             {false, closed{tcp: true}, one(wrongID), Timeout, UDP, true},
	"unsigned before the true one":                 {true, closed{}, both(plain(), signed()), Accepted, UDP, false},
	"unsigned before the true refusal":             {true, closed{}, both(plain(), signed(withRcode(dns.RcodeRefused))), Refused, UDP, false},
	"a bad MAC before the true one":                {true, closed{}, both(badMAC, signed()), Accepted, UDP, false},
	"noise before the true one":                    {true, closed{}, both(func(*testing.T, []byte) []byte { return []byte("noise") }, signed()), Accepted, UDP, false},
	"unsigned alone":                               {true, closed{}, one(plain()), Unproven, TCP, false},
	"a bad MAC alone, no TCP":                      {true, closed{tcp: true}, one(badMAC), Unproven, UDP, true},
	"forged over UDP, true over TCP":               {true, closed{}, onTCP(plain(), signed()), Accepted, TCP, false},
	"a forged REFUSED before the true one":         {true, closed{}, both(plain(refused), signed()), Accepted, UDP, false},
	"a forged REFUSED, then a lost answer":         {true, closed{}, onTCP(plain(refused), signed()), Accepted, TCP, false},
	"a forged NOTIMP before the true one":          {true, closed{}, both(plain(withRcode(dns.RcodeNotImplemented)), signed()), Accepted, UDP, false},
	"a forged SERVFAIL before the true one":        {true, closed{}, both(plain(withRcode(dns.RcodeServerFailure)), signed()), Accepted, UDP, false},
	"a forged BADKEY before the true one":          {true, closed{}, both(badKey, signed()), Accepted, UDP, false},
	"a REFUSED with a bad MAC before the true one": {true, closed{}, both(badMAC, signed()), Accepted, UDP, false},
	"a forged TC before the true one":              {true, closed{}, both(plain(truncated), signed()), Accepted, UDP, false},
	"another question before the true one":         {true, closed{}, both(plain(func(m *dns.Msg) { m.Question[0].Name = "." }), signed()), Accepted, UDP, false},
	"a forged REFUSED alone, no TCP":               {true, closed{tcp: true}, one(plain(refused)), Refused, UDP, true},
	"a flood of other IDs: TCP":                    {false, closed{}, flood(wrongID, plain()), Accepted, TCP, false},
	"a flood of forged refusals: TCP":              {true, closed{}, flood(plain(refused), signed()), Accepted, TCP, false},
	"REFUSED without signature over TCP":           {true, closed{udp: true}, one(plain(refused)), Refused, TCP, false},
	"another ID over TCP":                          {true, closed{udp: true}, one(wrongID), OtherAnswer, TCP, false},
	"an empty message over TCP":                    {true, closed{udp: true}, one(func(*testing.T, []byte) []byte { return nil }), OtherAnswer, TCP, false},
	"SERVFAIL over UDP is not asked over":          {false, closed{}, one(plain(withRcode(dns.RcodeServerFailure))), ServerFailure, UDP, false},
}

// What comes back, and what the exchange makes of it.
func TestExchange(t *testing.T) {
	for name, c := range exchangeCases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startPeer(t, nil, c.off, func(via Transport, b []byte, from net.Addr) [][]byte { return c.peer(t, via, b, from) })
			target := &Target{Addr: p.addr}
			if c.keyed {
				target.Key = testKey()
			}
			patience := 5 * time.Second
			if c.slow {
				patience = exchangeWait
			}
			began := time.Now()
			got := exchange(t.Context(), target, mustRequest(t, target.Key), patience)
			if got.outcome != c.want || got.transport != c.via {
				t.Errorf("got %s over %s (%v), want %s over %s", got.outcome, got.transport, got.err, c.want, c.via)
			}
			if (got.err != nil) != (c.want == Timeout || c.want == Unreachable || c.want == Unproven || c.want == OtherAnswer) {
				t.Errorf("error %v", got.err)
			}
			if took := time.Since(began); c.slow && took < exchangeWait || took > 2*exchangeWait+4*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// An answer from elsewhere is none, however good it looks (RFC 1996 §3.6).
func TestExchangeForgedSource(t *testing.T) {
	other, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	p := startPeer(t, nil, closed{tcp: true}, func(_ Transport, b []byte, from net.Addr) [][]byte {
		_, _ = other.WriteTo(packPlain(t, respond(t, b)), from)
		return nil
	})
	if got := exchange(t.Context(), &Target{Addr: p.addr}, mustRequest(t, nil), 200*time.Millisecond); got.outcome != Timeout {
		t.Errorf("got %+v", got)
	}
}

func TestExchangeTLS(t *testing.T) {
	cert := certificate(t)
	for name, c := range map[string]struct {
		config *tls.Config
		want   Outcome
	}{
		"TLS 1.3, unknown certificate": {&tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"dot"}}, Accepted},
		"without ALPN":                 {&tls.Config{Certificates: []tls.Certificate{cert}}, Accepted},
		"TLS 1.2":                      {&tls.Config{Certificates: []tls.Certificate{cert}, MaxVersion: tls.VersionTLS12}, TLSFailed},
		"another protocol":             {&tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}}, TLSFailed},
		"wants a certificate":          {&tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAnyClientCert}, TLSFailed},
		"plain TCP":                    {nil, Timeout}, // it waits for the rest of a long message
	} {
		t.Run(name, func(t *testing.T) {
			p := startPeer(t, c.config, closed{}, func(_ Transport, b []byte, _ net.Addr) [][]byte {
				return [][]byte{packSigned(t, respond(t, b), b)}
			})
			target := &Target{Addr: p.addr, Key: testKey(), TLS: true}
			wait := 3 * time.Second
			if c.want == Timeout {
				wait = 200 * time.Millisecond
			}
			got := exchange(t.Context(), target, mustRequest(t, target.Key), wait)
			if got.outcome != c.want || got.transport != OverTLS || (got.err == nil) != (c.want == Accepted) {
				t.Errorf("got %s over %s (%v)", got.outcome, got.transport, got.err)
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			for _, via := range p.came {
				if via != OverTLS {
					t.Errorf("sent over %s", via)
				}
			}
		})
	}
	// It listens and never shakes hands.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	target := &Target{Addr: l.Addr().(*net.TCPAddr).AddrPort(), TLS: true}
	if got := exchange(t.Context(), target, mustRequest(t, nil), 100*time.Millisecond); got.outcome != Timeout {
		t.Errorf("no handshake: %+v", got)
	}
}

// A notice that no datagram takes goes over TCP at once.
func TestExchangeLong(t *testing.T) {
	p := startPeer(t, nil, closed{}, func(_ Transport, b []byte, _ net.Addr) [][]byte { return [][]byte{packPlain(t, respond(t, b))} })
	r := mustRequest(t, nil)
	r.udp = false
	if got := exchange(t.Context(), &Target{Addr: p.addr}, r, time.Second); got.outcome != Accepted || got.transport != TCP || len(p.came) != 1 {
		t.Errorf("got %+v after %v", got, p.came)
	}
}

// The end of the context ends the exchange at once.
func TestExchangeCanceled(t *testing.T) {
	for _, overTLS := range []bool{false, true} {
		p := startPeer(t, nil, closed{}, func(Transport, []byte, net.Addr) [][]byte { return nil })
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		began := time.Now()
		got := exchange(ctx, &Target{Addr: p.addr, TLS: overTLS}, mustRequest(t, nil), time.Minute)
		if took := time.Since(began); got.outcome != Timeout || took > 5*time.Second {
			t.Errorf("got %+v after %v", got, took)
		}
	}
}

func TestExchangeUnreachable(t *testing.T) {
	// An address of this machine cannot be the source for one of the other family.
	target := &Target{Addr: netip.MustParseAddrPort("127.0.0.1:1"), Source: netip.MustParseAddr("192.0.2.1")}
	if got := exchange(t.Context(), target, mustRequest(t, nil), time.Second); got.outcome != Unreachable || got.err == nil {
		t.Errorf("got %+v", got)
	}
}
