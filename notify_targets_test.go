// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/evidence"
	"github.com/xfrguard/xfrguard/internal/lint"
	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/coredns/coredns/core/dnsserver"
)

// From which address a secondary is notified, given those of bind.
func TestNotifyFromBind(t *testing.T) {
	for _, tt := range []struct{ bind, to, want string }{
		{"", "192.0.2.53", ""}, // no bind
		{"192.0.2.1", "192.0.2.53", "192.0.2.1"},
		{"192.0.2.1 2001:db8::1", "192.0.2.53", "192.0.2.1"},
		{"192.0.2.1 2001:db8::1", "2001:db8::53", "2001:db8::1"},
		{"2001:db8::1", "192.0.2.53", ""},
		{"::ffff:192.0.2.1 192.0.2.1", "192.0.2.53", "192.0.2.1"},
		{"192.0.2.1 192.0.2.2", "192.0.2.53", "192.0.2.1, 192.0.2.2?"},
		{"192.0.2.1 192.0.2.2 2001:db8::1", "2001:db8::53", "2001:db8::1"},
		{"0.0.0.0 192.0.2.1", "192.0.2.53", ""},
		{"0.0.0.0 2001:db8::1", "2001:db8::53", "2001:db8::1"},
		{":: 192.0.2.1", "192.0.2.53", ""}, // :: takes IPv4 too
		{"127.0.0.1", "192.0.2.53", ""},    // which it cannot reach
		{"127.0.0.2", "127.0.0.1", "127.0.0.2"},
		{"127.0.0.1 192.0.2.1", "192.0.2.53", "192.0.2.1"},
		{"127.0.0.1 192.0.2.1", "127.0.0.53", "127.0.0.1"},
		{"192.0.2.1", "127.0.0.53", "192.0.2.1"},
		{"::1 fe80::1%eth0 2001:db8::1", "2001:db8::53", "2001:db8::1"},
		{"::1 fe80::1%eth0 2001:db8::1", "fe80::53%eth0", "fe80::1%eth0"},
		{"::1 fe80::1%eth0 2001:db8::1", "fe80::53%eth1", "2001:db8::1"},
		{"fe80::1%eth0", "2001:db8::53", ""},
		{"fe80::1%eth0 fe80::2%eth0", "fe80::53%eth0", "fe80::1%eth0, fe80::2%eth0?"},
	} {
		g := &guard{Reader: evidence.Reader{Config: &dnsserver.Config{ListenHosts: strings.Split(tt.bind, " ")}}}
		source, several := g.sourceFor(netip.MustParseAddr(tt.to), netip.Addr{})
		got := joined(several) + "?"
		if several == nil {
			got = ""
		}
		if source.IsValid() {
			got += source.String()
		}
		if got != tt.want {
			t.Errorf("bind %s, to %s: got %q, want %q", tt.bind, tt.to, got, tt.want)
		}
		given := netip.MustParseAddr("192.0.2.9")
		if source, several := g.sourceFor(netip.MustParseAddr("192.0.2.53"), netip.Addr{}, given); source != given || several != nil {
			t.Errorf("bind %s: what is given is not taken, but %s of %v", tt.bind, source, several)
		}
	}
}

