// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/miekg/dns"
)

// TestRevocation: after a reload a transfer that is no longer allowed is closed
// within a second of the new policy, one that still is goes on to its end.
func TestRevocation(t *testing.T) {
	const hosts = 90000 // more than the kernel's buffers hold
	var big strings.Builder
	big.WriteString(xfrtest.ZoneOrg)
	for i := range hosts {
		fmt.Fprintf(&big, "h%d IN TXT \"%s\"\n", i, strings.Repeat("x", 240))
	}
	lines := "allow as one net 127.0.0.2 unsigned\n\t\tallow as two net 127.0.0.3 unsigned"
	s := xfrtest.Serve(t, xfrtest.Guarded(lines, ""), map[string]string{"db": big.String()})
	tcp := s.Addr(t, "tcp", 0)
	begin := func(from string) (*dns.Conn, int) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c, err := d.Dial("tcp", tcp)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		_ = c.SetDeadline(time.Now().Add(60 * time.Second))
		conn := &dns.Conn{Conn: c}
		if _, err := conn.Write(xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR))); err != nil {
			t.Fatal(err)
		}
		m, err := conn.ReadMsg()
		if err != nil {
			t.Fatal(err)
		}
		return conn, len(m.Answer)
	}
	one, got := begin("127.0.0.2")
	two, records := begin("127.0.0.3")
	if err := s.Reload(xfrtest.Guarded("allow as two net 127.0.0.3 unsigned", "")); err != nil {
		t.Fatal(err)
	}
	for {
		m, err := one.ReadMsg() // what was in the buffers, then the end
		if err != nil {
			break
		}
		got += len(m.Answer)
	}
	if got >= hosts+6 {
		t.Errorf("the transfer that is no longer allowed went to its end")
	}
	for records < hosts+6 {
		m, err := two.ReadMsg()
		if err != nil {
			t.Fatalf("the transfer that is still allowed: %v after %d records", err, records)
		}
		records += len(m.Answer)
	}
	revoked := s.When(t, "zone-transfer-end", "policy-revoked")
	loaded := s.When(t, "policy-reload", "")
	if d := revoked.Sub(loaded); d > time.Second {
		t.Errorf("closed %v after the new policy was loaded", d)
	}
}

// TestRevocationOfAXFRAlone: the whole zone that an IXFR is answered with needs the
// permission for AXFR, after a reload too: the one for IXFR does not carry it on.
func TestRevocationOfAXFRAlone(t *testing.T) {
	s := xfrtest.Serve(t, xfrtest.Guarded("allow as both net 127.0.0.1 unsigned", ""), map[string]string{"db": xfrtest.SlowZone()})
	c, records := xfrtest.SlowTransfer(t, s, dns.TypeIXFR)
	if err := s.Reload(xfrtest.Guarded("allow as both type IXFR net 127.0.0.1 unsigned", "")); err != nil {
		t.Fatal(err)
	}
	const whole = xfrtest.SlowHosts + 6
	if records = xfrtest.Rest(c, records, whole); records == whole {
		t.Error("a client that may have differences only was given the whole zone")
	}
	s.When(t, "zone-transfer-end", "policy-revoked")
}
