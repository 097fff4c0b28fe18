// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/coredns/caddy"
	"github.com/miekg/dns"
)

// A small transfer over TCP, its connection included, with a record that costs next
// to nothing (standard output is /dev/null) and with the durable one in a file. The
// difference is what the audit log takes of it.
func BenchmarkSmallTransfer(b *testing.B) {
	for _, audit := range []string{"stdout", "file"} {
		for _, parallel := range []int{1, 64} {
			b.Run(fmt.Sprintf("audit=%s/parallel=%d", audit, parallel), func(b *testing.B) { smallTransfers(b, audit, parallel) })
		}
	}
}

func smallTransfers(b *testing.B, audit string, parallel int) {
	dir := b.TempDir()
	if audit == "file" {
		audit = "file " + filepath.Join(dir, "audit.log")
	}
	addr := serveForBenchmark(b, dir, audit)
	query, err := xfrtest.Question(dns.TypeAXFR).Pack()
	if err != nil {
		b.Fatal(err)
	}
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ResetTimer()
	var wg sync.WaitGroup
	for range parallel {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := smallTransfer(addr, query); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
}

func smallTransfer(addr string, query []byte) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	conn := &dns.Conn{Conn: c}
	if _, err := conn.Write(query); err != nil {
		return err
	}
	m, err := conn.ReadMsg()
	if err == nil && len(m.Answer) != 6 {
		err = fmt.Errorf("not the zone: %v", m)
	}
	return err
}

// serveForBenchmark starts a server whose standard output is /dev/null.
func serveForBenchmark(b *testing.B, dir, audit string) (addr string) {
	b.Helper()
	return serveRule(b, dir, audit, "allow as all net 127.0.0.0/8 unsigned")
}

func serveRule(b *testing.B, dir, audit, rule string) (addr string) {
	b.Helper()
	return serveRules(b, dir, audit, rule, "")
}

// serveRules is serveRule with more in the block.
func serveRules(b *testing.B, dir, audit, rule, more string) (addr string) {
	b.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	stdout := os.Stdout
	os.Stdout = null
	defer func() { os.Stdout = stdout }()
	if err := os.WriteFile(filepath.Join(dir, "db"), []byte(xfrtest.ZoneOrg), 0o600); err != nil {
		b.Fatal(err)
	}
	corefile := xfrtest.Guarded(rule+"\n\t\trate 1000000/1s burst 1000000\n\t\tconcurrent 256 per-client 256", more)
	corefile = strings.Replace(corefile, "audit file DIR/audit.log", "audit "+audit, 1)
	inst, err := caddy.Start((&xfrtest.Server{Dir: dir}).Input(corefile))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		inst.ShutdownCallbacks()
		if err := inst.Stop(); err != nil {
			b.Log(err)
		}
	})
	return inst.Servers()[0].Addr().String()
}
