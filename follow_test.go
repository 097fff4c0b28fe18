// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit/audittest"
	"github.com/xfrguard/xfrguard/internal/evidence/catest"

	"github.com/coredns/caddy"
	"github.com/miekg/dns"
	dto "github.com/prometheus/client_model/go"
)

// hourly is a reload plugin that does not look during a test: it would not find the
// Corefile, which is no file here.
const hourly = "reload 1h 0s"

// keyed is a Corefile whose key for example.org stands in the file DIR/keys.
func keyed(lines, extra string) string {
	inline := fmt.Sprintf("secret a.example.net. %s\n\t\tsecret b.example.net. %s", secretA, secretB)
	return strings.Replace(guarded("allow as one net 127.0.0.1 key a.example.net."+lines, extra), inline, "secrets DIR/keys", 1)
}

func keyFileOf(secret string) string {
	return "key \"a.example.net.\" {\n\talgorithm hmac-sha256;\n\tsecret \"" + secret + "\";\n};\n"
}

// serveFollowed is serve for a Corefile whose files change: the instance at the end of the
// test is another one.
func serveFollowed(t *testing.T, corefile string, files map[string]string) *server {
	t.Helper()
	s := serve(t, corefile, files)
	t.Cleanup(s.follow)
	return s
}

// follow makes the instance in force that of the test.
func (s *server) follow() {
	for _, i := range caddy.Instances() {
		if in := instanceIn(i); in != nil && in == latestInstance() {
			s.inst = i
		}
	}
}

func (s *server) write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// look is a follower of the instance in force that looks when the test says so.
func (s *server) look() *follower { return newFollower(latestInstance(), s.inst) }

// gets reports whether the zone is transferred with a secret of key a.
func (s *server) gets(t *testing.T, secret string) bool {
	t.Helper()
	rrs, err := transferIn(t, s.addr(t, "tcp", 0), question(dns.TypeAXFR), "a.example.net.", secret)
	return err == nil && len(rrs) > 2
}

// changes is what the audit file says of files, oldest first.
func (s *server) changes(t *testing.T) (got []string) {
	t.Helper()
	for _, e := range audittest.Lines(t, filepath.Join(s.dir, "audit.log")) {
		if e["event.action"] != "policy-files-changed" {
			continue
		}
		said := fmt.Sprint(e["event.reason"])
		for _, p := range e["coredns.xfr.files"].([]any) {
			said += " " + filepath.Base(p.(string))
		}
		got = append(got, said)
	}
	return got
}

func (s *server) wantChanges(t *testing.T, want ...string) {
	t.Helper()
	audittest.Eventually(t, func() bool { return len(s.changes(t)) >= len(want) })
	if got := s.changes(t); !slices.Equal(got, want) {
		t.Errorf("on record: %q, want %q", got, want)
	}
}

func pendingFiles(t *testing.T) float64 {
	t.Helper()
	var d dto.Metric
	if err := filesPending.Write(&d); err != nil {
		t.Fatal(err)
	}
	return d.GetGauge().GetValue()
}

// TestFollowKeys: a new key in the file takes the place of the old one.
func TestFollowKeys(t *testing.T) {
	audittest.NoLeak(t)
	s := serveFollowed(t, keyed("", hourly), map[string]string{"db": zoneOrg, "keys": keyFileOf(secretA)})
	if !s.gets(t, secretA) {
		t.Fatal("no transfer before the change")
	}
	f := s.look()
	s.write(t, "keys", keyFileOf(secretB))
	f.look()
	f.look()
	s.wantChanges(t, "loaded keys")
	s.follow()
	if s.gets(t, secretA) {
		t.Error("the old key goes on working")
	}
	if !s.gets(t, secretB) {
		t.Error("the new key does not work")
	}
	s.wantLifecycle(t, "policy-load", "policy-reload")
	audittest.Eventually(t, func() bool { return pendingFiles(t) == 0 })
}

// TestFollowTwoLooks: what changes from look to look is being written, and is not loaded.
func TestFollowTwoLooks(t *testing.T) {
	s := serveFollowed(t, keyed("", hourly), map[string]string{"db": zoneOrg, "keys": keyFileOf(secretA)})
	f := s.look()
	for i := range 5 {
		s.write(t, "keys", keyFileOf(secretB)[:i])
		if !f.look() {
			t.Errorf("look %d: the next one waits", i)
		}
	}
	if got := s.lifecycle(t); len(got) != 1 || pendingFiles(t) != 1 {
		t.Errorf("on record %q, pending %v", got, pendingFiles(t))
	}
	s.write(t, "keys", keyFileOf(secretA)) // as it was
	if f.look() || pendingFiles(t) != 0 {
		t.Error("a file that is what it was is pending")
	}
	s.write(t, "keys", keyFileOf(secretB))
	s.awaitServing()
	f.look()
	f.look()
	s.follow()
	s.wantChanges(t, "loaded keys")
	if !s.gets(t, secretB) {
		t.Error("the new key does not work")
	}
}

