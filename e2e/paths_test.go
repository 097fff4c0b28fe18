// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"cmp"
	"net"
	"strings"
	"testing"

	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/miekg/dns"
)

// onDisk is the zone from its file, for whoever may transfer it.
const onDisk = "file DIR/db\n\t" + xfrtest.OpenTo

// path is one way past an access list in stock CoreDNS.
type path struct {
	name    string
	network string // "tcp" unless said
	body    string // of the server block, with and without the guard
	query   func(t *testing.T) []byte
	rcode   int    // with the guard
	reason  string // on record
	zone    string // on record; "" is example.org.
}

func (p *path) net() string { return cmp.Or(p.network, "tcp") }

func asks(qtype uint16, options ...func(*dns.Msg)) func(*testing.T) []byte {
	return func(t *testing.T) []byte { return xfrtest.Packed(t, xfrtest.Question(qtype, options...)) }
}

func withClass(class uint16) func(*dns.Msg) {
	return func(m *dns.Msg) { m.Question[0].Qclass = class }
}

func withOpcode(opcode int) func(*dns.Msg) { return func(m *dns.Msg) { m.Opcode = opcode } }

// paths are the ways of CoreDNS 1.15.0. UPSTREAM relays to who trusts this server.
var paths = []path{
	{name: "an open transfer", body: onDisk, query: asks(dns.TypeAXFR), rcode: dns.RcodeRefused, reason: "tsig-required"},
	{name: "an open transfer, IXFR", body: onDisk, query: asks(dns.TypeIXFR), rcode: dns.RcodeRefused, reason: "tsig-required"},
	{name: "opcode NOTIFY", body: onDisk, query: asks(dns.TypeAXFR, withOpcode(dns.OpcodeNotify)), rcode: dns.RcodeFormatError, reason: "malformed"},
	{name: "opcode NOTIFY, right key", body: onDisk, query: func(t *testing.T) []byte {
		return xfrtest.Signed(t, xfrtest.Question(dns.TypeAXFR, withOpcode(dns.OpcodeNotify)), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA)
	}, rcode: dns.RcodeFormatError, reason: "malformed"},

	// CVE-2026-26017: what is checked is not what is used.
	{name: "rewrite type", body: "rewrite type ANY AXFR\n\t" + onDisk, query: asks(dns.TypeANY), rcode: dns.RcodeRefused, reason: "rewritten"},
	{name: "rewrite type to IXFR", body: "rewrite type NULL IXFR\n\t" + onDisk, query: asks(dns.TypeNULL, xfrtest.WithSerial(1)), rcode: dns.RcodeRefused, reason: "rewritten"},
	{name: "rewrite type, right key", body: "rewrite type ANY AXFR\n\t" + onDisk, query: func(t *testing.T) []byte {
		return xfrtest.Signed(t, xfrtest.Question(dns.TypeANY), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA)
	}, rcode: dns.RcodeRefused, reason: "rewritten"},
	{name: "rewrite name", body: "rewrite name exact away.example.org example.org\n\t" + onDisk, query: asks(dns.TypeAXFR, xfrtest.WithName("away.example.org.")), rcode: dns.RcodeRefused, reason: "not-a-zone", zone: "-"},
	{
		name: "rewrite name and type", body: "rewrite continue {\n\t\tname exact away.example.org example.org\n\t}\n\trewrite type ANY AXFR\n\t" + onDisk,
		query: asks(dns.TypeANY, xfrtest.WithName("away.example.org.")), rcode: dns.RcodeRefused, reason: "rewritten",
	},
	{
		name: "rewrite class", body: "chaos 1\n\trewrite class CH IN\n\t" + onDisk,
		query: asks(dns.TypeAXFR, withClass(dns.ClassCHAOS)), rcode: dns.RcodeRefused, reason: "not-a-zone",
	},

	// transfer asks for no class, once chaos or forward has opened the server to all.
	{name: "class CH", body: "chaos 1\n\t" + onDisk, query: asks(dns.TypeAXFR, withClass(dns.ClassCHAOS)), rcode: dns.RcodeRefused, reason: "not-a-zone"},
	{name: "class ANY", body: "chaos 1\n\t" + onDisk, query: asks(dns.TypeAXFR, withClass(dns.ClassANY)), rcode: dns.RcodeRefused, reason: "not-a-zone"},
	{name: "class 4711, IXFR", body: "chaos 1\n\t" + onDisk, query: asks(dns.TypeIXFR, withClass(4711)), rcode: dns.RcodeRefused, reason: "not-a-zone"},
	{name: "class CH, right key", body: "chaos 1\n\t" + onDisk, query: func(t *testing.T) []byte {
		return xfrtest.Signed(t, xfrtest.Question(dns.TypeAXFR, withClass(dns.ClassCHAOS)), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA)
	}, rcode: dns.RcodeRefused, reason: "not-a-zone"},

	// Plugins that answer AXFR and IXFR without transfer.
	{name: "forward", body: "forward . UPSTREAM {\n\t\tforce_tcp\n\t}", query: asks(dns.TypeAXFR), rcode: dns.RcodeRefused, reason: "tsig-required"},
	{name: "forward, IXFR", body: "forward . UPSTREAM {\n\t\tforce_tcp\n\t}", query: asks(dns.TypeIXFR), rcode: dns.RcodeRefused, reason: "tsig-required"},
	{name: "forward, AXFR over UDP", network: "udp", body: "forward . UPSTREAM {\n\t\tforce_tcp\n\t}", query: asks(dns.TypeAXFR), rcode: dns.RcodeNotImplemented, reason: "transport-unsupported"},
	{name: "forward, IXFR over UDP", network: "udp", body: "forward . UPSTREAM {\n\t\tforce_tcp\n\t}", query: asks(dns.TypeIXFR), rcode: dns.RcodeRefused, reason: "tsig-required"},
	{
		name: "forward, zone below", body: "forward . UPSTREAM {\n\t\tforce_tcp\n\t}",
		query: asks(dns.TypeAXFR, xfrtest.WithName("inner.example.org.")), rcode: dns.RcodeRefused, reason: "not-a-zone", zone: "-",
	},
	{
		name: "template for ANY", body: "template IN ANY example.org {\n\t\tanswer \"{{ .Name }} 60 IN TXT leak\"\n\t}",
		query: asks(dns.TypeAXFR), rcode: dns.RcodeRefused, reason: "tsig-required",
	},
	{
		name: "template for ANY, over UDP", network: "udp", body: "template IN ANY example.org {\n\t\tanswer \"{{ .Name }} 60 IN TXT leak\"\n\t}",
		query: asks(dns.TypeIXFR), rcode: dns.RcodeRefused, reason: "tsig-required",
	},
	{name: "erratic", body: "erratic {\n\t\tdrop 0\n\t}", query: asks(dns.TypeAXFR), rcode: dns.RcodeRefused, reason: "tsig-required"},
	{name: "erratic, below the apex", body: "erratic {\n\t\tdrop 0\n\t}", query: asks(dns.TypeAXFR, xfrtest.WithName("x.example.org.")), rcode: dns.RcodeRefused, reason: "not-a-zone", zone: "-"},
	{name: "erratic, over UDP", network: "udp", body: "erratic {\n\t\tdrop 0\n\t}", query: asks(dns.TypeAXFR), rcode: dns.RcodeNotImplemented, reason: "transport-unsupported"},

	// A name is one whatever its letter case and escapes.
	{name: "upper case", body: onDisk, query: asks(dns.TypeAXFR, xfrtest.WithName("EXAMPLE.ORG.")), rcode: dns.RcodeRefused, reason: "tsig-required"},
	{name: "escapes", body: onDisk, query: asks(dns.TypeAXFR, xfrtest.WithName(`\101xampl\069.o\114g.`)), rcode: dns.RcodeRefused, reason: "tsig-required"},
}

