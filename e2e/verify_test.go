// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit/audittest"
	"github.com/xfrguard/xfrguard/internal/verify/verifytest"
	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/miekg/dns"
)

// records reads records of example.org.
func records(t *testing.T, text string) (all []dns.RR) {
	t.Helper()
	zp := dns.NewZoneParser(strings.NewReader(text), "example.org.", "")
	for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
		all = append(all, rr)
	}
	if err := zp.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

func zoneFile(all []dns.RR) string {
	var b strings.Builder
	for _, rr := range all {
		fmt.Fprintln(&b, rr)
	}
	return b.String()
}

// serial returns the records with another serial.
func serial(all []dns.RR, n uint32) []dns.RR {
	all = slices.Clone(all)
	soa := dns.Copy(all[0]).(*dns.SOA)
	soa.Serial, all[0] = n, soa
	return all
}

// unverified is what is on record of versions that are not good: serial, reason, owner, type.
func unverified(t *testing.T, s *xfrtest.Server) (told []string) {
	t.Helper()
	for _, e := range audittest.Lines(t, filepath.Join(s.Dir, "audit.log")) {
		if e["event.action"] == "zone-verify-failed" {
			told = append(told, fmt.Sprint(e["coredns.xfr.serial.served"], " ", e["event.reason"], " ", e["coredns.xfr.verify.owner"], " ", e["coredns.xfr.verify.type"]))
		}
	}
	return told
}

// TestVerify: a version that does not fit its signatures or its digest leaves, and is on
// record once for each reason, named by owner and type; a good one is not. When the first
// signature ends stands in the metrics.
func TestVerify(t *testing.T) {
	plain := records(t, xfrtest.ZoneOrg)
	sign := verifytest.New("example.org.")
	good := sign.Zone(t, serial(plain, 8))
	late := verifytest.New("example.org.")
	late.To = time.Date(2037, 5, 1, 0, 0, 0, 0, time.UTC)
	bogus := append(late.Zone(t, serial(plain, 9)), records(t, "www 300 IN A 192.0.2.66\nextra 300 IN A 192.0.2.67")...)
	stale := append(serial(plain, 10), records(t, "@ 300 IN ZONEMD 10 1 1 "+strings.Repeat("00", 48))...)
	const end = "zone_signatures_end_timestamp_seconds"

	guarded := strings.Replace(xfrtest.Guarded("allow as ns2 net 127.0.0.1 key a.example.net.\nrate 100/1s burst 1000", ""), "file DIR/db", "file DIR/db {\nreload 50ms\n}", 1)
	s := xfrtest.Serve(t, guarded, map[string]string{"db": xfrtest.ZoneOrg})
	take := func(want uint32) {
		t.Helper()
		audittest.Eventually(t, func() bool {
			got, err := xfrtest.TransferIn(t, s.Addr(t, "tcp", 0), xfrtest.Question(dns.TypeAXFR), xfrtest.KeyA, xfrtest.SecretA)
			return err == nil && len(got) > 2 && got[0].(*dns.SOA).Serial == want
		})
	}
	take(7)
	for _, v := range []struct {
		serial uint32
		zone   []dns.RR
		end    time.Time
		told   []string
	}{
		{8, good, sign.To, nil},
		{9, bogus, late.To, []string{"9 rrsig-bogus www.example.org. A", "9 nsec-broken extra.example.org. NSEC", "9 rrsig-missing extra.example.org. A"}},
		{10, stale, time.Time{}, []string{"10 zonemd-mismatch example.org. ZONEMD"}},
	} {
		s.Replace(t, "db", zoneFile(v.zone))
		take(v.serial)
		audittest.Eventually(t, func() bool {
			at := xfrtest.Metric(t, end, "example.org.")
			of := slices.DeleteFunc(unverified(t, s), func(line string) bool { return !strings.HasPrefix(line, fmt.Sprint(v.serial)+" ") })
			slices.Sort(of)
			slices.Sort(v.told)
			return slices.Equal(of, v.told) && (v.end.IsZero() && at == 0 || at == float64(v.end.Unix()))
		})
	}
	take(10)
	if err := s.Reload(guarded + "# again\n"); err != nil {
		t.Fatal(err)
	}
	take(10)
	if told := unverified(t, s); len(told) != 4 {
		t.Errorf("on record: %v", told)
	}
}

