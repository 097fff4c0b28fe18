// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/miekg/dns"
)

// TestPathOtherBlock: whatever serves a zone in this process without a guard of its
// own has the catch-all, wherever it is declared. `elsewhere pass` lets it through.
func TestPathOtherBlock(t *testing.T) {
	files := map[string]string{"db": xfrtest.ZoneOrg, "net": strings.ReplaceAll(xfrtest.ZoneOrg, "example.org", "example.net")}
	own := xfrtest.ServerBlockOf(xfrtest.KeyRule, onDisk)
	passing := xfrtest.ServerBlockOf(xfrtest.KeyRule+"\n\t\telsewhere pass", onDisk)
	for _, c := range []struct {
		name  string
		other string
		ask   string // the zone
		from  string
		on    string // the address of the other's listener when it is not that of own
		zone  string // on record
	}{
		{name: "another zone", other: "example.net:0 {\n\tbind 127.0.0.1\n\tfile DIR/net\n\t" + xfrtest.OpenTo + "\n}\n", ask: "example.net.", zone: "example.net."},
		{name: "one of two zones", other: "example.com:0 example.net:0 {\n\tbind 127.0.0.1\n\tfile DIR/net example.net\n\t" + xfrtest.OpenTo + "\n}\n", ask: "example.net.", zone: "example.net."},
		{name: "a zone above", other: ".:0 {\n\tbind 127.0.0.1\n\tfile DIR/net example.net\n\t" + xfrtest.OpenTo + "\n}\n", ask: "example.net.", zone: "-"},
		{name: "the same zone, another address", other: "example.org:0 {\n\tbind 127.0.0.2\n\tfile DIR/db\n\t" + xfrtest.OpenTo + "\n}\n", ask: "example.org.", on: "127.0.0.2", zone: "example.org."},
		{
			name: "the same zone, another view", from: "127.0.0.3", ask: "example.org.", zone: "example.org.",
			other: "example.org:0 {\n\tbind 127.0.0.1\n\tview inside {\n\t\texpr client_ip() == '127.0.0.3'\n\t}\n\tfile DIR/db\n\t" + xfrtest.OpenTo + "\n}\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			get := func(s *xfrtest.Server) *dns.Msg {
				for n := range s.Inst.Servers() {
					if addr := s.Addr(t, "tcp", n); c.on == "" || strings.HasPrefix(addr, c.on+":") {
						return xfrtest.Ask1(t, "tcp", addr, c.from, xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR, xfrtest.WithName(c.ask))))
					}
				}
				t.Fatal("no such server")
				return nil
			}
			// A view before a block without one; CoreDNS takes the first whose filter lets through.
			corefiles := []string{c.other + own, own + c.other}
			pass := c.other + passing
			if strings.Contains(c.name, "view") {
				corefiles = corefiles[:1]
			}
			for _, leaks := range []string{c.other, pass} {
				if m := get(xfrtest.Serve(t, leaks, files)); len(m.Answer) < 3 {
					t.Fatalf("this leaks nothing, so it shows nothing: %v\n%s", m, leaks)
				}
			}
			for _, corefile := range corefiles {
				s := xfrtest.Serve(t, corefile, files)
				if m := get(s); m.Rcode != dns.RcodeRefused || len(m.Answer)+len(m.Ns)+len(m.Extra) > 0 {
					t.Errorf("got %v\n%s", m, corefile)
				}
				const want = "block-not-guarded"
				if e := s.Events(t, 1)[0]; e["event.reason"] != want || e["coredns.zone"] != c.zone {
					t.Errorf("on record as %v, want %s", e, want)
				}
			}
		})
	}
}

