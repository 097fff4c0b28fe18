// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/miekg/dns"
)

// TestAttackSecondSignature: miekg/dns verifies the first TSIG of a message and
// hands out the last, so a valid one of key b followed by a forged one of key a
// would make b pass for a.
func TestAttackSecondSignature(t *testing.T) {
	s := xfrtest.Serve(t, xfrtest.Guarded("allow as ns2 net 127.0.0.1 key a.example.net.", ""), map[string]string{"db": xfrtest.ZoneOrg})
	m := xfrtest.Unpack(t, xfrtest.Signed(t, xfrtest.Question(dns.TypeAXFR), xfrtest.KeyB, dns.HmacSHA256, xfrtest.SecretB))
	forged := dns.Copy(m.IsTsig()).(*dns.TSIG)
	forged.Hdr.Name = xfrtest.KeyA
	m.Extra = append(m.Extra, forged)
	xfrtest.WantRefused(t, xfrtest.Ask(t, "tcp", s.Addr(t, "tcp", 0), "", xfrtest.Packed(t, m), 1), dns.RcodeFormatError)
	if e := s.Events(t, 1)[0]; e["event.reason"] != "malformed" || e["coredns.xfr.tsig.key"] == xfrtest.KeyA {
		t.Errorf("on record as %v", e)
	}
}

// TestUDPAnswerIsNoReplay: over UDP a client gets the SOA alone. The same message then
// comes over TCP, or the datagram once more, and is answered; what opened a zone is not.
func TestUDPAnswerIsNoReplay(t *testing.T) {
	s := xfrtest.Serve(t, xfrtest.Guarded("allow as ns2 net 127.0.0.1 key a.example.net.", ""), map[string]string{"db": xfrtest.ZoneOrg})
	udp, tcp := s.Addr(t, "udp", 0), s.Addr(t, "tcp", 0)
	for _, serial := range []uint32{1, 7, 8} { // behind, current, ahead
		query := xfrtest.Signed(t, xfrtest.Question(dns.TypeIXFR, xfrtest.WithSerial(serial)), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA)
		for n := range 3 {
			if m := xfrtest.Ask1(t, "udp", udp, "", query); len(m.Answer) != 1 {
				t.Fatalf("serial %d, datagram %d: %v", serial, n, m)
			}
		}
		if m := xfrtest.Ask1(t, "tcp", tcp, "", query); len(m.Answer) == 0 {
			t.Fatalf("serial %d, the same message over TCP: %v", serial, m)
		}
		for _, network := range []string{"tcp", "udp"} {
			xfrtest.WantRefused(t, xfrtest.Ask(t, network, s.Addr(t, network, 0), "", query, 1), dns.RcodeNotAuth)
		}
	}
}

// TestRepeatedDatagrams: whoever saw one signed datagram can send it again, from any
// address that the rule knows. That is bounded as other datagrams that prove nothing are.
func TestRepeatedDatagrams(t *testing.T) {
	burst := xfrtest.FreshUnproven(t)
	s := xfrtest.Serve(t, xfrtest.Guarded("allow as all net 127.0.0.0/8 key a.example.net.", ""), map[string]string{"db": xfrtest.ZoneOrg})
	udp := s.Addr(t, "udp", 0)
	query := xfrtest.Signed(t, xfrtest.Question(dns.TypeIXFR), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA)
	answered := 0
	for n := range 3 * burst {
		if m := xfrtest.Ask1(t, "udp", udp, fmt.Sprintf("127.3.%d.%d", n/200, n%200+1), query); len(m.Answer) == 1 {
			answered++
		}
	}
	if answered < burst || answered > burst+burst/2 {
		t.Errorf("%d of %d are answered, want about %d", answered, 3*burst, burst)
	}
	fresh := xfrtest.Signed(t, xfrtest.Question(dns.TypeIXFR), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA, func(s *dns.TSIG) { s.TimeSigned-- })
	if m := xfrtest.Ask1(t, "udp", udp, "127.4.0.1", fresh); len(m.Answer) != 1 {
		t.Errorf("a signature that is new: %v", m)
	}
}

