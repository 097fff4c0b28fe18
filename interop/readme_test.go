// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestReadmeQuickStart runs the shell lines of the README's quick start, as they
// stand there, in a copy of the repository. The ports in them are fixed, so where it
// may it gives them a network of their own.
func TestReadmeQuickStart(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, m := range regexp.MustCompile("(?s)~~~ sh\n(.*?)\n~~~").FindAllStringSubmatch(string(text), -1) {
		lines = append(lines, m[1])
	}
	want := []struct{ line, shows string }{
		{"make run", ""},
		{"dig @127.0.0.1 -p 1053 -k testdata/example/xfr.keys example.org AXFR", `XFR size: \d+ records`},
		{"dig @127.0.0.1 -p 1053 example.org AXFR", `Transfer failed`},
		{"grep zone-transfer xfrguard-audit.log", `(?s)"event.reason":"policy-allow".*"event.reason":"complete".*"event.reason":"tsig-required"`},
		{"curl -s http://127.0.0.1:9153/metrics | grep xfrguard_requests_total", `decision="deny",reason="tsig-required".* 1`},
		{"make test", ""},
	}
	if len(lines) != len(want) {
		t.Fatalf("the README has %d shell blocks: %q", len(lines), lines)
	}
	for i, w := range want {
		if lines[i] != w.line {
			t.Errorf("shell block %d is %q, this test knows %q", i, lines[i], w.line)
		}
	}
	dir := t.TempDir()
	if out, err := exec.Command("cp", "-a", "../.", dir).CombinedOutput(); err != nil {
		t.Fatalf("copying the repository: %v: %s", err, out)
	}
	_ = os.Remove(filepath.Join(dir, "xfrguard-audit.log"))
	shell := newShell(t, dir)
	wantAllOfSchema(t, nil, filepath.Join(dir, "xfrguard-audit.log"))
	shell.background(t, want[0].line)
	for _, w := range want[1:5] {
		out := shell.run(t, w.line)
		if !regexp.MustCompile(w.shows).MatchString(out) {
			t.Errorf("%s\nshows no %s:\n%s", w.line, w.shows, out)
		}
	}
}

// shell runs lines in one directory and, as root, in one network namespace.
type shell struct {
	dir string
	ns  string // a pid whose network namespace is ours; "" is the machine's
}

func newShell(t *testing.T, dir string) *shell {
	t.Helper()
	s := &shell{dir: dir}
	hold := exec.Command("unshare", "-n", "sh", "-c", "ip link set lo up && echo up && exec sleep 600")
	out, err := hold.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 && hold.Start() == nil {
		stop(t, hold)
		buf := make([]byte, 8)
		if n, _ := out.Read(buf); strings.HasPrefix(string(buf[:n]), "up") {
			s.ns = strconv.Itoa(hold.Process.Pid)
			return s
		}
	}
	c, err := net.DialTimeout("tcp", "127.0.0.1:1053", 100*time.Millisecond)
	if err == nil {
		_ = c.Close()
		t.Fatal("port 1053 is taken, and without being root this test has no network of its own")
	}
	return s
}

func (s *shell) command(ctx context.Context, line string) *exec.Cmd {
	args := []string{"sh", "-c", line}
	if s.ns != "" {
		args = append([]string{"nsenter", "-n", "-t", s.ns}, args...)
	}
	c := exec.CommandContext(ctx, args[0], args[1:]...)
	c.Dir = s.dir
	return c
}

func (s *shell) run(t *testing.T, line string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	out, _ := s.command(ctx, line).CombinedOutput()
	return string(out)
}

// background starts a line and waits until the server answers.
func (s *shell) background(t *testing.T, line string) {
	t.Helper()
	c := s.command(context.Background(), line)
	c.Stdout, c.Stderr = os.Stderr, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	stop(t, c)
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if strings.Contains(s.run(t, "dig @127.0.0.1 -p 1053 +time=1 +tries=1 +short example.org SOA"), "hostmaster") {
			return
		}
	}
	t.Fatal("the server did not answer within five minutes")
}

// stop ends a process and its children when the test does.
func stop(t *testing.T, c *exec.Cmd) {
	t.Cleanup(func() {
		pid := c.Process.Pid
		if c.SysProcAttr != nil && c.SysProcAttr.Setpgid {
			pid = -pid
		}
		_ = syscall.Kill(pid, syscall.SIGTERM)
		done := make(chan struct{})
		go func() { _ = c.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			_ = syscall.Kill(pid, syscall.SIGKILL)
			<-done
		}
	})
}
