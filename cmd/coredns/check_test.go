// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCheckOnly: with XFRGUARD_CHECK the binary runs every setup and ends. Its port is
// taken, its sink and journal cannot be there, and neither matters: nothing is started.
func TestCheckOnly(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, tt := range map[string]struct {
		rule, form, want string
		code             int
	}{
		"clean":            {"allow net 192.0.2.53 key a.", "1", "xfrguard: the Corefile can be loaded; 0 findings\n", 0},
		"finding":          {"allow key a.", "1", "rule-any-net: ", 1},
		"for programs":     {"allow key a.", "json", `{"code":"rule-any-net","level":"warn","fails":false,"file":"`, 1},
		"findings fail":    {"allow key a.\n findings fail", "json", `"fails":true`, 1},
		"the last line":    {"allow net 192.0.2.53 key a.", "json", `{"checked":true,"findings":0}` + "\n", 0},
		"mistake":          {"alow key a.", "1", "unknown property 'alow' (did you mean 'allow'?)", 1},
		"another plugin's": {"allow net 192.0.2.53 key a.\n}\nfile {\n nothere", "1", "plugin/file", 1},
		"no such key":      {"allow net 192.0.2.53 key b.", "1", `rule "rule-1" wants TSIG key b., which is not in the tsig plugin`, 1},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			db := filepath.Join(dir, "db")
			log, journal := filepath.Join(dir, "log"), filepath.Join(dir, "journal")
			corefile := filepath.Join(dir, "Corefile")
			text := fmt.Sprintf("example.org:%d {\n bind 127.0.0.1\n reload\n tsig {\n  secret a. c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0MTIzNDU2Nzg=\n }\n file %s\n xfrguard {\n  audit file %s\n  journal %s\n  %s\n }\n}\n",
				taken.Addr().(*net.TCPAddr).Port, db, log, journal, tt.rule)
			for file, content := range map[string]string{db: "$TTL 60\n@ SOA ns h 7 60 60 60 60\n@ NS ns\nns A 127.0.0.1\n", corefile: text} {
				if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			t.Setenv("XFRGUARD_CHECK", tt.form)
			stdout, stderr, code := run(t, "-conf", corefile)
			if !strings.Contains(stdout+stderr, tt.want) || code != tt.code {
				t.Errorf("ends with %d, want %d and %q:\n%s%s", code, tt.code, tt.want, stdout, stderr)
			}
			for _, file := range []string{log, journal} {
				if _, err := os.Stat(file); err == nil {
					t.Errorf("%s was made", filepath.Base(file))
				}
			}
		})
	}
}
