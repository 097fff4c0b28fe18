// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrtest

import (
	"fmt"
	"net"
	"strings"
	"testing"
)

// Unguarded is a server block without xfrguard.
const Unguarded = `example.com:0 {
	bind 127.0.0.1
	TRANSFER
	file DIR/bare
}
`

// A rule that lets ns2 transfer with a key, and the plugin transfer open to everybody.
const (
	KeyRule = "allow as ns2 net 127.0.0.1 key a.example.net."
	OpenTo  = "transfer {\n\t\tto *\n\t}"
)

// ServerBlockOf is a server block for example.org with the keys of the tests and the body;
// without rules it has no xfrguard, and is otherwise the same.
func ServerBlockOf(rules, body string) string {
	guard := ""
	if rules != "" {
		guard = "xfrguard {\n\t\t" + rules + "\n\t\taudit file DIR/audit.log\n\t}\n\t"
	}
	return "example.org:0 {\n\tbind 127.0.0.1\n\ttsig {\n\t\tsecret a.example.net. " + SecretA +
		"\n\t\tsecret b.example.net. " + SecretB + "\n\t}\n\t" + guard + body + "\n}\n"
}

// The plugin proxyproto as blocks have it: with the proxies named, with TLVs and sessions,
// and believing anybody.
const (
	NamedProxy  = "proxyproto {\n\t\tallow 127.0.0.0/8\n\t}"
	FancyProxy  = "proxyproto {\n\t\tallow 127.0.0.0/8\n\t\tudp_session_tracking 1m\n\t\ttlv_metadata\n\t}"
	AnyProxy    = "proxyproto"
	BehindProxy = "192.0.2.53" // the client that the headers tell of
)

// ProxyBlock is a server block with the proxy's lines, over TCP or TLS.
func ProxyBlock(scheme, rules, proxy string) string {
	block := Guarded(rules, proxy)
	if scheme == "tls" {
		block = strings.Replace(block, "example.org:0 {", "tls://example.org:0 {\n\ttls DIR/cert.pem DIR/key.pem", 1)
	}
	return block
}

// TakenPort is one that no server of CoreDNS can listen on.
func TakenPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// CannotListen is a block on a port that is taken.
func CannotListen(t *testing.T) string {
	t.Helper()
	return "example.com:" + TakenPort(t) + " {\n\tbind 127.0.0.1\n\twhoami\n}\n"
}

// Guarded is a Corefile with one guarded block for example.org, whose xfrguard has
// the lines; extra goes into the block.
func Guarded(lines, extra string) string {
	return fmt.Sprintf(`example.org:0 {
	bind 127.0.0.1
	tsig {
		secret a.example.net. %s
		secret b.example.net. %s
	}
	xfrguard {
		%s
		audit file DIR/audit.log
	}
	file DIR/db
	%s
}
`, SecretA, SecretB, lines, extra)
}

// UnsignedRule lets everybody transfer.
const UnsignedRule = "allow as all net * unsigned"

// CertRule lets ns2 transfer with its certificate.
const CertRule = "allow as ns2 net 127.0.0.1 cert ns2.example.net"

// FreePort returns a port that nobody listened on a moment ago.
func FreePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}
