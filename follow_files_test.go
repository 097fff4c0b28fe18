// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit/audittest"
	"github.com/xfrguard/xfrguard/internal/evidence/catest"
	"github.com/xfrguard/xfrguard/internal/xfrtest"
)

// TestFollowedFiles: the files are those that tsig and tls read: of every block, through
// imports, snippets and the environment, and relative to root for tls alone.
func TestFollowedFiles(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XFRGUARD_TEST_KEYS", dir)
	ca := catest.New(t)
	cert, key := ca.Issue(t, "ns1.example.org")
	for name, content := range map[string]string{
		"db": xfrtest.ZoneOrg, "keys": keyFileOf(xfrtest.SecretA), "more": keyFileOf(xfrtest.SecretA),
		"pki/cert.pem": cert, "pki/key.pem": key, "pki/ca.pem": ca.Pem,
		"block": "tsig {\n\tsecrets " + dir + "/more\n}\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	corefile := `(timing) {
	reload 45s 0s
}
example.org:0 {
	bind 127.0.0.1
	tsig {
		secrets {$XFRGUARD_TEST_KEYS}/keys
	}
	xfrguard {
		allow as one net 127.0.0.1 key a.example.net.
		audit file DIR/audit.log
	}
	file DIR/db
}
example.net:0 {
	bind 127.0.0.1
	import DIR/block
	import timing
	whoami
}
tls://example.com:0 {
	bind 127.0.0.1
	root DIR/pki
	tls cert.pem key.pem ca.pem {
		client_auth request
	}
	whoami
}
`
	s := serveFollowed(t, strings.ReplaceAll(corefile, "DIR", dir), nil)
	made := latestInstance().made
	var got []string
	for _, p := range audittest.SortedKeys(made.files) {
		got = append(got, strings.TrimPrefix(p, dir+"/"))
		if v := made.files[p]; len(v) != 32 {
			t.Errorf("%s is %q", p, v)
		}
	}
	want := []string{"keys", "more", "pki/ca.pem", "pki/cert.pem", "pki/key.pem"}
	if !slices.Equal(got, want) || made.interval != 45*time.Second {
		t.Errorf("it follows %q each %v", got, made.interval)
	}
	followerOf(s).look()
	if pendingFiles(t) != 0 {
		t.Error("something is pending")
	}
}

// TestReloadInterval: as the reload plugin reads it.
func TestReloadInterval(t *testing.T) {
	for line, want := range map[string]time.Duration{
		"":                 0,
		"reload":           30 * time.Second,
		"reload 50m":       50 * time.Minute,
		"reload 2m 3s":     2 * time.Minute,
		"reload\n\twhoami": 30 * time.Second,
	} {
		t.Run("line "+line, func(t *testing.T) {
			xfrtest.Serve(t, xfrtest.Guarded(xfrtest.UnsignedRule, line), map[string]string{"db": xfrtest.ZoneOrg})
			if got := latestInstance().made.interval; got != want {
				t.Errorf("%v", got)
			}
		})
	}
}
