// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/miekg/dns"
)

// services are the first labels between the SOAs of a transfer.
func services(t *testing.T, rrs []dns.RR) []string {
	t.Helper()
	if len(rrs) < 2 || rrs[0].Header().Rrtype != dns.TypeSOA || rrs[len(rrs)-1].String() != rrs[0].String() {
		t.Fatalf("no zone: %v", rrs)
	}
	got := []string{}
	for _, rr := range rrs[1 : len(rrs)-1] {
		label, _, _ := strings.Cut(rr.Header().Name, ".")
		got = append(got, label)
	}
	return got
}

// TestPathBelowApex: kubernetes hands out everything under any name below its zone.
// Exact apexes only.
func TestPathBelowApex(t *testing.T) {
	xfrtest.NewCluster(t, "example.org.", 7, "a", "b")
	body := xfrtest.ClusterName + " example.org.\n\t" + xfrtest.OpenTo
	stock := xfrtest.Serve(t, xfrtest.ServerBlockOf("", body), nil)
	s := xfrtest.Serve(t, xfrtest.ServerBlockOf(xfrtest.UnsignedRule, body), nil)
	for _, name := range []string{"x.example.org.", "svc.EXAMPLE.org.", "a.b.c.example.org.", "*.example.org."} {
		q := xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR, xfrtest.WithName(name)))
		if m := xfrtest.Ask1(t, "tcp", stock.Addr(t, "tcp", 0), "", q); len(m.Answer) != 4 {
			t.Errorf("%s: nothing leaks without the guard, so this shows nothing: %v", name, m)
		}
		xfrtest.WantRefused(t, xfrtest.Ask(t, "tcp", s.Addr(t, "tcp", 0), "", q, 1), dns.RcodeRefused)
	}
	if e := s.Events(t, 1)[0]; e["event.reason"] != "not-a-zone" || e["coredns.zone"] != "-" {
		t.Errorf("on record as %v", e)
	}
	m := xfrtest.Ask1(t, "tcp", s.Addr(t, "tcp", 0), "", xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR)))
	if got := services(t, m.Answer); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("the zone itself came over with %v", got)
	}
}

// TestBackendUnchanged: a zone whose backend is known by its Transfer alone is asked for
// whole each time, for its serial may stay where its content does not; what is the same is
// not sent to who is up to date.
func TestBackendUnchanged(t *testing.T) {
	c := xfrtest.NewCluster(t, "example.org.", 7, "a")
	s := xfrtest.Serve(t, xfrtest.ServerBlockOf(xfrtest.UnsignedRule, xfrtest.ClusterName+" example.org."), nil)
	for range 3 {
		m := xfrtest.Ask1(t, "tcp", s.Addr(t, "tcp", 0), "", xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR)))
		if got := services(t, m.Answer); !slices.Equal(got, []string{"a"}) {
			t.Errorf("got %v", got)
		}
	}
	m := xfrtest.Ask1(t, "tcp", s.Addr(t, "tcp", 0), "", xfrtest.Packed(t, xfrtest.Question(dns.TypeIXFR, xfrtest.WithSerial(7))))
	if len(m.Answer) != 1 || m.Answer[0].Header().Rrtype != dns.TypeSOA {
		t.Errorf("an IXFR of who is up to date got %v", m)
	}
	c.Mu.Lock()
	defer c.Mu.Unlock()
	if want := []uint32{0, 0, 0, 0}; !slices.Equal(c.Asked, want) {
		t.Errorf("the backend was asked for %v, want %v", c.Asked, want)
	}
}

// TestBackendsOfOneKind: CoreDNS's registry of a block has one handler a name; the
// zones of the others are zones too.
func TestBackendsOfOneKind(t *testing.T) {
	xfrtest.NewCluster(t, "example.org.", 7, "a")
	xfrtest.NewCluster(t, "sub.example.org.", 8, "b")
	xfrtest.NewCluster(t, "other.example.org.", 9, "c")
	s := xfrtest.Serve(t, strings.Replace(xfrtest.ServerBlockOf(xfrtest.UnsignedRule, xfrtest.ClusterName+" other.example.org. sub.example.org. example.org."), "xfrguard {", "xfrguard example.org sub.example.org other.example.org {", 1), nil)
	for zone, want := range map[string]string{"example.org.": "a", "sub.example.org.": "b", "other.example.org.": "c"} {
		m := xfrtest.Ask1(t, "tcp", s.Addr(t, "tcp", 0), "", xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR, xfrtest.WithName(zone))))
		if got := services(t, m.Answer); !slices.Equal(got, []string{want}) {
			t.Errorf("%s came over with %v, want %s", zone, got, want)
		}
	}
}

