// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/miekg/dns"
)

// slowTransfer begins a transfer of a zone that no kernel buffers whole, and returns
// after its first message.
func slowTransfer(t *testing.T, s *server, qtype uint16) (c *dns.Conn, records int) {
	t.Helper()
	conn, err := net.Dial("tcp", s.addr(t, "tcp", 0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(60 * time.Second))
	c = &dns.Conn{Conn: conn}
	if _, err := c.Write(packed(t, question(qtype))); err != nil {
		t.Fatal(err)
	}
	m, err := c.ReadMsg()
	if err != nil {
		t.Fatal(err)
	}
	return c, len(m.Answer)
}

// rest reads what is left of a transfer, of at most want records.
func rest(c *dns.Conn, records, want int) int {
	for records < want {
		m, err := c.ReadMsg()
		if err != nil {
			break
		}
		records += len(m.Answer)
	}
	return records
}

const slowHosts = 90000

func slowZone() string {
	var b strings.Builder
	b.WriteString(zoneOrg)
	for i := range slowHosts {
		fmt.Fprintf(&b, "h%d IN TXT \"%s\"\n", i, strings.Repeat("x", 240))
	}
	return b.String()
}

// TestRevocationOfAXFRAlone: the whole zone that an IXFR is answered with needs the
// permission for AXFR, after a reload too: the one for IXFR does not carry it on.
func TestRevocationOfAXFRAlone(t *testing.T) {
	s := serve(t, guarded("allow as both net 127.0.0.1 unsigned", ""), map[string]string{"db": slowZone()})
	c, records := slowTransfer(t, s, dns.TypeIXFR)
	if err := s.reload(guarded("allow as both type IXFR net 127.0.0.1 unsigned", "")); err != nil {
		t.Fatal(err)
	}
	const whole = slowHosts + 6
	if records = rest(c, records, whole); records == whole {
		t.Error("a client that may have differences only was given the whole zone")
	}
	s.when(t, "zone-transfer-end", "policy-revoked")
}

// TestRevocationKeepsDifferences: the same reload ends no answer that needs the
// permission for IXFR alone.
func TestRevocationKeepsDifferences(t *testing.T) {
	rules := func(types string) []*guard {
		serve(t, guarded("allow as both "+types+" net 127.0.0.1 unsigned", ""), map[string]string{"db": zoneOrg})
		return latestInstance().sorted()
	}
	x := meet(t, rules("")[0], "127.0.0.1", dns.TypeIXFR)
	ixfr := rules("type IXFR")
	for _, served := range Serveds {
		p := plan{served: served}
		x.whole.Store(p.whole())
		want := served != ServedAXFR && served != ServedAXFRFallback
		if got := stillAllowed(x, ixfr); got != want {
			t.Errorf("%s goes on under a policy for IXFR alone: %t", served, got)
		}
	}
}

// lateRequest is a request as the server of the tests' block meets it.
func lateRequest(t *testing.T, from string) (context.Context, *bareWriter) {
	t.Helper()
	ctx := context.WithValue(t.Context(), dnsserver.Key{}, &dnsserver.Server{Addr: "dns://127.0.0.1:0"})
	return ctx, &bareWriter{remote: &net.TCPAddr{IP: net.ParseIP(from), Port: 4711}}
}

func meet(t *testing.T, g *guard, from string, qtype uint16) *exchange {
	t.Helper()
	ctx, w := lateRequest(t, from)
	return g.exchange(ctx, w, question(qtype))
}

// TestRevocationOfLatecomers: the server that a reload takes off meets requests until
// its listeners are closed. None of them gets what the new policy would not give it.
func TestRevocationOfLatecomers(t *testing.T) {
	rules := func(rest string) string { return guarded("allow as two net 127.0.0.2 unsigned"+rest, "") }
	s := serve(t, rules("\n\t\tallow as one net 127.0.0.1 unsigned"), map[string]string{"db": zoneOrg})
	old := latestInstance().sorted()[0]
	answer := func(from string) *dns.Msg {
		ctx, w := lateRequest(t, from)
		if _, err := old.answer(ctx, w, question(dns.TypeAXFR)); err != nil {
			t.Fatal(err)
		}
		return w.got
	}
	if m := answer("127.0.0.1"); !isZone(m) {
		t.Fatalf("before the reload: %v", m)
	}
	ctx, _ := lateRequest(t, "127.0.0.9")
	busy := transfers.begin(ctx, meet(t, old, "127.0.0.2", dns.TypeAXFR)) // keeps the old instance
	defer func() {
		transfers.end(busy)
		for gone := false; !gone; time.Sleep(time.Millisecond) { // its audit log ends before the directory does
			live.Lock()
			gone = len(live.instances) == 1
			live.Unlock()
		}
	}()
	if err := s.reload(rules("")); err != nil {
		t.Fatal(err)
	}
	if m := answer("127.0.0.1"); m == nil || m.Rcode != dns.RcodeServerFailure || len(m.Answer) > 0 {
		t.Errorf("who may no longer have the zone got %v", m)
	}
	if m := answer("127.0.0.2"); !isZone(m) {
		t.Errorf("who still may have it got %v", m)
	}
	if e := s.events(t, 4)[2]; e["event.reason"] != "shutdown" || e["client.ip"] != "127.0.0.1" {
		t.Errorf("on record as %v", e)
	}
}
