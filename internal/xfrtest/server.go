// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrtest

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/limit"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/miekg/dns"
	"golang.org/x/time/rate"
)

func init() {
	dnsserver.Quiet = true
	caddy.Quiet = true
	i := slices.Index(dnsserver.Directives, "dnstap")
	dnsserver.Directives = slices.Insert(dnsserver.Directives, i+1, "xfrguard")
}

// Server is one CoreDNS in this process.
type Server struct {
	Dir  string          // its files; DIR in a Corefile
	Inst *caddy.Instance // the last that came up
}

// Serve starts CoreDNS with the Corefile, in which DIR is a fresh directory with the
// files. It is stopped at the end of the test.
func Serve(t *testing.T, corefile string, files map[string]string) *Server {
	t.Helper()
	s, err := TryServe(t, corefile, files)
	if err != nil {
		t.Fatalf("starting CoreDNS: %v", err)
	}
	return s
}

// TryServe is Serve for a Corefile that CoreDNS may refuse.
func TryServe(t *testing.T, corefile string, files map[string]string) (*Server, error) {
	t.Helper()
	limit.OfProcess.Forget() // tests share addresses, and must not share what is left of their rates
	s := &Server{Dir: t.TempDir()}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(s.Dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	inst, err := caddy.Start(s.Input(corefile))
	if err != nil {
		return nil, err
	}
	s.Inst = inst
	t.Cleanup(func() {
		s.Inst.ShutdownCallbacks()
		if err := s.Inst.Stop(); err != nil {
			t.Logf("stopping CoreDNS: %v", err)
		}
	})
	return s, nil
}

// Input is a Corefile with the directory in the place of DIR, as CoreDNS loads it.
func (s *Server) Input(corefile string) caddy.Input {
	return caddy.CaddyfileInput{
		Contents:       []byte(strings.ReplaceAll(corefile, "DIR", s.Dir)),
		Filepath:       "Corefile",
		ServerTypeName: "dns",
	}
}

// Reload is what the reload plugin does.
func (s *Server) Reload(corefile string) error {
	s.AwaitServing()
	inst, err := s.Inst.Restart(s.Input(corefile))
	s.Inst = inst
	return err
}

// AwaitServing waits until the servers answer, as far as they speak plain DNS. CoreDNS
// returns before, and cannot stop one that does not serve yet (miekg/dns: "server not
// started"): it would go on and take some of the connections.
func (s *Server) AwaitServing() {
	for _, l := range s.Inst.Servers() {
		for network, a := range map[string]net.Addr{"tcp": l.Addr(), "udp": l.LocalAddr()} {
			if a != nil {
				c := dns.Client{Net: network, Timeout: time.Second}
				_, _, _ = c.Exchange(new(dns.Msg).SetQuestion(".", dns.TypeSOA), a.String())
			}
		}
	}
}

// Addr returns the address of the nth server, "tcp" or "udp".
func (s *Server) Addr(t *testing.T, network string, n int) string {
	t.Helper()
	i := 0
	for _, l := range s.Inst.Servers() {
		var a net.Addr
		if network == "udp" {
			a = l.LocalAddr()
		} else {
			a = l.Addr()
		}
		if a == nil {
			continue
		}
		if i == n {
			return a.String()
		}
		i++
	}
	t.Fatalf("no %s server number %d", network, n)
	return ""
}

// Write writes a file of the directory.
func (s *Server) Write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.Dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Replace puts a file in the place of another one, whole.
func (s *Server) Replace(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(s.Dir, name)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// Restart stops CoreDNS and starts it again: of the process nothing is left but files.
func (s *Server) Restart(t *testing.T, corefile string) {
	t.Helper()
	s.AwaitServing()
	s.Inst.ShutdownCallbacks()
	if err := s.Inst.Stop(); err != nil {
		t.Fatal(err)
	}
	inst, err := caddy.Start(s.Input(corefile))
	if err != nil {
		t.Fatal(err)
	}
	s.Inst = inst
}

// FreshUnproven fills limit.Unproven for the test, and returns its burst.
func FreshUnproven(t *testing.T) int {
	t.Helper()
	before := limit.Unproven
	limit.Unproven = rate.NewLimiter(before.Limit(), before.Burst())
	t.Cleanup(func() { limit.Unproven = before })
	return before.Burst()
}
