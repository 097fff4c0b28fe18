// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/internal/xfrtest"
)

// TestPatternCluster: a backend that answers any name below its zone has the zones of its
// list and no other, whatever it would send; and its reverse zones are none.
func TestPatternCluster(t *testing.T) {
	xfrtest.NewCluster(t, "cluster.local.", 7, "web", "db")
	s := xfrtest.Serve(t, patternBlock(".:0", "*", "", "fakecluster cluster.local."), nil)
	wantAsked(t, s, "cluster.local", "NOERROR")
	for _, zone := range []string{"foo.cluster.local", "local", ".", "2.0.192.in-addr.arpa", "1.2.0.192.in-addr.arpa"} {
		wantAsked(t, s, zone, "REFUSED")
	}
}

// TestPatternGoneEndsTransfer: a zone that is removed ends its transfers within 2 s of
// auto's own reload, on record as zone-gone; the same zone is there again when it comes back.
func TestPatternGoneEndsTransfer(t *testing.T) {
	dir := &xfrtest.Server{Dir: t.TempDir()}
	zonesDir(t, dir, "example.net")
	large := strings.Replace(xfrtest.ZoneOfTexts(60_000, 200), "$ORIGIN example.org.", "$ORIGIN example.org.", 1)
	if err := os.WriteFile(dir.Dir+"/zones/db.example.org", []byte(large), 0o600); err != nil {
		t.Fatal(err)
	}
	s := xfrtest.Serve(t, strings.ReplaceAll(patternBlock(".:0", "*.org", "", autoBody), "DIR/zones", dir.Dir+"/zones"), nil)
	conn, err := net.Dial("tcp", s.Addr(t, "tcp", 0))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	q := xfrtest.Signed(t, xfrtest.Question(dns.TypeAXFR), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA)
	if _, err := (&dns.Conn{Conn: conn}).Write(q); err != nil {
		t.Fatal(err)
	}
	if e := s.Await(t, "zone-transfer-decision", 1)[0]; e["event.reason"] != "policy-allow" {
		t.Fatalf("on record: %v", e)
	}
	if err := os.Remove(dir.Dir + "/zones/db.example.org"); err != nil {
		t.Fatal(err)
	}
	removed := time.Now()
	end := s.Await(t, "zone-transfer-end", 1)[0]
	if end["event.reason"] != "zone-gone" || end["coredns.zone"] != "example.org." {
		t.Errorf("on record: %v", end)
	}
	t.Logf("ended %v after its file was removed, with auto's reload of 1 s", time.Since(removed).Round(10*time.Millisecond))
	awaitAsked(t, s, "example.org", "REFUSED")
	wantAsked(t, s, "example.net", "REFUSED") // it is in auto's list, and outside of the pattern
	last := s.Await(t, "zone-transfer-decision", 3)
	if e := last[len(last)-1]; e["event.reason"] != "zone-not-guarded" {
		t.Errorf("on record: %v", e)
	}
	dropIn(t, dir, "example.org", 8)
	awaitAsked(t, s, "example.org", "NOERROR")
}

// TestPatternOtherOrigins: what auto loads outside of its own zones it answers for nothing
// of, and is no zone here; nor is what another server block is asked for.
func TestPatternOtherOrigins(t *testing.T) {
	dir := &xfrtest.Server{Dir: t.TempDir()}
	zonesDir(t, dir, "a.example.org", "example.net", "b.example.org")
	body := strings.Replace(autoBody, "auto {", "auto example.org {", 1)
	corefile := patternBlock(".:0", "*", "", body) + "b.example.org:0 {\n\tbind 127.0.0.1\n\twhoami\n}\n"
	s := xfrtest.Serve(t, strings.ReplaceAll(corefile, "DIR/zones", dir.Dir+"/zones"), nil)
	wantAsked(t, s, "a.example.org", "NOERROR")
	wantAsked(t, s, "example.net", "REFUSED")
	wantAsked(t, s, "b.example.org", "REFUSED")
}

// TestPatternPrecedence: an exact name beats a pattern, and a longer pattern a shorter one.
func TestPatternPrecedence(t *testing.T) {
	dir := &xfrtest.Server{Dir: t.TempDir()}
	zonesDir(t, dir, "example.org", "a.example.org", "b.a.example.org", "example.net")
	closed := func(zones string) string {
		return "xfrguard " + zones + " {\n\t\tallow as other net 127.0.0.2 key a.example.net.\n\t\taudit file DIR/audit.log\n\t}\n\t"
	}
	corefile := patternBlock(".:0", "*", "", closed("*.example.org")+
		strings.ReplaceAll(closed("b.a.example.org"), "net 127.0.0.2", "net 127.0.0.1")+autoBody)
	s := xfrtest.Serve(t, strings.ReplaceAll(corefile, "DIR/zones", dir.Dir+"/zones"), nil)
	for zone, want := range map[string]string{
		"example.org": "NOERROR", "a.example.org": "REFUSED", "b.a.example.org": "NOERROR", "example.net": "NOERROR",
	} {
		wantAsked(t, s, zone, want)
	}
}

