// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/internal/xfrtest"
)

// patternBlock is a server block with a directive for the zones, and keys, for a client
// that needs key a.
func patternBlock(key, zones, lines, body string) string {
	return fmt.Sprintf(`%s {
	bind 127.0.0.1
	tsig {
		secret a.example.net. %s
	}
	xfrguard %s {
		allow as ns2 net 127.0.0.1 key a.example.net.
		rate 100000/1s burst 100000
		audit file DIR/audit.log
		%s
	}
	%s
}
`, key, xfrtest.SecretA, zones, lines, body)
}

// autoBody is auto over the directory of the test.
const autoBody = "auto {\n\t\tdirectory DIR/zones db\\.(.*) {1}\n\t\treload 1s\n\t}"

// patternZone is a zone with that serial.
func patternZone(apex string, serial int) string {
	return fmt.Sprintf("$ORIGIN %s\n$TTL 3600\n@ IN SOA ns1 hostmaster %d 7200 3600 1209600 300\n@ IN NS ns1\nns1 IN A 192.0.2.1\n", dns.Fqdn(apex), serial)
}

// zonesDir makes the directory of auto, with a file for each zone.
func zonesDir(t *testing.T, s *xfrtest.Server, zones ...string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(s.Dir, "zones"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, z := range zones {
		dropIn(t, s, z, 7)
	}
}

// dropIn writes the file of a zone, whole at once.
func dropIn(t *testing.T, s *xfrtest.Server, zone string, serial int) {
	t.Helper()
	tmp := filepath.Join(s.Dir, "new."+zone)
	if err := os.WriteFile(tmp, []byte(patternZone(zone, serial)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(s.Dir, "zones", "db."+zone)); err != nil {
		t.Fatal(err)
	}
}

// asked is the rcode of an AXFR of a zone that is signed with key a, and how many records
// came.
func asked(t *testing.T, s *xfrtest.Server, zone string) (rcode string, records int) {
	t.Helper()
	return askedAt(t, s.Addr(t, "tcp", 0), zone)
}

var lastID atomic.Uint32

func askedAt(t *testing.T, addr, zone string) (rcode string, records int) {
	t.Helper()
	q := xfrtest.Question(dns.TypeAXFR, xfrtest.WithName(dns.Fqdn(zone)))
	q.Id = uint16(lastID.Add(1)) // at random two of one second may be alike, and the second is a replay
	m := xfrtest.Ask1(t, "tcp", addr, "", xfrtest.Signed(t, q, xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA))
	return dns.RcodeToString[m.Rcode], len(m.Answer)
}

// wantAsked fails unless the zone is answered so.
func wantAsked(t *testing.T, s *xfrtest.Server, zone, rcode string) {
	t.Helper()
	if got, records := asked(t, s, zone); got != rcode || (records > 0) != (rcode == "NOERROR") {
		t.Errorf("%s: %s with %d records, want %s", zone, got, records, rcode)
	}
}

// awaitAsked waits until the zone is answered so, and returns how long it took.
func awaitAsked(t *testing.T, s *xfrtest.Server, zone, rcode string) time.Duration {
	t.Helper()
	began, got := time.Now(), ""
	for time.Since(began) < 30*time.Second {
		if got, _ = asked(t, s, zone); got == rcode {
			return time.Since(began)
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%s: still %s, want %s", zone, got, rcode)
	return 0
}

// TestPatternAuto: with a pattern the zones of auto are transferable, those that are
// dropped in later as soon as auto has them, and one that is removed no more. What is no
// entry of its list is refused, whoever asks.
func TestPatternAuto(t *testing.T) {
	dir := &xfrtest.Server{Dir: t.TempDir()}
	zonesDir(t, dir, "example.org", "Sub.Example.ORG", "example.net")
	s := xfrtest.Serve(t, strings.ReplaceAll(patternBlock(".:0", "*", "", autoBody), "DIR/zones", dir.Dir+"/zones"), nil)
	exact := xfrtest.Metric(t, "requests_total", "example.org.")
	for _, zone := range []string{"example.org", "sub.example.org", "EXAMPLE.net"} {
		wantAsked(t, s, zone, "NOERROR")
	}
	for _, zone := range []string{".", "org", "www.example.org", "example.com", "*", "*.example.org", "*."} {
		wantAsked(t, s, zone, "REFUSED")
	}
	dropIn(t, dir, "example.com", 1)
	awaitAsked(t, s, "example.com", "NOERROR")
	if err := os.Remove(dir.Dir + "/zones/db.example.net"); err != nil {
		t.Fatal(err)
	}
	awaitAsked(t, s, "example.net", "REFUSED")
	wantAsked(t, s, "example.org", "NOERROR")

	come, gone := s.Await(t, "zone-appeared", 1), s.Await(t, "zone-gone", 1)
	if len(come) != 1 || come[0]["coredns.zone"] != "example.com." || come[0]["event.reason"] != "auto" || come[0]["event.code"] != "XFR135" {
		t.Errorf("appeared: %v", come)
	}
	if len(gone) != 1 || gone[0]["coredns.zone"] != "example.net." || gone[0]["event.reason"] != "auto" || gone[0]["event.code"] != "XFR136" {
		t.Errorf("gone: %v", gone)
	}
	for _, e := range s.Events(t, 10) {
		zone, reason := e["coredns.zone"], e["event.reason"]
		if reason == "not-a-zone" && zone != "-" || reason == "policy-allow" && (zone == "-" || zone == "*") {
			t.Errorf("on record as zone %v: %v", zone, e)
		}
	}
	if n := xfrtest.Metric(t, "requests_total", "*", "allow"); n == 0 {
		t.Error("what is allowed is not counted under the pattern")
	}
	if n := xfrtest.Metric(t, "requests_total", "example.org.") - exact; n != 0 {
		t.Errorf("%v requests are counted under a zone that comes and goes", n)
	}
}
