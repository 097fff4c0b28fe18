// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair returns the two ends of a loopback connection, TLS or not, closed at the end of
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
