// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coredns/coredns/pb"
	"github.com/miekg/dns"
	"github.com/quic-go/quic-go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// open is the same zone in stock CoreDNS, for anybody; extra goes into the block.
func open(extra string) string {
	return "example.org:0 {\n\tbind 127.0.0.1\n\ttransfer {\n\t\tto *\n\t}\n\tfile DIR/db\n" + extra + "\n}\n"
}

const keyRule = "allow as ns2 net 127.0.0.1 key a.example.net."

// TestPathRefused: ways past an access list in stock CoreDNS. Each leaks without the
// guard, which is asked first, and is refused and on record with it.
func TestPathRefused(t *testing.T) {
	upstream := trustingUpstream(t)
	files := map[string]string{"db": zoneOrg}
	for name, c := range map[string]struct {
		extra  string
		query  *dns.Msg
		rcode  int
		reason string
	}{
		"rewrite type":     {"\trewrite type ANY AXFR", question(dns.TypeANY), dns.RcodeRefused, "rewritten"},
		"rewrite name":     {"\trewrite name exact away.example.org example.org", question(dns.TypeAXFR, withName("away.example.org.")), dns.RcodeRefused, "not-a-zone"},
		"opcode NOTIFY":    {"", question(dns.TypeAXFR, func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }), dns.RcodeFormatError, "malformed"},
		"forward":          {"\tforward . " + upstream + " {\n\t\tforce_tcp\n\t}", question(dns.TypeAXFR, withName("inner.example.org.")), dns.RcodeRefused, "not-a-zone"},
		"template for ANY": {"\ttemplate IN ANY inner.example.org {\n\t\tanswer \"inner.example.org. 60 IN TXT leak\"\n\t}", question(dns.TypeAXFR, withName("inner.example.org.")), dns.RcodeRefused, "not-a-zone"},
		"an open transfer": {"", question(dns.TypeAXFR), dns.RcodeRefused, "tsig-required"},
	} {
		t.Run(name, func(t *testing.T) {
			without := open(c.extra)
			if name == "forward" || name == "template for ANY" {
				without = "example.org:0 {\n\tbind 127.0.0.1\n" + c.extra + "\n}\n"
			}
			stock := serve(t, without, files)
			if m := ask1(t, "tcp", stock.addr(t, "tcp", 0), "", packed(t, c.query)); len(m.Answer) == 0 {
				t.Fatalf("nothing leaks without the guard, so this shows nothing: %v", m)
			}
			s := serve(t, guarded(keyRule, c.extra+"\n\ttransfer {\n\t\tto *\n\t}"), files)
			wantRefused(t, ask(t, "tcp", s.addr(t, "tcp", 0), "", packed(t, c.query), 1), c.rcode)
			if e := s.events(t, 1)[0]; e["event.reason"] != c.reason {
				t.Errorf("on record as %v, want %s", e, c.reason)
			}
		})
	}
}

// trustingUpstream answers every AXFR with a record of a zone.
func trustingUpstream(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &dns.Server{Listener: l, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		m := new(dns.Msg).SetReply(r)
		m.Answer = []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: r.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{"leak"}}}
		_ = w.WriteMsg(m)
	})}
	go func() { _ = srv.ActivateAndServe() }()
	t.Cleanup(func() { _ = srv.Shutdown() })
	return l.Addr().String()
}

// TestPathIntact: plugins between door and backend that change transfers on their way
// in stock CoreDNS do not meet one here.
func TestPathIntact(t *testing.T) {
	zone := manyHosts(2000)
	for name, extra := range map[string]string{
		"cache":   "cache",
		"minimal": "minimal",
		"header":  "header {\n\t\tresponse set aa\n\t}",
		"all":     "cache\n\tminimal",
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, guarded(keyRule, extra), map[string]string{"db": zone})
			got, err := transferIn(t, s.addr(t, "tcp", 0), question(dns.TypeAXFR), keyA, secretA)
			if err != nil {
				t.Fatal(err)
			}
			wantZone(t, got, zone)
		})
	}
	t.Run("cache, without the guard", func(t *testing.T) {
		s := serve(t, open("\tcache"), map[string]string{"db": zoneOrg})
		if m := ask1(t, "tcp", s.addr(t, "tcp", 0), "", packed(t, question(dns.TypeAXFR))); len(m.Answer) == 0 || m.Answer[0].Header().Ttl == 3600 {
			t.Errorf("stock CoreDNS no longer changes TTLs, so this shows nothing: %v", m)
		}
	})
}

