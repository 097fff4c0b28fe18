// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/evidence/catest"
	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/miekg/dns"
	"github.com/pires/go-proxyproto"
)

func local(h *proxyproto.Header) { h.Command = proxyproto.LOCAL }

// overUDP are datagrams' headers, and what the guard makes of the client.
func overUDP(t *testing.T) map[string]struct {
	header []byte
	client string // "" for no answer
} {
	source, destination := &net.UDPAddr{IP: net.ParseIP(xfrtest.BehindProxy), Port: 4711}, &net.UDPAddr{IP: net.ParseIP("192.0.2.1"), Port: 53}
	type of = struct {
		header []byte
		client string
	}
	v2 := xfrtest.ProxyHeader(t, 2, source, destination)
	tcp := xfrtest.ProxyHeader(t, 2, &net.TCPAddr{IP: source.IP, Port: 4711}, &net.TCPAddr{IP: destination.IP, Port: 53})
	return map[string]of{
		"none":        {nil, "127.0.0.1"},
		"v2":          {v2, xfrtest.BehindProxy},
		"v2 with TLV": {xfrtest.ProxyHeader(t, 2, source, destination, xfrtest.WithTLV), xfrtest.BehindProxy},
		"v2 LOCAL":    {xfrtest.ProxyHeader(t, 2, source, destination, local), "127.0.0.1"},
		"v2 for TCP":  {tcp, ""},
		"v2, cut":     {append(slices.Clone(v2[:14]), 0xff, 0xff), ""}, // says that it is longer
		"v1":          {[]byte("PROXY TCP4 192.0.2.53 192.0.2.1 4711 53\r\n"), ""},
	}
}

// TestTransferOverProxyUDP: a datagram with a PROXY header is a datagram. It gets no zone,
// whatever the header says, is on record as udp, and counts as forgeable.
func TestTransferOverProxyUDP(t *testing.T) {
	for name, proxy := range map[string]string{"named": xfrtest.NamedProxy, "sessions and TLVs": xfrtest.FancyProxy} {
		t.Run(name, func(t *testing.T) {
			xfrtest.FreshUnproven(t)
			s := xfrtest.Serve(t, xfrtest.Guarded("allow as behind net "+xfrtest.BehindProxy+" unsigned\n\t\tallow as local net 127.0.0.1 unsigned", proxy), map[string]string{"db": xfrtest.ZoneOfTexts(500, 240)})
			addr := s.Addr(t, "udp", 0)
			told := map[string]int{}
			for kind, c := range overUDP(t) {
				for _, qtype := range []uint16{dns.TypeAXFR, dns.TypeIXFR} {
					conn, err := net.Dial("udp", addr)
					if err != nil {
						t.Fatal(err)
					}
					defer conn.Close()
					q := xfrtest.Question(qtype, xfrtest.WithEDNS)
					if _, err := conn.Write(append(slices.Clone(c.header), xfrtest.Packed(t, q)...)); err != nil {
						t.Fatal(err)
					}
					last := xfrtest.Packed(t, new(dns.Msg).SetQuestion("www.example.org.", dns.TypeA))
					if c.client == "" { // then the answer to a plain query comes first
						if _, err := conn.Write(last); err != nil {
							t.Fatal(err)
						}
					}
					b := make([]byte, dns.MaxMsgSize)
					_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
					n, err := conn.Read(b)
					if err != nil {
						t.Fatalf("%s: %v", kind, err)
					}
					m := xfrtest.Unpack(t, b[:n])
					switch {
					case c.client == "":
						if m.Question[0].Qtype != dns.TypeA {
							t.Errorf("%s: garbage was answered: %v", kind, m)
						}
						continue
					case qtype == dns.TypeAXFR && (m.Rcode != dns.RcodeNotImplemented || len(m.Answer) > 0):
						t.Errorf("%s: AXFR got %v", kind, m)
					case qtype == dns.TypeIXFR && (m.Rcode != dns.RcodeSuccess || len(m.Answer) != 1 || n > 512):
						t.Errorf("%s: IXFR got %d octets: %v", kind, n, m)
					}
					told[c.client]++
				}
			}
			for _, e := range s.Events(t, 4) { // of each client a refusal at least, and an answer
				ip := e["client.ip"].(string)
				if e["coredns.xfr.transport"] != "udp" || e["network.transport"] != "udp" || told[ip] == 0 {
					t.Errorf("on record as %v", e)
				}
			}
		})
	}
}

