// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"fmt"
	"io/fs"
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

// stream asks for a transfer and returns its messages as they came over the wire.
func stream(t *testing.T, addr string, query []byte) [][]byte {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	conn := &dns.Conn{Conn: c}
	if _, err := conn.Write(query); err != nil {
		t.Fatal(err)
	}
	var raw [][]byte
	soas := 0
	for soas < 2 {
		buf := make([]byte, dns.MaxMsgSize)
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatalf("after %d messages: %v", len(raw), err)
		}
		raw = append(raw, buf[:n])
		m := xfrtest.Unpack(t, buf[:n])
		if m.Rcode != dns.RcodeSuccess {
			return raw
		}
		for _, rr := range m.Answer {
			if rr.Header().Rrtype == dns.TypeSOA {
				soas++
			}
		}
	}
	return raw
}

// TestEnvelopes: every message of a transfer has the ID, an OPT when the client sent
// one (RFC 9103 §6.3.4) and a TSIG (RFC 8945 §5.3.1) as the last record, stays below
// 16 KiB and has AA; the question is in the first, in the client's letter case.
func TestEnvelopes(t *testing.T) {
	zone := xfrtest.ManyHosts(3000)
	s := xfrtest.Serve(t, xfrtest.Guarded("allow as ns2 net 127.0.0.1 key a.example.net.", ""), map[string]string{"db": zone})
	for _, qtype := range []uint16{dns.TypeAXFR, dns.TypeIXFR} {
		q := xfrtest.Question(qtype, xfrtest.WithEDNS, xfrtest.WithName("eXample.ORG."))
		query := xfrtest.Signed(t, q, xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA)
		raw := stream(t, s.Addr(t, "tcp", 0), query)
		if len(raw) < 5 {
			t.Fatalf("only %d messages", len(raw))
		}
		prior := xfrtest.Unpack(t, query).IsTsig().MAC
		var all []dns.RR
		for i, b := range raw {
			m := xfrtest.Unpack(t, b)
			sig := m.IsTsig()
			if m.Id != q.Id || !m.Authoritative || !m.Response || len(b) > 16383 || sig == nil || len(m.Extra) != 2 || m.IsEdns0() == nil {
				t.Fatalf("message %d of %d octets: %v", i, len(b), m)
			}
			if wantQ := i == 0; (len(m.Question) == 1) != wantQ {
				t.Errorf("message %d has %d questions", i, len(m.Question))
			}
			if i == 0 && (m.Question[0].Name != "eXample.ORG." || m.Question[0].Qtype != qtype) {
				t.Errorf("the question came back as %v", m.Question[0])
			}
			if err := dns.TsigVerify(slices.Clone(b), xfrtest.SecretA, prior, i > 0); err != nil {
				t.Fatalf("signature of message %d: %v", i, err)
			}
			prior = sig.MAC
			all = append(all, m.Answer...)
		}
		xfrtest.WantZone(t, all, zone)
	}
	if e := s.Events(t, 4); e[3]["coredns.xfr.served"] != "axfr-fallback" || e[3]["coredns.xfr.serial.requested"] != float64(1) {
		t.Errorf("the IXFR is on record as %v", e[3])
	}
}

// TestHugeRecord: a TXT record of 65,280 octets, signed, with OPT: stock CoreDNS
// loses the zone for ever when OPT and TSIG do not fit (coredns 7859 is a cousin).
func TestHugeRecord(t *testing.T) {
	zone := xfrtest.ZoneOrg + "big IN TXT" + strings.Repeat(" \""+strings.Repeat("y", 255)+"\"", 255) + "\n"
	s := xfrtest.Serve(t, xfrtest.Guarded("allow as ns2 net 127.0.0.1 key a.example.net.", ""), map[string]string{"db": zone})
	q := xfrtest.Question(dns.TypeAXFR, xfrtest.WithEDNS)
	got, err := xfrtest.TransferIn(t, s.Addr(t, "tcp", 0), q, xfrtest.KeyA, xfrtest.SecretA)
	if err != nil {
		t.Fatal(err)
	}
	xfrtest.WantZone(t, got, zone)
}