// TestCaseChanged: a target that CoreDNS lowers under a signature is told of, and how to
// write it; one that is in lower case is not.
func TestCaseChanged(t *testing.T) {
	for target, told := range map[string]int{"SVC.Example.": 1, "svc.example.": 0} {
		zone := verifytest.New("example.org.").Zone(t, append(records(t, xfrtest.ZoneOrg), records(t, "web 300 IN HTTPS 1 "+target)...))
		s := xfrtest.Serve(t, xfrtest.Guarded("allow as ns2 net 127.0.0.1 key a.example.net.", ""), map[string]string{"db": zoneFile(zone)})
		if _, err := xfrtest.TransferIn(t, s.Addr(t, "tcp", 0), xfrtest.Question(dns.TypeAXFR), xfrtest.KeyA, xfrtest.SecretA); err != nil {
			t.Fatal(err)
		}
		audittest.Eventually(t, func() bool {
			return xfrtest.Metric(t, "zone_signatures_end_timestamp_seconds", "example.org.") > 0
		})
		found := slices.DeleteFunc(s.Findings(t), func(e map[string]any) bool { return e["event.reason"] != "case-changed" })
		if len(found) != told || told > 0 && !strings.Contains(fmt.Sprint(found[0]["message"]), "web.example.org. HTTPS has capitals in its target") {
			t.Errorf("%s: %v", target, found)
		}
	}
}

// TestVerifyAnchor: an anchor that the zone's keys do not fit is on record; a file that is
// none, or has nothing of the zone, is an error at start.
func TestVerifyAnchor(t *testing.T) {
	sign := verifytest.New("example.org.")
	zone := zoneFile(sign.Zone(t, records(t, xfrtest.ZoneOrg)))
	ds := sign.Key.ToDS(dns.SHA256)
	wrong := dns.Copy(ds).(*dns.DS)
	wrong.Digest = strings.Repeat("00", 32)
	for name, c := range map[string]struct{ anchor, told, err string }{
		"fits":         {ds.String(), "", ""},
		"the key":      {sign.Key.String(), "", ""},
		"another":      {wrong.String(), "7 ds-mismatch example.org. DS", ""},
		"another zone": {"example.net. DS 1 13 2 " + wrong.Digest, "", "has neither DS nor DNSKEY records of example.org."},
		"no anchor":    {"example.org. 1 A 192.0.2.1", "", "is neither DS nor DNSKEY"},
		"no file":      {"", "", "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{"db": zone}
			if c.anchor != "" {
				files["anchor"] = c.anchor + "\n"
			}
			s, err := xfrtest.TryServe(t, xfrtest.Guarded("allow as ns2 net 127.0.0.1 key a.example.net.\nverify dnssec warn anchor DIR/anchor", ""), files)
			if (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Fatalf("started with %v", err)
			}
			if err != nil {
				return
			}
			if _, err := xfrtest.TransferIn(t, s.Addr(t, "tcp", 0), xfrtest.Question(dns.TypeAXFR), xfrtest.KeyA, xfrtest.SecretA); err != nil {
				t.Fatal(err)
			}
			audittest.Eventually(t, func() bool {
				return xfrtest.Metric(t, "zone_signatures_end_timestamp_seconds", "example.org.") > 0
			})
			if told := strings.Join(unverified(t, s), "; "); told != c.told {
				t.Errorf("on record: %s, want %s", told, c.told)
			}
		})
	}
}

