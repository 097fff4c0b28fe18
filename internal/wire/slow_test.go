// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"errors"
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"
)

// readSlowly reads n octets of the socket at a rate in octets a second, and returns how
// many it got.
func readSlowly(conn net.Conn, n, rate int) (got int, err error) {
	buf := make([]byte, 4<<10)
	begin := time.Now()
	for got < n {
		k, err := conn.Read(buf[:min(len(buf), n-got, max(1, rate/20))])
		got += k
		if err != nil {
			return got, err
		}
		time.Sleep(time.Until(begin.Add(time.Duration(got) * time.Second / time.Duration(rate))))
	}
	return got, nil
}

// TestSlowReaderFinishes: who reads slowly but steadily is served to the end, over TCP
// and over TLS, through each kind of connection. What counts is not how much is taken
// within the stall time but that something is acknowledged: a kernel with a large
// buffer takes nothing for much longer. The rates are those of lines of 8, 20 and 32 kB
// a second, twenty times as fast, with a fortieth of the stall time.
//
// With XFRGUARD_SLOW=8000 a reader of that many octets a second takes 4 MB under the
// default limits.
func TestSlowReaderFinishes(t *testing.T) {
	size, stall := 800_000, DefaultStall/40
	rates := []int{160_000, 400_000, 640_000}
	if rate, err := strconv.Atoi(os.Getenv("XFRGUARD_SLOW")); err == nil {
		size, stall, rates = 4_000_000, DefaultStall, []int{rate}
	}
	msgs := packAll(t, benchApex, 0, benchZone(size/28))
	var readers sync.WaitGroup
	for _, rate := range rates {
		for name, wrap := range kinds {
			server, client := pairAsIs(t)
			_ = server.(*net.TCPConn).SetWriteBuffer(256 << 10)
			_ = client.(*net.TCPConn).SetReadBuffer(64 << 10)
			server, client = wrap(t, server, client)
			readers.Go(func() {
				begin := time.Now()
				n, err := slowTransfer(t, server, client, msgs, stall, rate)
				if err != nil {
					t.Errorf("%s at %d octets/s: %d octets after %v: %v", name, rate, n, time.Since(begin), err)
				}
				t.Logf("%s at %d octets/s: %d octets after %v", name, rate, n, time.Since(begin))
			})
		}
	}
	readers.Wait()
}

// TestSlowReaderOfASmallWindow: a client whose window is smaller than a segment, 64 KiB
// on loopback, is sent a piece at each probe of the window. It is slow for much longer
// than the stall time, and finishes.
func TestSlowReaderOfASmallWindow(t *testing.T) {
	const stall = 2 * time.Second
	msgs := packAll(t, benchApex, 0, benchZone(300_000/28))
	server, client := pairAsIs(t)
	_ = client.(*net.TCPConn).SetReadBuffer(16 << 10)
	begin := time.Now()
	n, err := slowTransfer(t, server, client, msgs, stall, 50_000)
	if took := time.Since(begin); err != nil || took < 2*stall {
		t.Errorf("%d octets after %v: %v", n, took, err)
	}
}

// slowTransfer is one transfer to a client that reads at that rate.
func slowTransfer(t *testing.T, server, client net.Conn, msgs []Message, stall time.Duration, rate int) (int, error) {
	s := NewSender(t.Context(), server, envelope(t, false), SendOptions{Stall: stall})
	defer s.Close()
	sent := make(chan error, 1)
	go func() {
		err := sendAll(s, msgs)
		if err == nil {
			err = s.Settle(Unacknowledged)
		}
		if err != nil {
			_ = Abort(server)
		}
		sent <- err
	}()
	total := 0
	for _, m := range msgs {
		total += 2 + len(m.Bytes)
	}
	n, err := readSlowly(client, total, rate)
	if err != nil {
		server.Close()
	}
	return n, errors.Join(err, <-sent)
}
