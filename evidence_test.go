// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"context"
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

	"github.com/xfrguard/xfrguard/internal/audit/audittest"
	"github.com/xfrguard/xfrguard/internal/evidence"
	"github.com/xfrguard/xfrguard/internal/evidence/catest"
	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/wire"
	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/miekg/dns"
)

// withTSIGOf appends a TSIG record of key a with that RDATA to a packed message.
func withTSIGOf(b []byte, rdata string) []byte {
	binary.BigEndian.PutUint16(b[10:], binary.BigEndian.Uint16(b[10:])+1)
	b = append(b, "\x01a\x07example\x03net\x00\x00\xfa\x00\xff\x00\x00\x00\x00"...)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(rdata))), rdata...)
}

// TestHalfTSIG: a TSIG that is cut off anywhere, or that counts what is not there, gets
// FORMERR at once, from everybody and over every transport. miekg/dns finds the MAC right
// of the one with a MAC.
func TestHalfTSIG(t *testing.T) {
	s := xfrtest.Serve(t, xfrtest.XoTBlock("allow as ns2 net 127.0.0.1 key a.example.net.", "", ""), xfrtest.XoTFiles(t, catest.New(t)))
	const alg = "\x0bhmac-sha256\x00"
	queries := map[string]func(uint16) []byte{
		"other length without data": func(qtype uint16) []byte {
			return xfrtest.Signed(t, xfrtest.Question(qtype), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA, func(t *dns.TSIG) { t.OtherLen = 6 })
		},
	}
	for name, rdata := range map[string]string{
		"empty": "", "algorithm alone": alg, "up to the time": alg + "\x00\x00\x65\x53\xf1\x00",
		"up to the fudge": alg + "\x00\x00\x65\x53\xf1\x00\x01\x2c", "root algorithm alone": "\x00",
		"up to the error": alg + "\x00\x00\x65\x53\xf1\x00\x01\x2c\x00\x00\x12\x34\x00\x00",
		"compressed":      "\xc0\x0c\x00\x00\x65\x53\xf1\x00\x01\x2c\x00\x00\x12\x34\x00\x00\x00\x00",
	} {
		queries[name] = func(qtype uint16) []byte { return withTSIGOf(xfrtest.Packed(t, xfrtest.Question(qtype)), rdata) }
	}
	for name, query := range queries {
		for _, from := range []string{"127.0.0.1", "127.0.0.9"} {
			got := map[string]*dns.Msg{
				"tcp": xfrtest.Ask1(t, "tcp", s.ListenerAddr(t, "dns"), from, query(dns.TypeAXFR)),
				"tls": xfrtest.XoT(t, s.ListenerAddr(t, "tls"), from, xfrtest.ClientTLS("dot"), query(dns.TypeAXFR)),
				"udp": xfrtest.Ask1(t, "udp", s.Addr(t, "udp", 0), from, query(dns.TypeIXFR)),
			}
			for network, m := range got {
				if m == nil || m.Rcode != dns.RcodeFormatError || len(m.Answer)+len(m.Extra) > 0 {
					t.Errorf("%s, %s from %s: got %v", network, name, from, m)
				}
			}
		}
	}
	for _, e := range s.Events(t, 3) {
		if e["event.reason"] != "malformed" || e["coredns.xfr.tsig.status"] != "malformed" {
			t.Errorf("on record as %v", e)
		}
	}
}

