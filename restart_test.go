// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/xfrguard/xfrguard/internal/audit"
	"github.com/xfrguard/xfrguard/internal/audit/audittest"
	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"
)

// breaks is a plugin that fails where its Corefile says: setup, start, shutdown or panic
// (at its start). With wait its start takes as long as the channel says.
var breaks struct {
	sync.Mutex
	began, wait chan struct{}
}

func init() {
	dnsserver.Directives = append(dnsserver.Directives, "breaks")
	plugin.Register("breaks", func(c *caddy.Controller) error {
		c.Next()
		broken := errors.New("broken on purpose")
		switch args := c.RemainingArgs(); args[0] {
		case "setup":
			return broken
		case "start":
			c.OnStartup(func() error { return broken })
		case "panic":
			c.OnStartup(func() error { panic(broken) })
		case "shutdown":
			c.OnShutdown(func() error { return broken })
		case "wait":
			c.OnStartup(func() error {
				breaks.Lock()
				began, wait := breaks.began, breaks.wait
				breaks.Unlock()
				close(began)
				<-wait
				return nil
			})
		}
		return nil
	})
}

func wantAnyZone(t *testing.T, s *xfrtest.Server) {
	t.Helper()
	m := xfrtest.Unpack(t, xfrtest.Ask(t, "tcp", s.Addr(t, "tcp", 0), "", xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR)), 1)[0])
	if m.Rcode != dns.RcodeSuccess || len(m.Answer) < 3 || m.Answer[0].Header().Rrtype != dns.TypeSOA {
		t.Errorf("AXFR is answered with %v", m.MsgHdr)
	}
}

// noLeakBut is noLeak for loads that fail: CoreDNS runs no shutdown for what the startups
// of its own plugins began, and what is being built when a server stops may take a while.
func noLeakBut(t *testing.T, theirs string) {
	t.Helper()
	current, ignored := goleak.IgnoreCurrent(), goleak.IgnoreAnyFunction(theirs)
	t.Cleanup(func() {
		audittest.Eventually(t, func() bool { return goleak.Find(current, ignored) == nil })
	})
}

// TestReloadThatFails: wherever a reload fails, nothing of it has an effect: the policy in
// force and its metrics stay, a transfer under way goes on, and that it failed is on record.
func TestReloadThatFails(t *testing.T) {
	deny := func(extra string) string { return xfrtest.Guarded("allow as one net 192.0.2.1 unsigned", extra) }
	for _, c := range []struct {
		name     string
		reason   audit.ReloadFailure
		says     string
		corefile func(t *testing.T) string
		slow     bool // with a transfer under way
	}{
		{"syntax", audit.FailedParse, "", func(*testing.T) string { return "example.org:0 {" }, false},
		{"our directive", audit.FailedParse, "Corefile:8", func(*testing.T) string { return xfrtest.Guarded("allow as one net nonsense", "") }, false},
		{"a key that is not there", audit.FailedParse, "key c.example.net.", func(*testing.T) string { return xfrtest.Guarded("allow as one net * key c.example.net.", "") }, false},
		{"blocks that disagree", audit.FailedParse, "disagree", func(*testing.T) string {
			return deny("") + "example.com:0 {\n\tbind 127.0.0.1\n\txfrguard {\n\t\telsewhere pass\n\t}\n}\n"
		}, false},
		{"another plugin's setup", audit.FailedParse, "CoreDNS", func(*testing.T) string { return deny("breaks setup") }, false},
		{"an expectation", audit.FailedExpect, "Corefile:9: expect deny from 127.0.0.1 key a.example.net.: for example.org. it is allowed by rule one", func(*testing.T) string {
			return xfrtest.Guarded("allow as one net 127.0.0.1 key a.example.net.\n\t\texpect deny from 127.0.0.1 key a.example.net.", "")
		}, false},
		{"findings", audit.FailedFinding, "no net", func(*testing.T) string {
			return xfrtest.Guarded("allow as one unsigned\n\t\tfindings fail", "")
		}, false},
		{"another plugin's start", audit.FailedStart, "CoreDNS", func(*testing.T) string { return deny("breaks start") }, false},
		{"a panic", audit.FailedStart, "CoreDNS", func(*testing.T) string { return deny("breaks panic") }, true},
		{"our start", audit.FailedStart, "audit", func(*testing.T) string {
			return strings.Replace(deny(""), "DIR/audit.log", "DIR/none/audit.log", 1)
		}, false},
		{"a port", audit.FailedListen, "listeners", func(t *testing.T) string { return deny("") + xfrtest.CannotListen(t) }, true},
		{"no directive", audit.FailedParse, "CoreDNS", xfrtest.CannotListen, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			noLeakBut(t, "github.com/coredns/coredns/plugin/file.(*Zone).Reload.func1")
			zone, whole := xfrtest.ZoneOrg, 0
			if c.slow {
				zone, whole = xfrtest.SlowZone(), xfrtest.SlowHosts+6
			}
			s := xfrtest.Serve(t, xfrtest.Guarded("allow as one net 127.0.0.1 unsigned", ""), map[string]string{"db": zone})
			before, counted := latestInstance(), valueOf(t, reloadFailures.WithLabelValues(string(c.reason)))
			digest := before.sorted()[0].zones["example.org."].digest
			var slow *dns.Conn
			records := 0
			if c.slow {
				slow, records = xfrtest.SlowTransfer(t, s, dns.TypeAXFR)
			}
			if err := s.Reload(c.corefile(t)); err == nil && c.name != "a panic" {
				t.Fatal("the reload does not fail")
			} else if c.name == "a panic" {
				s.Inst = caddy.Instances()[0] // Restart returns nothing then
			}
			if c.slow {
				if records = xfrtest.Rest(slow, records, whole); records != whole {
					t.Errorf("the transfer under way ended after %d of %d records", records, whole)
				}
				slow.Close()
			}
			s.WantLifecycle(t, "policy-load", "policy-reload-failed "+string(c.reason))
			for _, e := range audittest.Lines(t, s.Dir+"/audit.log") {
				if e["event.action"] == "policy-reload-failed" && !strings.Contains(e["error.message"].(string), c.says) {
					t.Errorf("the error on record is %q", e["error.message"])
				}
			}
			if n := valueOf(t, reloadFailures.WithLabelValues(string(c.reason))); n != counted+1 {
				t.Errorf("counted %v times", n-counted)
			}
			if got := policiesInForce(); len(got) != 1 || got[0] != digest {
				t.Errorf("the policies in the metrics are %q, in force is %s", got, digest)
			}
			if latestInstance() != before || restarts.holder() != nil {
				t.Error("the instance in force is another one, or is held")
			}
			wantAnyZone(t, s)
			if err := s.Reload(xfrtest.Guarded(xfrtest.UnsignedRule, "")); err != nil {
				t.Fatal(err)
			}
			wantAnyZone(t, s)
			s.WantLifecycle(t, "policy-load", "policy-reload-failed "+string(c.reason), "policy-reload")
		})
	}
}

