// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestSenderDelivers(t *testing.T) {
	msgs := packAll(t, benchApex, 0, benchZone(20_000))
	records := 0
	for _, m := range msgs {
		records += m.Records
	}
	for _, secure := range []bool{false, true} {
		for _, signed := range []bool{false, true} {
			t.Run(fmt.Sprintf("tls=%v signed=%v", secure, signed), func(t *testing.T) {
				server, client := pair(t, secure)
				env := envelope(t, signed)
				s := NewSender(t.Context(), server, env, SendOptions{})
				done := make(chan error, 1)
				go func() {
					defer s.Close()
					done <- sendAll(s, msgs)
				}()
				got, err := readMessages(client, len(msgs))
				if err != nil {
					t.Fatal(err)
				}
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				var size int64
				prior := hex.EncodeToString(testSecret)
				found := 0
				for i, b := range got {
					size += int64(len(b)) + 2
					var m dns.Msg
					if err := m.Unpack(b); err != nil {
						t.Fatal(err)
					}
					found += len(m.Answer)
					if m.Id != env.ID {
						t.Fatalf("message %d has ID %d", i, m.Id)
					}
					if signed {
						if err := dns.TsigVerify(b, base64.StdEncoding.EncodeToString(testSecret), prior, i > 0); err != nil {
							t.Fatalf("message %d: %v", i, err)
						}
						prior = m.IsTsig().MAC
					}
				}
				if want := (SendStats{Messages: len(msgs), Records: records, Bytes: size}); s.Stats() != want || found != records {
					t.Errorf("%+v, want %+v; %d records arrived", s.Stats(), want, found)
				}
			})
		}
	}
}

// TestSenderLeavesConnectionUsable: the deadlines of a transfer must not hit the next
// answer, nor a context that ends later.
func TestSenderLeavesConnectionUsable(t *testing.T) {
	msgs := packAll(t, benchApex, 0, benchZone(10))
	for _, secure := range []bool{false, true} {
		server, client := pair(t, secure)
		ctx, cancel := context.WithCancel(t.Context())
		s := NewSender(ctx, server, envelope(t, false), SendOptions{Stall: 20 * time.Millisecond, Total: 30 * time.Millisecond})
		if err := sendAll(s, msgs); err != nil {
			t.Fatal(err)
		}
		s.Close()
		s.Close()
		cancel()
		time.Sleep(50 * time.Millisecond)
		if _, err := server.Write([]byte("next")); err != nil {
			t.Errorf("tls %v: %v", secure, err)
		}
		if err := s.Send(msgs[0]); err == nil {
			t.Error("a closed sender goes on")
		}
		if _, err := readMessages(client, 1); err != nil {
			t.Error(err)
		}
	}
}

// endless sends until it fails.
func endless(s *Sender, msgs []Message) error {
	for {
		if err := sendAll(s, msgs); err != nil {
			return err
		}
	}
}

// later is a name for envelopes in endless streams: only the first message of all has
// a question.
func later(msgs []Message) []Message { return msgs[1 : len(msgs)-1] }

// senderEnd is one way in which a transfer does not succeed.
type senderEnd struct {
	name   string
	o      SendOptions
	client func(cancel context.CancelCauseFunc, client net.Conn)
	want   error
	within [2]time.Duration
}

var errRevoked = errors.New("revoked")

var senderEnds = []senderEnd{
	{
		name: "client does not read", o: SendOptions{Stall: 200 * time.Millisecond},
		want: ErrStalled, within: [2]time.Duration{200 * time.Millisecond, time.Second},
	},
	{
		name: "client stops reading", o: SendOptions{Stall: 200 * time.Millisecond},
		client: func(_ context.CancelCauseFunc, c net.Conn) { _, _ = io.CopyN(io.Discard, c, 1<<20) },
		want:   ErrStalled, within: [2]time.Duration{200 * time.Millisecond, 2 * time.Second},
	},
	{
		name: "client does not read until the total time", o: SendOptions{Stall: time.Minute, Total: 200 * time.Millisecond},
		want: ErrTimeout, within: [2]time.Duration{200 * time.Millisecond, time.Second},
	},
	{
		name: "client reads for longer than the total time", o: SendOptions{Total: 200 * time.Millisecond},
		client: func(_ context.CancelCauseFunc, c net.Conn) { _, _ = io.Copy(io.Discard, c) },
		want:   ErrTimeout, within: [2]time.Duration{200 * time.Millisecond, time.Second},
	},
	{
		name: "paced for longer than the total time", o: SendOptions{Total: 200 * time.Millisecond, BytesPerSecond: 100},
		want: ErrTimeout, within: [2]time.Duration{200 * time.Millisecond, time.Second},
	},
	{
		name: "canceled in a blocked write",
		client: func(cancel context.CancelCauseFunc, _ net.Conn) {
			time.Sleep(100 * time.Millisecond)
			cancel(errRevoked)
		},
		want: ErrCanceled, within: [2]time.Duration{100 * time.Millisecond, time.Second},
	},
	{
		name: "canceled while paced", o: SendOptions{BytesPerSecond: 100},
		client: func(cancel context.CancelCauseFunc, _ net.Conn) {
			time.Sleep(100 * time.Millisecond)
			cancel(errRevoked)
		},
		want: ErrCanceled, within: [2]time.Duration{100 * time.Millisecond, time.Second},
	},
	{
		name:   "canceled before",
		client: func(cancel context.CancelCauseFunc, _ net.Conn) { cancel(errRevoked) },
		want:   ErrCanceled, within: [2]time.Duration{0, time.Second},
	},
	{
		name: "client closes",
		client: func(_ context.CancelCauseFunc, c net.Conn) {
			_, _ = io.CopyN(io.Discard, c, 1<<20)
			_ = Abort(c)
		},
		want: ErrClientGone, within: [2]time.Duration{0, 2 * time.Second},
	},
}