// TestPathRefused: every path leaks without the guard, which shows that it is one,
// and is refused and on record with it.
func TestPathRefused(t *testing.T) {
	upstream := trustingUpstream(t)
	files := map[string]string{"db": xfrtest.ZoneOrg}
	for _, p := range paths {
		t.Run(p.name, func(t *testing.T) {
			body := strings.ReplaceAll(p.body, "UPSTREAM", upstream)
			stock := xfrtest.Serve(t, xfrtest.ServerBlockOf("", body), files)
			if m := xfrtest.Ask1(t, p.net(), stock.Addr(t, p.net(), 0), "", p.query(t)); len(m.Answer) == 0 {
				t.Fatalf("nothing leaks without the guard, so this shows nothing: %v", m)
			}
			s := xfrtest.Serve(t, xfrtest.ServerBlockOf(xfrtest.KeyRule, body), files)
			xfrtest.WantRefused(t, xfrtest.Ask(t, p.net(), s.Addr(t, p.net(), 0), "", p.query(t), 1), p.rcode)
			events := s.Events(t, 1)
			e := events[0]
			if len(events) != 1 || e["event.reason"] != p.reason || e["event.outcome"] != "failure" || e["coredns.zone"] != cmp.Or(p.zone, "example.org.") {
				t.Errorf("on record as %v, want %s", events, p.reason)
			}
			var opcode any // only where it is not QUERY
			if op := xfrtest.Unpack(t, p.query(t)).Opcode; op != dns.OpcodeQuery {
				opcode = dns.OpcodeToString[op]
			}
			if e["dns.op_code"] != opcode {
				t.Errorf("on record with opcode %v, want %v", e["dns.op_code"], opcode)
			}
		})
	}
}