// TestAttackReplay: the same octets again, after another request and from another
// port, are refused; so are two at once.
func TestAttackReplay(t *testing.T) {
	s := xfrtest.Serve(t, xfrtest.Guarded("allow as ns2 net 127.0.0.1 key a.example.net.", ""), map[string]string{"db": xfrtest.ZoneOrg})
	tcp := s.Addr(t, "tcp", 0)
	first := xfrtest.Signed(t, xfrtest.Question(dns.TypeAXFR), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA)
	if m := xfrtest.Ask1(t, "tcp", tcp, "", first); len(m.Answer) == 0 {
		t.Fatalf("the original was refused: %v", m)
	}
	if m := xfrtest.Ask1(t, "tcp", tcp, "", xfrtest.Signed(t, xfrtest.Question(dns.TypeAXFR), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA)); len(m.Answer) == 0 {
		t.Fatalf("a newer request was refused: %v", m)
	}
	for range 3 {
		xfrtest.WantRefused(t, xfrtest.Ask(t, "tcp", tcp, "", first, 1), dns.RcodeNotAuth)
	}
	replayed := 0
	for _, e := range s.Events(t, 7) {
		if e["event.reason"] == "tsig-replay" {
			replayed++
		}
	}
	if replayed != 3 { // they prove nothing, so only the first five have a line each
		t.Errorf("%d replays on record, want three", replayed)
	}

	twice := xfrtest.Signed(t, xfrtest.Question(dns.TypeAXFR), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA)
	got := make(chan *dns.Msg)
	for range 8 {
		go func() { got <- xfrtest.Ask1(t, "tcp", tcp, "", twice) }()
	}
	served := 0
	for range 8 {
		if m := <-got; len(m.Answer) > 0 {
			served++
		}
	}
	if served != 1 {
		t.Errorf("of eight copies at once %d got the zone", served)
	}
}

// TestAttackOneNameTwoSecrets: blocks on one listener overwrite each other's secrets,
// so the same name with two is an error at start, whichever block comes first.
func TestAttackOneNameTwoSecrets(t *testing.T) {
	one := strings.ReplaceAll(xfrtest.Guarded("allow as ns2 net 127.0.0.1 key a.example.net.", ""), "secret b", "secret c")
	other := fmt.Sprintf("example.net:0 {\n\tbind 127.0.0.1\n\ttsig {\n\t\tsecret A.example.net. %s\n\t}\n\twhoami\n}\n", xfrtest.SecretB)
	for _, corefile := range []string{one + other, other + one} {
		_, err := xfrtest.TryServe(t, corefile, map[string]string{"db": xfrtest.ZoneOrg})
		if err == nil || !strings.Contains(err.Error(), "two secrets") || strings.Contains(err.Error(), xfrtest.SecretA) || strings.Contains(err.Error(), xfrtest.SecretB) {
			t.Errorf("two secrets for one name: %v", err)
		}
	}
}

// TestAttackKeyOfAnotherBlock: the listener verifies signatures with the keys of all
// its blocks; only a block's own count for its zones.
func TestAttackKeyOfAnotherBlock(t *testing.T) {
	other := fmt.Sprintf("example.net:0 {\n\tbind 127.0.0.1\n\ttsig {\n\t\tsecret c.example.net. %s\n\t}\n\twhoami\n}\n", xfrtest.SecretB)
	s := xfrtest.Serve(t, xfrtest.Guarded("allow as any net 127.0.0.1 unsigned", "")+other, map[string]string{"db": xfrtest.ZoneOrg})
	q := xfrtest.Signed(t, xfrtest.Question(dns.TypeAXFR), "c.example.net.", dns.HmacSHA256, xfrtest.SecretB)
	xfrtest.WantRefused(t, xfrtest.Ask(t, "tcp", s.Addr(t, "tcp", 0), "", q, 1), dns.RcodeNotAuth)
	if e := s.Events(t, 1)[0]; e["event.reason"] != "tsig-bad-key" {
		t.Errorf("on record as %v", e)
	}
}

