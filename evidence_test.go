// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/evidence"
	"github.com/xfrguard/xfrguard/internal/evidence/catest"
	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/wire"
	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/miekg/dns"
)

// hiding is a writer of another plugin that does not show what it wraps.
type hiding struct{ w dns.ResponseWriter }

func (h hiding) LocalAddr() net.Addr         { return h.w.LocalAddr() }
func (h hiding) RemoteAddr() net.Addr        { return h.w.RemoteAddr() }
func (h hiding) WriteMsg(m *dns.Msg) error   { return h.w.WriteMsg(m) }
func (h hiding) Write(b []byte) (int, error) { return h.w.Write(b) }
func (h hiding) Close() error                { return h.w.Close() }
func (h hiding) TsigStatus() error           { return h.w.TsigStatus() }
func (h hiding) TsigTimersOnly(b bool)       { h.w.TsigTimersOnly(b) }
func (h hiding) Hijack()                     { h.w.Hijack() }

// renaming is one that says that the client is another.
type renaming struct {
	dns.ResponseWriter
	remote net.Addr
}

func (r renaming) RemoteAddr() net.Addr { return r.remote }

// doubled is one that has two.
type doubled struct {
	hiding
	A, B dns.ResponseWriter
}

// TestWriterInFront: who asks and how is read off the connection. What a writer of another
// plugin says of it does not count, and where none leads to it nothing is known.
func TestWriterInFront(t *testing.T) {
	s := xfrtest.Serve(t, xfrtest.Guarded("allow as one net 127.0.0.1 unsigned", ""), map[string]string{"db": xfrtest.ZoneOrg})
	g := latestInstance().sorted()[0]
	allowed, banned := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 9), Port: 1}
	for _, c := range []struct {
		name, from string
		wrap       func(dns.ResponseWriter) dns.ResponseWriter
		rcode      int
	}{
		{"none", "127.0.0.1", func(w dns.ResponseWriter) dns.ResponseWriter { return w }, dns.RcodeSuccess},
		{"the allowed one, as another", "127.0.0.1", func(w dns.ResponseWriter) dns.ResponseWriter { return renaming{w, banned} }, dns.RcodeSuccess},
		{"another, as the allowed one", "127.0.0.9", func(w dns.ResponseWriter) dns.ResponseWriter { return renaming{w, allowed} }, dns.RcodeRefused},
		{"hidden", "127.0.0.1", func(w dns.ResponseWriter) dns.ResponseWriter { return hiding{w} }, dns.RcodeNotImplemented},
		{"two", "127.0.0.1", func(w dns.ResponseWriter) dns.ResponseWriter { return doubled{hiding{w}, w, w} }, dns.RcodeNotImplemented},
	} {
		for _, qtype := range []uint16{dns.TypeAXFR, dns.TypeIXFR} {
			ctx, caller := xfrtest.LateRequest(t, c.from)
			if _, err := g.answer(ctx, c.wrap(caller.ResponseWriter), xfrtest.Question(qtype)); err != nil {
				t.Fatal(err)
			}
			m := caller.Got(t)
			if m == nil || m.Rcode != c.rcode || xfrtest.IsZone(m) != (c.rcode == dns.RcodeSuccess) {
				t.Errorf("%s: got %v", c.name, m)
			}
		}
	}
	for _, e := range s.Events(t, 4) {
		if unknown := e["event.reason"] == "transport-unsupported"; unknown != (e["coredns.xfr.transport"] == "unknown") {
			t.Errorf("on record as %v", e)
		}
		if e["event.reason"] == "client-not-allowed" && e["client.ip"] != "127.0.0.9" {
			t.Errorf("on record as %v", e)
		}
	}
}