func valueOf(t *testing.T, m prometheus.Metric) float64 {
	t.Helper()
	var d dto.Metric
	if err := m.Write(&d); err != nil {
		t.Fatal(err)
	}
	return d.GetCounter().GetValue() + d.GetGauge().GetValue()
}

// policiesInForce returns the digests of policy_info.
func policiesInForce() []string {
	ch := make(chan prometheus.Metric, 100)
	policyInfo.Collect(ch)
	close(ch)
	var digests []string
	for m := range ch {
		var d dto.Metric
		_ = m.Write(&d)
		for _, l := range d.GetLabel() {
			if l.GetName() == "digest" {
				digests = append(digests, l.GetValue())
			}
		}
	}
	return digests
}

// TestFailedReloadKeepsJournals: zones that are not in the file that failed keep their past.
func TestFailedReloadKeepsJournals(t *testing.T) {
	block := func(zone, journal string) string {
		return strings.ReplaceAll(fmt.Sprintf(`ZONE:0 {
	bind 127.0.0.1
	xfrguard {
		allow as one net 127.0.0.1 unsigned
		journal %s
		audit file DIR/audit.log
	}
	file DIR/db.ZONE ZONE
}
`, journal), "ZONE", zone)
	}
	s := xfrtest.Serve(t, block("example.org", "DIR/journal")+block("example.net", "DIR/journal"), map[string]string{
		"db.example.org": xfrtest.ZoneOrg, "db.example.net": strings.ReplaceAll(xfrtest.ZoneOrg, "example.org", "example.net"),
	})
	for _, zone := range []string{"example.org.", "example.net."} {
		xfrtest.Ask(t, "tcp", s.Addr(t, "tcp", 0), "", xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR, xfrtest.WithName(zone))), 1)
	}
	j := latestInstance().sorted()[0].zones["example.org."].journal
	kept := func() int {
		ids, err := j.Zones()
		if err != nil {
			t.Fatal(err)
		}
		return len(ids)
	}
	audittest.Eventually(t, func() bool { return kept() == 2 })
	// The failed file has one of the zones, with or without the journal.
	for _, journal := range []string{"DIR/journal", "DIR/other"} {
		if err := s.Reload(block("example.org", journal) + xfrtest.CannotListen(t)); err == nil {
			t.Fatal("the reload does not fail")
		}
		if n := kept(); n != 2 {
			t.Errorf("the journal has %d zones after a failed reload", n)
		}
	}
	if err := s.Reload(block("example.org", "DIR/journal")); err != nil {
		t.Fatal(err)
	}
	audittest.Eventually(t, func() bool { return kept() == 1 })
}

// TestShutdownOfAnotherPluginFails: CoreDNS calls a restart failed when the shutdown of a
// plugin does, though the new servers are up: the new instance must go on.
func TestShutdownOfAnotherPluginFails(t *testing.T) {
	s := xfrtest.Serve(t, xfrtest.Guarded(xfrtest.UnsignedRule, "breaks shutdown"), map[string]string{"db": xfrtest.ZoneOrg})
	old := latestInstance()
	s.AwaitServing()
	inst, err := s.Inst.Restart(s.Input(xfrtest.Guarded(xfrtest.UnsignedRule, "")))
	if err == nil {
		t.Fatal("the restart does not fail")
	}
	if inst == s.Inst {
		all := caddy.Instances() // Caddy gives the old one back
		s.Inst = all[len(all)-1]
	}
	if latestInstance() == old || restarts.holder() != nil {
		t.Error("the old instance is taken for the one in force, or held")
	}
	wantAnyZone(t, s)
	s.WantLifecycle(t, "policy-load", "policy-reload")
}
