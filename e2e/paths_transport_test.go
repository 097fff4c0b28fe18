// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"github.com/xfrguard/xfrguard/internal/evidence/catest"
	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/miekg/dns"
)

func overHTTPSGet(t *testing.T, addr string, q []byte) []byte {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: xfrtest.ClientTLS(), ForceAttemptHTTP2: true}
	defer tr.CloseIdleConnections()
	url := "https://" + addr + "/dns-query?dns=" + base64.RawURLEncoding.EncodeToString(q)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return xfrtest.RoundTrip(t, tr, r)
}

// TestPathTransports: DoH, gRPC and DoQ carry no transfer, whatever the proof, and
// ordinary queries as before.
func TestPathTransports(t *testing.T) {
	ca := catest.New(t)
	cert, key := ca.Issue(t, "ns1.example.org")
	files := map[string]string{"db": xfrtest.ZoneOrg, "cert.pem": cert, "key.pem": key}
	// Over QUIC stock transfer refuses, for it takes that for UDP; what answers there
	// for any type does not.
	const answering = "template IN ANY example.org {\n\t\tanswer \"{{ .Name }} 60 IN TXT leak\"\n\t}"
	for name, c := range map[string]struct {
		scheme, network, body string
		send                  xfrtest.Carrier
	}{
		"DoH":      {"https", "tcp", onDisk, xfrtest.OverHTTPS},
		"DoH, GET": {"https", "tcp", onDisk, overHTTPSGet},
		"DoH3":     {"https3", "udp", answering, xfrtest.OverHTTP3},
		"gRPC":     {"grpc", "tcp", onDisk, xfrtest.OverGRPC},
		"DoQ":      {"quic", "udp", answering, xfrtest.OverQUIC},
	} {
		t.Run(name, func(t *testing.T) {
			on := func(rules string) *xfrtest.Server {
				return xfrtest.Serve(t, strings.Replace(xfrtest.ServerBlockOf(rules, c.body), "example.org:0 {", c.scheme+"://example.org:0 {\n\ttls DIR/cert.pem DIR/key.pem", 1), files)
			}
			put := func(s *xfrtest.Server, q []byte) *dns.Msg {
				return xfrtest.Unpack(t, c.send(t, s.Addr(t, c.network, 0), q))
			}
			query := func(qtype uint16) *dns.Msg {
				q := xfrtest.Question(qtype, xfrtest.WithEDNS)
				q.Id = 0 // RFC 9250 §4.2.1
				return q
			}
			stock := on("")
			if m := put(stock, xfrtest.Packed(t, query(dns.TypeAXFR))); len(m.Answer) == 0 {
				t.Fatalf("nothing leaks without the guard, so this shows nothing: %v", m)
			}
			s := on(xfrtest.UnsignedRule)
			for _, qtype := range []uint16{dns.TypeAXFR, dns.TypeIXFR} {
				for _, q := range [][]byte{
					xfrtest.Packed(t, query(qtype)),
					xfrtest.Signed(t, query(qtype), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA),
					xfrtest.Signed(t, query(qtype), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretB),
				} {
					m := put(s, q)
					if m.Rcode != dns.RcodeNotImplemented || len(m.Answer)+len(m.Ns) > 0 || xfrtest.EDEOf(m) != 21 {
						t.Errorf("got %v", m)
					}
				}
			}
			for _, e := range s.Events(t, 1) { // refusals of one kind become one event
				if e["event.reason"] != "transport-unsupported" || e["coredns.xfr.transport"] != c.scheme {
					t.Errorf("on record as %v", e)
				}
			}
			a := new(dns.Msg).SetQuestion("www.example.org.", dns.TypeA)
			a.Id = 0
			if m := put(s, xfrtest.Packed(t, a)); len(m.Answer) != 1 {
				t.Errorf("an ordinary query got %v", m)
			}
		})
	}
}
