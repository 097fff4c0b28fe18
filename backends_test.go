// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/transfer"
	"github.com/miekg/dns"
)

// clusterName is a backend of these tests that does what kubernetes does: it serves
// any name at or below its zone, and its serial is the second of the last change.
const clusterName = "fakecluster"

func init() {
	plugin.Register(clusterName, func(c *caddy.Controller) error {
		for c.Next() {
			for _, name := range c.RemainingArgs() {
				backend, ok := clusters.Load(name)
				if !ok {
					return fmt.Errorf("no cluster %s", name)
				}
				dnsserver.GetConfig(c).AddPlugin(func(next plugin.Handler) plugin.Handler {
					h := backend.(*cluster)
					h.Next = next
					return h
				})
			}
		}
		return nil
	})
	i := slices.Index(dnsserver.Directives, "kubernetes")
	dnsserver.Directives = slices.Insert(dnsserver.Directives, i, clusterName)
}

// clusters are the backends of running tests, by the name that a Corefile has for them.
var clusters sync.Map

type cluster struct {
	Next plugin.Handler
	zone string

	mu       sync.Mutex
	serial   uint32
	services []string
	asked    []uint32      // the serials of the requests for it
	hangs    chan struct{} // the end of the zone comes once it is closed; nil: at once
}

// newCluster registers a backend for the zone; the Corefile calls it by the zone's name.
func newCluster(t *testing.T, zone string, serial uint32, services ...string) *cluster {
	t.Helper()
	c := &cluster{zone: zone, serial: serial, services: services}
	clusters.Store(zone, c)
	t.Cleanup(func() { clusters.Delete(zone) })
	return c
}

func (c *cluster) change(serial uint32, services ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.serial, c.services = serial, services
}

func (*cluster) Name() string { return clusterName }

func (c *cluster) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	return plugin.NextOrFailure(c.Name(), c.Next, ctx, w, r)
}

// Transfer implements transfer.Transferer.
func (c *cluster) Transfer(zone string, serial uint32) (<-chan []dns.RR, error) {
	if !plugin.Name(c.zone).Matches(zone) {
		return nil, transfer.ErrNotAuthoritative
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, serial)
	soa := []dns.RR{&dns.SOA{
		Hdr: dns.RR_Header{Name: zone, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 5},
		Ns:  "ns.dns." + zone, Mbox: "hostmaster." + zone, Serial: c.serial, Refresh: 7200, Retry: 1800, Expire: 86400, Minttl: 5,
	}}
	ch := make(chan []dns.RR)
	if serial != 0 && serial == c.serial {
		go func() { ch <- soa; close(ch) }()
		return ch, nil
	}
	services, hangs := slices.Clone(c.services), c.hangs
	go func() {
		defer close(ch)
		ch <- soa
		ch <- nil // kubernetes sends an empty batch when it has no address for itself
		for _, s := range services {
			ch <- []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: s + ".svc." + zone, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 5}, Txt: []string{s}}}
		}
		if hangs != nil {
			<-hangs
		}
		ch <- soa
	}()
	return ch, nil
}

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
	newCluster(t, "example.org.", 7, "a", "b")
	body := clusterName + " example.org.\n\t" + openTo
	stock := serve(t, serverBlockOf("", body), nil)
	s := serve(t, serverBlockOf(unsignedRule, body), nil)
	for _, name := range []string{"x.example.org.", "svc.EXAMPLE.org.", "a.b.c.example.org.", "*.example.org."} {
		q := packed(t, question(dns.TypeAXFR, withName(name)))
		if m := ask1(t, "tcp", stock.addr(t, "tcp", 0), "", q); len(m.Answer) != 4 {
			t.Errorf("%s: nothing leaks without the guard, so this shows nothing: %v", name, m)
		}
		wantRefused(t, ask(t, "tcp", s.addr(t, "tcp", 0), "", q, 1), dns.RcodeRefused)
	}
	if e := s.events(t, 1)[0]; e["event.reason"] != "not-a-zone" || e["coredns.zone"] != "-" {
		t.Errorf("on record as %v", e)
	}
	m := ask1(t, "tcp", s.addr(t, "tcp", 0), "", packed(t, question(dns.TypeAXFR)))
	if got := services(t, m.Answer); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("the zone itself came over with %v", got)
	}
}

