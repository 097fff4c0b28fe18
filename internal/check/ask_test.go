// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package check

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestAsk: what a CoreDNS says of a Corefile is added to what the text has shown. What it
// quotes of a key stays out of the report, which may be put into a code review.
func TestAsk(t *testing.T) {
	const secret = "bm90IGZvciBldmVyeWJvZHkgdG8gcmVhZCAx"
	dir := t.TempDir()
	path := filepath.Join(dir, "Corefile")
	if err := os.WriteFile(path, []byte("example.org {\n\txfrguard {\n\t\tallow unsigned\n\t}\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		prints string
		code   string
		want   []string
		fails  string
	}{
		"more findings": {
			`{"code":"rule-any-net","level":"warn","fails":false,"file":"PATH","line":3,"block":"dns://:53","text":"known"}
{"code":"zone-no-backend","level":"warn","fails":true,"file":"PATH","line":2,"block":"dns://:53","text":"new"}
{"checked":true,"findings":2}`, "1",
			[]string{"PATH:2: error: zone-no-backend: new", "PATH:3: warn: rule-any-net: rule"},
			"",
		},
		"does not start": {
			"maxprocs: 2\nPATH:7 - Error during parsing: Wrong argument count or unexpected line ending after '" + secret + "'", "1",
			[]string{"PATH:3: warn: rule-any-net: rule", "PATH:7: error: mistake: Wrong argument count or unexpected line ending after a value of 36 characters"},
			"",
		},
		"another program": {"hello", "0", nil, "has ended without a check"},
	} {
		t.Run(name, func(t *testing.T) {
			binary := filepath.Join(t.TempDir(), "coredns")
			script := "#!/bin/sh\ntest \"$XFRGUARD_CHECK$1\" = json-conf || exit 3\ncat <<'END'\n" + strings.ReplaceAll(tt.prints, "PATH", path) + "\nEND\nexit " + tt.code + "\n"
			if err := os.WriteFile(binary, []byte(script), 0o700); err != nil { //nolint:gosec // it is run
				t.Fatal(err)
			}
			c, err := Read(path, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			err = c.Ask(binary)
			if (err != nil) != (tt.fails != "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
				t.Fatalf("got %v, want %q", err, tt.fails)
			}
			if tt.fails != "" {
				return
			}
			for i, want := range tt.want {
				if i >= len(c.Problems) || !strings.HasPrefix(c.Problems[i].String(), strings.ReplaceAll(want, "PATH", path)) {
					t.Fatalf("got %v, want %s", c.Problems, want)
				}
				if strings.Contains(c.Problems[i].Text, secret) {
					t.Errorf("it shows a secret: %s", &c.Problems[i])
				}
			}
			if len(c.Problems) != len(tt.want) {
				t.Errorf("got %v", c.Problems)
			}
		})
	}
}
