// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/evidence"
	"github.com/xfrguard/xfrguard/internal/lint"
	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/coredns/coredns/core/dnsserver"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"
)

// accepted is how many NOTIFYs of example.org the metric has.
func accepted() float64 {
	var m dto.Metric
	_ = notifiesTotal.WithLabelValues("dns://127.0.0.1:0", "example.org.", "", "accepted").Write(&m)
	return m.GetCounter().GetValue()
}

// A secondary is told of every zone at the start, of a new serial whatever backend has it,
// and of what it was told before not again: with events and a metric.
func TestNotify(t *testing.T) {
	opt := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, opt) }) // after the server and the listener have stopped
	l := xfrtest.NewListener(t)
	cluster := xfrtest.NewCluster(t, "cluster.example.", 100, "a")
	corefile := func(extra string) string {
		block := func(zone, lines, backend string) string {
			return fmt.Sprintf("%s:0 {\n bind 127.0.0.1\n tsig {\n secret a.example.net. %s\n secret b.example.net. %s\n }\n"+
				" xfrguard {\n allow net 127.0.0.1 key a.example.net.\n %s\n audit file DIR/audit.log\n }\n %s\n}\n",
				zone, xfrtest.SecretA, xfrtest.SecretB, strings.ReplaceAll(lines, "PORT", l.Port()), strings.ReplaceAll(backend, "PORT", l.Port()))
		}
		return block("example.org", "notify 127.0.0.1:PORT key a.example.net.\n"+extra, "file DIR/db {\n reload 200ms\n }") +
			block("example.net", "notify 127.0.0.1:PORT key b.example.net.\n algorithms hmac-sha512\n"+extra, "auto {\n directory DIR auto.(.*) {1}\n reload 1s\n }") +
			block("cluster.example", extra, xfrtest.ClusterName+" cluster.example.\n transfer {\n to 127.0.0.1:PORT\n }") + // its address has one key
			block("example.edu", "notify 127.0.0.1:PORT key a.example.net.\n mode observe", "file DIR/db.edu")
	}
	autoZone := strings.ReplaceAll(xfrtest.ZoneOrg, "example.org", "example.net")
	files := map[string]string{"db": xfrtest.ZoneOrg, "auto.example.net": autoZone, "db.edu": strings.ReplaceAll(xfrtest.ZoneOrg, "example.org", "example.edu")}
	began := time.Now()
	before := accepted()
	s := xfrtest.Serve(t, corefile(""), files)

	const org, auto, made = "example.org. %d a.example.net. hmac-sha256.", "example.net. %d b.example.net. hmac-sha512.", "cluster.example. %d a.example.net. hmac-sha256."
	l.Wait(t, fmt.Sprintf(org, 7), fmt.Sprintf(auto, 7), fmt.Sprintf(made, 100))
	if took := time.Since(began); took < notifySettle {
		t.Errorf("notified %v after the start, before the listeners are sure to be open", took)
	}
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(s.Dir, name)
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	write("db", strings.Replace(xfrtest.ZoneOrg, " 7 ", " 8 ", 1))
	write("auto.example.net", strings.Replace(autoZone, " 7 ", " 9 ", 1))
	cluster.Change(101, "a", "b")
	l.Wait(t, fmt.Sprintf(org, 8), fmt.Sprintf(auto, 9), fmt.Sprintf(made, 101))

	if err := s.Reload(corefile("rate 10/1m")); err != nil {
		t.Fatal(err)
	}
	write("db", strings.Replace(xfrtest.ZoneOrg, " 7 ", " 10 ", 1)) // the two others are known
	l.Wait(t, fmt.Sprintf(org, 10))

	path := filepath.Join(s.Dir, "audit.log")
	var events []map[string]any
	for deadline := time.Now().Add(30 * time.Second); len(events) < 7 && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		events = xfrtest.NotifyEvents(t, path)
	}
	if len(events) != 7 {
		t.Fatalf("%d events, want 7: %v", len(events), events)
	}
	for _, e := range events {
		if e["event.code"] != "XFR140" || e["event.reason"] != "accepted" || e["destination.ip"] != "127.0.0.1" ||
			fmt.Sprint(e["destination.port"]) != l.Port() || e["coredns.xfr.tsig.status"] != "valid" || e["coredns.xfr.transport"] != "udp" ||
			e["coredns.xfr.secondary"] != "127.0.0.1" || e["rule.name"] != "rule-1" {
			t.Errorf("event %v", e)
		}
	}
	if last := events[6]; last["coredns.zone"] != "example.org." || fmt.Sprint(last["coredns.xfr.notify.serial"]) != "10" || last["coredns.xfr.tsig.key"] != "a.example.net." {
		t.Errorf("the last event is %v", last)
	}
	if n := accepted(); n-before != 3 {
		t.Errorf("the metric grew by %v, want 3", n-before)
	}
	l.Wait(t) // nothing else came, of the observed zone above all
}