// TestPathZoneNotNamed: in a guarded block a zone that no xfrguard names is refused.
func TestPathZoneNotNamed(t *testing.T) {
	files := map[string]string{"db": xfrtest.ZoneOrg, "sub": strings.ReplaceAll(xfrtest.ZoneOrg, "example.org", "sub.example.org")}
	body := "file DIR/db example.org\n\tfile DIR/sub sub.example.org\n\t" + xfrtest.OpenTo
	q := xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR, xfrtest.WithName("sub.example.org.")))
	if m := xfrtest.Ask1(t, "tcp", xfrtest.Serve(t, xfrtest.ServerBlockOf("", body), files).Addr(t, "tcp", 0), "", q); len(m.Answer) < 3 {
		t.Fatalf("nothing leaks without the guard, so this shows nothing: %v", m)
	}
	s := xfrtest.Serve(t, xfrtest.ServerBlockOf(xfrtest.UnsignedRule, body), files)
	xfrtest.WantRefused(t, xfrtest.Ask(t, "tcp", s.Addr(t, "tcp", 0), "", q, 1), dns.RcodeRefused)
	if e := s.Events(t, 1)[0]; e["event.reason"] != "zone-not-guarded" || e["coredns.zone"] != "-" {
		t.Errorf("on record as %v", e)
	}
}

// TestPathAnotherZonesKey: the keys of a listener are good for all its zones in stock
// CoreDNS, with `tsig require` in every block; here for those of their own block and rule.
func TestPathAnotherZonesKey(t *testing.T) {
	files := map[string]string{"db": xfrtest.ZoneOrg}
	two := func(zone, key, secret, rest string) string {
		return fmt.Sprintf("%s:0 {\n\tbind 127.0.0.1\n\ttsig {\n\t\tsecret %s %s\n\t\trequire AXFR IXFR\n\t}\n\t%s\n}\n", zone, key, secret, rest)
	}
	stolen := func() []byte {
		return xfrtest.Signed(t, xfrtest.Question(dns.TypeAXFR), xfrtest.KeyB, dns.HmacSHA256, xfrtest.SecretB)
	}

	t.Run("of another block", func(t *testing.T) {
		corefile := func(guard string) string {
			return two("example.org", xfrtest.KeyA, xfrtest.SecretA, guard+onDisk) + two("example.net", xfrtest.KeyB, xfrtest.SecretB, "whoami")
		}
		if m := xfrtest.Ask1(t, "tcp", xfrtest.Serve(t, corefile(""), files).Addr(t, "tcp", 0), "", stolen()); len(m.Answer) < 3 {
			t.Fatalf("nothing leaks without the guard, so this shows nothing: %v", m)
		}
		for _, rule := range []string{xfrtest.KeyRule, xfrtest.UnsignedRule} {
			s := xfrtest.Serve(t, corefile("xfrguard {\n\t\t"+rule+"\n\t\taudit file DIR/audit.log\n\t}\n\t"), files)
			xfrtest.WantRefused(t, xfrtest.Ask(t, "tcp", s.Addr(t, "tcp", 0), "", stolen(), 1), dns.RcodeNotAuth)
			if e := s.Events(t, 1)[0]; e["event.reason"] != "tsig-bad-key" {
				t.Errorf("on record as %v", e)
			}
		}
	})

	t.Run("of another zone in the block", func(t *testing.T) {
		files := map[string]string{"db": xfrtest.ZoneOrg, "net": strings.ReplaceAll(xfrtest.ZoneOrg, "example.org", "example.net")}
		corefile := func(guard string) string {
			return "example.org:0 example.net:0 {\n\tbind 127.0.0.1\n\ttsig {\n\t\tsecret " + xfrtest.KeyA + " " + xfrtest.SecretA + "\n\t\tsecret " + xfrtest.KeyB + " " + xfrtest.SecretB +
				"\n\t\trequire AXFR IXFR\n\t}\n\t" + guard + "file DIR/db example.org\n\tfile DIR/net example.net\n\t" + xfrtest.OpenTo + "\n}\n"
		}
		if m := xfrtest.Ask1(t, "tcp", xfrtest.Serve(t, corefile(""), files).Addr(t, "tcp", 0), "", stolen()); len(m.Answer) < 3 {
			t.Fatalf("nothing leaks without the guard, so this shows nothing: %v", m)
		}
		s := xfrtest.Serve(t, corefile("xfrguard example.org {\n\t\tallow as a net 127.0.0.1 key "+xfrtest.KeyA+"\n\t\taudit file DIR/audit.log\n\t}\n\t"+
			"xfrguard example.net {\n\t\tallow as b net 127.0.0.1 key "+xfrtest.KeyB+"\n\t\taudit file DIR/audit.log\n\t}\n\t"), files)
		xfrtest.WantRefused(t, xfrtest.Ask(t, "tcp", s.Addr(t, "tcp", 0), "", stolen(), 1), dns.RcodeRefused)
		if e := s.Events(t, 1)[0]; e["event.reason"] != "tsig-key-not-allowed" || e["coredns.xfr.tsig.key"] != xfrtest.KeyB || e["coredns.zone"] != "example.org." {
			t.Errorf("on record as %v", e)
		}
		got, err := xfrtest.TransferIn(t, s.Addr(t, "tcp", 0), xfrtest.Question(dns.TypeAXFR), xfrtest.KeyA, xfrtest.SecretA)
		if err != nil {
			t.Fatal(err)
		}
		xfrtest.WantZone(t, got, xfrtest.ZoneOrg)
	})

	t.Run("of a zone that tsig does not list", func(t *testing.T) {
		corefile := func(guard string) string {
			return "example.org:0 {\n\tbind 127.0.0.1\n\ttsig example.com {\n\t\tsecret " + xfrtest.KeyA + " " + xfrtest.SecretA + "\n\t\trequire AXFR IXFR\n\t}\n\t" + guard + onDisk + "\n}\n"
		}
		forged := func() []byte {
			return xfrtest.Signed(t, xfrtest.Question(dns.TypeAXFR), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretB)
		}
		if m := xfrtest.Ask1(t, "tcp", xfrtest.Serve(t, corefile(""), files).Addr(t, "tcp", 0), "", forged()); len(m.Answer) < 3 {
			t.Fatalf("nothing leaks without the guard, so this shows nothing: %v", m)
		}
		s := xfrtest.Serve(t, corefile("xfrguard {\n\t\t"+xfrtest.KeyRule+"\n\t\taudit file DIR/audit.log\n\t}\n\t"), files)
		xfrtest.WantRefused(t, xfrtest.Ask(t, "tcp", s.Addr(t, "tcp", 0), "", forged(), 1), dns.RcodeNotAuth)
		if e := s.Events(t, 1)[0]; e["event.reason"] != "tsig-bad-signature" {
			t.Errorf("on record as %v", e)
		}
		got, err := xfrtest.TransferIn(t, s.Addr(t, "tcp", 0), xfrtest.Question(dns.TypeAXFR), xfrtest.KeyA, xfrtest.SecretA)
		if err != nil {
			t.Fatal(err)
		}
		xfrtest.WantZone(t, got, xfrtest.ZoneOrg)
	})
}

