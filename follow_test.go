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
	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/coredns/caddy"
	dto "github.com/prometheus/client_model/go"
)

// hourly is a reload plugin that does not look during a test: it would not find the
// Corefile, which is no file here.
const hourly = "reload 1h 0s"

// keyed is a Corefile whose key for example.org stands in the file DIR/keys.
func keyed(lines, extra string) string {
	inline := fmt.Sprintf("secret a.example.net. %s\n\t\tsecret b.example.net. %s", xfrtest.SecretA, xfrtest.SecretB)
	return strings.Replace(xfrtest.Guarded("allow as one net 127.0.0.1 key a.example.net."+lines, extra), inline, "secrets DIR/keys", 1)
}

func keyFileOf(secret string) string {
	return "key \"a.example.net.\" {\n\talgorithm hmac-sha256;\n\tsecret \"" + secret + "\";\n};\n"
}

// serveFollowed is serve for a Corefile whose files change: the instance at the end of the
// test is another one.
func serveFollowed(t *testing.T, corefile string, files map[string]string) *xfrtest.Server {
	t.Helper()
	s := xfrtest.Serve(t, corefile, files)
	t.Cleanup(func() { followLatest(s) })
	return s
}

// followLatest makes the instance in force that of the test.
func followLatest(s *xfrtest.Server) {
	for _, i := range caddy.Instances() {
		if in := instanceIn(i); in != nil && in == latestInstance() {
			s.Inst = i
		}
	}
}

// followerOf is a follower of the instance in force that looks when the test says so.
func followerOf(s *xfrtest.Server) *follower { return newFollower(latestInstance(), s.Inst) }

