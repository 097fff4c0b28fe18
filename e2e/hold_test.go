// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/internal/audit/audittest"
	"github.com/xfrguard/xfrguard/internal/xfrtest"
)

// zoneOf is example.org with a serial and so many hosts.
func zoneOf(serial, hosts int) string {
	var b strings.Builder
	b.WriteString(strings.Replace(xfrtest.ZoneOrg, " 7 ", fmt.Sprintf(" %d ", serial), 1))
	for i := range hosts {
		fmt.Fprintf(&b, "h%d IN A 192.0.2.%d\n", i, i%250+1)
	}
	return b.String()
}

// TestHold: a truncated zone file does not leave: over a restart too secondaries get the
// last good version, and are not told of the other; it is on record and in the metrics,
// and a good version after it goes out and is told of.
func TestHold(t *testing.T) {
	secondary := xfrtest.NewListener(t)
	block := strings.Replace(xfrtest.Guarded(fmt.Sprintf(`allow as ns2 net 127.0.0.1 key a.example.net.
		notify 127.0.0.1:%s key a.example.net.
		journal DIR/journal
		hold shrink 20%%`, secondary.Port()), ""), "file DIR/db", "file DIR/db {\n\t\treload 10ms\n\t}", 1)
	s := xfrtest.Serve(t, block, map[string]string{"db": zoneOf(7, 40)})
	gets := func(serial, hosts int) {
		t.Helper()
		got, err := xfrtest.TransferIn(t, s.Addr(t, "tcp", 0), xfrtest.Question(dns.TypeAXFR), xfrtest.KeyA, xfrtest.SecretA)
		if err != nil {
			t.Fatal(err)
		}
		xfrtest.WantZone(t, got, zoneOf(serial, hosts))
	}
	told := func(serial int) string {
		return fmt.Sprintf("example.org. %d a.example.net. hmac-sha256.", serial)
	}
	holds := func(want float64) {
		t.Helper()
		audittest.Eventually(t, func() bool { return xfrtest.Metric(t, "zone_held", "example.org.") == want })
	}
	gets(7, 40)
	secondary.Wait(t, told(7))
	holds(0)

	s.Replace(t, "db", zoneOf(8, 10))
	held := s.Await(t, "zone-held", 1)[0]
	if held["event.reason"] != "shrunk" || held["coredns.xfr.serial.served"] != 8.0 || held["coredns.zone"] != "example.org." ||
		held["event.outcome"] != "failure" || held["log.level"] != "warn" || held["coredns.xfr.zone.digest"] == nil {
		t.Errorf("on record as %v", held)
	}
	gets(7, 40)
	holds(1)
	s.Restart(t, block)
	s.Await(t, "zone-held", 2)
	gets(7, 40)
	holds(1)
	secondary.Wait(t, told(7)) // after a restart everybody is told

	s.Replace(t, "db", zoneOf(9, 39))
	released := s.Await(t, "zone-released", 1)[0]
	if released["event.reason"] != "superseded" || released["coredns.xfr.serial.served"] != 9.0 {
		t.Errorf("on record as %v", released)
	}
	gets(9, 39)
	holds(0)
	secondary.Wait(t, told(9))
}

// TestHeldFromTheBeginning: a zone of which there never was a good version is not given.
func TestHeldFromTheBeginning(t *testing.T) {
	block := xfrtest.Guarded("allow as ns2 net 127.0.0.1 key a.example.net.\n\t\tjournal DIR/journal\n\t\thold shrink 20%", "")
	s := xfrtest.Serve(t, block, map[string]string{"db": strings.Join(strings.Split(xfrtest.ZoneOrg, "\n")[:3], "\n") + "\n"})
	q := xfrtest.Signed(t, xfrtest.Question(dns.TypeAXFR), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA)
	if m := xfrtest.Ask1(t, "tcp", s.Addr(t, "tcp", 0), "127.0.0.1", q); m.Rcode != dns.RcodeServerFailure {
		t.Errorf("got %v", m)
	}
	s.When(t, "zone-transfer-decision", "zone-held")
	if held := s.Await(t, "zone-held", 1)[0]; held["event.reason"] != "empty" {
		t.Errorf("on record as %v", held)
	}
}

// TestTransferBesideHold: who is told by transfer of a version that is held back is a finding.
func TestTransferBesideHold(t *testing.T) {
	rules := "allow as ns2 net 127.0.0.1 key a.example.net.\n\t\tjournal DIR/journal\n\t\t%s"
	for hold, want := range map[string]int{"hold shrink 20%": 1, "": 0} {
		s := xfrtest.Serve(t, xfrtest.Guarded(fmt.Sprintf(rules, hold), "transfer {\n\t\tto 127.0.0.1\n\t}"), map[string]string{"db": xfrtest.ZoneOrg})
		s.Await(t, "policy-load", 1)
		s.AwaitServing()
		found := func() (n int) {
			for _, f := range s.Findings(t) {
				if f["event.reason"] == "transfer-beside-hold" {
					n++
				}
			}
			return n
		}
		if want > 0 {
			audittest.Eventually(t, func() bool { return found() > 0 })
		}
		if n := found(); n != want {
			t.Errorf("%q: found %d times, want %d", hold, n, want)
		}
	}
}