// TestPathGRPCProxy: the grpc plugin relays transfers to who trusts this server.
func TestPathGRPCProxy(t *testing.T) {
	upstream := xfrtest.Serve(t, "grpc://example.org:0 {\n\tbind 127.0.0.1\n\t"+onDisk+"\n}\n", map[string]string{"db": xfrtest.ZoneOrg})
	body := "grpc . " + upstream.Addr(t, "tcp", 0)
	for _, qtype := range []uint16{dns.TypeAXFR, dns.TypeIXFR} {
		q := xfrtest.Packed(t, xfrtest.Question(qtype))
		if m := xfrtest.Ask1(t, "tcp", xfrtest.Serve(t, xfrtest.ServerBlockOf("", body), nil).Addr(t, "tcp", 0), "", q); len(m.Answer) < 3 {
			t.Fatalf("nothing leaks without the guard, so this shows nothing: %v", m)
		}
		s := xfrtest.Serve(t, xfrtest.ServerBlockOf(xfrtest.KeyRule, body), nil)
		xfrtest.WantRefused(t, xfrtest.Ask(t, "tcp", s.Addr(t, "tcp", 0), "", q, 1), dns.RcodeRefused)
		if e := s.Events(t, 1)[0]; e["event.reason"] != "tsig-required" {
			t.Errorf("on record as %v", e)
		}
	}
}