// TestAttackUnguardedBlock: a block without xfrguard is a way into the process too,
// before or after the guarded one, also for a query that rewrite turns into one.
func TestAttackUnguardedBlock(t *testing.T) {
	files := map[string]string{"db": xfrtest.ZoneOrg, "net": strings.ReplaceAll(xfrtest.ZoneOrg, "example.org", "example.net")}
	open := "example.net:0 {\n\tbind 127.0.0.1\n\trewrite type ANY AXFR\n\tfile DIR/net\n\ttransfer {\n\t\tto *\n\t}\n}\n"
	own := xfrtest.Guarded("allow as ns2 net 127.0.0.1 key a.example.net.", "")
	for _, qtype := range []uint16{dns.TypeAXFR, dns.TypeIXFR, dns.TypeANY} {
		q := func() []byte { return xfrtest.Packed(t, xfrtest.Question(qtype, xfrtest.WithName("example.net."))) }
		s := xfrtest.Serve(t, open, files)
		if m := xfrtest.Ask1(t, "tcp", s.Addr(t, "tcp", 0), "", q()); len(m.Answer) < 3 {
			t.Fatalf("without the guard nothing leaks, so this test shows nothing: %v", m)
		}
		for _, corefile := range []string{own + open, open + own} {
			s := xfrtest.Serve(t, corefile, files)
			xfrtest.WantRefused(t, xfrtest.Ask(t, "tcp", s.Addr(t, "tcp", 0), "", q(), 1), dns.RcodeRefused)
			want := "block-not-guarded"
			if qtype == dns.TypeANY {
				want = "rewritten"
			}
			e := s.Events(t, 1)[0]
			if e["event.reason"] != want || e["coredns.zone"] != "example.net." {
				t.Errorf("on record as %v, want %s", e, want)
			}
		}
		passing := xfrtest.Serve(t, xfrtest.Guarded("allow as ns2 net 127.0.0.1 key a.example.net.\n\t\telsewhere pass", "")+open, files)
		if m := xfrtest.Ask1(t, "tcp", passing.Addr(t, "tcp", 0), "", q()); len(m.Answer) < 3 {
			t.Errorf("elsewhere pass does not: %v", m)
		}
	}
}

// TestAttackLaterDoor: the catch-all must not shut the doors of blocks that are
// declared later.
func TestAttackLaterDoor(t *testing.T) {
	files := map[string]string{"db": xfrtest.ZoneOrg, "net": strings.ReplaceAll(xfrtest.ZoneOrg, "example.org", "example.net")}
	second := strings.NewReplacer("example.org", "example.net", "DIR/db", "DIR/net").Replace(xfrtest.Guarded("allow as ns2 net 127.0.0.1 unsigned", ""))
	s := xfrtest.Serve(t, xfrtest.Guarded("allow as ns2 net 127.0.0.1 unsigned", "")+second, files)
	for _, zone := range []string{"example.org.", "example.net."} {
		got, err := xfrtest.TransferIn(t, s.Addr(t, "tcp", 0), xfrtest.Question(dns.TypeAXFR, xfrtest.WithName(zone)), "", "")
		if err != nil || len(got) != 6 {
			t.Errorf("%s: %v, %v", zone, got, err)
		}
	}
}

// TestAttackEmptyBlock: in a block without plugins the catch-all refuses transfers,
// and ordinary queries stay REFUSED.
func TestAttackEmptyBlock(t *testing.T) {
	s := xfrtest.Serve(t, xfrtest.Guarded("allow as ns2 net 127.0.0.1 unsigned", "")+"example.net:0 {\n\tbind 127.0.0.1\n}\n", map[string]string{"db": xfrtest.ZoneOrg})
	for _, qtype := range []uint16{dns.TypeAXFR, dns.TypeA} {
		xfrtest.WantRefused(t, xfrtest.Ask(t, "tcp", s.Addr(t, "tcp", 0), "", xfrtest.Packed(t, xfrtest.Question(qtype, xfrtest.WithName("example.net."))), 1), dns.RcodeRefused)
	}
}

