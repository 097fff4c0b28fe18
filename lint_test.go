// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xfrguard/xfrguard/internal/coredns"
	"github.com/xfrguard/xfrguard/internal/lint"
	"github.com/xfrguard/xfrguard/internal/xfrtest"
	"github.com/xfrguard/xfrguard/internal/zone"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/pires/go-proxyproto"
)

// TestLintKeyFiles: what tsig makes of a key file that BIND reads in another way.
func TestLintKeyFiles(t *testing.T) {
	key := func(name, secret string) string {
		return "key \"" + name + "\" {\n\talgorithm hmac-sha256;\n\tsecret \"" + secret + "\";\n};\n"
	}
	good := key("a.example.net.", xfrtest.SecretA)
	for name, c := range map[string]struct {
		file  string
		want  string // "" for no finding
		stops bool   // CoreDNS does not take the file
	}{
		"good":                {good, "", false},
		"good: two":           {good + "\n" + key("b.example.net", xfrtest.SecretB), "", false},
		"good: no quotes":     {"key a.example.net. {\n algorithm hmac-sha256;\n secret " + xfrtest.SecretA + ";\n};\n", "", false},
		"capitals":            {key("A.Example.net.", xfrtest.SecretA), "key-case: DIR/keys:1: TSIG key A.Example.net. has capitals", false},
		"a blank in a secret": {key("a.example.net.", "YSBzZWNyZXQgb2Yga2V5IGEg Zm9yIHRlc3RzIG9ubHk="), "secret-cut: DIR/keys:3: tsig takes a part of the secret of key a.example.net.", false},
		"half is too short":   {key("a.example.net.", "YSBzZWNy ZXQgb2Yga2V5IGEgZm9yIHRlc3RzIG9ubHk="), "secret-short: Corefile:6: the secret of TSIG key a.example.net. has 48 bits", false},
		"a comment":           {"// of ns2\n" + good, "key-file-form: DIR/keys:1: tsig does not read this line", true},
		"a comment in C":      {"/* of ns2\n */\n" + good, "key-file-form: DIR/keys:1: ", true},
		"a comment with #":    {good + "# the end\n", "key-file-form: DIR/keys:5: ", true},
		"one line":            {"key a.example.net. { algorithm hmac-sha256; secret \"" + xfrtest.SecretA + "\"; };\n", "key-file-form: DIR/keys:1: ", true},
		"include":             {"include \"more.keys\";\n" + good, "key-file-form: DIR/keys:1: ", true},
		"the brace below":     {"key a.example.net.\n{\n algorithm hmac-sha256;\n secret \"" + xfrtest.SecretA + "\";\n};\n", "key-file-form: DIR/keys:2: ", true},
	} {
		t.Run(name, func(t *testing.T) {
			corefile := "example.org:0 {\n\tbind 127.0.0.1\n\ttsig {\n\t\tsecrets DIR/keys\n\t}\n\txfrguard {\n\t\tallow as ns2 net 127.0.0.53 key a.example.net.\n\t\tfindings fail\n\t\taudit file DIR/audit.log\n\t}\n\tfile DIR/db\n}\n"
			files := map[string]string{"db": xfrtest.ZoneOrg, "keys": c.file}
			_, err := xfrtest.TryServe(t, corefile, files)
			if c.stops {
				path := filepath.Join(t.TempDir(), "keys")
				if err := os.WriteFile(path, []byte(c.file), 0o600); err != nil {
					t.Fatal(err)
				}
				var fs lint.Findings
				if keyFileFindings(&fs, path); !strings.Contains(strings.ReplaceAll(fs.String(), filepath.Dir(path), "DIR"), c.want) {
					t.Errorf("found %s, want %s", fs, c.want)
				}
				if err == nil {
					t.Error("CoreDNS takes it")
				}
				return
			}
			says, _, _ := strings.Cut(strings.TrimPrefix(c.want, ""), "DIR")
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), says)) {
				t.Errorf("got %v, want %s", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), xfrtest.SecretA[:12]) {
				t.Errorf("it shows a secret: %v", err)
			}
		})
	}
}

// TestFaultsHaveTexts: whatever a zone's reader finds wrong is told in words.
func TestFaultsHaveTexts(t *testing.T) {
	for _, kind := range zone.FaultKinds {
		if faultTexts[kind] == "" {
			t.Errorf("no text for %s", kind)
		}
	}
}

// TestBelievesAnybody: policies that no Corefile of CoreDNS's own plugin can say.
func TestBelievesAnybody(t *testing.T) {
	only := func(cidr string, p proxyproto.Policy) proxyproto.ConnPolicyFunc {
		_, ipnet, err := net.ParseCIDR(cidr)
		if err != nil {
			t.Fatal(err)
		}
		return func(o proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) {
			if ipnet.Contains(o.Upstream.(*net.TCPAddr).IP) {
				return p, nil
			}
			return proxyproto.IGNORE, nil
		}
	}
	always := func(p proxyproto.Policy, err error) proxyproto.ConnPolicyFunc {
		return func(proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) { return p, err }
	}
	for name, c := range map[string]struct {
		policy proxyproto.ConnPolicyFunc
		open   bool
	}{
		"use":            {always(proxyproto.USE, nil), true},
		"require":        {always(proxyproto.REQUIRE, nil), true},
		"reject":         {always(proxyproto.REJECT, nil), false},
		"ignore":         {always(proxyproto.IGNORE, nil), false},
		"skip":           {always(proxyproto.SKIP, nil), false},
		"an error":       {always(proxyproto.USE, errors.New("unknown")), false},
		"IPv4 only":      {only("0.0.0.0/0", proxyproto.USE), true},
		"IPv6 only":      {only("::/0", proxyproto.REQUIRE), true},
		"one network":    {only("192.0.2.0/24", proxyproto.USE), false},
		"one network v6": {only("2001:db8::/32", proxyproto.USE), false},
		"a panic":        {func(proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) { panic("no") }, true},
	} {
		if got := coredns.BelievesAnybody(c.policy); got != c.open {
			t.Errorf("%s: open %t", name, got)
		}
	}
	g := &guard{listeners: map[string]*sharedListener{"dns://:53": {}}}
	if g.anybodyMaySend("dns://:53") || !g.anybodyMaySend("dns://:54") {
		t.Error("what is not known of a listener is taken for good")
	}
}

// TestListenersIn: the listener of each address has the last policy that a block names.
func TestListenersIn(t *testing.T) {
	use := func(proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) { return proxyproto.USE, nil }
	ignore := func(proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) { return proxyproto.IGNORE, nil }
	on := func(port string, policy proxyproto.ConnPolicyFunc, hosts ...string) coredns.Block {
		return coredns.Block{Configs: []*dnsserver.Config{{Zone: "a.", Transport: "dns", Port: port, ListenHosts: hosts, ProxyProtoConnPolicy: policy}}}
	}
	got, err := listenersIn([]coredns.Block{
		on("53", use, "127.0.0.1", "::1"), on("53", nil, "127.0.0.1"), on("54", ignore, ""), on("54", use, ""), on("53", ignore, "::1"),
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, open := range map[string]bool{"dns://127.0.0.1:53": true, "dns://[::1]:53": false, "dns://:54": true} {
		if got[name] == nil || got[name].open != open {
			t.Errorf("%s: %+v", name, got[name])
		}
	}
	if _, err := listenersIn([]coredns.Block{on("none", use, "127.0.0.1")}); err == nil {
		t.Error("an address that is none has a name")
	}
}
