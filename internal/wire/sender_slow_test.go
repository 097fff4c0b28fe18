// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// slowReader takes 1 KiB at a time, and its time.
type slowReader struct{ net.Conn }

func (c slowReader) Read(b []byte) (int, error) {
	time.Sleep(25 * time.Millisecond)
	return c.Conn.Read(b[:min(len(b), 1<<10)])
}

// TestSenderSlowReader: a client that reads slowly but steadily is not stalled, even
// when a batch takes it many times the stall time, nor is a TLS connection given up
// while the client takes a chunk within the stall time. A pipe has no buffers, so that
// no kernel decides when progress shows.
func TestSenderSlowReader(t *testing.T) {
	msgs := packAll(t, benchApex, 0, benchZone(3000))
	for _, tt := range []struct {
		name  string
		stall time.Duration
	}{{"tcp", 400 * time.Millisecond}, {"tls", 1600 * time.Millisecond}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server, client := net.Pipe()
			defer server.Close()
			defer client.Close()
			_ = client.SetReadDeadline(time.Now().Add(15 * time.Second))
			client = slowReader{client}
			if tt.name == "tls" {
				server = tls.Server(server, testTLS(t))
				client = tls.Client(client, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // test
			}
			s := NewSender(t.Context(), server, envelope(t, false), SendOptions{Stall: tt.stall})
			defer s.Close()
			if tt.name == "tcp" {
				s.out.(*stream).resumable = true
			}
			done := make(chan error, 1)
			begin := time.Now()
			go func() { done <- sendAll(s, msgs) }()
			if _, err := readMessages(client, len(msgs)); err != nil {
				server.Close()
				t.Fatalf("client: %v; sender: %v", err, <-done)
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if took := time.Since(begin); took < tt.stall {
				t.Errorf("took only %v: the reader was not slow", took)
			}
		})
	}
}

// shortOutput takes some octets and then fails.
type shortOutput struct{ room int }

func (o *shortOutput) write(b []byte) (int, error) {
	n := min(o.room, len(b))
	o.room -= n
	if n < len(b) {
		return n, ErrStalled
	}
	return n, nil
}

func (*shortOutput) release(bool) {}

// TestSenderCountsCompleteMessages: to the octet.
func TestSenderCountsCompleteMessages(t *testing.T) {
	msgs := packAll(t, benchApex, 0, benchZone(2000))
	first := len(msgs[0].Bytes) + 2
	for _, tt := range []struct{ room, messages, records int }{
		{0, 0, 0},
		{first - 1, 0, 0},
		{first, 1, msgs[0].Records},
		{first + len(msgs[1].Bytes) + 1, 1, msgs[0].Records},
		{first + len(msgs[1].Bytes) + 2, 2, msgs[0].Records + msgs[1].Records},
	} {
		s := NewMessageSender(t.Context(), nil, envelope(t, false), SendOptions{})
		s.batch, s.out = defaultBatch, &shortOutput{room: tt.room}
		err := sendAll(s, msgs)
		want := SendStats{Messages: tt.messages, Records: tt.records, Bytes: int64(tt.room)}
		if !errors.Is(err, ErrStalled) || s.Stats() != want {
			t.Errorf("%v, %+v, want %+v", err, s.Stats(), want)
		}
		s.Close()
	}
}

func TestSenderPace(t *testing.T) {
	msgs := packAll(t, benchApex, 0, benchZone(3000))
	var size int
	for _, m := range msgs {
		size += len(m.Bytes) + 2
	}
	for _, secure := range []bool{false, true} {
		server, client := pair(t, secure)
		go func() { _, _ = io.Copy(io.Discard, client) }()
		s := NewSender(t.Context(), server, envelope(t, false), SendOptions{BytesPerSecond: size * 2})
		begin := time.Now()
		if err := sendAll(s, msgs); err != nil {
			t.Fatal(err)
		}
		s.Close()
		// Half a second, less the tenth of a second that may go at once.
		if took := time.Since(begin); took < 350*time.Millisecond || took > 2*time.Second {
			t.Errorf("tls %v: took %v", secure, took)
		}
		server.Close()
	}
}

// TestSenderCountsWhatWasTaken: after an error the numbers say how far it came.
func TestSenderCountsWhatWasTaken(t *testing.T) {
	msgs := later(packAll(t, benchApex, 0, benchZone(20_000)))
	server, client := pair(t, false)
	s := NewSender(t.Context(), server, envelope(t, false), SendOptions{Stall: 100 * time.Millisecond})
	defer s.Close()
	if err := endless(s, msgs); !errors.Is(err, ErrStalled) {
		t.Fatal(err)
	}
	server.Close() // not Abort: the client shall get what was taken
	got, err := io.ReadAll(client)
	if err != nil {
		t.Fatal(err)
	}
	var want SendStats
	for rest := got; len(rest) >= 2; want.Messages++ {
		size := 2 + int(binary.BigEndian.Uint16(rest))
		if size > len(rest) {
			break
		}
		want.Records += int(binary.BigEndian.Uint16(rest[2+6:]))
		rest = rest[size:]
	}
	want.Bytes = int64(len(got))
	if s.Stats() != want {
		t.Errorf("%+v, the client got %+v", s.Stats(), want)
	}
}
