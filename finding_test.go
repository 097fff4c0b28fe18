// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/xfrguard/xfrguard/internal/lint"
	"github.com/xfrguard/xfrguard/internal/xfrtest"
)

// TestFindingOnRecord: a finding is an event with its code, place and text, and counted in
// the metric of its server block; what is left out is neither.
func TestFindingOnRecord(t *testing.T) {
	const rules = "allow as lan net 127.0.0.0/24 key a.example.net. b.example.net.\n\t\tdeny as stolen net 127.0.0.66\n\t\tbandwidth 8KiB\n\t\t"
	files := map[string]string{"db": xfrtest.ZoneOrg}
	s := xfrtest.Serve(t, xfrtest.Guarded(rules+"findings warn except bandwidth-too-low", ""), files)
	xfrtest.Ask1(t, "tcp", s.Addr(t, "tcp", 0), "", xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR)))
	s.Events(t, 1) // it is live
	found := s.Findings(t)
	if len(found) != 1 {
		t.Fatalf("%d findings on record, want one: %v", len(found), found)
	}
	for field, want := range map[string]string{
		"event.code": "XFR215", "event.reason": "deny-no-effect", "log.level": "warn", "coredns.server": "dns://127.0.0.1:0",
		"coredns.xfr.finding.code": "deny-no-effect", "coredns.xfr.finding.position": "Corefile:9",
		"message": `rule "stolen" denies nobody whom rule "lan" in front of it lets in, as the first that fits decides: move it up`,
	} {
		if got := fmt.Sprint(found[0][field]); got != want {
			t.Errorf("%s is %q, want %q", field, got, want)
		}
	}
	count := func(code string) float64 {
		return valueOf(t, findingsGauge.WithLabelValues("dns://127.0.0.1:0", code))
	}
	if count("deny-no-effect") != 1 || count("bandwidth-too-low") != 0 {
		t.Errorf("the metric has %v and %v", count("deny-no-effect"), count("bandwidth-too-low"))
	}
	if err := s.Reload(xfrtest.Guarded("allow as lan net 127.0.0.0/24 key a.example.net. b.example.net.", "")); err != nil {
		t.Fatal(err)
	}
	xfrtest.Ask1(t, "tcp", s.Addr(t, "tcp", 0), "", xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR)))
	if count("deny-no-effect") != 0 {
		t.Error("the metric keeps what is mended")
	}
}

// TestObserveHurtsNobody: while every directive observes, a block without one goes on as
// before; where elsewhere refuse is written down it is on record what would be refused.
func TestObserveHurtsNobody(t *testing.T) {
	files := map[string]string{"db": xfrtest.ZoneOrg, "bare": strings.TrimPrefix(xfrtest.ZoneOrg, "$ORIGIN example.org.\n")}
	other := strings.ReplaceAll(xfrtest.Unguarded, "TRANSFER", "transfer {\n\t\tto *\n\t}")
	const observe = "allow as ns2 net 127.0.0.53 key a.example.net.\n\t\tmode observe\n\t\t"
	q := func() []byte {
		return xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR, xfrtest.WithName("example.com.")))
	}
	for _, c := range []struct{ lines, reason string }{{"", ""}, {"elsewhere pass", ""}, {"elsewhere refuse", "block-not-guarded"}} {
		s := xfrtest.Serve(t, other+xfrtest.Guarded(observe+c.lines, ""), files)
		if m := xfrtest.Ask1(t, "tcp", s.Addr(t, "tcp", 0), "", q()); len(m.Answer) < 3 {
			t.Errorf("%q: the block without xfrguard gives %v", c.lines, m)
		}
		if c.reason == "" {
			continue
		}
		if e := s.Events(t, 1)[0]; e["event.reason"] != c.reason || e["coredns.xfr.enforced"] != false {
			t.Errorf("%q: on record as %v", c.lines, e)
		}
	}
	s := xfrtest.Serve(t, other+xfrtest.Guarded("allow as ns2 net 127.0.0.53 key a.example.net.", ""), files)
	xfrtest.WantRefused(t, xfrtest.Ask(t, "tcp", s.Addr(t, "tcp", 0), "", q(), 1), dns.RcodeRefused)
	if e := s.Events(t, 1)[0]; e["event.reason"] != "block-not-guarded" || e["coredns.xfr.enforced"] != true {
		t.Errorf("on record as %v", e)
	}
}

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
