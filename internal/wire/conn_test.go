// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/pkg/nonwriter"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"
)

// serve runs a real miekg/dns server on loopback until the end of the test.
func serve(t testing.TB, network string, h dns.HandlerFunc) string {
	t.Helper()
	started := make(chan struct{})
	s := &dns.Server{
		Net: network, Handler: h, NotifyStartedFunc: func() { close(started) },
		TsigSecret: map[string]string{dns.CanonicalName(testKey): base64.StdEncoding.EncodeToString(testSecret)},
	}
	var addr string
	if network == "udp" {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s.PacketConn, addr = pc, pc.LocalAddr().String()
	} else {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr = l.Addr().String()
		if network == "tcp-tls" {
			l = tls.NewListener(l, testTLS(t))
		}
		s.Listener = l
	}
	done := make(chan error, 1)
	go func() { done <- s.ActivateAndServe() }()
	<-started
	t.Cleanup(func() {
		if err := s.Shutdown(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return addr
}

// ask sends one query and waits for the answer.
func ask(t testing.TB, network, addr string) {
	t.Helper()
	c := &dns.Client{Net: network, Timeout: 5 * time.Second, TLSConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // loopback test
	if _, _, err := c.Exchange(new(dns.Msg).SetQuestion("example.org.", dns.TypeSOA), addr); err != nil {
		t.Error(err)
	}
}

// embedded is how CoreDNS's metrics plugin wraps.
type embedded struct {
	*dnstest.Recorder
	Plugin string
}

// byValue is a writer that is no pointer.
type byValue struct{ dns.ResponseWriter }

// hidden keeps its writer where nobody may look.
type hidden struct{ w dns.ResponseWriter }

func (hidden) LocalAddr() net.Addr         { return nil }
func (hidden) RemoteAddr() net.Addr        { return nil }
func (hidden) WriteMsg(*dns.Msg) error     { return nil }
func (hidden) Write(b []byte) (int, error) { return len(b), nil }
func (hidden) Close() error                { return nil }
func (hidden) TsigStatus() error           { return nil }
func (hidden) TsigTimersOnly(bool)         {}
func (hidden) Hijack()                     {}

// two has two writers and names neither ResponseWriter.
type two struct {
	hidden
	A, B dns.ResponseWriter
}

// pluginWriter returns what CoreDNS hands to the plugin after another one, which no
// package exports.
func pluginWriter(w dns.ResponseWriter, then func(dns.ResponseWriter)) {
	next := plugin.HandlerFunc(func(_ context.Context, w dns.ResponseWriter, _ *dns.Msg) (int, error) {
		then(w)
		return 0, nil
	})
	_, _ = plugin.NextOrFailure("test", next, context.Background(), w, new(dns.Msg))
}

// checkConn looks for the connection below a writer, which leads to one or does not.
func checkConn(t *testing.T, network, name string, w dns.ResponseWriter, stream bool) {
	t.Helper()
	conn, ok := ConnOf(w)
	if ok != (stream && network != "udp") || ok != (conn != nil) {
		t.Errorf("%s: ConnOf returns %v, %v", name, conn, ok)
	}
	if ok && conn.RemoteAddr() != w.RemoteAddr() {
		t.Errorf("%s: a connection to %v, not %v", name, conn.RemoteAddr(), w.RemoteAddr())
	}
	if _, secure := conn.(*tls.Conn); ok && secure != (network == "tcp-tls") {
		t.Errorf("%s: a %T", name, conn)
	}
	origin, known := OriginOf(w)
	if known != (stream || name == "nonwriter") {
		t.Fatalf("%s: the origin is %v, %v", name, origin, known)
	}
	if !known {
		return
	}
	if (origin.Stream != nil) != (network != "udp") || origin.Remote.String() != w.RemoteAddr().String() || origin.Local.String() != w.LocalAddr().String() {
		t.Errorf("%s: the origin is %+v", name, origin)
	}
	if remote, local, ok := origin.Ends(); ok != (network != "udp") || ok && (remote.String() != w.RemoteAddr().String() || local.String() != w.LocalAddr().String()) {
		t.Errorf("%s: the connection is from %v to %v, %v", name, remote, local, ok)
	}
	if secure := origin.TLS(); (secure != nil) != (network == "tcp-tls") || secure != nil && !secure.ConnectionState().HandshakeComplete {
		t.Errorf("%s: TLS is %v", name, secure)
	}
}

func TestConnOf(t *testing.T) {
	for _, network := range []string{"tcp", "tcp-tls", "udp"} {
		t.Run(network, func(t *testing.T) {
			addr := serve(t, network, func(w dns.ResponseWriter, r *dns.Msg) {
				defer func() { _ = w.WriteMsg(new(dns.Msg).SetReply(r)) }()
				check := func(name string, w dns.ResponseWriter, stream bool) { checkConn(t, network, name, w, stream) }
				scrub := request.NewScrubWriter(r, w)
				recorder := dnstest.NewRecorder(scrub)
				check("miekg/dns's own", w, true)
				check("scrub", scrub, true)
				check("recorder", recorder, true)
				check("embedded recorder", &embedded{Recorder: recorder}, true)
				check("by value", byValue{w}, true)
				check("hidden", &hidden{w}, false)
				check("two", &two{A: w, B: w}, false)
				check("nonwriter", nonwriter.New(w), false)
				pluginWriter(&embedded{Recorder: recorder}, func(w dns.ResponseWriter) {
					pluginWriter(w, func(w dns.ResponseWriter) { check("plugins", w, true) })
				})
				var deep dns.ResponseWriter = w
				for range maxWriters {
					deep = byValue{deep}
				}
				if _, ok := ConnOf(deep); ok {
					t.Error("the walk does not end")
				}
				if !Unwrap(recorder, func(w dns.ResponseWriter) bool { _, ok := w.(*request.ScrubWriter); return ok }) {
					t.Error("Unwrap does not find the ScrubWriter")
				}
			})
			ask(t, network, addr)
		})
	}
	for _, w := range []dns.ResponseWriter{nil, (*hidden)(nil), (*request.ScrubWriter)(nil), byValue{}, request.NewScrubWriter(nil, nil)} {
		if conn, ok := ConnOf(w); ok {
			t.Errorf("ConnOf(%T) returns %v", w, conn)
		}
	}
}

// TestConnOfKnowsMiekg pins what conn.go reads without the compiler's help. When it
// fails after an update of miekg/dns, look at the response struct in its server.go:
// ConnOf must be changed, or transfers fall back to single writes without deadlines.
func TestConnOfKnowsMiekg(t *testing.T) {
	addr := serve(t, "tcp", func(w dns.ResponseWriter, r *dns.Msg) {
		defer func() { _ = w.WriteMsg(new(dns.Msg).SetReply(r)) }()
		p := reflect.TypeOf(w)
		if p.String() != "*dns.response" {
			t.Fatalf("the server's writer is a %v now", p)
		}
		if _, known := connOffset(p); !known {
			t.Errorf("%v has no field tcp of type net.Conn any more", p)
		}
	})
	ask(t, "tcp", addr)
	for _, other := range []any{"", struct{ tcp net.Conn }{}, &struct{ tcp net.Conn }{}, &dns.Server{}, new(*int)} {
		if _, known := connOffset(reflect.TypeOf(other)); known {
			t.Errorf("%T is taken for a response", other)
		}
	}
}

// TestTransferToMiekgClient is the way of a transfer as a whole: a real server and
// client, signed and not, several transfers on one connection.
func TestTransferToMiekgClient(t *testing.T) {
	rrs := benchZone(5000)
	for _, s := range awkward[1:] {
		if rr := parseRR(t, s); rr.Header().Class == dns.ClassINET {
			rrs = append(rrs, rr)
		}
	}
	rrs = append(rrs, bigTXT("big."+benchApex, 65280), rrs[0])
	rrs[4999] = rrs[1] // the SOA that ended the zone
	msgs := packAll(t, benchApex, 0, rrs)
	for _, network := range []string{"tcp", "tcp-tls"} {
		addr := serve(t, network, func(w dns.ResponseWriter, r *dns.Msg) {
			if err := answer(w, r, msgs); err != nil {
				t.Error(err)
			}
		})
		for _, signed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s signed=%v", network, signed), func(t *testing.T) {
				compareTransfer(t, dial(t, network, addr), signed, rrs)
			})
			t.Run(fmt.Sprintf("%s signed=%v pipelined", network, signed), func(t *testing.T) {
				pipelined(t, dial(t, network, addr), signed, len(msgs))
			})
		}
	}
}

func dial(t *testing.T, network, addr string) *dns.Conn {
	t.Helper()
	c := &dns.Client{Net: network, TLSConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // loopback test
	conn, err := c.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// pipelined asks for three transfers at once on one connection.
func pipelined(t *testing.T, conn *dns.Conn, signed bool, msgs int) {
	t.Helper()
	secret := base64.StdEncoding.EncodeToString(testSecret)
	var ids []uint16
	var macs []string
	for range 3 {
		req := new(dns.Msg).SetAxfr(benchApex)
		b, err := req.Pack()
		mac := ""
		if signed {
			req.SetTsig(dns.CanonicalName(testKey), dns.HmacSHA512, 300, time.Now().Unix())
			b, mac, err = dns.TsigGenerate(req, secret, "", false)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(b); err != nil {
			t.Fatal(err)
		}
		ids, macs = append(ids, req.Id), append(macs, mac)
	}
	for i := range ids {
		for n := range msgs {
			b, err := conn.ReadMsgHeader(nil)
			if err != nil {
				t.Fatal(err)
			}
			m := new(dns.Msg)
			if err := m.Unpack(b); err != nil || m.Id != ids[i] || len(m.Question) != max(1-n, 0) {
				t.Fatalf("message %d of transfer %d: ID %d, %v, %v", n, i, m.Id, m.Question, err)
			}
			if signed {
				if err := dns.TsigVerify(b, secret, macs[i], n > 0); err != nil {
					t.Fatalf("message %d of transfer %d: %v", n, i, err)
				}
				macs[i] = m.IsTsig().MAC
			}
		}
	}
}

// answer serves packed messages the way a handler does.
func answer(w dns.ResponseWriter, r *dns.Msg, msgs []Message) error {
	conn, ok := ConnOf(w)
	if !ok {
		return errors.New("no connection")
	}
	env, err := EnvelopeFor(r)
	if err != nil {
		return err
	}
	if tsig := r.IsTsig(); tsig != nil {
		if w.TsigStatus() != nil {
			return w.TsigStatus()
		}
		if env.Signer, err = NewResponseSigner(tsig, testSecret); err != nil {
			return err
		}
	}
	s := NewSender(context.Background(), conn, env, SendOptions{})
	defer s.Close()
	for _, m := range msgs {
		if err := s.Send(m); err != nil {
			return err
		}
	}
	return s.Flush()
}

func compareTransfer(t *testing.T, conn *dns.Conn, signed bool, want []dns.RR) {
	t.Helper()
	req := new(dns.Msg).SetAxfr(strings.ToUpper(benchApex))
	tr := &dns.Transfer{Conn: conn, ReadTimeout: 5 * time.Second}
	if signed {
		tr.TsigSecret = map[string]string{dns.CanonicalName(testKey): base64.StdEncoding.EncodeToString(testSecret)}
		req.SetTsig(dns.CanonicalName(testKey), dns.HmacSHA256, 300, time.Now().Unix())
	}
	envelopes, err := tr.In(req, "")
	if err != nil {
		t.Fatal(err)
	}
	var got []dns.RR
	for e := range envelopes {
		if e.Error != nil {
			t.Fatal(e.Error)
		}
		got = append(got, e.RR...)
	}
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	for i := range want {
		a, _ := packedByMiekg(got[i])
		b, _ := packedByMiekg(want[i])
		if string(a) != string(b) {
			t.Fatalf("record %d is %v, want %v", i, got[i], want[i])
		}
	}
}
