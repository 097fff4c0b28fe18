// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// CoreDNS is a running CoreDNS with the guard.
type CoreDNS struct {
	*Process
	Port int
	Dir  string
}

// Build compiles this module's cmd/coredns to dir/coredns, without cgo, and
// returns that path. A binary named by XFRGUARD_COREDNS is taken instead.
func Build(ctx context.Context, dir string) (string, error) {
	if path := os.Getenv("XFRGUARD_COREDNS"); path != "" {
		return path, nil
	}
	return Compile(ctx, filepath.Join(dir, "coredns"))
}

// Compile compiles this module's cmd/coredns to path, without cgo and with these arguments
// for go build, and returns the path.
func Compile(ctx context.Context, path string, args ...string) (string, error) {
	args = append(append([]string{"build", "-o", path}, args...), "github.com/xfrguard/xfrguard/cmd/coredns")
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build cmd/coredns: %w\n%s", err, out)
	}
	return path, nil
}

// StartCoreDNS runs binary with corefile, which must serve zone on port of
// 127.0.0.1, and returns when it answers for it.
func StartCoreDNS(t testing.TB, binary string, port int, zone, corefile string) *CoreDNS {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "Corefile")
	WriteFile(t, path, corefile)
	c := &CoreDNS{Port: port, Dir: dir}
	c.Process = Run(t, "coredns", dir, binary, "-conf", path)
	c.Await(t, 20*time.Second, "serve "+zone, func(ctx context.Context) error {
		_, err := Serial(ctx, Loopback(port), zone)
		return err
	})
	return c
}

// Serial asks server (HOST:PORT) for the serial of zone over UDP, unsigned.
func Serial(ctx context.Context, server, zone string) (uint32, error) {
	q := new(dns.Msg)
	q.SetQuestion(zone, dns.TypeSOA)
	c := &dns.Client{Timeout: time.Second}
	r, _, err := c.ExchangeContext(ctx, q, server)
	if err != nil {
		return 0, fmt.Errorf("ask %s for the SOA of %s: %w", server, zone, err)
	}
	for _, rr := range r.Answer {
		if soa, ok := rr.(*dns.SOA); ok {
			return soa.Serial, nil
		}
	}
	return 0, fmt.Errorf("ask %s for the SOA of %s: %s without SOA", server, zone, dns.RcodeToString[r.Rcode])
}

// WriteFile replaces the file at path at once, so that no reader sees half of it.
func WriteFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatalf("write %s: %v", path, err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatalf("replace %s: %v", path, err)
	}
}