// TestAlteredTSIG: what is verified are the octets that came. miekg/dns takes a fudge of 0
// for one of 300 and a time of 0 for now, so that a signature over those would be good.
func TestAlteredTSIG(t *testing.T) {
	s := xfrtest.Serve(t, xfrtest.Guarded("allow as ns2 net 127.0.0.1 key a.example.net.", ""), map[string]string{"db": xfrtest.ZoneOrg})
	altered := func(change func(*dns.TSIG)) []byte {
		m := xfrtest.Unpack(t, xfrtest.Signed(t, xfrtest.Question(dns.TypeAXFR), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA))
		change(m.IsTsig())
		return xfrtest.Packed(t, m)
	}
	for name, c := range map[string]struct {
		change func(*dns.TSIG)
		rcode  int
	}{
		"nothing":       {func(*dns.TSIG) {}, dns.RcodeSuccess},
		"case of names": {func(t *dns.TSIG) { t.Hdr.Name, t.Algorithm = "A.eXample.net.", "HMAC-sha256." }, dns.RcodeSuccess},
		"fudge":         {func(t *dns.TSIG) { t.Fudge = 0 }, dns.RcodeNotAuth},
		"time":          {func(t *dns.TSIG) { t.TimeSigned = 0 }, dns.RcodeNotAuth},
		"time, fudge":   {func(t *dns.TSIG) { t.TimeSigned, t.Fudge = 0, 0 }, dns.RcodeNotAuth},
		"later":         {func(t *dns.TSIG) { t.TimeSigned++ }, dns.RcodeNotAuth},
		"error":         {func(t *dns.TSIG) { t.Error = dns.RcodeBadTime }, dns.RcodeNotAuth},
		"other":         {func(t *dns.TSIG) { t.OtherLen, t.OtherData = 1, "00" }, dns.RcodeNotAuth},
		"original ID":   {func(t *dns.TSIG) { t.OrigId++ }, dns.RcodeNotAuth},
		"class":         {func(t *dns.TSIG) { t.Hdr.Class = dns.ClassINET }, dns.RcodeFormatError},
		"TTL":           {func(t *dns.TSIG) { t.Hdr.Ttl = 1 }, dns.RcodeFormatError},
	} {
		for range 2 { // the time may be another one by then
			if m := xfrtest.Ask1(t, "tcp", s.Addr(t, "tcp", 0), "", altered(c.change)); m.Rcode != c.rcode || xfrtest.IsZone(m) != (c.rcode == dns.RcodeSuccess) {
				t.Errorf("%s: got %v", name, m)
			}
		}
	}
}

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
			ctx, caller := lateRequest(t, c.from)
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

// TestStrangeNames: whatever stands in the names of a request, it is answered.
func TestStrangeNames(t *testing.T) {
	s := xfrtest.Serve(t, xfrtest.Guarded("allow as ns2 net 127.0.0.1 key a.example.net.", ""), map[string]string{"db": xfrtest.ZoneOrg})
	long := strings.Repeat(strings.Repeat("x", 63)+".", 3) + strings.Repeat("y", 61) + "."
	names := []string{".", `\000.`, `a\.b.example.net.`, `\"\;\@\$.`, `\255\127\032.`, long, strings.ToUpper(long), "xn--e1afmkfd.example."}
	for _, name := range names {
		for _, alg := range append([]string{dns.HmacSHA256}, names...) {
			m := xfrtest.Question(dns.TypeAXFR, xfrtest.WithEDNS)
			m.SetTsig(name, dns.HmacSHA256, 300, time.Now().Unix())
			tsig := m.IsTsig()
			tsig.Algorithm, tsig.MAC, tsig.MACSize = alg, strings.Repeat("ab", 32), 32
			if got := xfrtest.Ask1(t, "tcp", s.Addr(t, "tcp", 0), "", xfrtest.Packed(t, m)); got.Rcode != dns.RcodeNotAuth {
				t.Errorf("key %s, algorithm %s: got %v", name, alg, got)
			}
		}
		got := xfrtest.Ask1(t, "tcp", s.Addr(t, "tcp", 0), "", xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR, xfrtest.WithName(name), xfrtest.WithEDNS)))
		if got.Rcode != dns.RcodeRefused { // the block's, or CoreDNS's own
			t.Errorf("zone %s: got %v", name, got)
		}
	}
}

