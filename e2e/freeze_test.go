// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/internal/audit/audittest"
	"github.com/xfrguard/xfrguard/internal/xfrtest"
)

// controlled is a Corefile with a control directory, which is made beside it.
func controlled(t *testing.T, rules string) (corefile, dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return xfrtest.Guarded(rules+"\n\t\tcontrol "+dir, ""), dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestFreezeEndsTransfers: sixteen transfers are under way when the operator freezes all:
// each ends within a second of the file, on record, and a new one is refused. A reload
// changes nothing of it. After the thaw secondaries are told, and get the zone.
func TestFreezeEndsTransfers(t *testing.T) {
	const hosts, many = 50000, 16
	told := xfrtest.NewListener(t)
	corefile, dir := controlled(t, "allow as lan net 127.0.0.1 unsigned concurrent 32\n\t\tconcurrent 32 per-client 32\n\t\trate 1000/1s burst 100\n\t\tnotify 127.0.0.1:"+told.Port())
	s := xfrtest.Serve(t, corefile, map[string]string{"db": xfrtest.ZoneOfTexts(hosts, 240)})
	told.Wait(t, "example.org. 7 unsigned")
	var conns []*dns.Conn
	got := make([]int, many)
	for i := range many {
		c, records := xfrtest.SlowTransfer(t, s, dns.TypeAXFR)
		conns = append(conns, c)
		got[i] = records
	}
	began := time.Now()
	write(t, filepath.Join(dir, "freeze"), "by:alice key of ns2 stolen\n")
	var ended []map[string]any
	audittest.Eventually(t, func() bool {
		ended = nil
		for _, e := range audittest.Lines(t, s.Dir+"/audit.log") {
			if e["event.action"] == "zone-transfer-end" {
				ended = append(ended, e)
			}
		}
		return len(ended) == many
	})
	for _, e := range ended {
		at, err := time.Parse(time.RFC3339Nano, fmt.Sprint(e["@timestamp"]))
		if late := at.Sub(began); err != nil || e["event.reason"] != "frozen" || late > time.Second {
			t.Errorf("%v after the freeze: %v, %v", late, e["event.reason"], err)
		}
	}
	for i, c := range conns {
		if records := xfrtest.Rest(c, got[i], hosts+6); records == hosts+6 {
			t.Errorf("transfer %d went to its end", i)
		}
	}
	refused := func() {
		t.Helper()
		m := xfrtest.Ask1(t, "tcp", s.Addr(t, "tcp", 0), "127.0.0.1", xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR, xfrtest.WithEDNS)))
		if m.Rcode != dns.RcodeRefused || xfrtest.EDEOf(m) != int(dns.ExtendedErrorCodeProhibited) {
			t.Errorf("frozen, and answered %v", m)
		}
	}
	refused()
	s.When(t, "zone-transfer-decision", "frozen")
	if m := xfrtest.Ask1(t, "udp", s.Addr(t, "udp", 0), "127.0.0.1", xfrtest.Packed(t, xfrtest.Question(dns.TypeSOA))); len(m.Answer) != 1 {
		t.Errorf("an ordinary query: %v", m)
	}
	if err := s.Reload(corefile); err != nil {
		t.Fatal(err)
	}
	refused()
	if n := xfrtest.Metric(t, "frozen", "*"); n != 1 {
		t.Errorf("the metric is %v", n)
	}
	if err := os.Remove(filepath.Join(dir, "freeze")); err != nil {
		t.Fatal(err)
	}
	s.When(t, "transfers-thawed", "all")
	told.Wait(t, "example.org. 7 unsigned")
	if rrs, err := xfrtest.TransferIn(t, s.Addr(t, "tcp", 0), xfrtest.Question(dns.TypeAXFR), "", ""); err != nil || len(rrs) < hosts {
		t.Errorf("after the thaw: %d records, %v", len(rrs), err)
	}
	frozen := s.Await(t, "transfers-frozen", 1)
	if e := frozen[0]; len(frozen) != 1 || e["coredns.xfr.control.by"] != "alice" || e["coredns.xfr.control.text"] != "key of ns2 stolen" {
		t.Errorf("on record: %v", frozen)
	}
	if n := xfrtest.Metric(t, "frozen", "*"); n != 0 {
		t.Errorf("after the thaw the metric is %v", n)
	}
}

