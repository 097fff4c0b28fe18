// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair gives the two ends of a loopback connection, TLS or not, closed at the end of
// the test. Small buffers make a client that does not read felt soon.
func pair(t testing.TB, secure bool) (server, client net.Conn) {
	t.Helper()
	server, client = pairAsIs(t)
	_ = server.(*net.TCPConn).SetWriteBuffer(32 << 10)
	_ = client.(*net.TCPConn).SetReadBuffer(32 << 10)
	if !secure {
		return server, client
	}
	return shakeHands(t, server, client)
}

// pairAsIs leaves the buffers to the system.
func pairAsIs(t testing.TB) (server, client net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialed := make(chan net.Conn, 1)
	go func() {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Error(err)
		}
		dialed <- c
	}()
	server, err = l.Accept()
	client = <-dialed
	if err != nil || client == nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close(); client.Close() })
	return server, client
}

func testTLS(t testing.TB) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

func envelope(t testing.TB, signed bool) Envelope {
	t.Helper()
	env, err := EnvelopeFor(new(dns.Msg).SetAxfr(benchApex))
	if err != nil {
		t.Fatal(err)
	}
	if signed {
		if env.Signer, err = NewSigner(testKey, "hmac-sha256", testSecret, testSecret, nil); err != nil {
			t.Fatal(err)
		}
	}
	return env
}

func sendAll(s *Sender, msgs []Message) error {
	for _, m := range msgs {
		if err := s.Send(m); err != nil {
			return err
		}
	}
	return s.Flush()
}

// readMessages reads n messages with their length prefixes.
func readMessages(r io.Reader, n int) ([][]byte, error) {
	var out [][]byte
	for range n {
		var size uint16
		if err := binary.Read(r, binary.BigEndian, &size); err != nil {
			return out, err
		}
		b := make([]byte, size)
		if _, err := io.ReadFull(r, b); err != nil {
			return out, err
		}
		out = append(out, b)
	}
	return out, nil
}

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

func TestSenderEnds(t *testing.T) {
	msgs := later(packAll(t, benchApex, 0, benchZone(20_000)))
	revoked := errors.New("revoked")
	for _, tt := range []struct {
		name   string
		o      SendOptions
		client func(cancel context.CancelCauseFunc, client net.Conn)
		want   error
		within [2]time.Duration
	}{
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
				cancel(revoked)
			},
			want: ErrCanceled, within: [2]time.Duration{100 * time.Millisecond, time.Second},
		},
		{
			name: "canceled while paced", o: SendOptions{BytesPerSecond: 100},
			client: func(cancel context.CancelCauseFunc, _ net.Conn) {
				time.Sleep(100 * time.Millisecond)
				cancel(revoked)
			},
			want: ErrCanceled, within: [2]time.Duration{100 * time.Millisecond, time.Second},
		},
		{
			name:   "canceled before",
			client: func(cancel context.CancelCauseFunc, _ net.Conn) { cancel(revoked) },
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
	} {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s tls=%v", tt.name, secure), func(t *testing.T) {
				t.Parallel()
				server, client := pair(t, secure)
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				begin := time.Now()
				s := NewSender(ctx, server, envelope(t, true), tt.o)
				clientDone := make(chan struct{})
				go func() {
					defer close(clientDone)
					if tt.client != nil {
						tt.client(cancel, client)
					}
				}()
				err := endless(s, msgs)
				took := time.Since(begin)
				s.Close()
				if !errors.Is(err, tt.want) {
					t.Errorf("ended with %v, want %v", err, tt.want)
				}
				if tt.want == ErrCanceled && !errors.Is(err, revoked) {
					t.Errorf("%v does not tell the cause", err)
				}
				if took < tt.within[0] || took > tt.within[1]+time.Second {
					t.Errorf("ended after %v, want %v", took, tt.within)
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
			})
		}
	}
}

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
		s.batch, s.out = DefaultBatch, &shortOutput{room: tt.room}
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