// TestBackendUnchanged: a zone whose backend is known by its Transfer alone is asked for
// whole each time, for its serial may stay where its content does not; what is the same is
// not sent to who is up to date.
func TestBackendUnchanged(t *testing.T) {
	c := newCluster(t, "example.org.", 7, "a")
	s := serve(t, serverBlockOf(unsignedRule, clusterName+" example.org."), nil)
	for range 3 {
		m := ask1(t, "tcp", s.addr(t, "tcp", 0), "", packed(t, question(dns.TypeAXFR)))
		if got := services(t, m.Answer); !slices.Equal(got, []string{"a"}) {
			t.Errorf("got %v", got)
		}
	}
	m := ask1(t, "tcp", s.addr(t, "tcp", 0), "", packed(t, question(dns.TypeIXFR, withSerial(7))))
	if len(m.Answer) != 1 || m.Answer[0].Header().Rrtype != dns.TypeSOA {
		t.Errorf("an IXFR of who is up to date got %v", m)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if want := []uint32{0, 0, 0, 0}; !slices.Equal(c.asked, want) {
		t.Errorf("the backend was asked for %v, want %v", c.asked, want)
	}
}

// TestBackendsOfOneKind: CoreDNS's registry of a block has one handler a name; the
// zones of the others are zones too.
func TestBackendsOfOneKind(t *testing.T) {
	newCluster(t, "example.org.", 7, "a")
	newCluster(t, "sub.example.org.", 8, "b")
	newCluster(t, "other.example.org.", 9, "c")
	s := serve(t, strings.Replace(serverBlockOf(unsignedRule, clusterName+" other.example.org. sub.example.org. example.org."), "xfrguard {", "xfrguard example.org sub.example.org other.example.org {", 1), nil)
	for zone, want := range map[string]string{"example.org.": "a", "sub.example.org.": "b", "other.example.org.": "c"} {
		m := ask1(t, "tcp", s.addr(t, "tcp", 0), "", packed(t, question(dns.TypeAXFR, withName(zone))))
		if got := services(t, m.Answer); !slices.Equal(got, []string{want}) {
			t.Errorf("%s came over with %v, want %s", zone, got, want)
		}
	}
}

// TestBackends: zones come from whatever plugin has them.
func TestBackends(t *testing.T) {
	primary := serve(t, serverBlockOf("", onDisk), map[string]string{"db": zoneOrg})
	other := plainPrimary(t)
	const allowUpdate = "allow a.example.net. * *\n\t}"
	for name, body := range map[string]string{
		"file":                         "file DIR/db.example.org",
		"auto":                         "auto {\n\t\tdirectory DIR db.(.*) {1}\n\t}",
		"secondary of CoreDNS":         "secondary {\n\t\ttransfer from " + primary.addr(t, "tcp", 0) + "\n\t}",
		"secondary of another primary": "secondary {\n\t\ttransfer from " + other + "\n\t}",
		"dynupdate":                    "dynupdate {\n\t\tfile DIR/db.example.org\n\t\t" + allowUpdate,
		"dynupdate with a database":    "dynupdate {\n\t\tfile DIR/db.example.org\n\t\tdatabase DIR/zone.bolt\n\t\t" + allowUpdate,
	} {
		for also, with := range map[string]string{"": "", " beside transfer": "\n\t" + openTo} { // which stays for NOTIFY
			t.Run(name+also, func(t *testing.T) {
				s := serve(t, serverBlockOf(keyRule+"\n\t\trate 1000/1s burst 1000", body+with), map[string]string{"db.example.org": zoneOrg})
				var got []dns.RR
				var err error
				for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
					if got, err = transferIn(t, s.addr(t, "tcp", 0), question(dns.TypeAXFR), keyA, secretA); err == nil {
						break // auto and secondary load after the start
					}
				}
				if err != nil {
					t.Fatal(err)
				}
				wantZone(t, got, zoneOrg)
				got, err = transferIn(t, s.addr(t, "tcp", 0), question(dns.TypeIXFR, withSerial(7)), keyA, secretA)
				if err != nil || len(got) != 1 {
					t.Errorf("an IXFR of who is up to date got %v, %v", got, err)
				}
				wantRefused(t, ask(t, "tcp", s.addr(t, "tcp", 0), "", packed(t, question(dns.TypeAXFR)), 1), dns.RcodeRefused)
			})
		}
	}
}