// TestFreezeOfAZone: one zone of a block is frozen, the other is not; a policy that denies
// comes first; what cannot be read leaves things as they are.
func TestFreezeOfAZone(t *testing.T) {
	corefile, dir := controlled(t, "allow as lan net 127.0.0.1 unsigned")
	s := xfrtest.Serve(t, strings.Replace(strings.Replace(corefile, "xfrguard {", "xfrguard example.org sub.example.org {", 1), "file DIR/db", "file DIR/db example.org\n\tfile DIR/sub sub.example.org", 1),
		map[string]string{"db": xfrtest.ZoneOrg, "sub": strings.Replace(xfrtest.ZoneOrg, "$ORIGIN example.org.", "$ORIGIN sub.example.org.", 1)})
	gets := func(zone, from string) int {
		return xfrtest.Ask1(t, "tcp", s.Addr(t, "tcp", 0), from, xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR, xfrtest.WithName(zone)))).Rcode
	}
	zones := filepath.Join(dir, "freeze.zones")
	write(t, zones, "# by hand\nExample.ORG broken export\n")
	s.When(t, "transfers-frozen", "zone")
	if got := gets("example.org.", "127.0.0.1"); got != dns.RcodeRefused {
		t.Errorf("the frozen zone: %s", dns.RcodeToString[got])
	}
	s.When(t, "zone-transfer-decision", "frozen")
	if got := gets("sub.example.org.", "127.0.0.1"); got != dns.RcodeSuccess {
		t.Errorf("the other zone: %s", dns.RcodeToString[got])
	}
	if got := gets("example.org.", "127.0.0.2"); got != dns.RcodeRefused {
		t.Errorf("a stranger: %s", dns.RcodeToString[got])
	}
	s.When(t, "zone-transfer-decision", "client-not-allowed")
	if err := os.Chmod(zones, 0o666); err != nil {
		t.Fatal(err)
	}
	s.When(t, "control-unreadable", "")
	if up := xfrtest.Metric(t, "control_up"); up != 0 {
		t.Errorf("up: %v", up)
	}
	if got := gets("example.org.", "127.0.0.1"); got != dns.RcodeRefused {
		t.Errorf("what was frozen, its file not readable: %s", dns.RcodeToString[got])
	}
	write(t, zones, "")
	if err := os.Chmod(zones, 0o644); err != nil {
		t.Fatal(err)
	}
	s.When(t, "control-readable", "")
	s.When(t, "transfers-thawed", "zone")
	if got := gets("example.org.", "127.0.0.1"); got != dns.RcodeSuccess {
		t.Errorf("after the thaw: %s", dns.RcodeToString[got])
	}
}

// TestUnreadableAtStart: a control directory that is not there when the server starts
// freezes transfers and nothing else.
func TestUnreadableAtStart(t *testing.T) {
	corefile, dir := controlled(t, "allow as lan net 127.0.0.1 unsigned")
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	s := xfrtest.Serve(t, corefile, map[string]string{"db": xfrtest.ZoneOrg})
	ask := func() int {
		return xfrtest.Ask1(t, "tcp", s.Addr(t, "tcp", 0), "127.0.0.1", xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR))).Rcode
	}
	if got := ask(); got != dns.RcodeRefused {
		t.Errorf("at start: %s", dns.RcodeToString[got])
	}
	s.When(t, "transfers-frozen", "all")
	s.When(t, "control-unreadable", "")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s.When(t, "transfers-thawed", "all")
	s.When(t, "control-readable", "")
	if got := ask(); got != dns.RcodeSuccess {
		t.Errorf("once it is there: %s", dns.RcodeToString[got])
	}
}

// TestFreezeInObserve: what refuses nothing freezes nothing, and says so at start.
func TestFreezeInObserve(t *testing.T) {
	corefile, dir := controlled(t, "allow as lan net 127.0.0.1 unsigned\n\t\tmode observe")
	write(t, filepath.Join(dir, "freeze"), "")
	write(t, filepath.Join(dir, "approve"), strings.Repeat("ab", 32)+"\nsha384:"+strings.Repeat("ab", 48)+"\n")
	s := xfrtest.Serve(t, strings.Replace(corefile, "file DIR/db", "transfer {\n\t\tto *\n\t}\n\tfile DIR/db", 1), map[string]string{"db": xfrtest.ZoneOrg})
	if m := xfrtest.Ask1(t, "tcp", s.Addr(t, "tcp", 0), "127.0.0.1", xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR))); m.Rcode != dns.RcodeSuccess {
		t.Errorf("observed, and answered %v", m)
	}
	for _, e := range s.Findings(t) {
		if e["event.reason"] == "property-ignored" && strings.HasPrefix(fmt.Sprint(e["message"]), "control has no effect") {
			return
		}
	}
	t.Error("no finding")
}