// changesIn is what the audit file says of files, oldest first.
func changesIn(t *testing.T, s *xfrtest.Server) (got []string) {
	t.Helper()
	for _, e := range audittest.Lines(t, filepath.Join(s.Dir, "audit.log")) {
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

func wantChanges(t *testing.T, s *xfrtest.Server, want ...string) {
	t.Helper()
	audittest.Eventually(t, func() bool { return len(changesIn(t, s)) >= len(want) })
	if got := changesIn(t, s); !slices.Equal(got, want) {
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
	s := serveFollowed(t, keyed("", hourly), map[string]string{"db": xfrtest.ZoneOrg, "keys": keyFileOf(xfrtest.SecretA)})
	if !s.Gets(t, xfrtest.SecretA) {
		t.Fatal("no transfer before the change")
	}
	f := followerOf(s)
	s.Write(t, "keys", keyFileOf(xfrtest.SecretB))
	f.look()
	f.look()
	wantChanges(t, s, "loaded keys")
	followLatest(s)
	if s.Gets(t, xfrtest.SecretA) {
		t.Error("the old key goes on working")
	}
	if !s.Gets(t, xfrtest.SecretB) {
		t.Error("the new key does not work")
	}
	s.WantLifecycle(t, "policy-load", "policy-reload")
	audittest.Eventually(t, func() bool { return pendingFiles(t) == 0 })
}

// TestFollowTwoLooks: what changes from look to look is being written, and is not loaded.
func TestFollowTwoLooks(t *testing.T) {
	s := serveFollowed(t, keyed("", hourly), map[string]string{"db": xfrtest.ZoneOrg, "keys": keyFileOf(xfrtest.SecretA)})
	f := followerOf(s)
	for i := range 5 {
		s.Write(t, "keys", keyFileOf(xfrtest.SecretB)[:i])
		if !f.look() {
			t.Errorf("look %d: the next one waits", i)
		}
	}
	if got := s.Lifecycle(t); len(got) != 1 || pendingFiles(t) != 1 {
		t.Errorf("on record %q, pending %v", got, pendingFiles(t))
	}
	s.Write(t, "keys", keyFileOf(xfrtest.SecretA)) // as it was
	if f.look() || pendingFiles(t) != 0 {
		t.Error("a file that is what it was is pending")
	}
	s.Write(t, "keys", keyFileOf(xfrtest.SecretB))
	s.AwaitServing()
	f.look()
	f.look()
	followLatest(s)
	wantChanges(t, s, "loaded keys")
	if !s.Gets(t, xfrtest.SecretB) {
		t.Error("the new key does not work")
	}
}

// TestFollowBrokenFiles: files that CoreDNS does not take change nothing, are on record
// once, and are tried again after a while, and at once when they change.
func TestFollowBrokenFiles(t *testing.T) {
	for name, broken := range map[string]func(t *testing.T, s *xfrtest.Server){
		"nonsense": func(t *testing.T, s *xfrtest.Server) { s.Write(t, "keys", "key a {") },
		"empty":    func(t *testing.T, s *xfrtest.Server) { s.Write(t, "keys", "") },
		"another name": func(t *testing.T, s *xfrtest.Server) {
			s.Write(t, "keys", strings.Replace(keyFileOf(xfrtest.SecretA), "a.", "c.", 1))
		},
		"gone": func(t *testing.T, s *xfrtest.Server) {
			if err := os.Remove(filepath.Join(s.Dir, "keys")); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := serveFollowed(t, keyed("", hourly), map[string]string{"db": xfrtest.ZoneOrg, "keys": keyFileOf(xfrtest.SecretA)})
			before, f := latestInstance(), followerOf(s)
			s.AwaitServing()
			broken(t, s)
			for range 4 {
				f.look()
			}
			wantChanges(t, s, "failed keys")
			s.WantLifecycle(t, "policy-load", "policy-reload-failed parse")
			if latestInstance() != before || !s.Gets(t, xfrtest.SecretA) || pendingFiles(t) != 1 {
				t.Error("the old key is not in force, or nothing is pending")
			}
			f.again = time.Now()
			f.look()
			s.WantLifecycle(t, "policy-load", "policy-reload-failed parse", "policy-reload-failed parse")
			wantChanges(t, s, "failed keys")
			s.Write(t, "keys", keyFileOf(xfrtest.SecretB))
			f.look()
			f.look()
			followLatest(s)
			wantChanges(t, s, "failed keys", "loaded keys")
			if !s.Gets(t, xfrtest.SecretB) {
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
	for name, content := range map[string]string{"Corefile": text, "db": xfrtest.ZoneOrg, "keys": keyFileOf(xfrtest.SecretA)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	inst, err := caddy.Start(caddy.CaddyfileInput{Contents: []byte(text), Filepath: corefile, ServerTypeName: "dns"})
	if err != nil {
		t.Fatal(err)
	}
	s := &xfrtest.Server{Dir: dir, Inst: inst}
	t.Cleanup(func() {
		inst.ShutdownCallbacks()
		_ = inst.Stop()
	})
	f := followerOf(s)
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
	s.Write(t, "keys", keyFileOf(xfrtest.SecretB))
	looks(1)
	wantChanges(t, s, "no-reload keys")
	s.Write(t, "Corefile", text+"# edited\n") // no words: the same Corefile
	looks(1)
	s.Write(t, "Corefile", text+"example.com:0 {\n\twhoami\n}\n")
	looks(1)
	wantChanges(t, s, "no-reload keys", "no-reload keys Corefile")
	s.Write(t, "keys", keyFileOf(xfrtest.SecretA))
	looks(1)
	s.Write(t, "Corefile", text)
	looks(0)
	wantChanges(t, s, "no-reload keys", "no-reload keys Corefile", "no-reload Corefile")
	s.WantLifecycle(t, "policy-load")
	if !s.Gets(t, xfrtest.SecretA) {
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
	files := xfrtest.XoTFiles(t, ca)
	for _, name := range []string{"cert.pem", "key.pem", "ca.pem"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			corefile := strings.ReplaceAll(xfrtest.XoTBlock("allow as one net 127.0.0.1 key a.example.net.", xfrtest.ClientAuth("request"), hourly), "DIR", dir)
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
			s.Dir = dir
			first := latestInstance()
			audittest.Eventually(t, func() bool { return latestInstance() != first })
			followLatest(s)
			followerOf(s).look()
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
	s := serveFollowed(t, keyed("", "breaks shutdown\n\t"+hourly), map[string]string{"db": xfrtest.ZoneOrg, "keys": keyFileOf(xfrtest.SecretA)})
	s.AwaitServing()
	audittest.Eventually(t, func() bool { return pendingFiles(t) == 0 })
	filesPending.Set(2) // the old one looks again in an hour
	if _, err := s.Inst.Restart(s.Input(keyed("", hourly))); err == nil {
		t.Fatal("the restart does not fail")
	}
	followLatest(s)
	audittest.Eventually(t, func() bool { return pendingFiles(t) == 0 })
}