// catalogFile is a catalog zone with these members (RFC 9432).
func catalogFile(serial int, members ...string) string {
	text := fmt.Sprintf("$ORIGIN catalog.example.\n@ 0 IN SOA invalid. invalid. %d 1 1 3600 0\n@ 0 IN NS invalid.\nversion 0 IN TXT \"2\"\n", serial)
	for _, m := range members {
		text += strings.ReplaceAll(m, ".", "-") + ".zones 0 IN PTR " + m + ".\n"
	}
	return text
}

// TestPatternCatalog: the members of a catalog that secondary follows come and go.
func TestPatternCatalog(t *testing.T) {
	dir := &xfrtest.Server{Dir: t.TempDir()}
	zonesDir(t, dir, "one.example", "two.example", "three.example")
	primary := xfrtest.FreePort(t)
	corefile := ".:" + primary + " {\n\tbind 127.0.0.1\n\tfile DIR/catalog catalog.example {\n\t\treload 1s\n\t}\n\t" + autoBody +
		"\n\ttransfer {\n\t\tto *\n\t}\n}\n" +
		patternBlock(".:0", "*", "elsewhere pass", "secondary catalog.example {\n\t\ttransfer from 127.0.0.1:"+primary+"\n\t\tcatalog\n\t}")
	s := xfrtest.Serve(t, strings.ReplaceAll(corefile, "DIR/zones", dir.Dir+"/zones"), map[string]string{"catalog": catalogFile(1, "one.example", "two.example")})
	addr := ""
	for n := range 2 {
		if a := s.Addr(t, "tcp", n); !strings.HasSuffix(a, ":"+primary) {
			addr = a
		}
	}
	await := func(zone, want string) {
		t.Helper()
		got := ""
		for deadline := time.Now().Add(40 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
			if got, _ = askedAt(t, addr, zone); got == want {
				return
			}
		}
		t.Fatalf("%s: %s, want %s", zone, got, want)
	}
	await("catalog.example", "NOERROR")
	await("one.example", "NOERROR")
	await("two.example", "NOERROR")
	await("three.example", "REFUSED")
	s.Write(t, "catalog", catalogFile(2, "two.example", "three.example"))
	await("three.example", "NOERROR")
	await("one.example", "REFUSED")
	await("two.example", "NOERROR")
	for _, e := range s.Await(t, "zone-gone", 1) {
		if e["event.reason"] != "secondary" || e["coredns.zone"] != "one.example." {
			t.Errorf("gone: %v", e)
		}
	}
}

// TestPatternChurn: files come and go throughout while zones are transferred; each answer is
// a whole zone or a refusal, and what stays is transferable all the time.
func TestPatternChurn(t *testing.T) {
	dir := &xfrtest.Server{Dir: t.TempDir()}
	zonesDir(t, dir, "stays.example")
	body := strings.Replace(autoBody, "reload 1s", "reload 50ms", 1)
	s := xfrtest.Serve(t, strings.ReplaceAll(patternBlock(".:0", "*", "", body), "DIR/zones", dir.Dir+"/zones"), nil)
	addr := s.Addr(t, "tcp", 0)
	stop := make(chan struct{})
	var work sync.WaitGroup
	for i := range 3 {
		zone := fmt.Sprintf("z%d.example", i)
		work.Go(func() {
			for serial := 1; ; serial++ {
				dropIn(t, dir, zone, serial)
				select {
				case <-stop:
					return
				case <-time.After(300 * time.Millisecond):
				}
				_ = os.Remove(dir.Dir + "/zones/db." + zone)
				time.Sleep(time.Duration(300+1000*(serial%2)) * time.Millisecond)
			}
		})
	}
	seen := make(map[string]int)
	for began := time.Now(); time.Since(began) < 4*time.Second; {
		for i := range 3 {
			rcode, records := askedAt(t, addr, fmt.Sprintf("z%d.example", i))
			seen[rcode]++
			if (rcode == "NOERROR") != (records == 4) {
				t.Errorf("%s with %d records", rcode, records)
			}
		}
		if rcode, _ := askedAt(t, addr, "stays.example"); rcode != "NOERROR" {
			t.Errorf("what stays: %s", rcode)
		}
	}
	close(stop)
	work.Wait()
	if seen["NOERROR"] == 0 || seen["REFUSED"] == 0 {
		t.Errorf("answers: %v", seen)
	}
	for rcode := range seen {
		if rcode != "NOERROR" && rcode != "REFUSED" && rcode != "SERVFAIL" { // gone, but for one look
			t.Errorf("answers: %v", seen)
		}
	}
}