// plainPrimary is a primary for zoneOrg that is not CoreDNS.
func plainPrimary(t *testing.T) string {
	t.Helper()
	var zone []dns.RR
	zp := dns.NewZoneParser(strings.NewReader(zoneOrg), "example.org.", "")
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
	s := serve(t, serverBlockOf(keyRule, "dynupdate {\n\t\tfile DIR/db\n\t\tallow a.example.net. * *\n\t}"), map[string]string{"db": zoneOrg})
	tcp := s.addr(t, "tcp", 0)
	get := func(m *dns.Msg) string {
		got, err := transferIn(t, tcp, m, keyA, secretA)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(got)
	}
	if strings.Contains(get(question(dns.TypeAXFR)), "192.0.2.99") {
		t.Fatal("the address is there before the update")
	}
	u := new(dns.Msg).SetUpdate("example.org.")
	rr, err := dns.NewRR("new.example.org. 60 IN A 192.0.2.99")
	if err != nil {
		t.Fatal(err)
	}
	u.Insert([]dns.RR{rr})
	if m := ask1(t, "tcp", tcp, "", signed(t, u, keyA, dns.HmacSHA256, secretA)); m.Rcode != dns.RcodeSuccess {
		t.Fatalf("the update got %v", m)
	}
	for _, m := range []*dns.Msg{question(dns.TypeAXFR), question(dns.TypeIXFR, withSerial(7))} {
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
	netZone := strings.ReplaceAll(zoneOrg, "example.org", "example.net")
	files := map[string]string{"db.example.org": zoneOrg, "db.example.net": netZone}
	if _, err := tryServe(t, serverBlockOf(unsignedRule, dynupdate("example.org")+"\n\t"+dynupdate("sub.example.org")), files); err == nil {
		t.Error("CoreDNS now starts with two dynupdates in a block: test that both are served")
	}
	one := serverBlockOf(unsignedRule, dynupdate("example.org"))
	two := strings.ReplaceAll(serverBlockOf(unsignedRule, dynupdate("example.net")), "example.org", "example.net")
	s := serve(t, one+two, files)
	for zone, want := range map[string]string{"example.org.": zoneOrg, "example.net.": netZone} {
		m := ask1(t, "tcp", s.addr(t, "tcp", 0), "", packed(t, question(dns.TypeAXFR, withName(zone))))
		wantZone(t, m.Answer, want)
	}
}

// TestBackendAppears: a zone that auto finds while it runs is served, and one whose
// file is gone no longer.
func TestBackendAppears(t *testing.T) {
	s := serve(t, serverBlockOf(unsignedRule+"\n\t\trate 1000/1s burst 1000", "auto {\n\t\tdirectory DIR db.(.*) {1}\n\t\treload 1s\n\t}"), nil)
	path := filepath.Join(s.dir, "db.example.org")
	wait := func(rcode int) {
		t.Helper()
		var m *dns.Msg
		for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
			if m = ask1(t, "tcp", s.addr(t, "tcp", 0), "", packed(t, question(dns.TypeAXFR))); m.Rcode == rcode {
				return
			}
		}
		t.Fatalf("want %s, got %v", dns.RcodeToString[rcode], m)
	}
	wait(dns.RcodeServerFailure)
	if err := os.WriteFile(path, []byte(zoneOrg), 0o600); err != nil {
		t.Fatal(err)
	}
	wait(dns.RcodeSuccess)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	wait(dns.RcodeServerFailure)
}