// TestBackends: zones come from whatever plugin has them.
func TestBackends(t *testing.T) {
	primary := xfrtest.Serve(t, xfrtest.ServerBlockOf("", onDisk), map[string]string{"db": xfrtest.ZoneOrg})
	other := plainPrimary(t)
	const allowUpdate = "allow a.example.net. * *\n\t}"
	for name, body := range map[string]string{
		"file":                         "file DIR/db.example.org",
		"auto":                         "auto {\n\t\tdirectory DIR db.(.*) {1}\n\t}",
		"secondary of CoreDNS":         "secondary {\n\t\ttransfer from " + primary.Addr(t, "tcp", 0) + "\n\t}",
		"secondary of another primary": "secondary {\n\t\ttransfer from " + other + "\n\t}",
		"dynupdate":                    "dynupdate {\n\t\tfile DIR/db.example.org\n\t\t" + allowUpdate,
		"dynupdate with a database":    "dynupdate {\n\t\tfile DIR/db.example.org\n\t\tdatabase DIR/zone.bolt\n\t\t" + allowUpdate,
	} {
		for also, with := range map[string]string{"": "", " beside transfer": "\n\t" + xfrtest.OpenTo} { // which stays for NOTIFY
			t.Run(name+also, func(t *testing.T) {
				s := xfrtest.Serve(t, xfrtest.ServerBlockOf(xfrtest.KeyRule+"\n\t\trate 1000/1s burst 1000", body+with), map[string]string{"db.example.org": xfrtest.ZoneOrg})
				var got []dns.RR
				var err error
				for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
					if got, err = xfrtest.TransferIn(t, s.Addr(t, "tcp", 0), xfrtest.Question(dns.TypeAXFR), xfrtest.KeyA, xfrtest.SecretA); err == nil {
						break // auto and secondary load after the start
					}
				}
				if err != nil {
					t.Fatal(err)
				}
				xfrtest.WantZone(t, got, xfrtest.ZoneOrg)
				got, err = xfrtest.TransferIn(t, s.Addr(t, "tcp", 0), xfrtest.Question(dns.TypeIXFR, xfrtest.WithSerial(7)), xfrtest.KeyA, xfrtest.SecretA)
				if err != nil || len(got) != 1 {
					t.Errorf("an IXFR of who is up to date got %v, %v", got, err)
				}
				xfrtest.WantRefused(t, xfrtest.Ask(t, "tcp", s.Addr(t, "tcp", 0), "", xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR)), 1), dns.RcodeRefused)
			})
		}
	}
}

// plainPrimary is a primary for zoneOrg that is not CoreDNS.
func plainPrimary(t *testing.T) string {
	t.Helper()
	var zone []dns.RR
	zp := dns.NewZoneParser(strings.NewReader(xfrtest.ZoneOrg), "example.org.", "")
	for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
		zone = append(zone, rr)
	}
	l, pc := bothOn(t)
	h := dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		m := new(dns.Msg).SetReply(r)
		m.Authoritative = true
		m.Answer = zone[:1]
		if r.Question[0].Qtype != dns.TypeSOA {
			m.Answer = append(slices.Clone(zone), zone[0])
		}
		_ = w.WriteMsg(m)
	})
	for _, srv := range []*dns.Server{{Listener: l, Handler: h}, {PacketConn: pc, Handler: h}} {
		ready := make(chan struct{})
		srv.NotifyStartedFunc = func() { close(ready) }
		go func() { _ = srv.ActivateAndServe() }()
		<-ready
		t.Cleanup(func() { _ = srv.Shutdown() })
	}
	return l.Addr().String()
}

// bothOn listens on one port for TCP and UDP: secondary asks for the SOA over UDP.
func bothOn(t *testing.T) (net.Listener, net.PacketConn) {
	t.Helper()
	var err error
	for range 10 { // the port that TCP gets may be taken for UDP
		var l net.Listener
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			break
		}
		var pc net.PacketConn
		if pc, err = net.ListenPacket("udp", l.Addr().String()); err == nil {
			return l, pc
		}
		_ = l.Close()
	}
	t.Fatal(err)
	return nil, nil
}

