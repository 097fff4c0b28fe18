// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/miekg/dns"
)

var benchID atomic.Uint32 // a signature must not be seen twice

// BenchmarkRequest is one signed IXFR that is up to date, on a connection that stays
// open: what a request costs beside its content. The record goes to /dev/null.
func BenchmarkRequest(b *testing.B) {
	dir := b.TempDir()
	addr := serveRule(b, dir, "stdout", "allow as ns2 net 127.0.0.0/8 key a.example.net.")
	c, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	conn := &dns.Conn{Conn: c}
	buf := make([]byte, 65535)
	var queries [][]byte
	for range b.N {
		m := xfrtest.Question(dns.TypeIXFR, xfrtest.WithSerial(1))
		m.Id = uint16(benchID.Add(1))
		m.SetTsig("a.example.net.", dns.HmacSHA256, 300, time.Now().Unix())
		q, _, err := dns.TsigGenerate(m, xfrtest.SecretA, "", false)
		if err != nil {
			b.Fatal(err)
		}
		queries = append(queries, q)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for _, q := range queries {
		if _, err := conn.Write(q); err != nil {
			b.Fatal(err)
		}
		n, err := conn.Read(buf)
		if err != nil || n < 100 {
			b.Fatal(n, err)
		}
		if buf[3]&15 != 0 {
			b.Fatalf("%x", buf[:n])
		}
	}
}