// TestAnsweredPlainly: where an answer cannot be packed or signed the client gets a plain
// one; and where the connection failed, its end.
func TestAnsweredPlainly(t *testing.T) {
	xfrtest.Serve(t, xfrtest.Guarded("allow as ns2 net 127.0.0.1 key a.example.net.", ""), map[string]string{"db": xfrtest.ZoneOrg})
	g := latestInstance().sorted()[0]
	meets := func() (*exchange, *xfrtest.Caller) {
		ctx, c := xfrtest.LateRequest(t, "127.0.0.1")
		return g.exchange(ctx, c.ResponseWriter, xfrtest.Question(dns.TypeAXFR, xfrtest.WithEDNS)), c
	}
	refuse := func(x *exchange) { x.refuse(&policy.Decision{Reason: policy.ReasonClientNotAllowed, Known: true}) }
	x, c := meets()
	x.Signature, x.Req.TSIG.Status, x.Secret = &dns.TSIG{Hdr: dns.RR_Header{Name: "no..name"}, Algorithm: "none"}, policy.TSIGBadTime, []byte("secret")
	refuse(x)
	if m := c.Got(t); m == nil || m.Rcode != dns.RcodeRefused || m.Id != x.r.Id || len(m.Question) != 1 {
		t.Errorf("what cannot be signed: %v", m)
	}
	x, c = meets()
	x.r.Question[0].Name = "no.dot.at.the.end"
	refuse(x)
	if m := c.Got(t); m == nil || m.Rcode != dns.RcodeRefused || m.Id != x.r.Id || len(m.Question) != 0 {
		t.Errorf("what cannot be packed: %v", m)
	}
	for _, err := range []error{&net.OpError{Op: "write", Err: os.ErrDeadlineExceeded}, net.ErrClosed, io.ErrShortWrite} {
		x, c = meets()
		x.w = failing{x.w, fmt.Errorf("writing: %w", err)}
		refuse(x)
		_ = c.Client.SetReadDeadline(time.Now().Add(10 * time.Second))
		if n, got := c.Client.Read(make([]byte, 1)); n > 0 || !errors.Is(got, syscall.ECONNRESET) {
			t.Errorf("after %v the client sees %d octets and %v", err, n, got)
		}
	}
}

// failing is a writer whose connection is broken.
type failing struct {
	dns.ResponseWriter
	err error
}

func (f failing) WriteMsg(*dns.Msg) error   { return f.err }
func (f failing) Write([]byte) (int, error) { return 0, f.err }

// hipRequest is a request of 64 kB with a record of pointers, which is sixty times as
// large when it is packed again, and a signature of a known key.
func hipRequest(t testing.TB, good bool) *dns.Msg {
	t.Helper()
	m := xfrtest.Question(dns.TypeAXFR, xfrtest.WithName(strings.Repeat(strings.Repeat("x", 63)+".", 3)+"example.org."))
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	const names = 32000
	b = append(b, "\x00\x00\x37\x00\x01\x00\x00\x00\x00"...)
	b = binary.BigEndian.AppendUint16(b, uint16(4+1+1+2*names))
	b = append(b, "\x01\x02\x00\x01hk"...)
	for range names {
		b = append(b, 0xc0, 0x0c)
	}
	binary.BigEndian.PutUint16(b[10:], 1)
	mac := strings.Repeat("m", 32)
	rdata := "\x0bhmac-sha256\x00" + "\x00\x00\x65\x53\xf1\x00\x01\x2c" + "\x00\x20" + mac + "\x12\x34\x00\x00\x00\x00"
	if !good {
		rdata = ""
	}
	out := new(dns.Msg)
	if err := out.Unpack(xfrtest.WithTSIGOf(b, rdata)); err != nil {
		t.Fatal(err)
	}
	return out
}

// statusWriter says of every signature what miekg/dns says of a bad one.
type statusWriter struct{ dns.ResponseWriter }

func (statusWriter) TsigStatus() error { return dns.ErrSig }

// TestNoWorkForPointers: a request that is none costs next to nothing, however large it
// would become, signed or not, from whomever.
func TestNoWorkForPointers(t *testing.T) {
	xfrtest.Serve(t, xfrtest.Guarded("allow as ns2 net 127.0.0.1 key a.example.net.", ""), map[string]string{"db": xfrtest.ZoneOrg})
	g := latestInstance().sorted()[0]
	fastest := func(f func()) time.Duration {
		best := time.Hour
		for range 5 {
			begin := time.Now()
			f()
			best = min(best, time.Since(begin))
		}
		return best
	}
	for _, from := range []string{"127.0.0.1", "127.0.0.9"} {
		c := xfrtest.NewCaller(t, from, nil)
		ctx := context.WithValue(t.Context(), dnsserver.Key{}, &dnsserver.Server{Addr: "dns://127.0.0.1:0", TsigSecret: map[string]string{xfrtest.KeyA: xfrtest.SecretA}})
		r := hipRequest(t, true)
		twice := fastest(func() { wire.VerifyRequest(r, []byte("secret"), time.Now()) })
		for _, m := range []*dns.Msg{r, hipRequest(t, false)} {
			var e *evidence.Evidence
			once := fastest(func() { e = g.Examine(ctx, statusWriter{c.ResponseWriter}, m) })
			t.Logf("examining %v, its signature %v", once, twice)
			if !e.Req.Malformed || e.Req.TSIG.Status == policy.TSIGBadSignature || once > twice/10 {
				t.Errorf("from %s: %v of %v, %+v", from, once, twice, e.Req)
			}
		}
	}
}

