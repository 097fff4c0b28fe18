// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package trail

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// copytruncate: the copy has some lines, the file loses all of them. verify says what
// is missing between the two.
func TestCopyTruncateUnderLoad(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.log")
	f := openTest(t, path, Options{})
	l := startLoad(f, 8)
	var copies []string
	for i := range 10 {
		l.more(t, 20)
		name := fmt.Sprintf("%s.%d", path, i)
		copyFile(t, path, name)
		if err := os.Truncate(path, 0); err != nil {
			t.Fatal(err)
		}
		copies = append(copies, name)
	}
	l.more(t, 20)
	l.stop()
	mustClose(t, f)
	all := append(copies, path)
	found := numbers(lenientLog(t, concat(t, all...)))
	missing := 0
	for _, n := range l.acked {
		if found[n] == 0 {
			missing++
		}
	}
	r := verifyPaths(t, VerifyOptions{}, all...)
	if missing > 0 && r.OK() {
		t.Errorf("%d lines are gone, and verify passes", missing)
	}
	truncated := 0
	for _, p := range problems(r) {
		switch p {
		case ProblemTruncated:
			truncated++
		case ProblemRemoved:
		case ProblemTorn, ProblemRepaired, ProblemChanged: // a copy taken in the middle of a write
		default:
			t.Errorf("%s", p)
		}
	}
	if truncated != 10 && r.Omitted == 0 {
		t.Errorf("%d of 10 cuts are named", truncated)
	}
}

func copyFile(tb testing.TB, from, to string) {
	tb.Helper()
	in, err := os.Open(from)
	if err != nil {
		tb.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		tb.Fatal(err)
	}
	defer out.Close()
	if _, err := io.Copy(out, in); err != nil {
		tb.Fatal(err)
	}
}

func concat(tb testing.TB, paths ...string) string {
	tb.Helper()
	var all []byte
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, b...)
	}
	name := filepath.Join(tb.TempDir(), "all.log")
	if err := os.WriteFile(name, all, 0o600); err != nil {
		tb.Fatal(err)
	}
	return name
}

// The cut comes while a line is under way: it is acknowledged only when it is in the
// file.
func TestTruncateWhileWriting(t *testing.T) {
	for name, h := range map[string]func(d *faultyDisk) *hook{
		"before the write": func(d *faultyDisk) *hook { return &d.onWrite },
		"before the sync":  func(d *faultyDisk) *hook { return &d.onSync },
	} {
		for _, size := range []int64{0, 100} {
			t.Run(fmt.Sprintf("%s, to %d", name, size), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "audit.log")
				d := &faultyDisk{}
				f := openTest(t, path, Options{disk: d})
				mustAppend(t, f, 1)
				done := false
				h(d).set(func(do func([]byte) (int, error), b []byte) (int, error) {
					if !done {
						done = true
						if err := os.Truncate(path, size); err != nil {
							return 0, err
						}
					}
					return do(b)
				})
				mustAppend(t, f, 2)
				mustClose(t, f)
				log := lenientLog(t, path)
				if numbers(log)[2] < 1 || !strings.Contains(order(log), "truncated") {
					t.Errorf("%s", order(log))
				}
			})
		}
	}
}

// Somebody else writes into the file: no line of ours is glued to it, and verify names
// it.
func TestForeignBytes(t *testing.T) {
	for name, text := range map[string]string{"a line": "hello\n", "half a line": "hello", "much": strings.Repeat("hello\n", 10_000)} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "audit.log")
			f := openTest(t, path, Options{})
			mustAppend(t, f, 1)
			appendTo(t, path, text)
			mustAppend(t, f, 2)
			mustClose(t, f)
			log := lenientLog(t, path)
			if o := strings.ReplaceAll(order(log), "repaired ", ""); o != "opened 1 foreign 2 closed" {
				t.Errorf("%s", o)
			}
			r := verifyPaths(t, VerifyOptions{}, path)
			if r.OK() || (text != "hello" && r.Findings[0].Line != 3) {
				t.Errorf("%v", r.Findings)
			}
		})
	}
}
