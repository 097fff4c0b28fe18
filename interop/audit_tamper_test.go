// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// signedLog is what a real server leaves behind that signs checkpoints.
type signedLog struct {
	dir, tool       string
	public, printed string // files: the verifier key, and CoreDNS's own log
	lines           []string
}

func makeSignedLog(t *testing.T, tool string) *signedLog {
	t.Helper()
	dir := t.TempDir()
	key := filepath.Join(dir, "audit.key")
	public, err := exec.Command(tool, "audit-key", "--name", "ns1.audit.test", key).Output()
	must(t, err)
	a := startAudited(t, auditSetup{dir: dir, options: "audit_key " + key})
	l := startLoad(a.addr(), 70, 3)
	l.more(t, 20)
	all := l.stop()
	a.Stop()
	for _, c := range unrecorded(readAudit(t, a.log), all) {
		t.Errorf("not on record: %s", c)
	}
	s := &signedLog{dir: dir, tool: tool, public: filepath.Join(dir, "public"), printed: filepath.Join(dir, "coredns.log")}
	must(t, os.WriteFile(s.public, public, 0o600))
	must(t, os.WriteFile(s.printed, []byte(strings.Join(append(a.Stdout.Lines(), a.Stderr.Lines()...), "\n")), 0o600))
	text, err := os.ReadFile(a.log)
	must(t, err)
	s.lines = slices.Collect(strings.Lines(string(text)))
	return s
}

// verify checks the lines as the operator would who kept key and CoreDNS's log elsewhere.
func (s *signedLog) verify(t *testing.T, lines []string) (int, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "audit.log")
	must(t, os.WriteFile(path, []byte(strings.Join(lines, "")), 0o600))
	return verify(t, s.tool, "--key", s.public, "--checkpoint", s.printed, path)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// What a hand with write access does to the file of a real server is named, with its line.
func TestAuditTamper(t *testing.T) {
	t.Parallel()
	tool := operatorTool(t)
	s := makeSignedLog(t, tool)
	other := makeSignedLog(t, tool)
	printed, err := os.ReadFile(s.printed)
	must(t, err)
	if n := bytes.Count(printed, []byte("audit checkpoint of")); n < 2 {
		t.Fatalf("%d checkpoints in CoreDNS's log, want one at the start and one at the end:\n%s", n, printed)
	}
	if code, out := s.verify(t, s.lines); code != 0 || !strings.Contains(out, "ok: ") || strings.Contains(out, " 0 checkpoints") {
		t.Fatalf("untouched: verify ends with %d:\n%s", code, out)
	}
	const at = 12
	for _, tt := range []struct {
		name, problem string
		line          int // that verify must name; 0: the end
		change        func(l []string) []string
	}{
		{"flip", "changed", at, func(l []string) []string {
			l[at-1] = strings.Replace(l[at-1], `127.70.0.`, `127.71.0.`, 1)
			return l
		}},
		{"delete", "removed", at, func(l []string) []string { return slices.Delete(l, at-1, at) }},
		{"swap", "moved", at, func(l []string) []string { l[at-1], l[at] = l[at], l[at-1]; return l }},
		{"insert", "inserted", at, func(l []string) []string {
			return slices.Insert(l, at-1, "{\"event.action\":\"zone-transfer-decision\"}\n")
		}},
		{"duplicate", "duplicated", at + 1, func(l []string) []string { return slices.Insert(l, at, l[at-1]) }},
		{"splice", "spliced", at, func(l []string) []string { return append(l[:at-1], other.lines[at-1:]...) }},
		{"cut", "removed", 0, func(l []string) []string { return l[:at] }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lines := tt.change(slices.Clone(s.lines))
			if slices.Equal(lines, s.lines) {
				t.Fatal("nothing was changed")
			}
			code, out := s.verify(t, lines)
			first, _, _ := strings.Cut(out, "\n")
			place := fmt.Sprintf("audit.log:%d: FAIL: %s", tt.line, tt.problem)
			if tt.line == 0 {
				place = "FAIL: " + tt.problem
			}
			if code != 1 || !strings.Contains(first, place) {
				t.Errorf("verify ends with %d and begins with %q, want %q:\n%s", code, first, place, out)
			}
		})
	}
}
