// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// tightPair has a client that takes next to nothing without reading, and a server whose
// kernel takes much.
func tightPair(t *testing.T) (server, client net.Conn) {
	t.Helper()
	server, client = pairAsIs(t)
	_ = server.(*net.TCPConn).SetWriteBuffer(1 << 20)
	_ = client.(*net.TCPConn).SetReadBuffer(2 << 10)
	return server, client
}

// zoneOf packs a zone of about that many octets.
func zoneOf(t *testing.T, size int) (msgs []Message, total int64) {
	t.Helper()
	msgs = packAll(t, benchApex, 0, benchZone(size/33))
	for _, m := range msgs {
		total += int64(2 + len(m.Bytes))
	}
	return msgs, total
}

// ofEachKind runs f with a connection of each kind, all at once.
func ofEachKind(t *testing.T, makePair func(*testing.T) (net.Conn, net.Conn), f func(t *testing.T, server, client net.Conn)) {
	t.Helper()
	for name, wrap := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, client := makePair(t)
			server, client = wrap(t, server, client)
			f(t, server, client)
		})
	}
}

// TestSettleEnds: a reader that takes nothing of a zone that the kernel takes whole has
// not got it.
func TestSettleEnds(t *testing.T) {
	msgs, _ := zoneOf(t, 110_000)
	revoked := errors.New("revoked")
	for _, tt := range []struct {
		name   string
		o      SendOptions
		cancel bool
		gone   bool
		want   error
	}{
		{name: "stalled", o: SendOptions{Stall: 200 * time.Millisecond}, want: ErrStalled},
		{name: "late", o: SendOptions{Total: 300 * time.Millisecond}, want: ErrTimeout},
		{name: "revoked", cancel: true, want: revoked},
		{name: "gone", gone: true, want: ErrClientGone},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ofEachKind(t, tightPair, func(t *testing.T, server, client net.Conn) {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				s := NewSender(ctx, server, envelope(t, false), tt.o)
				defer s.Close()
				begin := time.Now()
				if err := sendAll(s, msgs); err != nil {
					t.Fatal(err)
				}
				if tt.cancel {
					time.AfterFunc(100*time.Millisecond, func() { cancel(revoked) })
				}
				if tt.gone {
					time.AfterFunc(100*time.Millisecond, func() { _ = Abort(client) })
				}
				err := s.Settle(Unacknowledged)
				if took := time.Since(begin); !errors.Is(err, tt.want) || took < 100*time.Millisecond || took > 3*time.Second {
					t.Errorf("%v after %v, want %v", err, took, tt.want)
				}
				if p := s.Progress(); p.Bytes > s.Stats().Bytes-Unacknowledged {
					t.Errorf("%+v of %+v", p, s.Stats())
				}
			})
		})
	}
}

// TestSettleLetsGo: when little enough is not acknowledged nobody waits, not even for a
// client that reads nothing more; and Confirm tells how much that is.
func TestSettleLetsGo(t *testing.T) {
	msgs, total := zoneOf(t, 50_000)
	ofEachKind(t, tightPair, func(t *testing.T, server, _ net.Conn) {
		s := NewSender(t.Context(), server, envelope(t, false), SendOptions{})
		defer s.Close()
		if err := sendAll(s, msgs); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if err := s.Settle(Unacknowledged); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took > 50*time.Millisecond {
			t.Errorf("settled after %v", took)
		}
		acked, known := s.Confirm(100 * time.Millisecond)
		if took := time.Since(begin); took < 100*time.Millisecond || took > time.Second {
			t.Errorf("confirmed after %v", took)
		}
		if !known || acked >= total {
			t.Errorf("%d of %d octets acknowledged (%v)", acked, total, known)
		}
	})
}

// TestConfirm: what the client has taken is known soon, also when it goes at once, and
// its next request is not kept waiting.
func TestConfirm(t *testing.T) {
	msgs, total := zoneOf(t, 50_000)
	for name, then := range map[string]func(client net.Conn){
		"reads":          func(net.Conn) {},
		"reads and goes": func(client net.Conn) { client.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			ofEachKind(t, func(t *testing.T) (net.Conn, net.Conn) { return pairAsIs(t) }, func(t *testing.T, server, client net.Conn) {
				go func() {
					_, _ = readMessages(client, len(msgs))
					then(client)
				}()
				s := NewSender(t.Context(), server, envelope(t, false), SendOptions{})
				defer s.Close()
				if err := sendAll(s, msgs); err != nil {
					t.Fatal(err)
				}
				begin := time.Now()
				if err := s.Settle(Unacknowledged); err != nil {
					t.Fatal(err)
				}
				if acked, known := s.Confirm(10 * time.Second); acked != total || !known {
					t.Errorf("%d of %d octets acknowledged (%v)", acked, total, known)
				}
				if took := time.Since(begin); took > 5*time.Second {
					t.Errorf("confirmed after %v", took)
				}
				if p := s.Progress(); p.Bytes < total {
					t.Errorf("%+v of %d octets", p, total)
				}
			})
		})
	}
}

