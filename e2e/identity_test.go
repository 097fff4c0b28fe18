// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xfrguard/xfrguard/internal/evidence/catest"
	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/miekg/dns"
)

// TestNewlyAllowed: a reload lets a client in under a rule that others had before. It
// claims the serial that they had, and is not told what was deleted since.
func TestNewlyAllowed(t *testing.T) {
	const rule = "allow as lan net 127.0.0.0/8 key a.example.net."
	secretC := "YSBzZWNyZXQgb2Yga2V5IGMgZm9yIHRlc3RzIG9ubHk="
	changed := func(corefile string) string { return strings.ReplaceAll(corefile, xfrtest.SecretA, secretC) }
	for name, tt := range map[string]struct {
		before, after string
		from, secret  string
		increment     bool
	}{
		"the same":                {xfrtest.Guarded(rule, ""), xfrtest.Guarded(rule, ""), "127.0.0.1", xfrtest.SecretA, true},
		"another of the rule":     {xfrtest.Guarded(rule, ""), xfrtest.Guarded(rule, ""), "127.0.0.2", xfrtest.SecretA, false},
		"told by NOTIFY":          {xfrtest.Guarded("allow as lan net 127.0.0.1 127.0.0.2 key a.example.net.", ""), xfrtest.Guarded("allow as lan net 127.0.0.1 127.0.0.2 key a.example.net. notify", ""), "127.0.0.1", xfrtest.SecretA, true},
		"other limits":            {xfrtest.Guarded(rule, ""), xfrtest.Guarded(rule+" rate 5/1h concurrent 2", ""), "127.0.0.1", xfrtest.SecretA, true},
		"put off":                 {xfrtest.Guarded(rule+" expires 2998-01-01", ""), xfrtest.Guarded(rule+" expires 2999-01-01", ""), "127.0.0.1", xfrtest.SecretA, true},
		"a denial of others":      {xfrtest.Guarded("deny net 10.0.0.0/8\n"+rule, ""), xfrtest.Guarded(rule, ""), "127.0.0.1", xfrtest.SecretA, true},
		"the denial behind":       {xfrtest.Guarded(rule+"\ndeny net 127.0.0.2", ""), xfrtest.Guarded(rule, ""), "127.0.0.1", xfrtest.SecretA, true},
		"no longer denied":        {xfrtest.Guarded("deny net 127.0.0.2\n"+rule, ""), xfrtest.Guarded(rule, ""), "127.0.0.2", xfrtest.SecretA, false},
		"a smaller denial":        {xfrtest.Guarded("deny net 127.0.0.2/31\n"+rule, ""), xfrtest.Guarded("deny net 127.0.0.3\n"+rule, ""), "127.0.0.2", xfrtest.SecretA, false},
		"a larger net":            {xfrtest.Guarded("allow as lan net 127.0.0.1 key a.example.net.", ""), xfrtest.Guarded(rule, ""), "127.0.0.2", xfrtest.SecretA, false},
		"the key has a new owner": {xfrtest.Guarded(rule, ""), changed(xfrtest.Guarded(rule, "")), "127.0.0.1", secretC, false},
	} {
		t.Run(name, func(t *testing.T) {
			db := xfrtest.ManyHosts(50)
			s := xfrtest.Serve(t, tt.before, map[string]string{"db": db + "secret IN TXT \"deleted\"\n"})
			addr := s.Addr(t, "tcp", 0)
			request := func(from, secret string, m *dns.Msg) string {
				t.Helper()
				return xfrtest.Unpack(t, xfrtest.Ask(t, "tcp", addr, from, xfrtest.Signed(t, m, xfrtest.KeyA, dns.HmacSHA256, secret), 1)[0]).String()
			}
			if got := request("127.0.0.1", xfrtest.SecretA, xfrtest.Question(dns.TypeAXFR)); !strings.Contains(got, "deleted") {
				t.Fatal(got)
			}
			s.Events(t, 2)
			if err := os.WriteFile(filepath.Join(s.Dir, "db"), []byte(strings.Replace(db, " 7 7200", " 8 7200", 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := s.Reload(tt.before); err != nil {
				t.Fatal(err)
			}
			if got := request("127.0.0.1", xfrtest.SecretA, xfrtest.Question(dns.TypeIXFR, xfrtest.WithSerial(7))); !strings.Contains(got, "deleted") {
				t.Fatalf("the client that had it got %s", got)
			}
			if err := s.Reload(tt.after); err != nil {
				t.Fatal(err)
			}
			got := request(tt.from, tt.secret, xfrtest.Question(dns.TypeIXFR, xfrtest.WithSerial(7)))
			if strings.Contains(got, "deleted") != tt.increment || strings.Contains(got, "h17.") == tt.increment {
				t.Errorf("got %s", got)
			}
		})
	}
}

// TestNewCA: after a reload another CA says who has the name that a rule allows. Its client
// claims the serial that the old one's was given, and is not told what was deleted since;
// the old one's still is, as long as its CA counts too.
func TestNewCA(t *testing.T) {
	ca, other := catest.New(t), catest.New(t)
	files := xfrtest.XoTFiles(t, ca)
	db := xfrtest.ManyHosts(50)
	files["db"], files["other.pem"], files["both.pem"] = db+"secret IN TXT \"deleted\"\n", other.Pem, ca.Pem+other.Pem
	corefile := xfrtest.XoTBlock(xfrtest.CertRule, xfrtest.ClientAuth("request"), "")
	s := xfrtest.Serve(t, corefile, files)
	got := func(from *catest.CA, m *dns.Msg) string {
		t.Helper()
		answer := xfrtest.XoT(t, s.ListenerAddr(t, "tls"), "", xfrtest.XoTClient(from.Client(t, "ns2.example.net"), "dot"), xfrtest.Packed(t, m))
		if answer == nil || len(answer.Answer) < 3 {
			t.Fatalf("got %v", answer)
		}
		return answer.String()
	}
	if !strings.Contains(got(ca, xfrtest.Question(dns.TypeAXFR)), "deleted") {
		t.Fatal("not the zone")
	}
	s.Events(t, 2)
	if err := os.WriteFile(filepath.Join(s.Dir, "db"), []byte(strings.Replace(db, " 7 7200", " 8 7200", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		name      string
		pem       string
		from      *catest.CA
		increment bool
	}{
		{"the same CA", "ca.pem", ca, true},
		{"the old one of two", "both.pem", ca, true},
		{"the new one of two", "both.pem", other, false},
		{"the new one", "other.pem", other, false},
	} {
		if err := s.Reload(strings.Replace(corefile, "ca.pem", step.pem, 1)); err != nil {
			t.Fatal(err)
		}
		answer := got(step.from, xfrtest.Question(dns.TypeIXFR, xfrtest.WithSerial(7)))
		if strings.Contains(answer, "deleted") != step.increment || strings.Contains(answer, "h17.") == step.increment {
			t.Errorf("%s: got %s", step.name, answer)
		}
	}
}