// TestAttackFailedReload: a new Corefile that does not parse leaves the old policy in
// force, nothing of itself behind, and the next good one works.
func TestAttackFailedReload(t *testing.T) {
	one := xfrtest.Guarded("allow as ns2 net 127.0.0.1 key a.example.net.", "")
	open := xfrtest.Guarded("allow as all net * unsigned", "")
	s := xfrtest.Serve(t, one, map[string]string{"db": xfrtest.ZoneOrg})
	unsignedGets := func(want int) {
		t.Helper()
		m := xfrtest.Ask1(t, "tcp", s.Addr(t, "tcp", 0), "", xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR)))
		if m.Rcode != want {
			t.Errorf("an unsigned request got %s, want %s", dns.RcodeToString[m.Rcode], dns.RcodeToString[want])
		}
	}
	for _, broken := range []string{
		strings.Replace(open, "file DIR/db", "file DIR/db\n\tnonesuch", 1),                        // unknown directive
		strings.Replace(open, "net *", "net", 1),                                                  // xfrguard's own error
		strings.Replace(open, "file DIR/db", "template ANY ANY {\n\t\tnonesuch\n\t}", 1),          // after the doors, before the gates
		strings.Replace(open, "unsigned", "key c.example.net.", 1),                                // found at start
		strings.Replace(open, "file DIR/db", "file DIR/db\n\tforward . /nonesuch.resolv.conf", 1), // after the gates
	} {
		if err := s.Reload(broken); err == nil {
			t.Errorf("this reload worked:\n%s", broken)
		}
		unsignedGets(dns.RcodeRefused)
	}
	if err := s.Reload(open); err != nil {
		t.Fatal(err)
	}
	unsignedGets(dns.RcodeSuccess)
	if err := s.Reload(one); err != nil {
		t.Fatal(err)
	}
	unsignedGets(dns.RcodeRefused)
}

// TestAttackSplitHorizon: two views of one zone with equal serials and different
// content never mix.
func TestAttackSplitHorizon(t *testing.T) {
	inside := xfrtest.ZoneOrg + "secret IN A 192.0.2.99\n"
	viewed := func(name, addr, db string) string {
		b := xfrtest.Guarded("allow as all net * unsigned", "view "+name+" {\n\t\texpr client_ip() == '"+addr+"'\n\t}")
		return strings.ReplaceAll(b, "DIR/db", "DIR/"+db)
	}
	s := xfrtest.Serve(t, viewed("inside", "127.0.0.2", "in")+viewed("outside", "127.0.0.3", "out"), map[string]string{"in": inside, "out": xfrtest.ZoneOrg})
	for range 5 {
		for from, want := range map[string]string{"127.0.0.2": inside, "127.0.0.3": xfrtest.ZoneOrg} {
			m := xfrtest.Ask1(t, "tcp", s.Addr(t, "tcp", 0), from, xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR)))
			xfrtest.WantZone(t, m.Answer, want)
		}
	}
	for _, e := range s.Events(t, 20) {
		if view := map[any]string{"127.0.0.2": "inside", "127.0.0.3": "outside"}[e["client.ip"]]; e["coredns.view"] != view {
			t.Errorf("on record as %v, want view %s", e, view)
		}
	}
}

