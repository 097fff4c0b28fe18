// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Both ends of the connection are here; what goes from one to the other leaves by a TUN
// device, is kept for half a round trip, and comes back with its addresses exchanged. That
// changes no checksum.
const (
	nearEnd = "10.231.0.1"
	farEnd  = "10.231.0.2" // what the near end sends there comes back from there
)

// farAway makes the way from nearEnd to itself, by way of farEnd, that long.
func farAway(t *testing.T, roundTrip time.Duration) {
	t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ifr, err := unix.NewIfreq("far0")
	if err != nil {
		t.Fatal(err)
	}
	ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	tun := os.NewFile(uintptr(fd), "far0")
	for _, args := range [][]string{
		{"addr", "add", nearEnd + "/24", "dev", "far0"},
		{"link", "set", "far0", "up", "txqueuelen", "20000"},
	} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v\n%s", args, err, out)
		}
	}
	type packet struct {
		due time.Time
		b   []byte
	}
	way := make(chan packet, 1<<16)
	done := make(chan struct{})
	go func() {
		defer close(way)
		for b := make([]byte, 1<<16); ; {
			n, err := tun.Read(b)
			if err != nil {
				return
			}
			if n >= 20 && b[0]>>4 == 4 {
				p := packet{time.Now().Add(roundTrip / 2), slices.Clone(b[:n])}
				var source [4]byte
				copy(source[:], p.b[12:16])
				copy(p.b[12:16], p.b[16:20])
				copy(p.b[16:20], source[:])
				way <- p
			}
		}
	}()
	go func() {
		defer close(done)
		for p := range way {
			time.Sleep(time.Until(p.due))
			_, _ = tun.Write(p.b)
		}
	}()
	t.Cleanup(func() {
		tun.Close()
		<-done
	})
}

// TestDistance is how long 50 MB take over long ways, with the bound on what the kernel
// holds unsent and without it. It prints rows for docs/PERFORMANCE.md, and runs with
// XFRGUARD_DISTANCE=1 in a network namespace of its own only:
//
//	XFRGUARD_DISTANCE=1 unshare -rn go test -run TestDistance -v ./internal/wire/
func TestDistance(t *testing.T) {
	if os.Getenv("XFRGUARD_DISTANCE") != "1" {
		t.Skip("XFRGUARD_DISTANCE=1 runs it, as root of a network namespace")
	}
	for _, roundTrip := range []time.Duration{0, 20 * time.Millisecond, 100 * time.Millisecond} {
		t.Run(roundTrip.String(), func(t *testing.T) {
			farAway(t, roundTrip)
			var took [2][]time.Duration
			for range 5 {
				for i, bounded := range []bool{true, false} {
					took[i] = append(took[i], sendFar(t, 50<<20, bounded))
				}
			}
			for i, how := range []string{"bounded", "not bounded"} {
				slices.Sort(took[i])
				t.Logf("round trip %v, %s: median %v, %v to %v", roundTrip, how, took[i][2].Round(time.Millisecond), took[i][0].Round(time.Millisecond), took[i][4].Round(time.Millisecond))
			}
		})
	}
}

// sendFar sends so many octets and returns how long that took until the last was read.
func sendFar(t *testing.T, size int, bounded bool) time.Duration {
	t.Helper()
	l, err := net.Listen("tcp", nearEnd+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	client, err := net.DialTimeout("tcp", net.JoinHostPort(farEnd, port), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	begin := time.Now()
	read := make(chan error, 1)
	go func() {
		_, err := io.CopyN(io.Discard, client, int64(size))
		read <- err
	}()
	s := newStream(t.Context(), server, time.Minute, begin.Add(10*time.Minute))
	for b, sent := make([]byte, 128<<10), 0; sent < size; sent += len(b) {
		if _, err := s.write(b[:min(len(b), size-sent)]); err != nil {
			t.Fatal(err)
		}
		if !bounded && sent == 0 { // the first write has set the bound
			unbound(t, server.(*net.TCPConn))
		}
	}
	if err := <-read; err != nil {
		t.Fatal(err)
	}
	took := time.Since(begin)
	s.release(true)
	return took
}

func unbound(t *testing.T, c *net.TCPConn) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var set error
	if err := raw.Control(func(fd uintptr) {
		set = syscall.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, -1)
	}); err != nil || set != nil {
		t.Fatal(err, set)
	}
}