// TestRecordTooLarge: one that cannot be signed even alone in its message is a clear
// SERVFAIL before anything is sent; unsigned it goes.
func TestRecordTooLarge(t *testing.T) {
	owner := strings.Repeat(strings.Repeat("o", 60)+".", 3) + "o"
	zone := xfrtest.ZoneOrg + owner + " IN TXT" + strings.Repeat(" \""+strings.Repeat("y", 255)+"\"", 255) + "\n"
	s := xfrtest.Serve(t, xfrtest.Guarded("allow as ns2 net 127.0.0.1 key a.example.net.\n\t\tallow as ns3 net 127.0.0.2 unsigned", ""), map[string]string{"db": zone})
	q := xfrtest.Signed(t, xfrtest.Question(dns.TypeAXFR), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA)
	xfrtest.WantRefused(t, xfrtest.Ask(t, "tcp", s.Addr(t, "tcp", 0), "", q, 1), dns.RcodeServerFailure)
	e := s.Events(t, 1)[0]
	if e["event.reason"] != "zone-unavailable" || !strings.Contains(fmt.Sprint(e["error.message"]), "65535") {
		t.Errorf("on record as %v", e)
	}
	if got := xfrtest.Ask(t, "tcp", s.Addr(t, "tcp", 0), "127.0.0.2", xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR)), 2); len(got) != 2 {
		t.Errorf("unsigned: %d messages", len(got))
	}
}

// TestRateLimit: the limit is per client and zone, is said with SERVFAIL, and
// survives a reload.
func TestRateLimit(t *testing.T) {
	corefile := xfrtest.Guarded("allow as ns2 net 127.0.0.0/8 unsigned\n\t\trate 2/1h burst 2", "")
	s := xfrtest.Serve(t, corefile, map[string]string{"db": xfrtest.ZoneOrg})
	get := func(from string) int {
		return xfrtest.Ask1(t, "tcp", s.Addr(t, "tcp", 0), from, xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR))).Rcode
	}
	from := "127.77.0.1" // of no other test: the buckets are the process's
	if a, b, c := get(from), get(from), get(from); a != 0 || b != 0 || c != dns.RcodeServerFailure {
		t.Errorf("got %d %d %d, want two transfers and SERVFAIL", a, b, c)
	}
	if err := s.Reload(corefile); err != nil {
		t.Fatal(err)
	}
	if c := get(from); c != dns.RcodeServerFailure {
		t.Errorf("after a reload got %d, want SERVFAIL", c)
	}
	if c := get("127.77.0.2"); c != 0 {
		t.Errorf("another client got %d", c)
	}
	if e := s.Events(t, 5); !slices.ContainsFunc(e, func(e map[string]any) bool { return e["event.reason"] == "rate-limited" }) {
		t.Errorf("no rate-limited on record: %v", e)
	}
}

// TestZoneUnavailable: a backend that has no such zone is SERVFAIL, on record.
func TestZoneUnavailable(t *testing.T) {
	s := xfrtest.Serve(t, strings.Replace(xfrtest.Guarded(xfrtest.UnsignedRule, ""), "xfrguard {", "xfrguard example.org sub.example.org {", 1), map[string]string{"db": xfrtest.ZoneOrg})
	xfrtest.WantRefused(t, xfrtest.Ask(t, "tcp", s.Addr(t, "tcp", 0), "", xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR, xfrtest.WithName("sub.example.org."))), 1), dns.RcodeServerFailure)
	if e := s.Events(t, 1)[0]; e["event.reason"] != "zone-unavailable" || e["coredns.zone"] != "sub.example.org." {
		t.Errorf("on record as %v", e)
	}
}

// TestAuditUnavailable: with refuse nothing leaves that is not recorded; with serve
// it does. Ordinary queries go on in both.
func TestAuditUnavailable(t *testing.T) {
	for _, mode := range []string{"refuse", "serve"} {
		s := xfrtest.Serve(t, xfrtest.Guarded(xfrtest.UnsignedRule+"\n\t\taudit_failure "+mode, ""), map[string]string{"db": xfrtest.ZoneOrg})
		path := filepath.Join(s.Dir, "audit.log")
		becomeDirectory(t, path)
		m := xfrtest.Ask1(t, "tcp", s.Addr(t, "tcp", 0), "", xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR)))
		if want := map[string]int{"refuse": dns.RcodeServerFailure, "serve": dns.RcodeSuccess}[mode]; m.Rcode != want {
			t.Errorf("%s: got %s", mode, dns.RcodeToString[m.Rcode])
		}
		if mode == "refuse" && len(m.Answer) > 0 {
			t.Error("records of the zone without a record of the decision")
		}
		a := new(dns.Msg).SetQuestion("www.example.org.", dns.TypeA)
		if m := xfrtest.Ask1(t, "udp", s.Addr(t, "udp", 0), "", xfrtest.Packed(t, a)); len(m.Answer) != 1 {
			t.Errorf("%s: an ordinary query got %v", mode, m)
		}
	}
}

