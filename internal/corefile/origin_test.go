// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package corefile

import (
	"strings"
	"testing"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/parse"
	ctransport "github.com/coredns/coredns/plugin/pkg/transport"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestOriginsLikeCoreDNS reads keys of server blocks as CoreDNS reads them: the grammar
// has a reading of its own, so that a tool needs no server.
func TestOriginsLikeCoreDNS(t *testing.T) {
	compare := func(t interface {
		Helper()
		Errorf(string, ...any)
	}, key string,
	) {
		t.Helper()
		want := plugin.Host(key).NormalizeExact()
		for i := range want {
			want[i] = strings.ToLower(want[i])
		}
		if got := Origins(key); !cmp.Equal(want, got) {
			t.Errorf("%q: CoreDNS has %q, we have %q", key, want, got)
		}
	}
	for _, key := range []string{
		".", "example.org", "Example.ORG.", "example.org:53", "dns://example.org:1053", "tls://example.org.:853", "dns://.:53",
		"https3://a.example", "10.0.0.0/8", "10.0.0.0/9:53", "10.1.2.3/24", "10.0.0.0/23", "192.0.2.128/25", "10.0.0.1/32",
		"0.0.0.0/0", "0.0.0.0/3", "2001:db8::/32", "2001:db8::/33", "2001:db8::/31", "2001:db8::1/128", "::/0", "0::/16",
		"dns://10.0.0.0/22:5300", "example.org:", "example.org:port", "a..b", strings.Repeat("a", 64) + ".example", "10.0.0.0/33",
	} {
		compare(t, key)
	}
	rapid.Check(t, func(t *rapid.T) {
		compare(t, rapid.StringMatching(`(dns://|tls://)?([a-z]{1,3}(\.[a-z]{1,3}){0,2}\.?|[1-9][0-9]?\.[0-9]{1,2}\.[0-9]\.0/([89]|1[0-9]|2[0-9]|3[0-2])|2001:db8:[0-9a-f]::/(4[0-9]|[1-9]|12[0-8]))(:[0-9]{1,4})?`).Draw(t, "key"))
	})
}

// TestListensLikeCoreDNS: the transport and the port of a key are those that CoreDNS takes.
func TestListensLikeCoreDNS(t *testing.T) {
	byDefault := map[string]string{
		ctransport.DNS: ctransport.Port, ctransport.TLS: ctransport.TLSPort, ctransport.QUIC: ctransport.QUICPort,
		ctransport.GRPC: ctransport.GRPCPort, ctransport.HTTPS: ctransport.HTTPSPort, ctransport.HTTPS3: ctransport.HTTPSPort,
	}
	for scheme := range byDefault {
		for _, key := range []string{scheme + "://example.org", scheme + "://10.0.0.0/23:5300", "example.org:1053", "."} {
			wantTransport, rest := parse.Transport(key)
			_, wantPort, err := plugin.SplitHostPort(rest)
			if err != nil {
				t.Fatal(err)
			}
			if wantPort == "" {
				wantPort = byDefault[wantTransport]
			}
			if transport, port := Listens(key); transport != wantTransport || port != wantPort {
				t.Errorf("%q: CoreDNS has %s and %s, we have %s and %s", key, wantTransport, wantPort, transport, port)
			}
		}
	}
}
