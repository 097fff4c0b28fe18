// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit/audittest"

	"github.com/coredns/caddy"
	_ "github.com/coredns/caddy/onevent"
	"github.com/coredns/coredns/core/dnsserver"
	_ "github.com/coredns/coredns/plugin/acl"
	_ "github.com/coredns/coredns/plugin/any"
	_ "github.com/coredns/coredns/plugin/auto"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/chaos"
	_ "github.com/coredns/coredns/plugin/debug"
	_ "github.com/coredns/coredns/plugin/dnssec"
	_ "github.com/coredns/coredns/plugin/dnstap"
	_ "github.com/coredns/coredns/plugin/dynupdate"
	_ "github.com/coredns/coredns/plugin/erratic"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/file"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/header"
	_ "github.com/coredns/coredns/plugin/hosts"
	_ "github.com/coredns/coredns/plugin/log"
	_ "github.com/coredns/coredns/plugin/metadata"
	_ "github.com/coredns/coredns/plugin/metrics"
	_ "github.com/coredns/coredns/plugin/minimal"
	_ "github.com/coredns/coredns/plugin/reload"
	_ "github.com/coredns/coredns/plugin/rewrite"
	_ "github.com/coredns/coredns/plugin/root"
	_ "github.com/coredns/coredns/plugin/secondary"
	_ "github.com/coredns/coredns/plugin/template"
	_ "github.com/coredns/coredns/plugin/tls"
	_ "github.com/coredns/coredns/plugin/transfer"
	_ "github.com/coredns/coredns/plugin/tsig"
	_ "github.com/coredns/coredns/plugin/view"
	_ "github.com/coredns/coredns/plugin/whoami"
	"github.com/miekg/dns"
)

func init() {
	dnsserver.Quiet = true
	caddy.Quiet = true
	i := slices.Index(dnsserver.Directives, "dnstap")
	dnsserver.Directives = slices.Insert(dnsserver.Directives, i+1, pluginName)
}

// Secrets of the keys that tests use.
const (
	secretA = "YSBzZWNyZXQgb2Yga2V5IGEgZm9yIHRlc3RzIG9ubHk="
	secretB = "YSBzZWNyZXQgb2Yga2V5IGIgZm9yIHRlc3RzIG9ubHk="
)

// The zone most tests serve.
const zoneOrg = `$ORIGIN example.org.
$TTL 3600
@     IN SOA ns1 hostmaster 7 7200 3600 1209600 300
@     IN NS  ns1
ns1   IN A   192.0.2.1
www   IN A   192.0.2.80
*.dev IN TXT "a wildcard"
`

// server is one CoreDNS in this process.
type server struct {
	dir  string
	inst *caddy.Instance
}

// serve starts CoreDNS with the Corefile, in which DIR is a fresh directory with the
// files. It is stopped at the end of the test.
func serve(t *testing.T, corefile string, files map[string]string) *server {
	t.Helper()
	s, err := tryServe(t, corefile, files)
	if err != nil {
		t.Fatalf("starting CoreDNS: %v", err)
	}
	return s
}

func tryServe(t *testing.T, corefile string, files map[string]string) (*server, error) {
	t.Helper()
	limits.Forget() // tests share addresses, and must not share what is left of their rates
	s := &server{dir: t.TempDir()}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	inst, err := caddy.Start(s.input(corefile))
	if err != nil {
		return nil, err
	}
	s.inst = inst
	t.Cleanup(func() {
		s.inst.ShutdownCallbacks()
		if err := s.inst.Stop(); err != nil {
			t.Logf("stopping CoreDNS: %v", err)
		}
	})
	return s, nil
}

func (s *server) input(corefile string) caddy.Input {
	return caddy.CaddyfileInput{
		Contents:       []byte(strings.ReplaceAll(corefile, "DIR", s.dir)),
		Filepath:       "Corefile",
		ServerTypeName: "dns",
	}
}

// reload is what the reload plugin does.
func (s *server) reload(corefile string) error {
	s.awaitServing()
	inst, err := s.inst.Restart(s.input(corefile))
	s.inst = inst
	return err
}

// awaitServing waits until the servers answer, as far as they speak plain DNS. CoreDNS
// returns before, and cannot stop one that does not serve yet (miekg/dns: "server not
// started"): it would go on and take some of the connections.
func (s *server) awaitServing() {
	for _, l := range s.inst.Servers() {
		for network, a := range map[string]net.Addr{"tcp": l.Addr(), "udp": l.LocalAddr()} {
			if a != nil {
				c := dns.Client{Net: network, Timeout: time.Second}
				_, _, _ = c.Exchange(new(dns.Msg).SetQuestion(".", dns.TypeSOA), a.String())
			}
		}
	}
}

// addr returns the address of the nth server, "tcp" or "udp".
func (s *server) addr(t *testing.T, network string, n int) string {
	t.Helper()
	i := 0
	for _, l := range s.inst.Servers() {
		var a net.Addr
		if network == "udp" {
			a = l.LocalAddr()
		} else {
			a = l.Addr()
		}
		if a == nil {
			continue
		}
		if i == n {
			return a.String()
		}
		i++
	}
	t.Fatalf("no %s server number %d", network, n)
	return ""
}