// TestPathNotRelayed: what an allowed client gets is the zone of the backend here, or
// nothing: never that of an upstream.
func TestPathNotRelayed(t *testing.T) {
	s := xfrtest.Serve(t, xfrtest.ServerBlockOf(xfrtest.UnsignedRule, "forward . "+trustingUpstream(t)+" {\n\t\tforce_tcp\n\t}"), nil)
	xfrtest.WantRefused(t, xfrtest.Ask(t, "tcp", s.Addr(t, "tcp", 0), "", xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR)), 1), dns.RcodeServerFailure)
	if e := s.Events(t, 1)[0]; e["event.reason"] != "zone-unavailable" {
		t.Errorf("on record as %v", e)
	}
}

// TestPathSockets: each socket of multisocket has a chain of its own, with its doors.
func TestPathSockets(t *testing.T) {
	files := map[string]string{"db": xfrtest.ZoneOrg}
	body := "multisocket 2\n\trewrite type ANY AXFR\n\t" + onDisk
	stock := xfrtest.Serve(t, xfrtest.ServerBlockOf("", body), files)
	s := xfrtest.Serve(t, xfrtest.ServerBlockOf(xfrtest.KeyRule, body), files)
	for n := range 2 {
		for _, qtype := range []uint16{dns.TypeAXFR, dns.TypeANY} {
			q := xfrtest.Packed(t, xfrtest.Question(qtype))
			if m := xfrtest.Ask1(t, "tcp", stock.Addr(t, "tcp", n), "", q); len(m.Answer) < 3 {
				t.Fatalf("nothing leaks without the guard, so this shows nothing: %v", m)
			}
			xfrtest.WantRefused(t, xfrtest.Ask(t, "tcp", s.Addr(t, "tcp", n), "", q, 1), dns.RcodeRefused)
		}
		got, err := xfrtest.TransferIn(t, s.Addr(t, "tcp", n), xfrtest.Question(dns.TypeAXFR), xfrtest.KeyA, xfrtest.SecretA)
		if err != nil {
			t.Fatal(err)
		}
		xfrtest.WantZone(t, got, xfrtest.ZoneOrg)
	}
}

// TestPathNames: the apex is the same in any letter case and escape, and a dot inside
// a label is no end of one.
func TestPathNames(t *testing.T) {
	xfrtest.NewCluster(t, ".", 7, "a")
	files := map[string]string{"db": xfrtest.ZoneOrg}
	const body = "file DIR/db example.org\n\t" + xfrtest.ClusterName + " .\n\t" + xfrtest.OpenTo
	root := func(rules string) string {
		return strings.NewReplacer("example.org:0", ".:0", "xfrguard {", "xfrguard example.org {").Replace(xfrtest.ServerBlockOf(rules, body))
	}
	stock, s := xfrtest.Serve(t, root(""), files), xfrtest.Serve(t, root(xfrtest.UnsignedRule), files)
	// The backend hands out everything for any name, as a careless one may.
	for _, name := range []string{`example\.org.`, `www\.example.org.`, `example.org\..`, `example.org\000.`, `\000example.org.`, `example.org.org.`, `xample.org.`} {
		q := xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR, xfrtest.WithName(name)))
		if m := xfrtest.Ask1(t, "tcp", stock.Addr(t, "tcp", 0), "", q); len(m.Answer) < 3 {
			t.Errorf("%s: nothing leaks without the guard, so this shows nothing: %v", name, m)
		}
		xfrtest.WantRefused(t, xfrtest.Ask(t, "tcp", s.Addr(t, "tcp", 0), "", q, 1), dns.RcodeRefused)
	}
	if e := s.Events(t, 1)[0]; e["event.reason"] != "not-a-zone" || e["coredns.zone"] != "-" {
		t.Errorf("on record as %v", e)
	}
	for _, name := range []string{"example.org.", "EXAMPLE.ORG.", "eXaMpLe.oRg.", `ex\097mple.org.`, `EX\065MPLE.o\114g.`} {
		m := xfrtest.Ask1(t, "tcp", s.Addr(t, "tcp", 0), "", xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR, xfrtest.WithName(name))))
		if m.Rcode != dns.RcodeSuccess {
			t.Errorf("%s: got %v", name, m)
		}
	}
	for _, configured := range []string{"EXAMPLE.org:0", "example.ORG.:0"} {
		s := xfrtest.Serve(t, strings.Replace(xfrtest.ServerBlockOf(xfrtest.UnsignedRule, "file DIR/db"), "example.org:0", configured, 1), files)
		m := xfrtest.Ask1(t, "tcp", s.Addr(t, "tcp", 0), "", xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR, xfrtest.WithName("Example.Org."))))
		xfrtest.WantZone(t, m.Answer, xfrtest.ZoneOrg)
		if e := s.Events(t, 2); !slices.ContainsFunc(e, func(e map[string]any) bool { return e["coredns.zone"] == "example.org." }) {
			t.Errorf("on record as %v", e)
		}
	}
}