// trustingUpstream answers every query over TCP with a record of a zone.
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
// in stock CoreDNS do not meet one here: it is whole, and every signature is good.
func TestPathIntact(t *testing.T) {
	key, private := zoneKey(t)
	big := xfrtest.ManyHosts(2000) // four messages of stock CoreDNS
	for _, c := range []struct {
		name, body, zone string
		broken           func(m *dns.Msg) bool // what stock CoreDNS makes of the first message
	}{
		{"cache", "cache", xfrtest.ZoneOrg, func(m *dns.Msg) bool { return m.Answer[0].Header().Ttl != 3600 }},
		{"minimal", "minimal", big, func(m *dns.Msg) bool { return m.Answer[0].Header().Rrtype != dns.TypeSOA }},
		{"dnssec", "dnssec {\n\t\tkey file DIR/K\n\t}", xfrtest.ZoneOrg, func(m *dns.Msg) bool { return m.Answer[len(m.Answer)-1].Header().Rrtype == dns.TypeRRSIG }},
		{"header", "header {\n\t\tresponse clear aa\n\t}", xfrtest.ZoneOrg, func(m *dns.Msg) bool { return !m.Authoritative }},
		{"rewrite ttl", "rewrite ttl example.org 5", xfrtest.ZoneOrg, func(m *dns.Msg) bool { return m.Answer[0].Header().Ttl == 5 }},
		{"all", "cache\n\tminimal\n\trewrite ttl example.org 5\n\tdnssec {\n\t\tkey file DIR/K\n\t}", big, func(m *dns.Msg) bool { return m.Answer[0].Header().Rrtype != dns.TypeSOA }},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := map[string]string{"db": c.zone, "K.key": key, "K.private": private}
			do := func(m *dns.Msg) { m.SetEdns0(4096, true) }
			body := c.body + "\n\t" + onDisk
			stock := xfrtest.Serve(t, xfrtest.ServerBlockOf("", body), files)
			if m := xfrtest.Ask1(t, "tcp", stock.Addr(t, "tcp", 0), "", xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR, do))); len(m.Answer) == 0 || !c.broken(m) {
				t.Errorf("stock CoreDNS no longer changes this transfer, so this shows nothing: %v", m)
			}
			s := xfrtest.Serve(t, xfrtest.ServerBlockOf(xfrtest.KeyRule, body), files)
			for _, qtype := range []uint16{dns.TypeAXFR, dns.TypeIXFR} {
				got, err := xfrtest.TransferIn(t, s.Addr(t, "tcp", 0), xfrtest.Question(qtype, do), xfrtest.KeyA, xfrtest.SecretA)
				if err != nil {
					t.Fatal(err)
				}
				xfrtest.WantZone(t, got, c.zone)
			}
			for _, raw := range stream(t, s.Addr(t, "tcp", 0), xfrtest.Signed(t, xfrtest.Question(dns.TypeAXFR, do), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA)) {
				if m := xfrtest.Unpack(t, raw); !m.Authoritative || len(m.Answer) == 0 {
					t.Errorf("not from a zone's server: %v", m.MsgHdr)
				}
			}
			reasons := make(map[any]int)
			for _, e := range s.Events(t, 6) {
				reasons[e["event.reason"]]++
			}
			if len(reasons) != 2 || reasons["policy-allow"] != 3 || reasons["complete"] != 3 {
				t.Errorf("three transfers are on record as %v", reasons)
			}
		})
	}
}

// zoneKey is a DNSKEY for example.org as BIND keeps it in two files.
func zoneKey(t *testing.T) (key, private string) {
	t.Helper()
	k := &dns.DNSKEY{Hdr: dns.RR_Header{Name: "example.org.", Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 3600}, Flags: 257, Protocol: 3, Algorithm: dns.ECDSAP256SHA256}
	p, err := k.Generate(256)
	if err != nil {
		t.Fatal(err)
	}
	return k.String() + "\n", k.PrivateKeyString(p)
}
