// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xfrguard/xfrguard/internal/audit/audittest"
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

// TestBlocksApart: two blocks that have one zone, port and view never have one past.
func TestBlocksApart(t *testing.T) {
	for name, corefile := range map[string]string{
		"a block above it": `example.org:0 {
	bind 127.0.0.1
	xfrguard {
		allow as all net * unsigned
		audit file DIR/audit.log
	}
	file DIR/db
}
org:0 {
	bind 127.0.0.1
	xfrguard example.org {
		allow as all net * unsigned
		audit file DIR/audit.log
	}
	file DIR/db example.org
}`,
		"views of one name": `example.org:0 {
	bind 127.0.0.1
	view same {
		expr client_ip() == '127.0.0.1'
	}
	xfrguard {
		allow as all net * unsigned
		audit file DIR/audit.log
	}
	file DIR/db
}
example.org:0 {
	bind 127.0.0.1
	view same {
		expr true
	}
	xfrguard {
		allow as all net * unsigned
		audit file DIR/audit.log
	}
	file DIR/other example.org
}`,
	} {
		t.Run(name, func(t *testing.T) {
			s := xfrtest.Serve(t, corefile, map[string]string{"db": xfrtest.ManyHosts(50), "other": xfrtest.ManyHosts(60)})
			seen := make(map[string]bool)
			for _, g := range latestInstance().sorted() {
				if g.store == nil {
					continue
				}
				if id := g.identityOf("example.org."); seen[id] {
					t.Errorf("two have the identity %q", id)
				} else {
					seen[id] = true
				}
			}
			if len(seen) != 2 {
				t.Fatalf("identities %v", seen)
			}
			_ = s
		})
	}
}

// TestJournalForgets: what a journal has of zones that are gone from the Corefile goes with
// the next start, what it has of the others stays.
func TestJournalForgets(t *testing.T) {
	const both = `example.org:0 example.net:0 {
	bind 127.0.0.1
	xfrguard {
		allow as all net * unsigned
		audit file DIR/audit.log
		journal DIR/journal
	}
	file DIR/db example.org example.net
}`
	s := xfrtest.Serve(t, both, map[string]string{"db": strings.Replace(xfrtest.ManyHosts(10), "$ORIGIN example.org.", "", 1)})
	for i, name := range []string{"example.org.", "example.net."} {
		if _, err := xfrtest.TransferIn(t, s.Addr(t, "tcp", 0), xfrtest.Question(dns.TypeAXFR, xfrtest.WithName(name)), "", ""); err != nil {
			t.Fatal(err)
		}
		s.Events(t, 2*i+2)
	}
	kept := func() int {
		t.Helper()
		for _, g := range latestInstance().sorted() {
			if j := g.zone("example.org.").journal; j != nil {
				all, err := j.Zones()
				if err != nil {
					t.Fatal(err)
				}
				return len(all)
			}
		}
		t.Fatal("no journal")
		return 0
	}
	if n := kept(); n != 2 {
		t.Fatalf("%d zones", n)
	}
	if err := s.Reload(strings.ReplaceAll(both, "example.net:0", "")); err != nil {
		t.Fatal(err)
	}
	audittest.Eventually(t, func() bool { return kept() == 1 })
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
