// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/interop/peer"
	"github.com/xfrguard/xfrguard/interop/rrset"
	"github.com/xfrguard/xfrguard/interop/zonegen"
)

const (
	xotZone    = "example.org." // of docs/XOT.md
	xotRecords = 100_000
)

// xotRecipes are the ways to authenticate in docs/XOT.md, a listener each.
var xotRecipes = []string{"server-authenticated", "mutual", "pinned"}

// xotPrimary is one CoreDNS with all recipes of docs/XOT.md for one zone.
type xotPrimary struct {
	primary
	blocks xotBlocks
	dir    string            // of certificates and keys
	pins   map[string]string // by rule name, base64
	ports  map[string]int    // by recipe
	known  map[string]dns.RR // the records of the zone by their text

	metrics int // port
}

func startXOT(t testing.TB) *xotPrimary {
	t.Helper()
	p := &xotPrimary{blocks: readXOT(t), ports: map[string]int{}, known: map[string]dns.RR{}}
	p.dir, p.pins = xotCertificates(t, p.blocks)
	text := zonegen.Bulk(xotZone, 1, xotRecords)
	want, err := rrset.Parse(strings.NewReader(text), xotZone, xotZone)
	if err != nil {
		t.Fatal(err)
	}
	p.want = map[string]rrset.Set{xotZone: want}
	for _, rr := range want {
		p.known[strings.Join(strings.Fields(rr.String()), " ")] = rr
	}
	db := filepath.Join(p.dir, "db.example.org")
	peer.WriteFile(t, db, text)
	plain := peer.Port(t) // for questions; transfers are refused there
	p.metrics = peer.Port(t)
	corefile := fmt.Sprintf("example.org:%d {\n    bind 127.0.0.1\n    prometheus %s\n    file %s\n}\n", plain, peer.Loopback(p.metrics), db)
	for _, recipe := range xotRecipes {
		p.ports[recipe] = peer.Port(t)
		corefile += placeCorefile(t, p.blocks.take(t, "corefile "+recipe), p.dir, p.ports[recipe], p.pins)
	}
	p.CoreDNS = startGuarded(t, plain, xotZone, corefile)
	return p
}

// xotCase is somebody who gets the zone over TLS.
type xotCase struct {
	recipe  string
	name    string // of the program
	block   string // its block in docs/XOT.md; "": NAME.conf RECIPE
	machine string // the document's address of it
	rule    string
	key     string // of TSIG, or ""
	cert    string // the subject of its certificate, or ""
}

func (c xotCase) id() string { return c.name + " " + strings.ReplaceAll(c.block, " ", "-") }

const ns2, ns3, ns4 = "192.0.2.52", "192.0.2.53", "192.0.2.54"

// xotCases is everyone whom docs/XOT.md has a recipe for. Each has an address, or
// a rule and recipe, by which its events are told from those of the others.
var xotCases = []xotCase{
	{recipe: "server-authenticated", name: "named", block: "named.conf server-authenticated", machine: ns2, rule: "ns2", key: "ns2.example.net."},
	{recipe: "server-authenticated", name: "named", block: "named.conf opportunistic", machine: ns2, rule: "ns2", key: "ns2.example.net."},
	{recipe: "server-authenticated", name: "nsd", block: "nsd.conf server-authenticated", machine: ns3, rule: "ns3", key: "ns3.example.net."},
	{recipe: "mutual", name: "named", block: "named.conf mutual", machine: ns2, rule: "ns2", cert: "CN=ns2.example.net"},
	{recipe: "mutual", name: "nsd", block: "nsd.conf mutual", machine: ns3, rule: "ns3", cert: "CN=ns3.example.net"},
	{recipe: "mutual", name: "knotd", block: "knot.conf mutual", machine: ns4, rule: "ns4", cert: "CN=ns4.example.net"},
	{recipe: "pinned", name: "named", block: "named.conf pinned", machine: ns2, rule: "ns2", cert: "CN=ns2.example.net"},
	{recipe: "pinned", name: "nsd", block: "nsd.conf pinned", machine: ns3, rule: "ns3", cert: "CN=ns3.example.net"},
	{recipe: "server-authenticated", name: "dig", block: "sh dig server-authenticated", machine: ns2, rule: "ns2", key: "ns2.example.net."},
	{recipe: "mutual", name: "dig", block: "sh dig mutual", machine: ns2, rule: "ns2", cert: "CN=ns2.example.net"},
	{recipe: "pinned", name: "dig", block: "sh dig pinned", machine: ns2, rule: "ns2", cert: "CN=ns2.example.net"},
	{recipe: "server-authenticated", name: "kdig", block: "sh kdig server-authenticated", machine: ns2, rule: "ns2", key: "ns2.example.net."},
	{recipe: "mutual", name: "kdig", block: "sh kdig mutual", machine: ns2, rule: "ns2", cert: "CN=ns2.example.net"},
	{recipe: "pinned", name: "kdig", block: "sh kdig pinned", machine: ns2, rule: "ns2", cert: "CN=ns2.example.net"},
}

// Every recipe of docs/XOT.md, as it stands there, brings the whole zone over, over
// TLS 1.3 with ALPN dot, under its rule and its certificate; who has the wrong
// certificate, or none, or no TLS, gets nothing.
func TestXoTRecipes(t *testing.T) {
	t.Parallel()
	if !guarded {
		t.Skip("stock CoreDNS")
	}
	p := startXOT(t)
	for _, c := range xotCases {
		ok := t.Run(c.id(), func(t *testing.T) {
			before := len(p.pairs(t))
			p.pull(t, c)
			p.wasOverTLS(t, c, before)
		})
		if !ok {
			t.Logf("coredns said last:\n%s", p.Stdout.Tail(10))
		}
	}
	p.strangers(t)
	for name := range p.blocks {
		if !strings.HasPrefix(name, "sh rotate") {
			t.Errorf("docs/XOT.md has a block that nothing tests: %s", name)
		}
	}
}