// TestPathInternalLookup: rewrite cname asks this very server for the new target, with
// the type that rewrite has made of the query: the door must not take that for a
// client's own request, whoever the client is.
func TestPathInternalLookup(t *testing.T) {
	body := "rewrite continue type ANY AXFR\n\trewrite cname exact a.example.org. example.org.\n\t" +
		"template IN AXFR alias.example.org {\n\t\tanswer \"alias.example.org. 60 IN CNAME a.example.org.\"\n\t}\n\t" + onDisk
	files := map[string]string{"db": xfrtest.ZoneOrg}
	ns := func(raw [][]byte) (n int) {
		for _, b := range raw {
			for _, rr := range xfrtest.Unpack(t, b).Answer {
				if rr.Header().Rrtype == dns.TypeNS {
					n++
				}
			}
		}
		return n
	}
	q := xfrtest.Question(dns.TypeANY, xfrtest.WithName("alias.example.org."))
	stock := xfrtest.Serve(t, xfrtest.ServerBlockOf("", body), files)
	if raw := xfrtest.Ask(t, "tcp", stock.Addr(t, "tcp", 0), "", xfrtest.Packed(t, q), 1); ns(raw) == 0 {
		t.Fatalf("nothing leaks without the guard, so this shows nothing: %v", xfrtest.Unpack(t, raw[0]))
	}
	for _, rule := range []string{xfrtest.KeyRule, xfrtest.UnsignedRule} {
		s := xfrtest.Serve(t, xfrtest.ServerBlockOf(rule, body), files)
		raw := xfrtest.Ask(t, "tcp", s.Addr(t, "tcp", 0), "", xfrtest.Packed(t, q), 1)
		m := xfrtest.Unpack(t, raw[0])
		if ns(raw) > 0 || m.Question[0].Qtype != dns.TypeANY || len(m.Answer) != 1 {
			t.Errorf("%s: the query for ANY got %v", rule, m)
		}
		if e := s.Events(t, 1); len(e) != 1 || e[0]["event.reason"] != "rewritten" {
			t.Errorf("%s: on record as %v", rule, e)
		}
	}
	// In observe nothing is refused, and it is on record once, as what it is.
	s := xfrtest.Serve(t, xfrtest.ServerBlockOf(xfrtest.UnsignedRule+"\n\t\tmode observe", body), files)
	if raw := xfrtest.Ask(t, "tcp", s.Addr(t, "tcp", 0), "", xfrtest.Packed(t, q), 1); ns(raw) == 0 {
		t.Errorf("observe changed the answer: %v", xfrtest.Unpack(t, raw[0]))
	}
	if e := s.Events(t, 1); len(e) != 1 || e[0]["event.reason"] != "rewritten" || e[0]["coredns.xfr.enforced"] != false {
		t.Errorf("observed as %v", e)
	}
}
