// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/evidence/catest"

	"github.com/coredns/coredns/pb"
	"github.com/miekg/dns"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// carrier sends a packed message over a transport and returns the packed answer.
type carrier func(t *testing.T, addr string, q []byte) []byte

// clientTLS believes any server: its identity is not what these tests are about.
func clientTLS(protos ...string) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, NextProtos: protos} //nolint:gosec // see above
}

func overHTTPS(t *testing.T, addr string, q []byte) []byte {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: clientTLS(), ForceAttemptHTTP2: true}
	defer tr.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+addr+"/dns-query", bytes.NewReader(q))
	if err != nil {
		t.Fatal(err)
	}
	return roundTrip(t, tr, r)
}

func overHTTPSGet(t *testing.T, addr string, q []byte) []byte {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: clientTLS(), ForceAttemptHTTP2: true}
	defer tr.CloseIdleConnections()
	url := "https://" + addr + "/dns-query?dns=" + base64.RawURLEncoding.EncodeToString(q)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return roundTrip(t, tr, r)
}

func overHTTP3(t *testing.T, addr string, q []byte) []byte {
	t.Helper()
	tr := &http3.Transport{TLSClientConfig: clientTLS()}
	defer tr.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+addr+"/dns-query", bytes.NewReader(q))
	if err != nil {
		t.Fatal(err)
	}
	return roundTrip(t, tr, r)
}

func roundTrip(t *testing.T, tr http.RoundTripper, r *http.Request) []byte {
	t.Helper()
	r.Header.Set("Content-Type", "application/dns-message")
	r.Header.Set("Accept", "application/dns-message")
	answer, err := (&http.Client{Timeout: 5 * time.Second, Transport: tr}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v", answer.Status, err)
	}
	return b
}

func overGRPC(t *testing.T, addr string, q []byte) []byte {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(credentials.NewTLS(clientTLS())))
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
}

func overQUIC(t *testing.T, addr string, q []byte) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	conn, err := quic.DialAddr(ctx, addr, clientTLS("doq"), nil)
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

// TestPathTransports: DoH, gRPC and DoQ carry no transfer, whatever the proof, and
// ordinary queries as before.
func TestPathTransports(t *testing.T) {
	ca := catest.New(t)
	cert, key := ca.Issue(t, "ns1.example.org")
	files := map[string]string{"db": zoneOrg, "cert.pem": cert, "key.pem": key}
	// Over QUIC stock transfer refuses, for it takes that for UDP; what answers there
	// for any type does not.
	const answering = "template IN ANY example.org {\n\t\tanswer \"{{ .Name }} 60 IN TXT leak\"\n\t}"
	for name, c := range map[string]struct {
		scheme, network, body string
		send                  carrier
	}{
		"DoH":      {"https", "tcp", onDisk, overHTTPS},
		"DoH, GET": {"https", "tcp", onDisk, overHTTPSGet},
		"DoH3":     {"https3", "udp", answering, overHTTP3},
		"gRPC":     {"grpc", "tcp", onDisk, overGRPC},
		"DoQ":      {"quic", "udp", answering, overQUIC},
	} {
		t.Run(name, func(t *testing.T) {
			on := func(rules string) *server {
				return serve(t, strings.Replace(serverBlockOf(rules, c.body), "example.org:0 {", c.scheme+"://example.org:0 {\n\ttls DIR/cert.pem DIR/key.pem", 1), files)
			}
			put := func(s *server, q []byte) *dns.Msg { return unpack(t, c.send(t, s.addr(t, c.network, 0), q)) }
			query := func(qtype uint16) *dns.Msg {
				q := question(qtype, withEDNS)
				q.Id = 0 // RFC 9250 §4.2.1
				return q
			}
			stock := on("")
			if m := put(stock, packed(t, query(dns.TypeAXFR))); len(m.Answer) == 0 {
				t.Fatalf("nothing leaks without the guard, so this shows nothing: %v", m)
			}
			s := on(unsignedRule)
			for _, qtype := range []uint16{dns.TypeAXFR, dns.TypeIXFR} {
				for _, q := range [][]byte{
					packed(t, query(qtype)),
					signed(t, query(qtype), keyA, dns.HmacSHA256, secretA),
					signed(t, query(qtype), keyA, dns.HmacSHA256, secretB),
				} {
					m := put(s, q)
					if m.Rcode != dns.RcodeNotImplemented || len(m.Answer)+len(m.Ns) > 0 || edeOf(m) != 21 {
						t.Errorf("got %v", m)
					}
				}
			}
			for _, e := range s.events(t, 1) { // refusals of one kind become one event
				if e["event.reason"] != "transport-unsupported" || e["coredns.xfr.transport"] != c.scheme {
					t.Errorf("on record as %v", e)
				}
			}
			a := new(dns.Msg).SetQuestion("www.example.org.", dns.TypeA)
			a.Id = 0
			if m := put(s, packed(t, a)); len(m.Answer) != 1 {
				t.Errorf("an ordinary query got %v", m)
			}
		})
	}
}
