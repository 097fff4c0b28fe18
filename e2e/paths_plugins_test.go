// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/tls"
	"net"
	"strings"
	"testing"

	"github.com/xfrguard/xfrguard/internal/evidence/catest"
	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/miekg/dns"
)

// listening is who lets plugins connect that tell somebody, and hangs up.
func listening(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	return l.Addr().String()
}

// inFront are CoreDNS's plugins that wrap a writer or a connection, or change what the
// guard reads of a request. SINK is who is told.
var inFront = map[string]string{
	"proxyproto":  xfrtest.NamedProxy,
	"TLVs":        xfrtest.FancyProxy,
	"dnstap":      "dnstap tcp://SINK full",
	"metadata":    "metadata",
	"timeouts":    "timeouts {\n\t\tread 20s\n\t\twrite 20s\n\t\tidle 20s\n\t\tmaxtcpqueries 50\n\t}",
	"multisocket": "multisocket 2",
	"bufsize":     "bufsize 512",
	"view":        "view inside {\n\t\texpr type() != 'NONE'\n\t}",
	"local":       "local",
	"log":         "log",
	"nsid":        "nsid here",
	"cancel":      "cancel 20s",
}

// TestPluginsInFront: a transfer goes through with each plugin in front of it that may
// stand there, and with all of them, over TCP and TLS, and is on record with the transport
// and the client that it has. Over UDP there is none.
func TestPluginsInFront(t *testing.T) {
	files := xfrtest.XoTFiles(t, catest.New(t))
	bodies := map[string]string{"all": ""}
	for name, body := range inFront {
		body = strings.ReplaceAll(body, "SINK", listening(t))
		bodies[name] = body
		if name != "proxyproto" { // which a block may have once
			bodies["all"] += body + "\n\t"
		}
	}
	header := xfrtest.ProxyHeader(t, 2, &net.TCPAddr{IP: net.ParseIP(xfrtest.BehindProxy), Port: 4711}, &net.TCPAddr{IP: net.ParseIP("192.0.2.1"), Port: 53}, xfrtest.WithTLV)
	datagram := xfrtest.ProxyHeader(t, 2, &net.UDPAddr{IP: net.ParseIP(xfrtest.BehindProxy), Port: 4711}, &net.UDPAddr{IP: net.ParseIP("192.0.2.1"), Port: 53}, xfrtest.WithTLV)
	for name, body := range bodies {
		for _, scheme := range []string{"tcp", "tls"} {
			t.Run(name+" "+scheme, func(t *testing.T) {
				before, beforeUDP, client := []byte(nil), []byte(nil), "127.0.0.1"
				if name == "proxyproto" || name == "TLVs" || name == "all" {
					before, beforeUDP, client = header, datagram, xfrtest.BehindProxy
				}
				s := xfrtest.Serve(t, xfrtest.ProxyBlock(scheme, "allow as one net "+client+" key a.example.net.", body), files)
				var config *tls.Config
				if scheme == "tls" {
					config = xfrtest.ClientTLS("dot")
				}
				for _, qtype := range []uint16{dns.TypeAXFR, dns.TypeIXFR} {
					q := xfrtest.Signed(t, xfrtest.Question(qtype, xfrtest.WithEDNS), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA)
					if m := xfrtest.FirstOver(t, xfrtest.Proxied(t, s.Addr(t, "tcp", 0), before, config), q); !xfrtest.IsZone(m) {
						t.Errorf("%s got %v", dns.TypeToString[qtype], m)
					}
				}
				for _, e := range s.Events(t, 4) {
					if e["coredns.xfr.transport"] != scheme || e["client.ip"] != client || e["coredns.xfr.tsig.status"] != "valid" {
						t.Errorf("on record as %v", e)
					}
				}
				if scheme == "tls" {
					return
				}
				for qtype, rcode := range map[uint16]int{dns.TypeAXFR: dns.RcodeNotImplemented, dns.TypeIXFR: dns.RcodeSuccess} {
					q := xfrtest.Signed(t, xfrtest.Question(qtype, xfrtest.WithEDNS), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA)
					m := xfrtest.Ask1(t, "udp", s.Addr(t, "udp", 0), "", append(beforeUDP[:len(beforeUDP):len(beforeUDP)], q...))
					if m.Rcode != rcode || len(m.Answer) > 1 {
						t.Errorf("over UDP %s got %v", dns.TypeToString[qtype], m)
					}
				}
			})
		}
	}
}

// TestPluginsOfOtherTransports: the plugins of the transports that carry no transfer do not
// make one of them carry it.
func TestPluginsOfOtherTransports(t *testing.T) {
	files := xfrtest.XoTFiles(t, catest.New(t))
	for name, c := range map[string]struct {
		scheme, network, body string
		send                  xfrtest.Carrier
	}{
		"https":       {"https", "tcp", "https {\n\t\tmax_streams 5\n\t\tmax_connections 5\n\t}", xfrtest.OverHTTPS},
		"https3":      {"https3", "udp", "https3 {\n\t\tmax_streams 5\n\t}", xfrtest.OverHTTP3},
		"grpc_server": {"grpc", "tcp", "grpc_server {\n\t\tmax_streams 5\n\t\tmax_connections 5\n\t}", xfrtest.OverGRPC},
		"quic":        {"quic", "udp", "quic {\n\t\tmax_streams 5\n\t}", xfrtest.OverQUIC},
	} {
		t.Run(name, func(t *testing.T) {
			body := c.body + "\n\tmetadata\n\tlocal\n\tbufsize 512\n\tdnstap tcp://" + listening(t) + " full\n\tfile DIR/db"
			corefile := strings.Replace(xfrtest.ServerBlockOf(xfrtest.UnsignedRule, body), "example.org:0 {", c.scheme+"://example.org:0 {\n\ttls DIR/cert.pem DIR/key.pem", 1)
			s := xfrtest.Serve(t, corefile, files)
			for _, qtype := range []uint16{dns.TypeAXFR, dns.TypeIXFR} {
				q := xfrtest.Question(qtype, xfrtest.WithEDNS)
				q.Id = 0 // RFC 9250 §4.2.1
				m := xfrtest.Unpack(t, c.send(t, s.Addr(t, c.network, 0), xfrtest.Packed(t, q)))
				if m.Rcode != dns.RcodeNotImplemented || len(m.Answer)+len(m.Ns) > 0 {
					t.Errorf("got %v", m)
				}
			}
			if e := s.Events(t, 1)[0]; e["event.reason"] != "transport-unsupported" || e["coredns.xfr.transport"] != c.scheme {
				t.Errorf("on record as %v", e)
			}
		})
	}
}