// Which key, if any, tells whose an address is.
func TestOnlyKeyOf(t *testing.T) {
	for rules, want := range map[string]string{
		"allow net 192.0.2.53 key a":                               "a.",
		"allow net 192.0.2.0/24 key a":                             "a.",
		"allow net 192.0.2.53 type IXFR key a":                     "a.",
		"allow net 192.0.2.53 key a b":                             "",
		"allow net 192.0.2.53 unsigned":                            "",
		"allow net 198.51.100.1 key a":                             "",
		"allow net * key a":                                        "",
		"allow key a":                                              "",
		"allow net 192.0.2.53 key a\nallow net 192.0.2.0/24 key b": "",
		"allow net 192.0.2.53 type IXFR key a\nallow net 192.0.2.53 type AXFR key a": "a.",
		"deny net 192.0.2.53\nallow net 192.0.2.0/24 key a":                          "",
		"allow net 192.0.2.53 key a\ndeny net 192.0.2.0/24":                          "a.",
		"allow net 192.0.2.53 key a\nallow net * key b":                              "a.",
	} {
		configs, err := parseText("xfrguard example.org {\n"+rules+"\n}", "example.org")
		if err != nil {
			t.Fatalf("%s: %v", rules, err)
		}
		if got := onlyKeyOf(configs[0], netip.MustParseAddr("192.0.2.53")); got != want {
			t.Errorf("%s: got %q, want %q", rules, got, want)
		}
	}
}

// Whom a block notifies, and how: the addresses of notify, and those of transfer to with
// one key that notify does not name.
func TestNotifyTargets(t *testing.T) {
	xfrtest.Serve(t, fmt.Sprintf(`example.org:0 sub.example.org:0 example.net:0 {
	bind 127.0.0.1
	tsig {
		secret a.example.net. %s
		secret b.example.net. %s
	}
	xfrguard example.org sub.example.org {
		allow net 127.0.0.8 key a.example.net.
		allow net 127.0.0.9 ::1 key b.example.net.
		allow net 127.0.0.10 unsigned
		notify 127.0.0.8 tls
		notify 127.0.0.7:5300 key b.example.net.
		algorithms hmac-sha512 hmac-sha256
	}
	xfrguard example.net {
		allow net 127.0.0.8 key a.example.net.
	}
	transfer sub.example.org {
		to 127.0.0.8:54 127.0.0.9:54
	}
	transfer example.org {
		to * 127.0.0.8 127.0.0.9 127.0.0.10 [::1]:5301 127.0.0.11
		source 127.0.0.2
	}
	file DIR/db example.org
}
`, xfrtest.SecretA, xfrtest.SecretB), map[string]string{"db": xfrtest.ZoneOrg})
	var g *guard
	for _, other := range latestInstance().sorted() {
		if other.zones["sub.example.org."] != nil {
			g = other
		}
	}
	got := map[string][]string{}
	for apex, targets := range g.notifyTargets() {
		for _, target := range targets {
			text := target.Addr.String()
			if target.Source.IsValid() {
				text += " from " + target.Source.String()
			}
			if target.Key != nil {
				text += fmt.Sprint(" ", target.Key.Name, target.Key.Algorithms)
			}
			if target.TLS {
				text += " tls"
			}
			got[apex] = append(got[apex], text)
		}
	}
	alg := "[hmac-sha512 hmac-sha256]"
	want := map[string][]string{
		"example.org.": {
			"127.0.0.8:853 from 127.0.0.2 tls", "127.0.0.7:5300 from 127.0.0.2 b.example.net." + alg,
			"127.0.0.9:53 from 127.0.0.2 b.example.net." + alg, "[::1]:5301 b.example.net." + alg,
		},
		"sub.example.org.": { // from the address of bind, as transfer has no source for this zone
			"127.0.0.8:853 from 127.0.0.1 tls", "127.0.0.7:5300 from 127.0.0.1 b.example.net." + alg, "127.0.0.9:54 from 127.0.0.1 b.example.net." + alg,
		},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got\n%v, want\n%v", got, want)
	}
}

// Zones that notify the same server in the same way share its limits.
func TestNotifyTargetsShared(t *testing.T) {
	configs, err := parseText("xfrguard a.example b.example {\n notify 127.0.0.1 127.0.0.2\n}\nxfrguard c.example {\n notify 127.0.0.1\n}", ".")
	if err != nil {
		t.Fatal(err)
	}
	g := newGuard(0, configs)
	g.Config = &dnsserver.Config{}
	targets := g.notifyTargets()
	a, b, c := targets["a.example."], targets["b.example."], targets["c.example."]
	if a[0] != b[0] || a[1] != b[1] || a[0] != c[0] || a[0] == a[1] {
		t.Errorf("got %p %p, %p %p, %p", a[0], a[1], b[0], b[1], c[0])
	}
}

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