// TestForgeableOverProxyUDP: the limit for what anybody may have sent counts datagrams
// with a PROXY header.
func TestForgeableOverProxyUDP(t *testing.T) {
	burst := xfrtest.FreshUnproven(t)
	s := xfrtest.Serve(t, xfrtest.Guarded("allow as all net 192.0.2.0/24 198.51.100.0/24 203.0.113.0/24 unsigned", xfrtest.NamedProxy), map[string]string{"db": xfrtest.ZoneOrg})
	conn, err := net.Dial("udp", s.Addr(t, "udp", 0))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	nets, served := []string{"192.0.2.", "198.51.100.", "203.0.113."}, 0
	const sources = 450
	for n := range sources {
		source := &net.UDPAddr{IP: net.ParseIP(fmt.Sprint(nets[n%3], n/3+1)), Port: 4711}
		h := xfrtest.ProxyHeader(t, 2, source, &net.UDPAddr{IP: net.ParseIP("192.0.2.1"), Port: 53})
		if _, err := conn.Write(append(h, xfrtest.Packed(t, xfrtest.Question(dns.TypeIXFR))...)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, dns.MaxMsgSize)
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, err := conn.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		if m := xfrtest.Unpack(t, b[:n]); m.Rcode == dns.RcodeSuccess {
			served++
		}
	}
	if served < burst || served > burst+burst/2 {
		t.Errorf("%d of %d forgeable requests were answered, want about %d", served, sources, burst)
	}
}

// TestUDPSession: a client that a proxy has told of once, in a datagram of its own, is
// known for what it sends after it; over UDP all the same.
func TestUDPSession(t *testing.T) {
	s := xfrtest.Serve(t, xfrtest.Guarded("allow as behind net "+xfrtest.BehindProxy+" unsigned", xfrtest.FancyProxy), map[string]string{"db": xfrtest.ZoneOrg})
	conn, err := net.Dial("udp", s.Addr(t, "udp", 0))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	h := xfrtest.ProxyHeader(t, 2, &net.UDPAddr{IP: net.ParseIP(xfrtest.BehindProxy), Port: 4711}, &net.UDPAddr{IP: net.ParseIP("192.0.2.1"), Port: 53}, xfrtest.WithTLV)
	if _, err := conn.Write(h); err != nil {
		t.Fatal(err)
	}
	answers := xfrtest.Converse(t, conn, xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR)), 1)
	if m := xfrtest.Unpack(t, answers[0]); m.Rcode != dns.RcodeNotImplemented {
		t.Errorf("AXFR got %v", m)
	}
	if e := s.Events(t, 1)[0]; e["coredns.xfr.transport"] != "udp" || e["client.ip"] != xfrtest.BehindProxy {
		t.Errorf("on record as %v", e)
	}
}

// overTCP are the beginnings of connections, and who the guard takes the client for.
func overTCP(t *testing.T) map[string]struct {
	header []byte
	client string // "" for a connection that is closed without an answer
} {
	source, destination := &net.TCPAddr{IP: net.ParseIP(xfrtest.BehindProxy), Port: 4711}, &net.TCPAddr{IP: net.ParseIP("192.0.2.1"), Port: 53}
	type of = struct {
		header []byte
		client string
	}
	v2 := xfrtest.ProxyHeader(t, 2, source, destination)
	udp := xfrtest.ProxyHeader(t, 2, &net.UDPAddr{IP: source.IP, Port: 4711}, &net.UDPAddr{IP: destination.IP, Port: 53})
	unix := xfrtest.ProxyHeader(t, 2, &net.UnixAddr{Net: "unix", Name: "/run/a"}, &net.UnixAddr{Net: "unix", Name: "/run/b"})
	return map[string]of{
		"none":            {nil, "127.0.0.1"},
		"v1":              {xfrtest.ProxyHeader(t, 1, source, destination), xfrtest.BehindProxy},
		"v1 UNKNOWN":      {[]byte("PROXY UNKNOWN\r\n"), "127.0.0.1"},
		"v2":              {v2, xfrtest.BehindProxy},
		"v2 with TLV":     {xfrtest.ProxyHeader(t, 2, source, destination, xfrtest.WithTLV), xfrtest.BehindProxy},
		"v2 LOCAL":        {xfrtest.ProxyHeader(t, 2, source, destination, local), "127.0.0.1"},
		"v2 for UDP":      {udp, xfrtest.BehindProxy},
		"v2 for a socket": {unix, "unknown"},
		"v1, garbage":     {[]byte("PROXY TCP4 not an address\r\n"), ""},
		"v2, garbage":     {append(slices.Clone(v2[:12]), 0xff, 0xff, 0xff, 0xff), ""},
	}
}