// TestAnsweredPlainly: where an answer cannot be packed or signed the client gets a plain
// one; and where the connection failed, its end.
func TestAnsweredPlainly(t *testing.T) {
	xfrtest.Serve(t, xfrtest.Guarded("allow as ns2 net 127.0.0.1 key a.example.net.", ""), map[string]string{"db": xfrtest.ZoneOrg})
	g := latestInstance().sorted()[0]
	meets := func() (*exchange, *xfrtest.Caller) {
		ctx, c := lateRequest(t, "127.0.0.1")
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

// TestSignatureNotLookedAtTwice: what miekg/dns did not find good is looked at again only
// for requests that can be answered, from addresses that a rule knows.
func TestSignatureNotLookedAtTwice(t *testing.T) {
	s := xfrtest.Serve(t, xfrtest.Guarded("allow as ns2 net 127.0.0.1 key a.example.net.", ""), map[string]string{"db": xfrtest.ZoneOrg})
	cut := func(m *dns.Msg) []byte { // genuine, and cut in half, which miekg/dns takes for a bad one
		whole := xfrtest.Unpack(t, xfrtest.Signed(t, m, xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA))
		tsig := whole.IsTsig()
		tsig.MAC, tsig.MACSize = tsig.MAC[:32], 16
		return xfrtest.Packed(t, whole)
	}
	withA := func(m *dns.Msg) {
		m.Extra = append(m.Extra, &dns.A{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4zero})
	}
	for _, c := range []struct {
		name, network, from, reason, status string
		query                               []byte
		rcode                               int
	}{
		{"known", "tcp", "127.0.0.1", "tsig-bad-truncation", "badtrunc", cut(xfrtest.Question(dns.TypeAXFR)), dns.RcodeNotAuth},
		{"a stranger", "tcp", "127.0.0.9", "client-not-allowed", "unchecked", cut(xfrtest.Question(dns.TypeAXFR)), dns.RcodeRefused},
		{"malformed", "tcp", "127.0.0.1", "malformed", "unchecked", cut(xfrtest.Question(dns.TypeAXFR, withA)), dns.RcodeFormatError},
		{"not carried", "udp", "127.0.0.1", "transport-unsupported", "unchecked", cut(xfrtest.Question(dns.TypeAXFR)), dns.RcodeNotImplemented},
		{"malformed and good", "tcp", "127.0.0.1", "malformed", "valid", xfrtest.Signed(t, xfrtest.Question(dns.TypeAXFR, withA), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA), dns.RcodeFormatError},
		{"a stranger with the key", "tcp", "127.0.0.9", "client-not-allowed", "valid", xfrtest.Signed(t, xfrtest.Question(dns.TypeAXFR), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA), dns.RcodeRefused},
	} {
		m := xfrtest.Ask1(t, c.network, s.Addr(t, c.network, 0), c.from, c.query)
		if m.Rcode != c.rcode {
			t.Errorf("%s: got %v", c.name, m)
		}
		// RFC 8945 §5.3: known clients get a signed refusal when the request was verified.
		if signed := m.IsTsig() != nil && m.IsTsig().MACSize > 0; signed != (c.from == "127.0.0.1" && c.status != "unchecked") {
			t.Errorf("%s: the answer is signed: %t", c.name, signed)
		}
		found := false
		audittest.Eventually(t, func() bool {
			for _, e := range s.Events(t, 0) {
				found = found || e["event.reason"] == c.reason && e["coredns.xfr.tsig.status"] == c.status && e["client.ip"] == c.from
			}
			return found
		})
	}
}

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
	if err := out.Unpack(withTSIGOf(b, rdata)); err != nil {
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
	s := xfrtest.Serve(t, xfrtest.Guarded("allow as all net 127.0.0.1 unsigned", "cancel 1ms"), map[string]string{"db": slowZone()})
	c, records := xfrtest.SlowTransfer(t, s, dns.TypeAXFR)
	const whole = slowHosts + 6
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
