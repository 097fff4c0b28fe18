// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"crypto/tls"
	"net"
	"testing"
	"time"
)

// Who has closed or reset its connection is gone, also behind TLS and with something
// unread; who only waits, or pipelines, is not.
func TestGone(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(*net.TCPConn)
		want bool
	}{
		{"waits", func(*net.TCPConn) {}, false},
		{"pipelines", func(c *net.TCPConn) { _, _ = c.Write([]byte("x")) }, false},
		{"closed", func(c *net.TCPConn) { _ = c.Close() }, true},
		{"closed behind what it has sent", func(c *net.TCPConn) { _, _ = c.Write([]byte("x")); _ = c.Close() }, true},
		{"reset", func(c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if !AcksKnown {
				tt.want = false
			}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			s, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			_ = s.SetReadDeadline(time.Now().Add(-time.Second)) // which CoreDNS's may be by then
			tt.do(c.(*net.TCPConn))
			for name, conn := range map[string]net.Conn{"TCP": s, "TLS": tls.Server(s, nil)} {
				gone := Gone(conn)
				for start := time.Now(); gone() != tt.want; time.Sleep(time.Millisecond) {
					if time.Since(start) > 10*time.Second {
						t.Fatalf("over %s: gone %t, want %t", name, !tt.want, tt.want)
					}
				}
			}
		})
	}
	if Gone(nil)() {
		t.Error("nothing is known of no connection, and it is gone")
	}
}