// TestVerifyRefuse: a version that does not fit its signatures is held back, and the last
// good one goes on; the next good one goes out. A zone that is not signed has none to give.
func TestVerifyRefuse(t *testing.T) {
	plain := records(t, xfrtest.ZoneOrg)
	sign := verifytest.New("example.org.")
	guarded := strings.Replace(xfrtest.Guarded("allow as ns2 net 127.0.0.1 key a.example.net.\nrate 100/1s burst 1000\njournal DIR/journal\nverify dnssec refuse", ""),
		"file DIR/db", "file DIR/db {\nreload 50ms\n}", 1)
	s := xfrtest.Serve(t, guarded, map[string]string{"db": xfrtest.ZoneOrg})
	take := func() (uint32, error) {
		got, err := xfrtest.TransferIn(t, s.Addr(t, "tcp", 0), xfrtest.Question(dns.TypeAXFR), xfrtest.KeyA, xfrtest.SecretA)
		if err != nil || len(got) < 3 {
			return 0, err
		}
		return got[0].(*dns.SOA).Serial, nil
	}
	if n, err := take(); err == nil {
		t.Errorf("an unsigned zone is served, with serial %d", n)
	}
	s.When(t, "zone-held", "verify-failed")
	for _, v := range []struct {
		serial, served uint32
		zone           []dns.RR
	}{
		{8, 8, sign.Zone(t, serial(plain, 8))},
		{9, 8, append(sign.Zone(t, serial(plain, 9)), records(t, "www 300 IN A 192.0.2.66")...)},
		{10, 10, sign.Zone(t, serial(plain, 10))},
	} {
		s.Replace(t, "db", zoneFile(v.zone))
		audittest.Eventually(t, func() bool {
			n, err := take()
			judged := v.served == v.serial || slices.Contains(unverified(t, s), fmt.Sprint(v.serial)+" rrsig-bogus www.example.org. A")
			return err == nil && n == v.served && judged
		})
	}
	shows := func() bool {
		return xfrtest.Metric(t, "zone_signatures_end_timestamp_seconds", "example.org.") == float64(sign.To.Unix())
	}
	audittest.Eventually(t, shows)
	if err := s.Reload(guarded + "# again\n"); err != nil {
		t.Fatal(err)
	}
	audittest.Eventually(t, shows)
	if told := unverified(t, s); len(told) != 2 || told[0] != "7 dnskey-missing example.org. DNSKEY" {
		t.Errorf("on record: %v", told)
	}
	s.When(t, "zone-released", "superseded")
}

// TestVerifyPattern: when the signatures of a zone of a pattern end stands in the metrics
// also after a reload, and no more when the zone is gone.
func TestVerifyPattern(t *testing.T) {
	dir := &xfrtest.Server{Dir: t.TempDir()}
	zonesDir(t, dir, "example.net")
	sign := verifytest.New("example.org.")
	file := filepath.Join(dir.Dir, "zones", "db.example.org")
	if err := os.WriteFile(file, []byte(zoneFile(sign.Zone(t, records(t, xfrtest.ZoneOrg)))), 0o600); err != nil {
		t.Fatal(err)
	}
	corefile := strings.ReplaceAll(patternBlock(".:0", "*.org", "", autoBody), "DIR/zones", dir.Dir+"/zones")
	s := xfrtest.Serve(t, corefile, nil)
	shows := func(want int64) func() bool {
		return func() bool {
			return xfrtest.Metric(t, "zone_signatures_end_timestamp_seconds", "example.org.") == float64(want)
		}
	}
	wantAsked(t, s, "example.org", "NOERROR")
	audittest.Eventually(t, shows(sign.To.Unix()))
	if err := s.Reload(corefile + "# again\n"); err != nil {
		t.Fatal(err)
	}
	audittest.Eventually(t, shows(sign.To.Unix()))
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	audittest.Eventually(t, shows(0))
}