// events waits until the audit file has at least n events of transfers, and returns them.
func (s *server) events(t *testing.T, n int) []map[string]any {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for {
		got := transferEvents(t, filepath.Join(s.dir, "audit.log"))
		if len(got) >= n || time.Now().After(deadline) {
			if len(got) < n {
				t.Fatalf("%d events within 5 s, want %d: %v", len(got), n, got)
			}
			return got
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func transferEvents(t *testing.T, path string) []map[string]any {
	t.Helper()
	return slices.DeleteFunc(audittest.Lines(t, path), func(e map[string]any) bool {
		a, _ := e["event.action"].(string)
		return !strings.HasPrefix(a, "zone-transfer-")
	})
}

// question is a query for a transfer of example.org, or as the options have it.
func question(qtype uint16, options ...func(*dns.Msg)) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion("example.org.", qtype)
	m.RecursionDesired = false
	if qtype == dns.TypeIXFR {
		withSerial(1)(m)
	}
	for _, o := range options {
		o(m)
	}
	return m
}

func withSerial(serial uint32) func(*dns.Msg) {
	return func(m *dns.Msg) {
		m.Ns = []dns.RR{&dns.SOA{
			Hdr: dns.RR_Header{Name: m.Question[0].Name, Rrtype: dns.TypeSOA, Class: dns.ClassINET},
			Ns:  ".", Mbox: ".", Serial: serial,
		}}
	}
}

func withName(name string) func(*dns.Msg) {
	return func(m *dns.Msg) {
		m.Question[0].Name = name
		for _, rr := range m.Ns {
			rr.Header().Name = name
		}
	}
}

func withEDNS(m *dns.Msg) { m.SetEdns0(1232, false) }

// signed packs the message with a TSIG of the key; options change the record first.
func signed(t *testing.T, m *dns.Msg, key, alg, secret string, options ...func(*dns.TSIG)) []byte {
	t.Helper()
	m.SetTsig(key, alg, 300, time.Now().Unix())
	for _, o := range options {
		o(m.IsTsig())
	}
	b, _, err := dns.TsigGenerate(m, secret, "", false)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func packed(t *testing.T, m *dns.Msg) []byte {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// ask sends one packed message and returns the answers until n messages came, the
// server closed, or nothing came for a while. from is the source address, or "".
func ask(t *testing.T, network, addr, from string, query []byte, n int) [][]byte {
	t.Helper()
	d := net.Dialer{Timeout: 5 * time.Second}
	if from != "" {
		if network == "udp" {
			d.LocalAddr = &net.UDPAddr{IP: net.ParseIP(from)}
		} else {
			d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
		}
	}
	c, err := d.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return converse(t, c, query, n)
}

func converse(t *testing.T, c net.Conn, query []byte, n int) [][]byte {
	t.Helper()
	conn := &dns.Conn{Conn: c, UDPSize: dns.MaxMsgSize}
	if _, err := conn.Write(query); err != nil {
		t.Fatal(err)
	}
	var answers [][]byte
	for len(answers) < n {
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		buf := make([]byte, dns.MaxMsgSize)
		k, err := conn.Read(buf)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("after %d messages: %v", len(answers), err)
		}
		answers = append(answers, buf[:k])
	}
	return answers
}

// ask1 is ask for a single message.
func ask1(t *testing.T, network, addr, from string, query []byte) *dns.Msg {
	t.Helper()
	answers := ask(t, network, addr, from, query, 1)
	if len(answers) != 1 {
		t.Fatal("closed without an answer")
	}
	return unpack(t, answers[0])
}

func unpack(t *testing.T, b []byte) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(b); err != nil {
		t.Fatalf("answer: %v", err)
	}
	return m
}

// transferIn transfers the zone with miekg/dns's client, which verifies every TSIG.
func transferIn(t *testing.T, addr string, m *dns.Msg, key, secret string) ([]dns.RR, error) {
	t.Helper()
	tr := &dns.Transfer{DialTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second}
	if key != "" {
		tr.TsigSecret = map[string]string{key: secret}
		m.SetTsig(key, dns.HmacSHA256, 300, time.Now().Unix())
	}
	ch, err := tr.In(m, addr)
	if err != nil {
		return nil, err
	}
	var rrs []dns.RR
	for e := range ch {
		if e.Error != nil {
			return rrs, e.Error
		}
		rrs = append(rrs, e.RR...)
	}
	return rrs, nil
}

// wantZone compares a transfer with the zone file: SOA, every record once, SOA.
func wantZone(t *testing.T, got []dns.RR, zonefile string) {
	t.Helper()
	var want []string
	zp := dns.NewZoneParser(strings.NewReader(zonefile), "example.org.", "")
	for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
		want = append(want, rr.String())
	}
	if err := zp.Err(); err != nil {
		t.Fatal(err)
	}
	if len(got) < 2 || got[0].Header().Rrtype != dns.TypeSOA || got[len(got)-1].String() != got[0].String() {
		t.Fatalf("the transfer is no zone: %v", got)
	}
	var have []string
	for _, rr := range got[:len(got)-1] {
		have = append(have, rr.String())
	}
	slices.Sort(want)
	slices.Sort(have)
	if !slices.Equal(want, have) {
		t.Errorf("the zone came over wrong:\nwant %s\ngot  %s", strings.Join(want, "\n     "), strings.Join(have, "\n     "))
	}
}

// guarded is a Corefile with one guarded block for example.org, whose xfrguard has
// the lines; extra goes into the block.
func guarded(lines, extra string) string {
	return fmt.Sprintf(`example.org:0 {
	bind 127.0.0.1
	tsig {
		secret a.example.net. %s
		secret b.example.net. %s
	}
	xfrguard {
		%s
		audit file DIR/audit.log
	}
	file DIR/db
	%s
}
`, secretA, secretB, lines, extra)
}