// TestTransferOverProxyTCP: behind a proxy that is named the client is who the header
// says, and the transport is the connection's, whatever the header says of it.
func TestTransferOverProxyTCP(t *testing.T) {
	files := xfrtest.XoTFiles(t, catest.New(t))
	for _, scheme := range []string{"tcp", "tls"} {
		for name, proxy := range map[string]string{"named": xfrtest.NamedProxy, "sessions and TLVs": xfrtest.FancyProxy} {
			t.Run(scheme+", "+name, func(t *testing.T) {
				s := xfrtest.Serve(t, xfrtest.ProxyBlock(scheme, "allow as behind net "+xfrtest.BehindProxy+" unsigned\n\t\tallow as local net 127.0.0.1 unsigned", proxy), files)
				var config *tls.Config
				if scheme == "tls" {
					config = xfrtest.ClientTLS("dot")
				}
				asked, refused := 0, 0
				for kind, c := range overTCP(t) {
					conn := xfrtest.Proxied(t, s.Addr(t, "tcp", 0), c.header, config)
					m := xfrtest.FirstOver(t, conn, xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR)))
					switch c.client {
					case "":
						if m != nil {
							t.Errorf("%s: got %v", kind, m)
						}
						continue
					case "unknown":
						refused++
						if m == nil || m.Rcode != dns.RcodeRefused {
							t.Errorf("%s: got %v", kind, m)
						}
						continue
					}
					asked++
					if !xfrtest.IsZone(m) {
						t.Errorf("%s: got %v", kind, m)
					}
				}
				for _, e := range s.Events(t, 2*asked+refused) {
					if e["coredns.xfr.transport"] != scheme || e["network.transport"] != "tcp" {
						t.Errorf("on record as %v", e)
					}
					if want := map[any]any{"behind": xfrtest.BehindProxy, "local": "127.0.0.1"}[e["rule.name"]]; want != nil && e["client.ip"] != want {
						t.Errorf("under rule %v is %v", e["rule.name"], e["client.ip"])
					}
				}
			})
		}
	}
}