// TestPathTransports: DoH, gRPC and DoQ carry no transfer, whatever the proof.
func TestPathTransports(t *testing.T) {
	ca := newTestCA(t)
	cert, key := ca.issue(t, "ns1.example.org")
	files := map[string]string{"db": zoneOrg, "cert.pem": cert, "key.pem": key}
	client := &tls.Config{InsecureSkipVerify: true} //nolint:gosec // the server's identity is not what is tested
	for scheme, send := range map[string]func(*testing.T, string, []byte) []byte{
		"https": func(t *testing.T, addr string, q []byte) []byte {
			c := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: client, ForceAttemptHTTP2: true}}
			defer c.CloseIdleConnections()
			r, err := c.Post("https://"+addr+"/dns-query", "application/dns-message", bytes.NewReader(q))
			if err != nil {
				t.Fatal(err)
			}
			defer r.Body.Close()
			b, err := io.ReadAll(r.Body)
			if err != nil {
				t.Fatal(err)
			}
			return b
		},
		"grpc": func(t *testing.T, addr string, q []byte) []byte {
			conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(credentials.NewTLS(client)))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			p, err := pb.NewDnsServiceClient(conn).Query(ctx, &pb.DnsPacket{Msg: q})
			if err != nil {
				t.Fatal(err)
			}
			return p.GetMsg()
		},
		"quic": askQUIC,
	} {
		t.Run(scheme, func(t *testing.T) {
			network := "tcp"
			if scheme == "quic" {
				network = "udp"
			}
			on := func(corefile string) string {
				return strings.Replace(corefile, "example.org:0 {", scheme+"://example.org:0 {\n\ttls DIR/cert.pem DIR/key.pem", 1)
			}
			if scheme != "quic" { // which stock CoreDNS refuses too
				stock := serve(t, on(open("")), files)
				if m := unpack(t, send(t, stock.addr(t, network, 0), packed(t, question(dns.TypeAXFR)))); len(m.Answer) == 0 {
					t.Fatalf("nothing leaks without the guard, so this shows nothing: %v", m)
				}
			}
			s := serve(t, on(guarded(unsignedRule, "")), files)
			q := question(dns.TypeAXFR, withEDNS)
			q.Id = 0 // RFC 9250 §4.2.1
			m := unpack(t, send(t, s.addr(t, network, 0), packed(t, q)))
			if m.Rcode != dns.RcodeNotImplemented || len(m.Answer) > 0 || edeOf(m) != 21 {
				t.Errorf("got %v", m)
			}
			if e := s.events(t, 1)[0]; e["event.reason"] != "transport-unsupported" || e["coredns.xfr.transport"] != scheme {
				t.Errorf("on record as %v", e)
			}
		})
	}
}

func askQUIC(t *testing.T, addr string, q []byte) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	conn, err := quic.DialAddr(ctx, addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"doq"}}, nil) //nolint:gosec // as above
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.CloseWithError(0, "") }()
	stream, err := conn.OpenStreamSync(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(q))), q...)); err != nil {
		t.Fatal(err)
	}
	_ = stream.Close()
	_ = stream.SetReadDeadline(time.Now().Add(5 * time.Second))
	b, err := io.ReadAll(stream)
	if err != nil || len(b) < 2 {
		t.Fatalf("%d octets: %v", len(b), err)
	}
	return b[2:]
}

// TestPathDNSSEC: stock CoreDNS appends RRSIGs after the closing SOA of a transfer to
// a client with DO; here it ends with the SOA.
func TestPathDNSSEC(t *testing.T) {
	k := &dns.DNSKEY{Hdr: dns.RR_Header{Name: "example.org.", Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 3600}, Flags: 257, Protocol: 3, Algorithm: dns.ECDSAP256SHA256}
	private, err := k.Generate(256)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"db": zoneOrg, "K.key": k.String() + "\n", "K.private": k.PrivateKeyString(private)}
	do := func(m *dns.Msg) { m.SetEdns0(4096, true) }
	last := func(corefile string, query []byte) uint16 {
		s := serve(t, corefile, files)
		m := ask1(t, "tcp", s.addr(t, "tcp", 0), "", query)
		if len(m.Answer) == 0 {
			t.Fatal(m)
		}
		return m.Answer[len(m.Answer)-1].Header().Rrtype
	}
	extra := "dnssec {\n\t\tkey file DIR/K\n\t}"
	if got := last(open("\t"+extra), packed(t, question(dns.TypeAXFR, do))); got == dns.TypeSOA {
		t.Error("stock CoreDNS no longer appends to transfers, so this shows nothing")
	}
	if got := last(guarded(unsignedRule, extra), packed(t, question(dns.TypeAXFR, do))); got != dns.TypeSOA {
		t.Errorf("the transfer ends with %s", dns.TypeToString[got])
	}
}

// TestBackends: zones come from whatever plugin has them.
func TestBackends(t *testing.T) {
	primary := serve(t, open(""), map[string]string{"db": zoneOrg})
	for name, backend := range map[string]string{
		"auto":      "auto {\n\t\tdirectory DIR db.(.*) {1}\n\t}",
		"secondary": "secondary {\n\t\ttransfer from " + primary.addr(t, "tcp", 0) + "\n\t}",
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, strings.Replace(guarded(unsignedRule+"\n\t\trate 1000/1s burst 1000", ""), "file DIR/db", backend, 1), map[string]string{"db.example.org": zoneOrg})
			var m *dns.Msg
			for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
				if m = ask1(t, "tcp", s.addr(t, "tcp", 0), "", packed(t, question(dns.TypeAXFR))); m.Rcode == dns.RcodeSuccess {
					break
				}
			}
			wantZone(t, m.Answer, zoneOrg)
		})
	}
}
