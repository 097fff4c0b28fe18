// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

const (
	floodSources = 5000 // addresses, ten in a /24
	floodEach    = 200  // requests of each, half of them over UDP
	floodBurst   = 20   // at a time, so that no socket's buffer overflows
)

// 1,000,000 requests from 5,000 addresses, over UDP and TCP, while one client is
// served: every one is refused and accounted for, in few lines; nobody's record waits for that.
func TestAuditFlood(t *testing.T) {
	t.Parallel()
	tool := operatorTool(t)
	a := startAudited(t, auditSetup{})
	memory := a.metric(t, "process_resident_memory_bytes")
	quiet := startPacedLoad(a.addr(), 80, 1, 5*time.Millisecond)
	quiet.more(t, 30)
	before := quiet.stop()
	served := startPacedLoad(a.addr(), 80, 1, 50*time.Millisecond)

	start := time.Now()
	answers := flood(t, a.addr())
	took := time.Since(start)
	during := served.stop()
	grown := a.metric(t, "process_resident_memory_bytes") - memory
	a.Stop()

	lines := readAudit(t, a.log)
	told := map[string]int64{} // by class: lines of their own and what others count
	bytes, refusals := 0, 0
	for _, l := range lines {
		switch {
		case l.denied() && l.Transport == "udp":
			told["udp"]++
		case l.denied():
			told["stream"]++
		case l.Action == "zone-transfer-denied":
			told[l.Class] += l.Suppressed
		default:
			continue
		}
		refusals++
		bytes += len(l.Line)
	}
	const half = floodSources * floodEach / 2
	if answers != 2*half || told["udp"] != half || told["stream"] != half {
		t.Errorf("%d of %d requests were refused; the log tells of %v", answers, 2*half, told)
	}
	if most := 50 + 200 + 2*(int(took.Seconds())+2); refusals > most { // docs/EVENTS.md, Floods
		t.Errorf("%d lines, at most %d", refusals, most)
	}
	if grown > 96<<20 {
		t.Errorf("memory grew by %.0f bytes", grown)
	}
	for _, c := range unrecorded(lines, append(before, during...)) {
		t.Errorf("not on record: %s", c)
	}
	if n := count(during, func(c catch) bool { return !c.complete }); n > 0 || len(during) == 0 {
		t.Errorf("%d of %d transfers did not come over whole under the flood", n, len(during))
	}
	// A record that took more than two seconds would have been a refusal; the rest is what a busy machine adds.
	if w := slices.Max(durations(during)); w > 3*auditDeadline {
		t.Errorf("a transfer took %s under the flood", w)
	}
	wantVerified(t, tool, a.log)
	size, err := os.Stat(a.log)
	must(t, err)
	t.Logf("%d requests from %d addresses in %s: %d lines, %d bytes (file %d), memory +%.0f kB; %d transfers: median %s, slowest %s; before the flood %s, %s",
		answers, floodSources, took.Round(time.Millisecond), refusals, bytes, size.Size(), grown/1024,
		len(during), median(durations(during)), slices.Max(durations(during)), median(durations(before)), slices.Max(durations(before)))
}

func durations(all []catch) []time.Duration {
	d := make([]time.Duration, 1, len(all)+1)
	for _, c := range all {
		d = append(d, c.over.Sub(c.asked))
	}
	return d
}

// flood sends the requests and returns how many were refused.
func flood(t *testing.T, server string) int64 {
	t.Helper()
	over := map[string][]byte{}
	q := new(dns.Msg).SetAxfr(auditZone)
	over["udp"], _ = q.Pack() // AXFR does not go over UDP
	q = new(dns.Msg).SetAxfr("no." + auditZone)
	text, err := q.Pack()
	must(t, err)
	over["tcp"] = append(binary.BigEndian.AppendUint16(nil, uint16(len(text))), text...)
	var answers atomic.Int64
	var wg sync.WaitGroup
	const workers = 4
	for w := range workers {
		wg.Go(func() {
			for i := w; i < floodSources; i += workers {
				from := net.IPv4(127, byte(100+i/2500), byte(i/10%250), byte(i%10+1))
				for network, query := range over {
					n, err := refusedTimes(network, server, from, query)
					answers.Add(n)
					if err != nil {
						t.Error(network, err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	return answers.Load()
}

func refusedTimes(network, server string, from net.IP, query []byte) (answers int64, err error) {
	d := net.Dialer{LocalAddr: &net.UDPAddr{IP: from}}
	if network == "tcp" {
		d.LocalAddr = &net.TCPAddr{IP: from}
	}
	conn, err := d.Dial(network, server)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(auditPatience)); err != nil {
		return 0, err
	}
	for range floodEach / 2 / floodBurst {
		for range floodBurst {
			if _, err := conn.Write(query); err != nil {
				return answers, err
			}
		}
		for range floodBurst {
			if err := readRefusal(network, conn); err != nil {
				return answers, err
			}
			answers++
		}
	}
	return answers, nil
}

func readRefusal(network string, conn net.Conn) error {
	var buf [512]byte
	want := dns.RcodeNotImplemented
	size := 0
	var err error
	if network == "tcp" {
		want = dns.RcodeRefused
		if _, err = io.ReadFull(conn, buf[:2]); err == nil {
			size = min(int(binary.BigEndian.Uint16(buf[:])), len(buf))
			_, err = io.ReadFull(conn, buf[:size])
		}
	} else {
		size, err = conn.Read(buf[:])
	}
	if err == nil && (size < 12 || int(buf[3]&15) != want) {
		err = fmt.Errorf("the answer is no refusal: %x", buf[:size])
	}
	return err
}
