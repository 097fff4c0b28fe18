// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/coredns/caddy"
	"github.com/miekg/dns"
)

const rusageThread = 1 // RUSAGE_THREAD, which package syscall does not have

// BenchmarkRefusal is the CPU that the server takes for an unsigned request that it
// refuses, beside that for an ordinary query that the file plugin answers, of the same
// server and on the same socket, in turns. The client runs in a thread of its own, whose
// time is taken off that of the process.
func BenchmarkRefusal(b *testing.B) {
	dir := b.TempDir()
	addr := serveRule(b, dir, "stdout", "allow as ns2 net 192.0.2.53 key a.example.net.")
	for _, network := range []string{"tcp", "udp"} {
		at := addr
		if network == "udp" {
			at = udpOf(b)
		}
		for _, c := range []struct {
			name  string
			qtype uint16
		}{{"AXFR", dns.TypeAXFR}, {"IXFR", dns.TypeIXFR}} {
			b.Run(network+"/"+c.name, func(b *testing.B) { benchmarkRefusal(b, network, at, c.qtype) })
		}
	}
}

// BenchmarkStranger is BenchmarkRefusal in a block of one directive and of 10,000, each
// with a zone, an address and a key of its own: what a stranger costs does not grow with
// what the block has for others.
func BenchmarkStranger(b *testing.B) {
	for _, directives := range []int{1, 10_000} {
		var more strings.Builder
		for i := range directives - 1 {
			fmt.Fprintf(&more, "\txfrguard zone%d.example.org {\n\t\tallow net 10.%d.%d.1 key b.example.net.\n\t}\n", i, i>>8, i&255)
		}
		addr := serveRules(b, b.TempDir(), "stdout", "allow as ns2 net 192.0.2.53 key a.example.net.", more.String())
		for network, at := range map[string]string{"tcp": addr, "udp": udpOf(b)} {
			b.Run(fmt.Sprintf("%d/%s", directives, network), func(b *testing.B) { benchmarkRefusal(b, network, at, dns.TypeIXFR) })
		}
	}
}

// udpOf is the address of the UDP listener of the server that has started last.
func udpOf(b *testing.B) string {
	b.Helper()
	for _, inst := range slices.Backward(caddy.Instances()) {
		for _, s := range inst.Servers() {
			if s.LocalAddr() != nil {
				return s.LocalAddr().String()
			}
		}
	}
	b.Fatal("no UDP listener")
	return ""
}

const turn = 200 // queries of one kind in a row

func benchmarkRefusal(b *testing.B, network, addr string, qtype uint16) {
	c, err := net.Dial(network, addr)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Minute))
	ordinary := xfrtest.Question(dns.TypeA, xfrtest.WithName("www.example.org."))
	refused := xfrtest.Question(qtype)
	if qtype == dns.TypeIXFR {
		xfrtest.WithSerial(1)(refused)
	}
	var cost [2]time.Duration
	queries := [2][]byte{mustPack(b, ordinary), mustPack(b, refused)}
	rcodes := [2]byte{dns.RcodeSuccess, dns.RcodeRefused}
	if network == "udp" && qtype == dns.TypeAXFR {
		rcodes[1] = dns.RcodeNotImplemented
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	n := 0
	for b.Loop() {
		for kind, q := range queries {
			before := serverTime(b)
			for range turn {
				askOnce(b, c, network, q, rcodes[kind])
			}
			cost[kind] += serverTime(b) - before
		}
		n += turn
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(cost[0].Nanoseconds())/float64(n), "ns/ordinary")
	b.ReportMetric(float64(cost[1].Nanoseconds())/float64(n), "ns/refusal")
	b.ReportMetric(float64(cost[1])/float64(cost[0]), "ratio")
}

func mustPack(b *testing.B, m *dns.Msg) []byte {
	b.Helper()
	raw, err := m.Pack()
	if err != nil {
		b.Fatal(err)
	}
	return raw
}

func askOnce(b *testing.B, c net.Conn, network string, q []byte, rcode byte) {
	var buf [dns.MinMsgSize + 2]byte
	at := 0
	if network == "tcp" {
		at = copy(buf[:], []byte{byte(len(q) >> 8), byte(len(q))})
	}
	if _, err := c.Write(buf[:at+copy(buf[at:], q)]); err != nil {
		b.Fatal(err)
	}
	n, err := c.Read(buf[:])
	if err != nil || n < at+12 || buf[at+3]&15 != rcode {
		b.Fatalf("%v: %x", err, buf[:n])
	}
}

// serverTime is the CPU time of this process without that of this thread.
func serverTime(b *testing.B) time.Duration {
	var all, client syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &all); err != nil {
		b.Fatal(err)
	}
	if err := syscall.Getrusage(rusageThread, &client); err != nil {
		b.Fatal(err)
	}
	sum := func(r *syscall.Rusage) int64 { return r.Utime.Nano() + r.Stime.Nano() }
	return time.Duration(sum(&all) - sum(&client))
}