// TestCancelCutsNoTransfer: CoreDNS's cancel, or any other end of the context that a
// plugin in front has set, means queries. The values of the context stay.
func TestCancelCutsNoTransfer(t *testing.T) {
	s := xfrtest.Serve(t, xfrtest.Guarded("allow as all net 127.0.0.1 unsigned", "cancel 1ms"), map[string]string{"db": xfrtest.SlowZone()})
	c, records := xfrtest.SlowTransfer(t, s, dns.TypeAXFR)
	const whole = xfrtest.SlowHosts + 6
	if records = xfrtest.Rest(c, records, whole); records != whole {
		t.Errorf("%d records of %d", records, whole)
	}
	s.When(t, "zone-transfer-end", "complete")

	type key struct{}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "kept"))
	cancel()
	u := transfers.begin(ctx, meet(t, latestInstance().sorted()[0], "127.0.0.1", dns.TypeAXFR))
	defer transfers.end(u)
	if u.ctx.Err() != nil || u.ctx.Value(key{}) != "kept" {
		t.Errorf("the context is %v, its value %v", u.ctx.Err(), u.ctx.Value(key{}))
	}
}

// TestNoEvidenceOfTLS: where a request came in over TLS and nothing is known of the
// session, nobody gets a zone, also by a rule that asks for no TLS. What a writer in front
// says about a session is not known of it.
func TestNoEvidenceOfTLS(t *testing.T) {
	ca := catest.New(t)
	xfrtest.Serve(t, xfrtest.XoTBlock("allow as open net 127.0.0.1 unsigned", "", ""), xfrtest.XoTFiles(t, ca))
	g := latestInstance().guards[0]
	ask := func(listener string, c *xfrtest.Caller, wrap func(dns.ResponseWriter) dns.ResponseWriter) *dns.Msg {
		ctx := context.WithValue(t.Context(), dnsserver.Key{}, &dnsserver.Server{Addr: listener})
		if _, err := g.answer(ctx, wrap(c.ResponseWriter), xfrtest.Question(dns.TypeAXFR)); err != nil {
			t.Fatal(err)
		}
		return c.Got(t)
	}
	as := func(w dns.ResponseWriter) dns.ResponseWriter { return w }
	pretend := func(w dns.ResponseWriter) dns.ResponseWriter {
		state := &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true}
		return &pretender{ResponseWriter: w, state: state}
	}
	cert, key := ca.Issue(t, "ns1.example.org")
	conf, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	over := func() *xfrtest.Caller {
		return xfrtest.NewCaller(t, "127.0.0.1", &tls.Config{Certificates: []tls.Certificate{conf}, MinVersion: tls.VersionTLS13})
	}
	if m := ask("dns://127.0.0.1:53", xfrtest.NewCaller(t, "127.0.0.1", nil), as); !xfrtest.IsZone(m) {
		t.Fatalf("the rule allows nobody, so this shows nothing: %v", m)
	}
	if m := ask("tls://127.0.0.1:853", over(), as); !xfrtest.IsZone(m) {
		t.Errorf("with evidence: %v", m)
	}
	for name, m := range map[string]*dns.Msg{
		"no session":          ask("tls://127.0.0.1:853", xfrtest.NewCaller(t, "127.0.0.1", nil), as),
		"a plugin's word":     ask("tls://127.0.0.1:853", xfrtest.NewCaller(t, "127.0.0.1", nil), pretend),
		"TLS on a plain port": ask("dns://127.0.0.1:53", over(), as),
	} {
		if m == nil || m.Rcode == dns.RcodeSuccess || len(m.Answer) > 0 {
			t.Errorf("%s: %v", name, m)
		}
	}
}

// pretender is a writer of another plugin that tells of a TLS session.
type pretender struct {
	dns.ResponseWriter
	state *tls.ConnectionState
}

func (w *pretender) ConnectionState() *tls.ConnectionState { return w.state }
