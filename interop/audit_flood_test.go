// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

const (
	floodSources = 5000 // addresses, ten in a /24
	floodEach    = 10   // requests of each
)

// 50,000 requests over UDP from 5,000 addresses, while one client is served: every
// one is answered and accounted for, in few lines; nobody's record waits for that.
// (The million is in the root package, without sockets.)
func TestAuditFlood(t *testing.T) {
	t.Parallel()
	tool := operatorTool(t)
	a := startAudited(t, auditSetup{})
	memory := a.metric(t, "process_resident_memory_bytes")
	quiet := startPacedLoad(a.addr(), 80, 1, 5*time.Millisecond)
	quiet.more(t, 30)
	before := quiet.stop()
	served := startPacedLoad(a.addr(), 80, 1, 5*time.Millisecond)

	start := time.Now()
	answers := flood(t, a.addr())
	took := time.Since(start)
	during := served.stop()
	grown := a.metric(t, "process_resident_memory_bytes") - memory
	a.Stop()

	lines := readAudit(t, a.log)
	single, folded, bytes := 0, int64(0), 0
	refusals := 0 // lines
	for _, l := range lines {
		if l.denied() || l.Action == "zone-transfer-denied" {
			refusals++
			bytes += len(l.Line)
			folded += l.Suppressed
		}
		if l.denied() {
			single++
		}
	}
	if answers != floodSources*floodEach || int64(single)+folded != answers {
		t.Errorf("%d of %d requests were answered; %d have a line, %d are counted in others", answers, floodSources*floodEach, single, folded)
	}
	if most := 50 + 5*(int(took.Seconds())+2); refusals > most {
		t.Errorf("%d lines, at most %d", refusals, most)
	}
	if grown > 64<<20 {
		t.Errorf("memory grew by %.0f bytes", grown)
	}
	for _, c := range unrecorded(lines, append(before, during...)) {
		t.Errorf("not on record: %s", c)
	}
	if n := count(during, func(c catch) bool { return !c.complete }); n > 0 || len(during) == 0 {
		t.Errorf("%d of %d transfers did not come over whole under the flood", n, len(during))
	}
	if w := slowest(during); w > auditDeadline {
		t.Errorf("a transfer took %s under the flood", w)
	}
	wantVerified(t, tool, a.log)
	size, err := os.Stat(a.log)
	must(t, err)
	t.Logf("%d requests from %d addresses in %s: %d lines, %d bytes (file %d), memory +%.0f kB; slowest of %d transfers %s, before the flood %s",
		answers, floodSources, took.Round(time.Millisecond), refusals, bytes, size.Size(), grown/1024, len(during), slowest(during), slowest(before))
}

func slowest(all []catch) time.Duration {
	var d time.Duration
	for _, c := range all {
		d = max(d, c.over.Sub(c.asked))
	}
	return d
}

// flood sends AXFR requests over UDP, which are refused, and returns how many were answered.
func flood(t *testing.T, server string) int64 {
	t.Helper()
	var answers atomic.Int64
	var wg sync.WaitGroup
	const workers = 4
	for w := range workers {
		wg.Go(func() {
			for i := w; i < floodSources; i += workers {
				n, err := refusedTimes(server, fmt.Sprintf("127.%d.%d.%d", 100+i/2500, i/10%250, i%10+1))
				answers.Add(n)
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	return answers.Load()
}

func refusedTimes(server, from string) (answers int64, err error) {
	d := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(from)}}
	raw, err := d.Dial("udp", server)
	if err != nil {
		return 0, err
	}
	defer raw.Close()
	if err := raw.SetDeadline(time.Now().Add(auditPatience)); err != nil {
		return 0, err
	}
	query, err := new(dns.Msg).SetAxfr(auditZone).Pack()
	if err != nil {
		return 0, err
	}
	buf := make([]byte, 512)
	for range floodEach / 5 { // a few at a time, so that no socket's buffer overflows
		for range 5 {
			if _, err := raw.Write(query); err != nil {
				return answers, err
			}
		}
		for range 5 {
			n, err := raw.Read(buf)
			if err != nil {
				return answers, err
			}
			if n < 12 || buf[3]&15 != dns.RcodeNotImplemented {
				return answers, fmt.Errorf("answer to AXFR over UDP: %x", buf[:n])
			}
			answers++
		}
	}
	return answers, nil
}