func TestSenderEnds(t *testing.T) {
	msgs := later(packAll(t, benchApex, 0, benchZone(20_000)))
	for _, tt := range senderEnds {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s tls=%v", tt.name, secure), func(t *testing.T) {
				t.Parallel()
				server, client := pair(t, secure)
				tt.run(t, msgs, server, client)
			})
		}
	}
}

func (end *senderEnd) run(t *testing.T, msgs []Message, server, client net.Conn) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	begin := time.Now()
	s := NewSender(ctx, server, envelope(t, true), end.o)
	clientDone := make(chan struct{})
	go func() {
		defer close(clientDone)
		if end.client != nil {
			end.client(cancel, client)
		}
	}()
	err := endless(s, msgs)
	took := time.Since(begin)
	s.Close()
	if !errors.Is(err, end.want) {
		t.Errorf("ended with %v, want %v", err, end.want)
	}
	if end.want == ErrCanceled && !errors.Is(err, errRevoked) {
		t.Errorf("%v does not tell the cause", err)
	}
	if took < end.within[0] || took > end.within[1]+time.Second {
		t.Errorf("ended after %v, want %v", took, end.within)
	}
	if again := s.Send(msgs[0]); again != err {
		t.Errorf("after the end: %v", again)
	}
	begin = time.Now()
	_ = Abort(server)
	if took := time.Since(begin); took > time.Second {
		t.Errorf("closing took %v", took)
	}
	<-clientDone
}

// fakeWriter takes messages as a dns.ResponseWriter does.
type fakeWriter struct {
	dns.ResponseWriter
	got   [][]byte
	err   error
	delay time.Duration
}

func (w *fakeWriter) Write(b []byte) (int, error) {
	time.Sleep(w.delay)
	if w.err != nil {
		return 0, w.err
	}
	w.got = append(w.got, append([]byte(nil), b...))
	return len(b), nil
}

func TestMessageSender(t *testing.T) {
	msgs := packAll(t, benchApex, 0, benchZone(3000))
	w := &fakeWriter{}
	s := NewMessageSender(t.Context(), w, envelope(t, true), SendOptions{})
	defer s.Close()
	if err := sendAll(s, msgs); err != nil {
		t.Fatal(err)
	}
	if len(w.got) != len(msgs) || s.Stats().Messages != len(msgs) || s.Stats().Records != 3000 {
		t.Errorf("%d messages written, %+v", len(w.got), s.Stats())
	}
	for _, b := range w.got {
		if err := new(dns.Msg).Unpack(b); err != nil {
			t.Error(err)
		}
	}
	t.Run("fails", func(t *testing.T) {
		s := NewMessageSender(t.Context(), &fakeWriter{err: io.ErrClosedPipe}, envelope(t, false), SendOptions{})
		defer s.Close()
		if err := sendAll(s, msgs); !errors.Is(err, ErrClientGone) || s.Stats() != (SendStats{}) {
			t.Errorf("%v, %+v", err, s.Stats())
		}
	})
	t.Run("canceled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		w := &fakeWriter{}
		s := NewMessageSender(ctx, w, envelope(t, false), SendOptions{})
		defer s.Close()
		if err := sendAll(s, msgs); !errors.Is(err, ErrCanceled) || len(w.got) != 0 {
			t.Errorf("%v, %d messages", err, len(w.got))
		}
	})
	t.Run("stalled", func(t *testing.T) {
		w := &fakeWriter{delay: 5 * time.Millisecond}
		s := NewMessageSender(t.Context(), w, envelope(t, false), SendOptions{Stall: time.Millisecond})
		defer s.Close()
		if err := sendAll(s, msgs); !errors.Is(err, ErrStalled) || len(w.got) != 1 {
			t.Errorf("%v, %d messages", err, len(w.got))
		}
	})
}

// TestSenderRefusesBeforeWriting: a message that cannot be sent ends the transfer, and
// no part of it is written.
func TestSenderRefusesBeforeWriting(t *testing.T) {
	soa := parseRR(t, awkward[0])
	msgs := packAll(t, "example.org.", 0, []dns.RR{soa, bigTXT("t.example.org.", 65480), soa})
	w := &fakeWriter{}
	env := envelope(t, true)
	if env.Fits(len(msgs[1].Bytes)) {
		t.Fatal("the message is not too large")
	}
	s := NewMessageSender(t.Context(), w, env, SendOptions{})
	defer s.Close()
	if err := sendAll(s, msgs); !errors.Is(err, ErrMessageTooLarge) || len(w.got) != 1 {
		t.Errorf("%v, %d messages", err, len(w.got))
	}
}

func TestWriteErrorClasses(t *testing.T) {
	for err, want := range map[error]error{
		io.ErrClosedPipe:       ErrClientGone,
		net.ErrClosed:          ErrWrite,
		os.ErrDeadlineExceeded: ErrWrite,
	} {
		if got := writeError(err); !errors.Is(got, want) || !errors.Is(got, err) {
			t.Errorf("%v is %v, want %v", err, got, want)
		}
	}
}