// becomeDirectory puts a directory in the place of a file that its writer may make anew
// at any time.
func becomeDirectory(t *testing.T, path string) {
	t.Helper()
	for {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		err := os.Mkdir(path, 0o700)
		if err == nil {
			return
		}
		if !errors.Is(err, fs.ErrExist) {
			t.Fatal(err)
		}
	}
}

// TestPipelined: several transfers and queries on one connection are all answered,
// in turn (RFC 5936 §4.1.2), also after a refusal.
func TestPipelined(t *testing.T) {
	s := xfrtest.Serve(t, xfrtest.Guarded("allow as ns2 net 127.0.0.1 key a.example.net.", ""), map[string]string{"db": xfrtest.ZoneOrg})
	c, err := net.Dial("tcp", s.Addr(t, "tcp", 0))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	conn := &dns.Conn{Conn: c}
	var want []uint16
	for i := range 9 {
		q := xfrtest.Question(dns.TypeAXFR)
		b := []byte(nil)
		switch i % 3 {
		case 0:
			b = xfrtest.Signed(t, q, xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA)
		case 1:
			b = xfrtest.Packed(t, q)
		default:
			q = new(dns.Msg).SetQuestion("www.example.org.", dns.TypeA)
			b = xfrtest.Packed(t, q)
		}
		want = append(want, q.Id)
		if _, err := conn.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	for i, id := range want {
		buf := make([]byte, dns.MaxMsgSize)
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		m := xfrtest.Unpack(t, buf[:n])
		if m.Id != id || (m.Rcode == dns.RcodeRefused) != (i%3 == 1) {
			t.Errorf("answer %d is %v", i, m)
		}
	}
}

// TestBandwidth: a paced transfer takes its time and is whole.
func TestBandwidth(t *testing.T) {
	zone := xfrtest.ManyHosts(2000) // about 220 kB
	s := xfrtest.Serve(t, xfrtest.Guarded(xfrtest.UnsignedRule+"\n\t\tbandwidth 200KB", ""), map[string]string{"db": zone})
	start := time.Now()
	got, err := xfrtest.TransferIn(t, s.Addr(t, "tcp", 0), xfrtest.Question(dns.TypeAXFR), "", "")
	if err != nil {
		t.Fatal(err)
	}
	xfrtest.WantZone(t, got, zone)
	if d := time.Since(start); d < 500*time.Millisecond {
		t.Errorf("220 kB at 200 kB/s took %v", d)
	}
}

// TestTimeout: a transfer that takes too long in all is cut off, though it makes progress.
func TestTimeout(t *testing.T) {
	s := xfrtest.Serve(t, xfrtest.Guarded(xfrtest.UnsignedRule+"\n\t\tbandwidth 100KB\n\t\ttimeout 300ms stall 300ms", ""), map[string]string{"db": xfrtest.ManyHosts(5000)})
	if _, err := xfrtest.TransferIn(t, s.Addr(t, "tcp", 0), xfrtest.Question(dns.TypeAXFR), "", ""); err == nil {
		t.Fatal("it came to its end")
	}
	if e := s.Events(t, 2)[1]; e["event.reason"] != "transfer-timeout" || e["coredns.xfr.complete"] == true {
		t.Errorf("on record as %v", e)
	}
}

// TestOrdinaryLogAndMetrics: log and prometheus report transfers and refusals with
// rcode and size, though the zone went past them.
func TestOrdinaryLogAndMetrics(t *testing.T) {
	out := xfrtest.CaptureLog(t)
	zone := xfrtest.ManyHosts(500)
	s := xfrtest.Serve(t, xfrtest.Guarded("allow as ns2 net 127.0.0.1 key a.example.net.", "log\n\tprometheus 127.0.0.1:0"), map[string]string{"db": zone})
	got, err := xfrtest.TransferIn(t, s.Addr(t, "tcp", 0), xfrtest.Question(dns.TypeAXFR), xfrtest.KeyA, xfrtest.SecretA)
	if err != nil {
		t.Fatal(err)
	}
	xfrtest.WantZone(t, got, zone)
	xfrtest.Ask1(t, "tcp", s.Addr(t, "tcp", 0), "", xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR)))
	events := s.Events(t, 3)
	var bytes float64
	for _, e := range events {
		if e["event.action"] == "zone-transfer-end" {
			bytes, _ = e["server.bytes"].(float64)
		}
	}
	if bytes < 40000 {
		t.Errorf("an end with %v bytes", bytes)
	}
	want := fmt.Sprintf("NOERROR qr,aa %d ", int(bytes))
	logged := func() bool { return strings.Contains(out(), want) && strings.Contains(out(), "REFUSED qr") }
	for deadline := time.Now().Add(30 * time.Second); !logged() && time.Now().Before(deadline); { // after the answers
		time.Sleep(5 * time.Millisecond)
	}
	if !logged() {
		t.Errorf("the log has no %q and REFUSED:\n%s", want, out())
	}
	if counted := xfrtest.Metric(t, "requests_total", "dns://127.0.0.1:0", "example.org.", "", "AXFR", "deny", "tsig-required"); counted < 1 {
		t.Error("the refusal is not counted")
	}
}