// TestBackendUpdated: what an UPDATE has just changed is in the next transfer, and a
// client that is behind gets it.
func TestBackendUpdated(t *testing.T) {
	s := xfrtest.Serve(t, xfrtest.ServerBlockOf(xfrtest.KeyRule, "dynupdate {\n\t\tfile DIR/db\n\t\tallow a.example.net. * *\n\t}"), map[string]string{"db": xfrtest.ZoneOrg})
	tcp := s.Addr(t, "tcp", 0)
	get := func(m *dns.Msg) string {
		got, err := xfrtest.TransferIn(t, tcp, m, xfrtest.KeyA, xfrtest.SecretA)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(got)
	}
	if strings.Contains(get(xfrtest.Question(dns.TypeAXFR)), "192.0.2.99") {
		t.Fatal("the address is there before the update")
	}
	u := new(dns.Msg).SetUpdate("example.org.")
	rr, err := dns.NewRR("new.example.org. 60 IN A 192.0.2.99")
	if err != nil {
		t.Fatal(err)
	}
	u.Insert([]dns.RR{rr})
	if m := xfrtest.Ask1(t, "tcp", tcp, "", xfrtest.Signed(t, u, xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA)); m.Rcode != dns.RcodeSuccess {
		t.Fatalf("the update got %v", m)
	}
	for _, m := range []*dns.Msg{xfrtest.Question(dns.TypeAXFR), xfrtest.Question(dns.TypeIXFR, xfrtest.WithSerial(7))} {
		if got := get(m); !strings.Contains(got, "192.0.2.99") || !strings.Contains(got, " 8 7200 ") {
			t.Errorf("after the update got %s", got)
		}
	}
}

// TestBackendTwoDynupdates: CoreDNS allows one dynupdate a block; two blocks with one
// each have a zone each.
func TestBackendTwoDynupdates(t *testing.T) {
	dynupdate := func(zone string) string {
		return "dynupdate " + zone + " {\n\t\tfile DIR/db." + zone + "\n\t\tallow a.example.net. * *\n\t}"
	}
	netZone := strings.ReplaceAll(xfrtest.ZoneOrg, "example.org", "example.net")
	files := map[string]string{"db.example.org": xfrtest.ZoneOrg, "db.example.net": netZone}
	if _, err := xfrtest.TryServe(t, xfrtest.ServerBlockOf(xfrtest.UnsignedRule, dynupdate("example.org")+"\n\t"+dynupdate("sub.example.org")), files); err == nil {
		t.Error("CoreDNS now starts with two dynupdates in a block: test that both are served")
	}
	one := xfrtest.ServerBlockOf(xfrtest.UnsignedRule, dynupdate("example.org"))
	two := strings.ReplaceAll(xfrtest.ServerBlockOf(xfrtest.UnsignedRule, dynupdate("example.net")), "example.org", "example.net")
	s := xfrtest.Serve(t, one+two, files)
	for zone, want := range map[string]string{"example.org.": xfrtest.ZoneOrg, "example.net.": netZone} {
		m := xfrtest.Ask1(t, "tcp", s.Addr(t, "tcp", 0), "", xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR, xfrtest.WithName(zone))))
		xfrtest.WantZone(t, m.Answer, want)
	}
}

// TestBackendAppears: a zone that auto finds while it runs is served, and one whose
// file is gone no longer.
func TestBackendAppears(t *testing.T) {
	s := xfrtest.Serve(t, xfrtest.ServerBlockOf(xfrtest.UnsignedRule+"\n\t\trate 1000/1s burst 1000", "auto {\n\t\tdirectory DIR db.(.*) {1}\n\t\treload 1s\n\t}"), nil)
	path := filepath.Join(s.Dir, "db.example.org")
	wait := func(rcode int) {
		t.Helper()
		var m *dns.Msg
		for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
			if m = xfrtest.Ask1(t, "tcp", s.Addr(t, "tcp", 0), "", xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR))); m.Rcode == rcode {
				return
			}
		}
		t.Fatalf("want %s, got %v", dns.RcodeToString[rcode], m)
	}
	wait(dns.RcodeServerFailure)
	if err := os.WriteFile(path, []byte(xfrtest.ZoneOrg), 0o600); err != nil {
		t.Fatal(err)
	}
	wait(dns.RcodeSuccess)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	wait(dns.RcodeServerFailure)
}
