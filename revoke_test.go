// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/miekg/dns"
)

// TestRevocationOfAnswers: after a reload that leaves the permission for one type, an
// answer goes on if it needs no other: a whole zone that for AXFR, differences that for
// IXFR, a single SOA either.
func TestRevocationOfAnswers(t *testing.T) {
	rules := func(types string) []*guard {
		xfrtest.Serve(t, xfrtest.Guarded("allow as both "+types+" net 127.0.0.1 unsigned", ""), map[string]string{"db": xfrtest.ZoneOrg})
		return latestInstance().sorted()
	}
	x := meet(t, rules("")[0], "127.0.0.1", dns.TypeIXFR)
	whole := []audit.Served{audit.ServedAXFR, audit.ServedAXFRFallback}
	for types, ends := range map[string][]audit.Served{"type IXFR": whole, "type AXFR": {audit.ServedIXFR}, "": nil} {
		guards := rules(types)
		for _, served := range audit.Serveds {
			x.content.Store(served)
			if got, want := stillAllowed(x, guards), !slices.Contains(ends, served); got != want {
				t.Errorf("%s goes on under %q: %t", served, types, got)
			}
		}
	}
}

// TestRevocationByTheNearestBlock: after a reload the block that CoreDNS would give the
// request to decides whether its answer goes on, whatever a block above it allows.
func TestRevocationByTheNearestBlock(t *testing.T) {
	const above = `org:0 {
	bind 127.0.0.1
	xfrguard example.org {
		allow as one net 127.0.0.1 unsigned
		audit file DIR/audit.log
	}
	file DIR/db example.org
}
`
	const denies, allows = "allow as other net 192.0.2.1 unsigned", "allow as one net 127.0.0.1 unsigned"
	block := func(key, rule string) string {
		return strings.NewReplacer("org:0", key, "xfrguard example.org", "xfrguard", allows, rule).Replace(above)
	}
	inView := func(block string) string {
		return strings.Replace(block, "bind 127.0.0.1", "bind 127.0.0.1\n\tview inside {\n\t\texpr true\n\t}", 1)
	}
	for _, c := range []struct {
		name, view, corefile string
		goesOn               bool
	}{
		{"nothing nearer", "", above, true},
		{"a nearer one that denies", "", above + block("example.org:0", denies), false},
		{"a nearer one that allows", "", strings.Replace(above, allows, denies, 1) + block("example.org:0", allows), true},
		{"a nearer one without xfrguard", "", above + "example.org:0 {\n\tbind 127.0.0.1\n\tfile DIR/db\n}\n", false},
		{"one for the names below", "", above + block("www.example.org:0", denies), true},
		{"one on another listener", "", above + block("tls://example.org:0", denies), true},
		{"its view", "inside", inView(above), true},
		{"its view, and no view behind", "inside", inView(above) + block("org:0", denies), true},
		{"no view any more", "inside", above, false},
		{"another view that is nearer", "", above + inView(block("example.org:0", denies)), true},
		{"none of a view that is nearer", "inside", inView(above) + block("example.org:0", denies), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			xfrtest.Serve(t, above, map[string]string{"db": xfrtest.ZoneOrg})
			x := meet(t, latestInstance().sorted()[0], "127.0.0.1", dns.TypeAXFR)
			x.View = c.view
			xfrtest.Serve(t, c.corefile, map[string]string{"db": xfrtest.ZoneOrg})
			if got := stillAllowed(x, latestInstance().sorted()); got != c.goesOn {
				t.Errorf("goes on: %t", got)
			}
		})
	}
}

func meet(t *testing.T, g *guard, from string, qtype uint16) *exchange {
	t.Helper()
	ctx, w := xfrtest.LateRequest(t, from)
	return g.exchange(ctx, w, xfrtest.Question(qtype))
}

// TestRevocationOfLatecomers: the server that a reload takes off meets requests until
// its listeners are closed. None of them gets what the new policy would not give it.
func TestRevocationOfLatecomers(t *testing.T) {
	rules := func(rest string) string { return xfrtest.Guarded("allow as two net 127.0.0.2 unsigned"+rest, "") }
	s := xfrtest.Serve(t, rules("\n\t\tallow as one net 127.0.0.1 unsigned"), map[string]string{"db": xfrtest.ZoneOrg})
	old := latestInstance().sorted()[0]
	answer := func(from string) *dns.Msg {
		ctx, w := xfrtest.LateRequest(t, from)
		if _, err := old.answer(ctx, w, xfrtest.Question(dns.TypeAXFR)); err != nil {
			t.Fatal(err)
		}
		return w.Got(t)
	}
	if m := answer("127.0.0.1"); !xfrtest.IsZone(m) {
		t.Fatalf("before the reload: %v", m)
	}
	ctx, _ := xfrtest.LateRequest(t, "127.0.0.9")
	busy := transfers.begin(ctx, meet(t, old, "127.0.0.2", dns.TypeAXFR)) // keeps the old instance
	defer func() {
		transfers.end(busy)
		for gone := false; !gone; time.Sleep(time.Millisecond) { // its audit log ends before the directory does
			live.Lock()
			gone = len(live.instances) == 1
			live.Unlock()
		}
	}()
	if err := s.Reload(rules("")); err != nil {
		t.Fatal(err)
	}
	if m := answer("127.0.0.1"); m == nil || m.Rcode != dns.RcodeServerFailure || len(m.Answer) > 0 {
		t.Errorf("who may no longer have the zone got %v", m)
	}
	if m := answer("127.0.0.2"); !xfrtest.IsZone(m) {
		t.Errorf("who still may have it got %v", m)
	}
	if e := s.Events(t, 4)[2]; e["event.reason"] != "shutdown" || e["client.ip"] != "127.0.0.1" {
		t.Errorf("on record as %v", e)
	}
}