// TestDefaultDeny: a block with xfrguard and no rules hands out nothing.
func TestDefaultDeny(t *testing.T) {
	s := xfrtest.Serve(t, xfrtest.Guarded("", "transfer {\n\t\tto *\n\t}"), map[string]string{"db": xfrtest.ZoneOrg})
	q := xfrtest.Signed(t, xfrtest.Question(dns.TypeAXFR), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA)
	xfrtest.WantRefused(t, xfrtest.Ask(t, "tcp", s.Addr(t, "tcp", 0), "", q, 1), dns.RcodeRefused)
}

// TestStartErrors: what would have another effect than it seems is said at start,
// with file and line.
func TestStartErrors(t *testing.T) {
	for name, c := range map[string]struct{ corefile, want string }{
		"unknown key":      {xfrtest.Guarded("allow net * key c.example.net.", ""), `Corefile:8: rule "rule-1" wants TSIG key c.example.net., which is not in the tsig plugin of this server block`},
		"zone outside":     {strings.Replace(xfrtest.Guarded(xfrtest.UnsignedRule, ""), "xfrguard {", "xfrguard example.com {", 1), "zone 'example.com.' is outside of this server block, which serves example.org."},
		"elsewhere":        {xfrtest.Guarded(xfrtest.UnsignedRule+"\n\t\telsewhere pass", "") + strings.ReplaceAll(xfrtest.Guarded(xfrtest.UnsignedRule, ""), "example.org", "example.com"), "disagree about elsewhere"},
		"findings":         {xfrtest.Guarded(xfrtest.UnsignedRule+"\n\t\tfindings fail", ""), `rule "all" has no net, or every address`},
		"acl":              {xfrtest.Guarded("allow net 127.0.0.1 unsigned\n\t\tfindings fail", "acl {\n\t\tblock type SOA\n\t}"), "acl refuses the SOA query"},
		"tsig require":     {strings.Replace(xfrtest.Guarded("allow net 127.0.0.1 unsigned\n\t\tfindings fail", ""), "tsig {", "tsig {\n\t\trequire AXFR", 1), "tsig require no longer decides"},
		"tsig require all": {strings.Replace(xfrtest.Guarded("allow net 127.0.0.1 unsigned\n\t\tfindings fail", ""), "tsig {", "tsig {\n\t\trequire all", 1), "tsig require no longer decides"},
		"transfer to":      {xfrtest.Guarded("allow net 127.0.0.1 unsigned\n\t\tfindings fail", "transfer {\n\t\tto *\n\t}"), "transfer to no longer decides"},
		"bad secret":       {strings.Replace(xfrtest.Guarded("allow net 127.0.0.1 unsigned", ""), xfrtest.SecretB, "!not-base64!", 1), "the secret of TSIG key b.example.net. is not base64"},
	} {
		_, err := xfrtest.TryServe(t, c.corefile, map[string]string{"db": xfrtest.ZoneOrg})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v\nwant %s", name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "not-base64") {
			t.Errorf("%s: a secret in the error", name)
		}
	}
}