// TestProxyOfAnybody: where anybody's PROXY header is believed, in whichever block of the
// listener that is said, an address out of one proves nothing: no rule with net allows it,
// every denial holds, and a finding says so. Without a header the address is the
// connection's own, and counts.
func TestProxyOfAnybody(t *testing.T) {
	files := map[string]string{"db": xfrtest.ZoneOrg}
	other := func(proxy string) string {
		return "example.net:0 {\n\tbind 127.0.0.1\n\t" + proxy + "\n\twhoami\n}\n"
	}
	const byNet = "allow as behind net " + xfrtest.BehindProxy + " unsigned\n\t\tallow as local net 127.0.0.1 unsigned"
	for _, c := range []struct {
		name, corefile string
		open           bool
		header         string // what a header gets: a reason
		key            string
		none           string // what comes without one
	}{
		{name: "its own", corefile: xfrtest.Guarded(byNet, xfrtest.AnyProxy), open: true, header: "proxy-untrusted", none: "policy-allow"},
		{name: "another block's, later", corefile: xfrtest.Guarded(byNet, "") + other(xfrtest.AnyProxy), open: true, header: "proxy-untrusted", none: "policy-allow"},
		{name: "another block's, before", corefile: other(xfrtest.AnyProxy) + xfrtest.Guarded(byNet, ""), open: true, header: "proxy-untrusted", none: "policy-allow"},
		{name: "the last one's counts", corefile: xfrtest.Guarded(byNet, xfrtest.NamedProxy) + other(xfrtest.AnyProxy), open: true, header: "proxy-untrusted", none: "policy-allow"},
		{name: "the last one's counts, named", corefile: xfrtest.Guarded(byNet, xfrtest.AnyProxy) + other(xfrtest.NamedProxy), header: "policy-allow", none: "policy-allow"},
		{name: "named elsewhere", corefile: xfrtest.Guarded(byNet, "") + other(xfrtest.NamedProxy), header: "policy-allow", none: "policy-allow"},
		{name: "everybody by another spelling", corefile: xfrtest.Guarded(byNet, "proxyproto {\n\t\tallow 0.0.0.0/1 128.0.0.0/1\n\t}"), open: true, header: "proxy-untrusted", none: "policy-allow"},
		{name: "default use", corefile: xfrtest.Guarded(byNet, "proxyproto {\n\t\tallow 192.0.2.0/24\n\t\tdefault use\n\t}"), open: true, header: "proxy-untrusted", none: "policy-allow"},
		{name: "ignored", corefile: xfrtest.Guarded(byNet, "proxyproto {\n\t\tdefault ignore\n\t}"), header: "policy-allow", none: "policy-allow"},
		{name: "with a key", corefile: xfrtest.Guarded("allow as behind net "+xfrtest.BehindProxy+" key a.example.net.", xfrtest.AnyProxy), open: true, key: xfrtest.KeyA, header: "proxy-untrusted", none: "client-not-allowed"},
		{name: "a key from everywhere", corefile: xfrtest.Guarded("allow as all net * key a.example.net.", xfrtest.AnyProxy), open: true, key: xfrtest.KeyA, header: "policy-allow", none: "policy-allow"},
		{name: "a denial of others", corefile: xfrtest.Guarded("deny as banned net 198.51.100.1\n\t\tallow as all net * key a.example.net.", xfrtest.AnyProxy), open: true, key: xfrtest.KeyA, header: "proxy-untrusted", none: "policy-allow"},
	} {
		t.Run(c.name, func(t *testing.T) {
			logged := xfrtest.CaptureLog(t)
			s := xfrtest.Serve(t, c.corefile, files)
			if said := strings.Contains(logged(), "believes anybody"); said != c.open {
				t.Errorf("a finding: %t, want %t:\n%s", said, c.open, logged())
			}
			query := func() []byte {
				if c.key != "" {
					return xfrtest.Signed(t, xfrtest.Question(dns.TypeAXFR), c.key, dns.HmacSHA256, xfrtest.SecretA)
				}
				return xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR))
			}
			line := "PROXY TCP4 " + xfrtest.BehindProxy + " 192.0.2.1 4711 53\r\n"
			addr := s.Addr(t, "tcp", 0)
			for _, ask := range []struct{ header, want string }{{line, c.header}, {"", c.none}, {"PROXY UNKNOWN\r\n", c.none}} {
				m := xfrtest.FirstOver(t, xfrtest.Proxied(t, addr, []byte(ask.header), nil), query())
				if allowed := ask.want == string(policy.ReasonAllowed); xfrtest.IsZone(m) != allowed || !allowed && (m == nil || m.Rcode != dns.RcodeRefused || len(m.Answer) > 0) {
					t.Errorf("%q got %v", ask.header, m)
				}
			}
			first := s.Events(t, 1)[0]
			if first["event.reason"] != c.header || first["coredns.xfr.transport"] != "tcp" {
				t.Errorf("on record as %v", first)
			}
			claim := first["coredns.xfr.client.claimed"]
			if c.open && (first["client.ip"] != "127.0.0.1" || claim != xfrtest.BehindProxy) || !c.open && claim != nil {
				t.Errorf("on record is client %v, claimed %v", first["client.ip"], claim)
			}
			failing := strings.Replace(c.corefile, "audit file", "findings fail\n\t\taudit file", 1)
			if _, err := xfrtest.TryServe(t, failing, files); c.open && (err == nil || !strings.Contains(err.Error(), "believes anybody")) {
				t.Errorf("with findings fail: %v", err)
			}
		})
	}
}

// TestProxyOfAnybodyUDP: the same over UDP, where the address of the proxy is not told.
func TestProxyOfAnybodyUDP(t *testing.T) {
	s := xfrtest.Serve(t, xfrtest.Guarded("allow as behind net "+xfrtest.BehindProxy+" unsigned\n\t\tallow as local net 127.0.0.1 unsigned", xfrtest.AnyProxy), map[string]string{"db": xfrtest.ZoneOrg})
	h := xfrtest.ProxyHeader(t, 2, &net.UDPAddr{IP: net.ParseIP(xfrtest.BehindProxy), Port: 4711}, &net.UDPAddr{IP: net.ParseIP("192.0.2.1"), Port: 53})
	q := xfrtest.Packed(t, xfrtest.Question(dns.TypeIXFR))
	if m := xfrtest.Ask1(t, "udp", s.Addr(t, "udp", 0), "", append(h, q...)); m.Rcode != dns.RcodeRefused || len(m.Answer) > 0 {
		t.Errorf("with a header: %v", m)
	}
	if m := xfrtest.Ask1(t, "udp", s.Addr(t, "udp", 0), "", q); m.Rcode != dns.RcodeSuccess || len(m.Answer) != 1 {
		t.Errorf("without one: %v", m)
	}
	if e := s.Events(t, 1)[0]; e["event.reason"] != "proxy-untrusted" || e["coredns.xfr.transport"] != "udp" {
		t.Errorf("on record as %v", e)
	}
}
