// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	"github.com/miekg/dns"
)

// excluded are the directives whose plugins only "-tags full" has.
var excluded = []string{"route53", "azure", "clouddns", "kubernetes", "k8s_external", "etcd", "nomad", "trace"}

const corePlugins = "github.com/coredns/coredns/core/plugin" // CoreDNS's own list of plugins

// binary is the built command.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "xfrguard-coredns-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "coredns")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	code := 1
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
	} else {
		code = m.Run()
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// run runs the binary with args until it ends by itself.
func run(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || ctx.Err() != nil) {
		t.Fatalf("coredns %s: %v (%v)\n%s%s", args, err, ctx.Err(), &out, &errs)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func corefile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "Corefile")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A directive of CoreDNS that is neither compiled in nor excluded on purpose is a plugin forgotten.
func TestPlugins(t *testing.T) {
	out, _, code := run(t, "-plugins")
	if code != 0 {
		t.Fatalf("exit code %d", code)
	}
	got := strings.Fields(out)
	want := []string{"xfrguard"}
	for _, name := range dnsserver.Directives {
		if !slices.Contains(excluded, name) {
			want = append(want, name)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("-plugins lists\n%v, want\n%v", got, want)
	}
}

// With "-tags full" the command has exactly the plugins of CoreDNS itself, without it those less
// the excluded ones. Told from the import lists, as a full build takes minutes.
func TestImports(t *testing.T) {
	all := imports(t, corePlugins)
	if len(all) < 60 {
		t.Fatalf("CoreDNS imports %d plugins only: %v", len(all), all)
	}
	if got := imports(t, "-tags=full", "."); !slices.Equal(got, all) {
		t.Errorf("with -tags=full:\n%v, want\n%v", got, all)
	}
	some := slices.DeleteFunc(slices.Clone(all), func(path string) bool {
		return slices.Contains(excluded, path[strings.LastIndex(path, "/")+1:])
	})
	if len(some) != len(all)-len(excluded) {
		t.Errorf("%d of %v are plugins of CoreDNS", len(all)-len(some), excluded)
	}
	if got := imports(t, "."); !slices.Equal(got, some) {
		t.Errorf("by default:\n%v, want\n%v", got, some)
	}
}

// imports returns the plugins that a package imports, sorted.
func imports(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list", "-f", "{{range .Imports}}{{println .}}{{end}}"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list %v: %v", args, err)
	}
	paths := slices.DeleteFunc(strings.Fields(string(out)), func(path string) bool {
		return !strings.HasPrefix(path, "github.com/coredns/coredns/plugin/") && !strings.HasSuffix(path, "/onevent")
	})
	slices.Sort(paths)
	return paths
}

func TestVersionNamesBoth(t *testing.T) {
	out, _, _ := run(t, "-version")
	if want := "CoreDNS-" + coremain.CoreVersion + "+xfrguard"; !strings.HasPrefix(out, want) {
		t.Errorf("-version says %q, want it to start with %q", out, want)
	}
}

func TestExcludedPluginIsAClearError(t *testing.T) {
	for _, name := range excluded {
		_, stderr, code := run(t, "-conf", corefile(t, ".:0 {\n bind 127.0.0.1\n "+name+"\n}\n"))
		if code == 0 || !strings.Contains(stderr, "'"+name+"'") || !strings.Contains(stderr, "missing a plugin?") {
			t.Errorf("%s: exit code %d, error %q; want a failure that names it as missing", name, code, stderr)
		}
	}
}

func TestUnknownDirectiveIsAClearError(t *testing.T) {
	_, stderr, code := run(t, "-conf", corefile(t, ".:0 {\n bind 127.0.0.1\n xfrgaurd\n}\n"))
	if code == 0 || !strings.Contains(stderr, "Corefile:3") || !strings.Contains(stderr, "Unknown directive 'xfrgaurd'") {
		t.Errorf("exit code %d, error %q; want a failure that names file, line and directive", code, stderr)
	}
}

// A block with xfrguard and no rules starts, answers questions and hands out nothing.
func TestServes(t *testing.T) {
	addr, stop := serve(t, "example.org:%[1]d {\n bind 127.0.0.1\n xfrguard\n whoami\n}\n")
	defer stop()

	m := new(dns.Msg)
	m.SetQuestion("example.org.", dns.TypeA)
	r, _, err := new(dns.Client).Exchange(m, addr)
	if err != nil {
		t.Fatal(err)
	}
	if r.Rcode != dns.RcodeSuccess || len(r.Extra) == 0 {
		t.Errorf("whoami answered %v", r)
	}

	m.SetAxfr("example.org.")
	r, _, err = (&dns.Client{Net: "tcp"}).Exchange(m, addr)
	if err != nil {
		t.Fatal(err)
	}
	if r.Rcode != dns.RcodeRefused || len(r.Answer) != 0 {
		t.Errorf("AXFR answered %v, want REFUSED", r)
	}
}

// serve starts the binary on a free port of 127.0.0.1, put into the Corefile template, and waits until it
// answers. Another process may take the port between its choice and its use: then another is tried.
func serve(t *testing.T, template string) (addr string, stop func()) {
	t.Helper()
	for range 5 {
		port := freePort(t)
		addr = fmt.Sprintf("127.0.0.1:%d", port)
		cmd := exec.Command(binary, "-conf", corefile(t, fmt.Sprintf(template, port)))
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		if answers(addr, ended) {
			return addr, func() {
				cmd.Process.Kill()
				<-ended
			}
		}
		cmd.Process.Kill()
		<-ended
		if !strings.Contains(out.String(), "address already in use") {
			t.Fatalf("coredns does not serve:\n%s", &out)
		}
	}
	t.Fatal("no free port in five tries")
	return "", nil
}

// answers reports whether somebody accepts connections at addr before the process ends or
// ten seconds are over.
func answers(addr string, ended chan error) bool {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		select {
		case err := <-ended:
			ended <- err
			return false
		default:
		}
		if conn, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
			conn.Close()
			return true
		}
	}
	return false
}

// freePort returns a port that was free for both TCP and UDP a moment ago.
func freePort(t *testing.T) int {
	t.Helper()
	for range 20 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		p, err := net.ListenPacket("udp", l.Addr().String())
		l.Close()
		if err == nil {
			p.Close()
			return port
		}
	}
	t.Fatal("no port is free for both TCP and UDP")
	return 0
}