// What may not arrive, or not be taken, is a finding with its fix, once a line and not for
// what is clear. A link-local address without an interface is not notified.
func TestNotifyFindings(t *testing.T) {
	const several = "notify-source: Testfile:2: the system chooses from which address 192.0.2.53 is notified, as this server block has several (192.0.2.1, 192.0.2.2) and secondaries know their primary by it: "
	for _, tt := range []struct {
		line, bind string
		targets    int
		want       []string
	}{
		{"notify 192.0.2.53", "", 1, nil},
		{"notify 192.0.2.53", "192.0.2.1", 1, nil},
		{"notify 192.0.2.53", "192.0.2.1 192.0.2.2", 1, []string{several + "write 'source ADDRESS' behind it"}},
		{"notify 192.0.2.53 source 192.0.2.2", "192.0.2.1 192.0.2.2", 1, nil},
		{
			"allow as ns2 net 192.0.2.53 key k. notify", "192.0.2.1 192.0.2.2", 1,
			[]string{several + `write a line 'notify 192.0.2.53 ... source ADDRESS' in place of the word in rule "ns2"`},
		},
		{"notify 2001:db8::53", "192.0.2.1 192.0.2.2", 1, nil}, // of the other family
		{
			"notify 2001:db8::53:5300 [2001:db8::53:5301]:53 [2001:db8::53]:5300", "", 3,
			[]string{"notify-ambiguous: Testfile:2: notify 2001:db8::53:5300 goes to that address at port 53: write [2001:db8::53]:5300 if its end is meant as a port, or [2001:db8::53:5300]:53 if not"},
		},
		{
			"notify tls 2001:db8::53:853", "", 1,
			[]string{"notify-ambiguous: Testfile:2: notify 2001:db8::53:853 goes to that address at port 853: write [2001:db8::53]:853 if its end is meant as a port, or [2001:db8::53:853]:853 if not"},
		},
		{
			"notify [fe80::2]:5300", "", 0,
			[]string{"notify-ambiguous: Testfile:2: fe80::2 is link-local, so that nobody is notified: write its interface too, such as [fe80::2%eth0]:5300"},
		},
		{"notify [fe80::2%eth0]:5300 fe80::3%eth0", "", 2, nil},
	} {
		configs, err := parseText("xfrguard {\n"+tt.line+"\n}", "example.org", "example.net")
		if err != nil {
			t.Fatalf("%s: %v", tt.line, err)
		}
		g := newGuard(0, configs)
		g.Config = &dnsserver.Config{ListenHosts: strings.Split(tt.bind, " ")}
		if got := notifyFindings(g); !slices.Equal(got, tt.want) {
			t.Errorf("%s, bind %s: got\n%s\nwant\n%s", tt.line, tt.bind, strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
		}
		if got := g.notifyTargets()["example.net."]; len(got) != tt.targets {
			t.Errorf("%s: %d targets, want %d", tt.line, len(got), tt.targets)
		}
	}
}

// notifyFindings are the log lines of what the self-check says of NOTIFY.
func notifyFindings(g *guard) (lines []string) {
	fs := lint.Block(g.parsed(), time.Now())
	g.lintNotify(&fs)
	for i := range fs {
		if strings.HasPrefix(string(fs[i].Code), "notify-") {
			lines = append(lines, fs[i].String())
		}
	}
	return lines
}

// The findings fail a start where findings fail is set, those of transfer's addresses too;
// they are none in observe mode, which notifies nobody.
func TestNotifyFindingsFail(t *testing.T) {
	files := map[string]string{"db": xfrtest.ZoneOrg}
	rule := "allow as ns2 net 127.0.0.53 key a.example.net.\n findings fail\n "
	for _, line := range []string{"notify [fe80::2]:5300", "notify 2001:db8::53:5300"} {
		if _, err := xfrtest.TryServe(t, xfrtest.Guarded(rule+line, ""), files); err == nil || !strings.Contains(err.Error(), "notify-ambiguous: Corefile:10: ") {
			t.Errorf("%s: %v", line, err)
		}
	}
	several := strings.Replace(xfrtest.Guarded(rule+"notify 127.0.0.53:9", ""), "bind 127.0.0.1", "bind 127.0.0.1 127.0.0.2", 1)
	if _, err := xfrtest.TryServe(t, several, files); err == nil || !strings.Contains(err.Error(), "notify-source: Corefile:10: ") {
		t.Error(err)
	}
	to := strings.Replace(xfrtest.Guarded(rule, "transfer {\n to 127.0.0.53:9\n }"), "bind 127.0.0.1", "bind 127.0.0.1 127.0.0.2", 1)
	if _, err := xfrtest.TryServe(t, to, files); err == nil || !strings.Contains(err.Error(), "notify-source: ") || !strings.Contains(err.Error(), "write 'source ADDRESS' into transfer") {
		t.Error(err)
	}
	xfrtest.Serve(t, xfrtest.Guarded(rule+"notify 127.0.0.53:9 source 127.0.0.2", ""), files)
}

// By which name a notified address goes, and which rule it is under.
func TestSecondaryOf(t *testing.T) {
	const to = "192.0.2.53"
	for _, tt := range []struct{ rules, key, name, rule string }{
		{"allow as ns2 net 192.0.2.53 key a", "a.", "192.0.2.53", "ns2"},
		{"allow as ns2 net 192.0.2.53 192.0.2.54 key a b", "", "192.0.2.53", "ns2"},
		{"allow as lan net 192.0.2.0/24 key a b", "b.", "b.", "lan"},
		{"allow as lan net 192.0.2.0/24 key a", "", "a.", "lan"},
		{"allow as lan net 192.0.2.0/24 key a b", "", "lan", "lan"},
		{"allow as lan net 192.0.2.0/24 unsigned", "", "lan", "lan"},
		{"allow as xot net 192.0.2.0/24 cert ns2.example.net", "", "ns2.example.net.", "xot"},
		{"allow as xot net 192.0.2.0/24 cert *.example.net", "", "xot", "xot"},
		{"allow as all key a", "a.", "a.", "all"},
		{"allow as one net 192.0.2.53 key b\nallow as two net 192.0.2.0/24 key a", "a.", "a.", "two"},
		{"allow as one net 192.0.2.53 key b\nallow as two net 192.0.2.0/24 key c", "a.", "192.0.2.53", "one"},
		{"deny net 192.0.2.53\nallow as lan net 192.0.2.0/24 key a", "a.", "", ""},
		{"allow as one net 192.0.2.53 key a\ndeny net 192.0.2.0/24", "a.", "192.0.2.53", "one"},
		{"allow as other net 198.51.100.1 key a", "a.", "", ""},
	} {
		configs, err := parseText("xfrguard {\n"+tt.rules+"\n}", "example.org")
		if err != nil {
			t.Fatalf("%s: %v", tt.rules, err)
		}
		if name, rule := secondaryOf(configs[0], netip.MustParseAddr(to), tt.key); name != tt.name || rule != tt.rule {
			t.Errorf("%s, key %q: got %q under %q, want %q under %q", tt.rules, tt.key, name, rule, tt.name, tt.rule)
		}
	}
	configs, err := parseText("xfrguard {\nallow as link net fe80::53 key a\n}", "example.org")
	if err != nil {
		t.Fatal(err)
	}
	if name, rule := secondaryOf(configs[0], netip.MustParseAddr("fe80::53%eth0"), "a."); name != "fe80::53" || rule != "link" {
		t.Errorf("link-local: got %q under %q", name, rule)
	}
}