// TestAttackObserve: observe refuses nothing and takes nothing over; it records what
// enforce would have done.
func TestAttackObserve(t *testing.T) {
	s := xfrtest.Serve(t, xfrtest.Guarded("allow as ns2 net 127.0.0.1 key a.example.net.\n\t\tmode observe", "transfer {\n\t\tto 127.0.0.1\n\t}"), map[string]string{"db": xfrtest.ZoneOrg})
	tcp := s.Addr(t, "tcp", 0)
	m := xfrtest.Ask1(t, "tcp", tcp, "", xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR)))
	xfrtest.WantZone(t, m.Answer, xfrtest.ZoneOrg) // transfer allows it
	got, err := xfrtest.TransferIn(t, tcp, xfrtest.Question(dns.TypeAXFR), xfrtest.KeyA, xfrtest.SecretA)
	if err != nil {
		t.Fatal(err)
	}
	xfrtest.WantZone(t, got, xfrtest.ZoneOrg)
	xfrtest.WantRefused(t, xfrtest.Ask(t, "tcp", tcp, "127.0.0.9", xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR)), 1), dns.RcodeRefused) // by transfer
	events := s.Events(t, 3)
	for i, want := range []string{"tsig-required", "policy-allow", "client-not-allowed"} {
		if e := events[i]; e["event.reason"] != want || e["coredns.xfr.enforced"] != false {
			t.Errorf("event %d is %v, want %s, not enforced", i, e, want)
		}
	}
	if len(events) != 3 {
		t.Errorf("%d events for three attempts", len(events))
	}
}

// TestAttackWrongOrder: a directive order in which others come first is refused at start.
func TestAttackWrongOrder(t *testing.T) {
	right := slices.Clone(dnsserver.Directives)
	defer func() { dnsserver.Directives = right }()
	without := slices.DeleteFunc(slices.Clone(right), func(d string) bool { return d == "xfrguard" })
	for _, before := range []string{"transfer", "rewrite", "dns64", "dnstap", "prometheus"} {
		dnsserver.Directives = slices.Insert(slices.Clone(without), slices.Index(without, before), "xfrguard")
		if before == "dns64" { // the place after dnstap is before local, which comes before dns64
			dnsserver.Directives = slices.Insert(slices.Clone(without), slices.Index(without, "dns64")+1, "xfrguard")
		}
		_, err := xfrtest.TryServe(t, xfrtest.Guarded("allow as all net * unsigned", ""), map[string]string{"db": xfrtest.ZoneOrg})
		if err == nil || !strings.Contains(err.Error(), "right after dnstap") {
			t.Errorf("xfrguard before %s: %v", before, err)
		}
	}
}

// TestAttackSlowReader: a client that stops reading loses its connection, and its
// place in the line is free again.
func TestAttackSlowReader(t *testing.T) {
	var big strings.Builder
	big.WriteString(xfrtest.ZoneOrg)
	for i := range 60000 {
		fmt.Fprintf(&big, "h%d IN TXT \"%s\"\n", i, strings.Repeat("x", 200))
	}
	s := xfrtest.Serve(t, xfrtest.Guarded("allow as all net * unsigned\n\t\ttimeout 1h stall 300ms\n\t\tconcurrent 1 per-client 1 wait 30s", ""), map[string]string{"db": big.String()})
	c, err := net.Dial("tcp", s.Addr(t, "tcp", 0))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.(*net.TCPConn).SetReadBuffer(4096)
	conn := &dns.Conn{Conn: c}
	if _, err := conn.Write(xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR))); err != nil {
		t.Fatal(err)
	}
	got, err := xfrtest.TransferIn(t, s.Addr(t, "tcp", 0), xfrtest.Question(dns.TypeAXFR), "", "")
	if err != nil || len(got) != 60006 {
		t.Fatalf("the next client got %d records: %v", len(got), err)
	}
	events := s.Events(t, 4)
	i := slices.IndexFunc(events, func(e map[string]any) bool { return e["event.reason"] == "write-timeout" })
	if i < 0 {
		t.Fatalf("no end with write-timeout: %v", events)
	}
	if d, _ := events[i]["event.duration"].(float64); time.Duration(d) > 5*time.Second {
		t.Errorf("the client that did not read was held for %v", time.Duration(d))
	}
}