// TestFreezeOfPatternZone: what a pattern stands for is frozen and thawed like any zone, by
// its own name or with all.
func TestFreezeOfPatternZone(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	files := &xfrtest.Server{Dir: t.TempDir()}
	zonesDir(t, files, "example.org", "example.net")
	corefile := patternBlock(".:0", "*", "control "+dir, autoBody)
	s := xfrtest.Serve(t, strings.ReplaceAll(corefile, "DIR/zones", files.Dir+"/zones"), nil)
	wantAsked(t, s, "example.org", "NOERROR")
	write(t, filepath.Join(dir, "freeze.zones"), "example.org broken export\n")
	s.When(t, "transfers-frozen", "zone")
	wantAsked(t, s, "example.org", "REFUSED")
	wantAsked(t, s, "example.net", "NOERROR")
	write(t, filepath.Join(dir, "freeze"), "by:alice all of it\n")
	s.When(t, "transfers-frozen", "all")
	wantAsked(t, s, "example.net", "REFUSED")
	for _, name := range []string{"freeze", "freeze.zones"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	s.When(t, "transfers-thawed", "all")
	s.When(t, "transfers-thawed", "zone")
	wantAsked(t, s, "example.org", "NOERROR")
	wantAsked(t, s, "example.net", "NOERROR")
}

// TestReloadThaws: a reload that takes the freeze away, with its property or without, is
// a thaw like any: on record, and secondaries that were told of the serial before are told
// again, for they were refused meanwhile.
func TestReloadThaws(t *testing.T) {
	told := xfrtest.NewListener(t)
	rules := "allow as ns2 net 127.0.0.1 key a.example.net.\n\t\tnotify 127.0.0.1:" + told.Port() + " key a.example.net."
	frozen, dir := controlled(t, rules)
	s := xfrtest.Serve(t, frozen, map[string]string{"db": xfrtest.ZoneOrg})
	s.Await(t, "zone-notify-accepted", 1)
	write(t, filepath.Join(dir, "freeze"), "by:alice drill\n")
	s.When(t, "transfers-frozen", "all")
	if err := s.Reload(xfrtest.Guarded(rules, "")); err != nil {
		t.Fatal(err)
	}
	thawed := s.Await(t, "transfers-thawed", 1)[0]
	if thawed["coredns.xfr.control.by"] != "alice" || thawed["event.reason"] != "all" {
		t.Errorf("on record: %v", thawed)
	}
	s.Await(t, "zone-notify-accepted", 2)
	if rrs, err := xfrtest.TransferIn(t, s.Addr(t, "tcp", 0), xfrtest.Question(dns.TypeAXFR), xfrtest.KeyA, xfrtest.SecretA); err != nil || len(rrs) < 3 {
		t.Errorf("after the thaw: %d records, %v", len(rrs), err)
	}
}

// TestApproveInTwoBlocks: two blocks, for TLS and without it say, hold the same version of a
// zone. One line lets it out of both.
func TestApproveInTwoBlocks(t *testing.T) {
	block, dir := controlled(t, "allow as ns2 net 127.0.0.1 key a.example.net.\n\t\tjournal DIR/journal\n\t\thold shrink 20%")
	block = strings.Replace(block, "file DIR/db", "file DIR/db {\n\t\treload 10ms\n\t}", 1)
	s := xfrtest.Serve(t, block+strings.Replace(block, "bind 127.0.0.1", "bind 127.0.0.2", 1), map[string]string{"db": zoneOf(7, 40)})
	gets := func(serial, hosts int) {
		t.Helper()
		for n := range 2 {
			got, err := xfrtest.TransferIn(t, s.Addr(t, "tcp", n), xfrtest.Question(dns.TypeAXFR), xfrtest.KeyA, xfrtest.SecretA)
			if err != nil {
				t.Fatal(err)
			}
			xfrtest.WantZone(t, got, zoneOf(serial, hosts))
		}
	}
	gets(7, 40)
	s.Replace(t, "db", zoneOf(8, 10))
	held := s.Await(t, "zone-held", 2)
	if held[0]["coredns.server"] == held[1]["coredns.server"] || held[0]["coredns.xfr.zone.digest"] != held[1]["coredns.xfr.zone.digest"] {
		t.Fatalf("held: %v", held)
	}
	write(t, filepath.Join(dir, "approve"), fmt.Sprint(held[0]["coredns.xfr.zone.digest"], " by:alice as meant\n"))
	s.Await(t, "zone-approved", 2)
	gets(8, 10)
}
