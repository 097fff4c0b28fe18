// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"fmt"
	"net"
	"testing"
)

// BenchmarkSender writes a packed zone to a loopback client that discards it. The
// limit variants write the same octets with nothing else but the HMAC of them.
func BenchmarkSender(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		msgs := packAll(b, benchApex, 0, benchZone(n))
		for _, signed := range []bool{false, true} {
			b.Run(fmt.Sprintf("%d/signed=%v", n, signed), func(b *testing.B) {
				server := discarding(b)
				var size int64
				b.ReportAllocs()
				for b.Loop() {
					s := NewSender(b.Context(), server, envelope(b, signed), SendOptions{})
					if err := sendAll(s, msgs); err != nil {
						b.Fatal(err)
					}
					size = s.Stats().Bytes
					s.Close()
				}
				b.SetBytes(size)
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/record")
			})
			b.Run(fmt.Sprintf("%d/signed=%v/limit", n, signed), func(b *testing.B) {
				benchLimit(b, msgs, n, signed)
			})
		}
	}
}

func discarding(b *testing.B) net.Conn {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { server.Close(); client.Close() })
	go func() {
		buf := make([]byte, 1<<18)
		for {
			if _, err := client.Read(buf); err != nil {
				return
			}
		}
	}()
	return server
}

// benchLimit is the physical limit: all octets in one buffer, 256 KiB a write, and one
// HMAC over each message.
func benchLimit(b *testing.B, msgs []Message, n int, signed bool) {
	var all []byte
	for _, m := range msgs {
		all = append(append(all, 0, 0), m.Bytes...)
	}
	server := discarding(b)
	mac := newTestMAC()
	buf := make([]byte, 0, 64)
	b.SetBytes(int64(len(all)))
	for b.Loop() {
		from := 0
		for at := 0; at < len(all); at += 256 << 10 {
			to := min(at+256<<10, len(all))
			for signed && from < to {
				end := min(from+16384, to)
				mac.Reset()
				mac.Write(all[from:end])
				mac.Sum(buf)
				from = end
			}
			if _, err := server.Write(all[at:to]); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/record")
}
