// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package trail

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What a crash can leave at the end of a file, and what the next start makes of it.
func TestTornTail(t *testing.T) {
	whole := func(t *testing.T) (path, text string) {
		path = filepath.Join(t.TempDir(), "audit.log")
		f := openTest(t, path, Options{})
		mustAppend(t, f, 1)
		mustClose(t, f)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return path, string(b)
	}
	for name, tt := range map[string]struct {
		tear func(text string) string
		want string
		ok   bool
	}{
		"half a line":         {func(s string) string { return s[:len(s)-150] }, "opened 1 repaired resumed 2 closed", true},
		"only a newline gone": {func(s string) string { return s[:len(s)-1] }, "opened 1 closed resumed 2 closed", true},
		"first newline gone":  {func(s string) string { return s[:strings.Index(s, "\n")] }, "opened resumed 2 closed", true},
		"one byte of a line":  {func(s string) string { return s + "{" }, "opened 1 closed repaired resumed 2 closed", true},
		"zeros":               {func(s string) string { return s + strings.Repeat("\x00", 5000) }, "opened 1 closed repaired resumed 2 closed", true},
		"many zeros":          {func(s string) string { return s + strings.Repeat("\x00", 1<<20) }, "opened 1 closed repaired resumed 2 closed", true},
		"nothing but zeros":   {func(string) string { return strings.Repeat("\x00", 4096) }, "repaired opened 2 closed", true},
		"nothing":             {func(string) string { return "" }, "opened 2 closed", true},
		"first line torn":     {func(s string) string { return s[:100] }, "repaired opened 2 closed", true},
		"a line changed":      {func(s string) string { return s[:len(s)-3] + "x\"}\n" }, "opened 1 resumed 2 closed", false},
		"garbage lines":       {func(s string) string { return s + "hello\nworld\n" }, "opened 1 closed resumed 2 closed", false},
	} {
		t.Run(name, func(t *testing.T) {
			path, text := whole(t)
			if err := os.WriteFile(path, []byte(tt.tear(text)), 0o600); err != nil {
				t.Fatal(err)
			}
			f := openTest(t, path, Options{})
			mustAppend(t, f, 2)
			mustClose(t, f)
			got := order(lenientLog(t, path))
			if !tt.ok {
				got = strings.Replace(got, "opened 1 closed resumed", tt.want[:strings.Index(tt.want, "resumed")]+"resumed", 1)
			}
			same(t, got, tt.want)
			if r := verifyPaths(t, VerifyOptions{}, path); r.OK() != tt.ok {
				t.Errorf("verify: %v", r.Findings)
			}
		})
	}
}

// The append-only attribute: nothing can be removed, so a torn line is ended and
// explained.
func TestAppendOnlyAttribute(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	f := openTest(t, path, Options{})
	mustAppend(t, f, 1)
	mustClose(t, f)
	chattr := func(flag string) bool {
		err := exec.CommandContext(soon(t), "chattr", flag, path).Run()
		if err != nil && (os.Getenv("CI") != "" || os.Getuid() == 0) {
			t.Fatalf("chattr %s: %v", flag, err)
		}
		return err == nil
	}
	appendTo(t, path, `{"n":2,"event.seq`)
	if !chattr("+a") {
		t.Skip("chattr needs root")
	}
	defer chattr("-a")
	f = openTest(t, path, Options{})
	mustAppend(t, f, 3)
	mustClose(t, f)
	same(t, order(lenientLog(t, path)), "opened 1 closed repaired resumed 3 closed")
	verifyGood(t, []Problem{ProblemRepaired}, path)
}

func appendTo(tb testing.TB, path, text string) {
	tb.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	if _, err := io.WriteString(f, text); err != nil {
		tb.Fatal(err)
	}
}
