// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xfrguard/xfrguard/internal/evidence/catest"
	"github.com/xfrguard/xfrguard/internal/xfrtest"
)

// TestLintFiles: keys that others of the host may read or change are findings, wherever the
// Corefile names them; what only the server and its group see is none.
func TestLintFiles(t *testing.T) {
	ca := catest.New(t)
	weak := catest.WeakClient(t, 1024)
	for name, c := range map[string]struct {
		file string
		mode fs.FileMode
		want string // "" is no finding
	}{
		"as they should be":              {"xfr.keys", 0o600, ""},
		"read by the group":              {"xfr.keys", 0o640, ""},
		"read by all":                    {"xfr.keys", 0o644, "tsig secrets DIR/xfr.keys may be read by everybody on this host (mode 0644): chmod 0640"},
		"read only, by all":              {"xfr.keys", 0o444, "tsig secrets DIR/xfr.keys may be read by everybody"},
		"changed by all":                 {"xfr.keys", 0o666, "tsig secrets DIR/xfr.keys may be changed by everybody on this host (mode 0666)"},
		"changed by the group":           {"xfr.keys", 0o660, "tsig secrets DIR/xfr.keys may be changed by its group"},
		"TLS key read by all":            {"key.pem", 0o644, "tls key DIR/key.pem may be read by everybody"},
		"TLS certificate read by all":    {"cert.pem", 0o644, ""},
		"TLS certificate changed by all": {"cert.pem", 0o646, "tls certificate DIR/cert.pem may be changed by everybody"},
		"CA read by all":                 {"ca.pem", 0o644, ""},
		"CA changed by the group":        {"ca.pem", 0o664, "tls CA DIR/ca.pem may be changed by its group"},
		"weak CA":                        {"weak.pem", 0o600, "the tls CA DIR/weak.pem has an RSA key of 1024 bits"},
		"in a Kubernetes secret":         {"..2026_01_02/xfr.keys", 0o644, ""},
		"changed in a secret":            {"..2026_01_02/xfr.keys", 0o666, "tsig secrets DIR/xfr.keys may be changed by everybody"},
		"in an open directory":           {"open/xfr.keys", 0o600, "tsig secrets DIR/xfr.keys may be replaced by others"},
		"in a directory like /tmp":       {"sticky/xfr.keys", 0o600, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write := func(name, content string) {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cert, key := ca.Issue(t, "ns1.example.org")
			write("db", xfrtest.ZoneOrg)
			write("cert.pem", cert)
			write("key.pem", key)
			write("ca.pem", ca.Pem)
			write("weak.pem", catest.PEM("CERTIFICATE", weak.Certificate.Certificate[0])+ca.Pem)
			keys := "key \"a.example.net.\" {\n\talgorithm hmac-sha256;\n\tsecret \"" + xfrtest.SecretA + "\";\n};\n"
			if sub := filepath.Dir(c.file); sub != "." {
				if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
					t.Fatal(err)
				}
				write(c.file, keys)
				if err := os.Symlink(c.file, filepath.Join(dir, "xfr.keys")); err != nil {
					t.Fatal(err)
				}
				modes := map[string]fs.FileMode{"open": 0o777, "sticky": 0o777 | fs.ModeSticky, "..2026_01_02": 0o755}
				if err := os.Chmod(filepath.Join(dir, sub), modes[sub]); err != nil {
					t.Fatal(err)
				}
			} else {
				write("xfr.keys", keys)
			}
			if err := os.Chmod(filepath.Join(dir, c.file), c.mode); err != nil {
				t.Fatal(err)
			}
			corefile := xfrtest.XoTBlock("allow as ns2 net 127.0.0.1 key a.example.net.\n\t\tfindings fail", xfrtest.ClientAuth("request"), "")
			corefile = strings.ReplaceAll(corefile, "DIR", dir)
			before, after, _ := strings.Cut(corefile, "tsig {")
			_, after, _ = strings.Cut(after, "\t}\n")
			corefile = before + "tsig {\n\t\tsecrets " + dir + "/xfr.keys\n\t}\n" + after
			if c.file == "weak.pem" {
				corefile = strings.Replace(corefile, "ca.pem", "weak.pem", 1)
			}
			_, err := xfrtest.TryServe(t, corefile, nil)
			want := strings.ReplaceAll(c.want, "DIR", dir)
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("got %v, want %s", err, want)
			}
		})
	}
}