// TestRevocationOfSecret: a key whose secret is another one after a reload is another
// key: what was asked for with the old one is not carried on.
func TestRevocationOfSecret(t *testing.T) {
	block := xfrtest.Guarded("allow as one net 127.0.0.1 key a.example.net.", "")
	xfrtest.Serve(t, block, map[string]string{"db": xfrtest.ZoneOrg})
	ctx, w := xfrtest.LateRequest(t, "127.0.0.1")
	ctx = context.WithValue(ctx, dnsserver.Key{}, &dnsserver.Server{Addr: "dns://127.0.0.1:0", TsigSecret: map[string]string{xfrtest.KeyA: xfrtest.SecretA}})
	r := new(dns.Msg)
	if err := r.Unpack(xfrtest.Signed(t, xfrtest.Question(dns.TypeAXFR), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA)); err != nil {
		t.Fatal(err)
	}
	x := latestInstance().sorted()[0].exchange(ctx, w, r)
	if x.Req.TSIG.Status != policy.TSIGValid {
		t.Fatalf("signature is %s", x.Req.TSIG.Status)
	}
	for secret, want := range map[string]bool{xfrtest.SecretA: true, "bmV3IHNlY3JldCBvZiBrZXkgYSBmb3IgdGVzdHMgb25seQ==": false} {
		xfrtest.Serve(t, strings.Replace(block, xfrtest.SecretA, secret, 1), map[string]string{"db": xfrtest.ZoneOrg})
		if got := stillAllowed(x, latestInstance().sorted()); got != want {
			t.Errorf("with the secret %s the transfer goes on: %t", secret, got)
		}
	}
}

// TestOldInstanceIsLeaving: after a reload the server that still meets requests tells its
// clients to close their connections soon, and its notifier tells nobody any more, though
// a transfer keeps the old instance.
func TestOldInstanceIsLeaving(t *testing.T) {
	secondary, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer secondary.Close()
	block := xfrtest.Guarded(xfrtest.UnsignedRule+"\n\t\tnotify "+secondary.LocalAddr().String(), "")
	s := xfrtest.Serve(t, block, map[string]string{"db": xfrtest.ZoneOrg})
	old := latestInstance().sorted()[0]
	ctx, w := xfrtest.LateRequest(t, "127.0.0.1")
	ctx = context.WithValue(ctx, dnsserver.Key{}, &dnsserver.Server{Addr: "dns://127.0.0.1:0", IdleTimeout: 10 * time.Second})
	x := old.exchange(ctx, w, xfrtest.Question(dns.TypeAXFR, xfrtest.WithKeepalive))
	idle := func() string {
		o, ok := x.keepalive(policy.ReasonAllowed).(*dns.EDNS0_LOCAL)
		if !ok {
			return "nothing"
		}
		return fmt.Sprint(o.Data)
	}
	if got := idle(); got != "[0 100]" {
		t.Errorf("before the reload clients are told %s", got)
	}
	busy := transfers.begin(ctx, x)
	if err := s.Reload(block); err != nil {
		t.Fatal(err)
	}
	if got := idle(); got != "[0 0]" {
		t.Errorf("after the reload clients are told %s", got)
	}
	soa, _ := dns.NewRR("example.org. 3600 IN SOA ns1 hostmaster 99 7200 3600 1209600 300")
	old.notifier.OnSerial("example.org.", soa.(*dns.SOA))
	_ = secondary.SetReadDeadline(time.Now().Add(3 * time.Second)) // longer than a start waits
	for b := make([]byte, 512); ; {
		n, _, err := secondary.ReadFrom(b)
		if err != nil {
			break
		}
		for _, rr := range xfrtest.Unpack(t, b[:n]).Answer {
			if rr.(*dns.SOA).Serial == 99 {
				t.Error("the old instance notifies")
			}
		}
	}
	transfers.end(busy)
}
