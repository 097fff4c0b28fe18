// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/coredns/coredns/plugin/pkg/proxyproto"
)

// embedding wraps a connection as most wrappers do.
type embedding struct{ net.Conn }

// twofold has two, of which nobody knows the right one.
type twofold struct {
	net.Conn
	Other net.Conn
}

// raw tells what it wraps as go-proxyproto does.
type raw struct {
	net.Conn
	Other     net.Conn
	bufReader *bufio.Reader // nil: it is empty
}

func (c raw) Raw() net.Conn { return c.Conn }

// kinds are the connections that a listener of CoreDNS may hand out, made of the two
// ends of one on loopback.
var kinds = map[string]func(t *testing.T, server, client net.Conn) (net.Conn, net.Conn){
	"tcp":     func(_ *testing.T, server, client net.Conn) (net.Conn, net.Conn) { return server, client },
	"tls":     secured,
	"wrapped": func(_ *testing.T, server, client net.Conn) (net.Conn, net.Conn) { return &embedding{server}, client },
	"raw": func(_ *testing.T, server, client net.Conn) (net.Conn, net.Conn) {
		return raw{Conn: server, bufReader: nil}, client
	},
	"proxyproto": proxied,
	"tls, wrapped": func(t *testing.T, server, client net.Conn) (net.Conn, net.Conn) {
		return wrapAfter(secured, t, server, client)
	},
	"tls, on proxy": func(t *testing.T, server, client net.Conn) (net.Conn, net.Conn) { return onProxy(t, server, client) },
}

func wrapAfter(f func(*testing.T, net.Conn, net.Conn) (net.Conn, net.Conn), t *testing.T, server, client net.Conn) (net.Conn, net.Conn) {
	t.Helper()
	server, client = f(t, server, client)
	return embedding{server}, client
}

func onProxy(t *testing.T, server, client net.Conn) (net.Conn, net.Conn) {
	t.Helper()
	server, client = proxied(t, server, client)
	return shakeHands(t, server, client)
}

func secured(t *testing.T, server, client net.Conn) (net.Conn, net.Conn) {
	t.Helper()
	return shakeHands(t, server, client)
}

func shakeHands(t testing.TB, server, client net.Conn) (net.Conn, net.Conn) {
	t.Helper()
	tc := tls.Client(client, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // loopback test
	ts := tls.Server(server, testTLS(t))
	go func() { _ = tc.Handshake() }()
	if err := ts.Handshake(); err != nil {
		t.Fatal(err)
	}
	return ts, tc
}

// one is a listener of a connection that is there.
type one struct {
	net.Listener
	conn net.Conn
}

func (l one) Accept() (net.Conn, error) { return l.conn, nil }

// proxied is a connection as CoreDNS's plugin proxyproto hands it out.
func proxied(t *testing.T, server, client net.Conn) (net.Conn, net.Conn) {
	t.Helper()
	wrapped, err := proxyproto.NewTLVListener(one{conn: server}, nil).Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(client, "PROXY TCP4 192.0.2.53 192.0.2.1 1234 53\r\n"); err != nil {
		t.Fatal(err)
	}
	if got := wrapped.RemoteAddr().String(); got != "192.0.2.53:1234" {
		t.Fatalf("behind the proxy is %s", got)
	}
	return wrapped, client
}

func TestTCPConnOf(t *testing.T) {
	for name, wrap := range kinds {
		server, client := pair(t, false)
		outer, _ := wrap(t, server, client)
		if got, ok := TCPConnOf(outer); !ok || net.Conn(got) != server {
			t.Errorf("%s: %v, %v", name, got, ok)
		}
	}
	server, client := pair(t, false)
	pipe, _ := net.Pipe()
	for name, conn := range map[string]net.Conn{
		"nil": nil, "nil TCP": (*net.TCPConn)(nil), "a pipe": pipe, "TLS on a pipe": tls.Server(pipe, nil),
		"two": twofold{server, client}, "nothing inside": embedding{},
	} {
		if got, ok := TCPConnOf(conn); ok {
			t.Errorf("%s: %v", name, got)
		}
	}
	var endless embedding
	endless.Conn = &endless
	if got, ok := TCPConnOf(&endless); ok {
		t.Errorf("a ring: %v", got)
	}
}

// TestAbortResets: the client must not take the end of a failed transfer for a
// regular one, and gets nothing of what it has not read, whatever wraps the connection.
func TestAbortResets(t *testing.T) {
	for name, wrap := range kinds {
		inner, client := pair(t, false)
		server, reader := wrap(t, inner, client)
		if _, err := server.Write([]byte("half a mess")); err != nil {
			t.Fatal(err)
		}
		if err := Abort(server); err != nil {
			t.Error(err)
		}
		if _, err := io.Copy(io.Discard, reader); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: the client sees %v", name, err)
		}
		_ = server.Close() // as miekg/dns does
	}
}