// TestFollowBrokenFiles: files that CoreDNS does not take change nothing, are on record
// once, and are tried again after a while, and at once when they change.
func TestFollowBrokenFiles(t *testing.T) {
	for name, broken := range map[string]func(t *testing.T, s *server){
		"nonsense":     func(t *testing.T, s *server) { s.write(t, "keys", "key a {") },
		"empty":        func(t *testing.T, s *server) { s.write(t, "keys", "") },
		"another name": func(t *testing.T, s *server) { s.write(t, "keys", strings.Replace(keyFileOf(secretA), "a.", "c.", 1)) },
		"gone": func(t *testing.T, s *server) {
			if err := os.Remove(filepath.Join(s.dir, "keys")); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := serveFollowed(t, keyed("", hourly), map[string]string{"db": zoneOrg, "keys": keyFileOf(secretA)})
			before, f := latestInstance(), s.look()
			s.awaitServing()
			broken(t, s)
			for range 4 {
				f.look()
			}
			s.wantChanges(t, "failed keys")
			s.wantLifecycle(t, "policy-load", "policy-reload-failed parse")
			if latestInstance() != before || !s.gets(t, secretA) || pendingFiles(t) != 1 {
				t.Error("the old key is not in force, or nothing is pending")
			}
			f.again = time.Now()
			f.look()
			s.wantLifecycle(t, "policy-load", "policy-reload-failed parse", "policy-reload-failed parse")
			s.wantChanges(t, "failed keys")
			s.write(t, "keys", keyFileOf(secretB))
			f.look()
			f.look()
			s.follow()
			s.wantChanges(t, "failed keys", "loaded keys")
			if !s.gets(t, secretB) {
				t.Error("the new key does not work")
			}
		})
	}
}

// TestFollowWithoutReload: nothing is loaded that nobody has asked for, and it is said.
func TestFollowWithoutReload(t *testing.T) {
	dir := t.TempDir()
	corefile := filepath.Join(dir, "Corefile")
	text := strings.ReplaceAll(keyed("", ""), "DIR", dir)
	for name, content := range map[string]string{"Corefile": text, "db": zoneOrg, "keys": keyFileOf(secretA)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	inst, err := caddy.Start(caddy.CaddyfileInput{Contents: []byte(text), Filepath: corefile, ServerTypeName: "dns"})
	if err != nil {
		t.Fatal(err)
	}
	s := &server{dir: dir, inst: inst}
	t.Cleanup(func() {
		inst.ShutdownCallbacks()
		_ = inst.Stop()
	})
	f := s.look()
	looks := func(pending float64) {
		t.Helper()
		for range 3 {
			f.look()
		}
		if got := pendingFiles(t); got != pending {
			t.Errorf("pending is %v", got)
		}
	}
	looks(0)
	s.write(t, "keys", keyFileOf(secretB))
	looks(1)
	s.wantChanges(t, "no-reload keys")
	s.write(t, "Corefile", text+"# edited\n") // no words: the same Corefile
	looks(1)
	s.write(t, "Corefile", text+"example.com:0 {\n\twhoami\n}\n")
	looks(1)
	s.wantChanges(t, "no-reload keys", "no-reload keys Corefile")
	s.write(t, "keys", keyFileOf(secretA))
	looks(1)
	s.write(t, "Corefile", text)
	looks(0)
	s.wantChanges(t, "no-reload keys", "no-reload keys Corefile", "no-reload Corefile")
	s.wantLifecycle(t, "policy-load")
	if !s.gets(t, secretA) {
		t.Error("the key in force does not work")
	}
}

// meddle is what a test does right after the setups of tls.
var meddle func()

func init() {
	caddy.RegisterParsingCallback("dns", "tls", func(caddy.Context) error {
		if meddle != nil {
			meddle()
		}
		return nil
	})
}

// TestFollowFromTheStart: a certificate that is replaced right after tls has read it is
// followed too.
func TestFollowFromTheStart(t *testing.T) {
	ca := catest.New(t)
	files := xotFiles(t, ca)
	for _, name := range []string{"cert.pem", "key.pem", "ca.pem"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			corefile := strings.ReplaceAll(xotBlock("allow as one net 127.0.0.1 key a.example.net.", auth("request"), hourly), "DIR", dir)
			for n, content := range files {
				if err := os.WriteFile(filepath.Join(dir, n), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			once := false
			meddle = func() {
				if once {
					return
				}
				once = true
				other := catest.New(t)
				cert, key := ca.Issue(t, "ns1.example.org")
				changed := map[string]string{"cert.pem": cert, "key.pem": key}
				if name == "ca.pem" {
					changed = map[string]string{"ca.pem": other.Pem}
				}
				for n, content := range changed {
					if err := os.WriteFile(filepath.Join(dir, n), []byte(content), 0o600); err != nil {
						t.Error(err)
					}
				}
			}
			defer func() { meddle = nil }()
			s := serveFollowed(t, corefile, nil)
			s.dir = dir
			first := latestInstance()
			audittest.Eventually(t, func() bool { return latestInstance() != first })
			s.follow()
			s.look().look()
			if pendingFiles(t) != 0 {
				t.Error("something is pending")
			}
		})
	}
}

// TestFollowAfterFailedShutdown: CoreDNS tells nobody of an instance that is up when the
// shutdown of a plugin of the one before fails. Its files are followed all the same.
func TestFollowAfterFailedShutdown(t *testing.T) {
	filesPending.Set(2) // until somebody looks
	s := serveFollowed(t, keyed("", "breaks shutdown\n\t"+hourly), map[string]string{"db": zoneOrg, "keys": keyFileOf(secretA)})
	s.awaitServing()
	audittest.Eventually(t, func() bool { return pendingFiles(t) == 0 })
	filesPending.Set(2) // the old one looks again in an hour
	if _, err := s.inst.Restart(s.input(keyed("", hourly))); err == nil {
		t.Fatal("the restart does not fail")
	}
	s.follow()
	audittest.Eventually(t, func() bool { return pendingFiles(t) == 0 })
}