// pull has the case get the zone and compares what it holds or prints.
func (p *xotPrimary) pull(t *testing.T, c xotCase) {
	t.Helper()
	port := p.ports[c.recipe]
	block := place(p.blocks.take(t, c.block), p.dir, port)
	if strings.HasPrefix(c.block, "sh ") {
		compare(t, xotZone+" as "+c.name+" prints it", p.want[xotZone], p.printed(t, shellIn(t, p.dir, bound(block, c.machine))))
		return
	}
	if c.name == "knotd" {
		own := peer.Port(t)
		block = strings.ReplaceAll(block, "@8530", fmt.Sprintf("@%d", own))
		p.haproxy(t, own, port, xotAddress(c.machine))
	}
	zone := peer.Zone{Origin: xotZone}
	s := peer.StartSnippet(t, c.name, peer.Port(t), xotAddress(c.machine), zone, block)
	if c.name == "nsd" && c.cert != "" {
		nsdSecondTry(t, s)
	}
	s.AwaitSerial(t, xotZone, 1, 30*time.Second)
	compare(t, xotZone+" of "+c.name, p.want[xotZone], s.Content(t, zone, 1))
	s.Stop()
}

// bound has dig or kdig send from the machine's address.
func bound(line, machine string) string {
	return strings.Replace(line, " @", " -b "+xotAddress(machine)+" @", 1)
}

// nsdSecondTry tells NSD to transfer again once its first try, which lacks the
// certificate (docs/XOT.md), has failed.
func nsdSecondTry(t *testing.T, s *peer.Secondary) {
	t.Helper()
	s.Await(t, 10*time.Second, "fail without a certificate", func(context.Context) error {
		if said := s.Stderr.Tail(50); !strings.Contains(said, "xfrd: zone example.org received error code REFUSED") {
			return fmt.Errorf("not refused yet")
		}
		return nil
	})
	s.NSDControl(t, "transfer", "example.org")
}

// haproxy runs the document's TLS client for knotd, from the address given.
func (p *xotPrimary) haproxy(t *testing.T, own, port int, source string) {
	t.Helper()
	config := place(p.blocks.take(t, "haproxy.cfg mutual"), p.dir, port)
	config = strings.ReplaceAll(config, "127.0.0.1:8530", peer.Loopback(own))
	config = strings.TrimSuffix(config, "\n") + " source " + source + "\n"
	dir := t.TempDir()
	path := filepath.Join(dir, "haproxy.cfg")
	peer.WriteFile(t, path, config)
	h := peer.Run(t, "haproxy", dir, peer.Binary(t, "haproxy"), "-db", "-f", path)
	awaitPort(t, h, own)
}

// printed reads what dig or kdig printed. A line that says a record of the zone is
// that record; any other is parsed.
func (p *xotPrimary) printed(t *testing.T, out string) rrset.Set {
	t.Helper()
	var rrs []dns.RR
	for line := range strings.Lines(tsigLine.ReplaceAllString(out, "")) {
		if rr, ok := p.known[strings.Join(strings.Fields(line), " ")]; ok {
			rrs = append(rrs, rr)
			continue
		}
		others, err := rrset.ParseAll(strings.NewReader(line), ".", "printed")
		if err != nil {
			t.Fatal(err)
		}
		rrs = append(rrs, others...)
	}
	set, err := rrset.FromTransfer(rrs)
	if err != nil {
		t.Fatalf("%v; it printed %.1000q", err, out)
	}
	return set
}

// wasOverTLS checks the pair of events of the case: the first complete one after
// those known before.
func (p *xotPrimary) wasOverTLS(t *testing.T, c xotCase, before int) {
	t.Helper()
	pairs := p.pairs(t)[before:]
	if len(pairs) != 1 {
		t.Errorf("%d transfers on record, want one", len(pairs))
	}
	for _, pair := range pairs {
		d, end := pair[0], pair[1]
		got := xotCase{rule: d.Rule, key: d.Key, cert: d.CertSubject, machine: d.Client}
		want := xotCase{rule: c.rule, key: c.key, cert: c.cert, machine: xotAddress(c.machine)}
		if got != want || d.Transport != "tls" || d.TLSVersion != "1.3" || d.ALPN != "dot" {
			t.Errorf("%+v over %s %s %s, want %+v over tls 1.3 dot:\n%s", got, d.Transport, d.TLSVersion, d.ALPN, want, d.Line)
		}
		if want := c.recipe == "mutual"; d.Verified != want {
			t.Errorf("verified %v, want %v:\n%s", d.Verified, want, d.Line)
		}
		if c.recipe == "pinned" && d.CertPin != hexOf(t, p.pins[c.rule]) {
			t.Errorf("pin %s, want %s", d.CertPin, hexOf(t, p.pins[c.rule]))
		}
		if !end.Complete || end.Reason != "complete" || end.Records != xotRecords+1 {
			t.Errorf("not the whole zone:\n%s", end.Line)
		}
	}
}

func hexOf(t *testing.T, pin string) string {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(pin)
	if err != nil || len(b) != 32 {
		t.Fatalf("%q is no pin: %v", pin, err)
	}
	return hex.EncodeToString(b)
}

// tryXoT runs a client's line, which may fail, and returns what it prints.
func tryXoT(t *testing.T, dir, line string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.Dir = dir
	out, _ := cmd.CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("did not end: %s", line)
	}
	return string(out)
}