// TestConfirmEnds: a client that asks more is not kept waiting for an acknowledgement.
func TestConfirmEnds(t *testing.T) {
	msgs, total := zoneOf(t, 50_000)
	t.Run("asks more", func(t *testing.T) {
		ofEachKind(t, tightPair, func(t *testing.T, server, client net.Conn) {
			s := NewSender(t.Context(), server, envelope(t, false), SendOptions{})
			defer s.Close()
			if err := sendAll(s, msgs); err != nil {
				t.Fatal(err)
			}
			if _, err := client.Write([]byte("next")); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			if acked, known := s.Confirm(30 * time.Second); acked >= total || !known {
				t.Errorf("%d of %d octets acknowledged (%v)", acked, total, known)
			}
			if took := time.Since(begin); took > 10*time.Second {
				t.Errorf("the next request waited for %v", took)
			}
		})
	})
	t.Run("has asked more", func(t *testing.T) { // and it was read from the socket already
		ofEachKind(t, tightPair, func(t *testing.T, server, client net.Conn) {
			if _, err := client.Write([]byte("two requests")); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(server, make([]byte, 3)); err != nil {
				t.Fatal(err)
			}
			s := NewSender(t.Context(), server, envelope(t, false), SendOptions{})
			defer s.Close()
			if err := sendAll(s, msgs); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			_, _ = s.Confirm(30 * time.Second)
			if took := time.Since(begin); took > 10*time.Second {
				t.Errorf("the next request waited for %v", took)
			}
		})
	})
}

// TestBufferedKnows: crypto/tls and go-proxyproto keep what they have read where it is
// looked for. A connection that has nothing more must not pass for one that has.
func TestBufferedKnows(t *testing.T) {
	ofEachKind(t, func(t *testing.T) (net.Conn, net.Conn) { return pairAsIs(t) }, func(t *testing.T, server, client net.Conn) {
		for _, text := range []string{"first", "second"} {
			if _, err := client.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, len(text)-1)
			if _, err := io.ReadFull(server, b); err != nil {
				t.Fatal(err)
			}
			heard := func() bool {
				bottom, _ := TCPConnOf(server)
				_ = bottom.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
				defer bottom.SetReadDeadline(time.Time{})
				return awaitReadable(rawConnOf(server))
			}
			if !buffered(server) && !heard() {
				t.Error("what is left to read is nowhere")
			}
			if _, err := io.ReadFull(server, b[:1]); err != nil {
				t.Fatal(err)
			}
			if buffered(server) || heard() {
				t.Error("nothing is left, and something is found")
			}
		}
	})
	if pipe, _ := net.Pipe(); !buffered(pipe) || !buffered(twofold{}) || !buffered(nil) {
		t.Error("what is not known may have read anything")
	}
}

// TestWithin: a write of one message that is blocked ends by the limits of a transfer,
// on each kind of connection.
func TestWithin(t *testing.T) {
	message := make([]byte, 300)
	revoked := errors.New("revoked")
	for _, tt := range []struct {
		name   string
		o      SendOptions
		cancel bool
		want   error
	}{
		{name: "stalled", o: SendOptions{Stall: 200 * time.Millisecond}, want: ErrStalled},
		{name: "late", o: SendOptions{Total: 200 * time.Millisecond}, want: ErrTimeout},
		{name: "revoked", cancel: true, want: revoked},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ofEachKind(t, func(t *testing.T) (net.Conn, net.Conn) { return pair(t, false) }, func(t *testing.T, server, _ net.Conn) {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				if tt.cancel {
					time.AfterFunc(200*time.Millisecond, func() { cancel(revoked) })
				}
				begin := time.Now()
				var err error
				for range 10_000 {
					err = Within(ctx, server, tt.o, func() error {
						_, err := server.Write(message)
						return err
					})
					if err != nil {
						break
					}
				}
				if took := time.Since(begin); !errors.Is(err, tt.want) || took > 5*time.Second {
					t.Errorf("%v after %v, want %v", err, took, tt.want)
				}
			})
		})
	}
}

// TestWithinLeavesConnectionUsable: the deadline of one message must not hit the next.
func TestWithinLeavesConnectionUsable(t *testing.T) {
	ofEachKind(t, func(t *testing.T) (net.Conn, net.Conn) { return pairAsIs(t) }, func(t *testing.T, server, client net.Conn) {
		ctx, cancel := context.WithCancel(t.Context())
		write := func() error {
			_, err := server.Write([]byte("one"))
			return err
		}
		if err := Within(ctx, server, SendOptions{Stall: 10 * time.Millisecond, Total: 50 * time.Millisecond}, write); err != nil {
			t.Fatal(err)
		}
		cancel()
		time.Sleep(60 * time.Millisecond)
		if err := write(); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(client, make([]byte, 6)); err != nil {
			t.Error(err)
		}
	})
}
