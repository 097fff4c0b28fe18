// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/interop/peer"
	"github.com/xfrguard/xfrguard/interop/zonegen"
)

// otherCertificates makes what ns2 must not be believed with: a certificate of
// another CA, one that expired an hour ago, one of ns3, and one whose name is only
// its common name.
const otherCertificates = `umask 077
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj "/CN=zone transfer CA" -keyout other-ca.key -out other-ca.pem
make() { # file, CA, subject, extensions
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$3" -addext "$4" -addext "extendedKeyUsage=clientAuth" -keyout $1.key -out $1.csr
    openssl x509 -req -in $1.csr -copy_extensions copyall -CA $2.pem -CAkey $2.key -CAcreateserial -days 1 -out $1.pem
}
make other-ca-ns2 other-ca ns2.example.net subjectAltName=DNS:ns2.example.net
make common-name ca ns2.example.net subjectAltName=DNS:elsewhere.example.net
`

// xotStranger is somebody at ns2's address who must not get the zone.
type xotStranger struct {
	recipe string
	client string // dig or kdig
	with   string // options
	reason string // on record
}

// strangers checks that those get nothing, and that each request is on record.
func (p *xotPrimary) strangers(t *testing.T) {
	t.Helper()
	shellIn(t, p.dir, otherCertificates)
	peer.ExpiredCertificate(t, p.dir, "expired", "ns2.example.net", time.Now().Add(-time.Hour))
	cert := func(name string) string { return fmt.Sprintf("+tls-certfile=%s.pem +tls-keyfile=%s.key", name, name) }
	strangers := []xotStranger{
		{"server-authenticated", "dig", "+tls", "tsig-required"},
		{"server-authenticated", "kdig", "+tls -y hmac-sha256:ns3.example.net:c2VydmVyLWF1dGhlbnRpY2F0ZWQgVExTIGZvciBuczM=", "tsig-key-not-allowed"},
		{"mutual", "dig", "+tls", "cert-required"},
		{"mutual", "kdig", "+tls", "cert-required"},
		{"mutual", "dig", "+tls " + cert("ns3.example.net"), "cert-not-allowed"},
		{"mutual", "kdig", "+tls " + cert("common-name"), "cert-not-allowed"},
		{"mutual", "dig", "+tls " + cert("other-ca-ns2"), "cert-not-allowed"},
		{"mutual", "dig", "+tls " + cert("expired"), "cert-not-allowed"},
		// GnuTLS presents nothing to a server that names no CA of its certificate.
		{"mutual", "kdig", "+tls " + cert("ns2.example.net.self"), "cert-required"},
		{"pinned", "dig", "+tls", "cert-required"},
		{"pinned", "dig", "+tls " + cert("ns2.example.net"), "cert-not-allowed"},
		{"pinned", "kdig", "+tls " + cert("ns3.example.net.self"), "cert-not-allowed"},
		{"pinned", "kdig", "+tls " + cert("expired"), "cert-not-allowed"},
		{"pinned", "dig", "+tls " + cert("other-ca-ns2"), "cert-not-allowed"},
	}
	for _, s := range strangers {
		t.Run("stranger "+s.recipe+" "+s.client+" "+s.with, func(t *testing.T) { p.gets(t, s) })
	}
	p.onRecord(t, strangers)
	t.Run("plain", func(t *testing.T) {
		out := tryXoT(t, p.dir, fmt.Sprintf("dig -b %s @127.0.0.1 -p %d +tcp example.org AXFR", xotAddress(ns2), p.Port))
		if strings.Contains(out, "XFR size") || !strings.Contains(out, "Transfer failed") {
			t.Errorf("plain TCP got: %.500s", out)
		}
	})
	t.Run("wrong primary", func(t *testing.T) { p.distrusted(t) })
}

// gets checks that the stranger gets no record, and that the request, when there
// was one, was refused for its reason. A certificate that nobody can believe may
// end with the handshake: that depends on the listener's client_auth.
func (p *xotPrimary) gets(t *testing.T, s xotStranger) {
	t.Helper()
	before, all := p.refused(t, s.recipe, s.reason), p.asked(t)
	out := tryXoT(t, p.dir, fmt.Sprintf("%s -b %s @127.0.0.1 -p %d +tls-ca=ca.pem +tls-hostname=ns1.example.org %s example.org AXFR",
		s.client, xotAddress(ns2), p.ports[s.recipe], s.with))
	if strings.Contains(out, "\tIN\t") {
		t.Fatalf("got records: %.500s", out)
	}
	after, asked := p.refused(t, s.recipe, s.reason)-before, p.asked(t)-all
	if asked == 0 && s.recipe == "mutual" && s.reason == "cert-not-allowed" {
		return
	}
	if after != 1 || asked != 1 {
		t.Errorf("%v requests, %v of them refused as %s, want one; it printed %.500s", asked, after, s.reason, out)
	}
}

// refused counts the requests at a recipe's listener that were refused for a reason:
// by the metrics, because the events of a flood are folded into one.
func (p *xotPrimary) refused(t *testing.T, recipe, reason string) float64 {
	return p.counter(t, fmt.Sprintf(`{decision="deny",reason=%q,server="tls://127.0.0.1:%d"`, reason, p.ports[recipe]))
}

// asked counts all requests for transfers.
func (p *xotPrimary) asked(t *testing.T) float64 { return p.counter(t, "") }

func (p *xotPrimary) counter(t *testing.T, labels string) float64 {
	t.Helper()
	return (&audited{auditSetup: auditSetup{metrics: p.metrics}}).metric(t, "coredns_xfrguard_requests_total"+labels)
}

// onRecord checks that each reason is in an event with what was known of the client.
func (p *xotPrimary) onRecord(t *testing.T, strangers []xotStranger) {
	t.Helper()
	events, err := peer.Events(p.Stdout.Lines())
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, e := range events {
		if e.Action == peer.ActionDecision && !e.Allowed() && e.TLSVersion == "1.3" && e.ALPN == "dot" {
			seen[e.Reason] = true
		}
	}
	for _, s := range strangers {
		if !seen[s.reason] {
			t.Errorf("no event of a client refused as %s over TLS 1.3", s.reason)
		}
	}
}

// distrusted checks that the clients of the recipes do not talk to a primary with
// another name, or of another CA: what they authenticate is real.
func (p *xotPrimary) distrusted(t *testing.T) {
	t.Helper()
	before := p.asked(t)
	for _, client := range []string{"dig", "kdig"} {
		for _, trust := range []string{"+tls-ca=ca.pem +tls-hostname=ns9.example.org", "+tls-ca=other-ca.pem +tls-hostname=ns1.example.org"} {
			out := tryXoT(t, p.dir, fmt.Sprintf("%s -b %s @127.0.0.1 -p %d +tls %s +tls-certfile=ns2.example.net.pem +tls-keyfile=ns2.example.net.key example.org AXFR",
				client, xotAddress(ns2), p.ports["mutual"], trust))
			if strings.Contains(out, "\tIN\t") {
				t.Errorf("%s %s took: %.500s", client, trust, out)
			}
		}
	}
	if after := p.asked(t); after != before {
		t.Errorf("%v requests reached the primary, which should not have been trusted", after-before)
	}
}

// Transfers over QUIC are refused and on record; ordinary questions are answered.
func TestXoTNotOverQUIC(t *testing.T) {
	t.Parallel()
	if !guarded {
		t.Skip("stock CoreDNS")
	}
	dir, _ := xotCertificates(t, readXOT(t))
	db := filepath.Join(dir, "db.example.org")
	peer.WriteFile(t, db, zonegen.Bulk(xotZone, 1, 100))
	plain, port := peer.Port(t), peer.Port(t)
	p := startGuarded(t, plain, xotZone, fmt.Sprintf(`example.org:%[1]d {
    bind 127.0.0.1
    file %[2]s
}
quic://example.org:%[3]d {
    bind 127.0.0.1
    tls %[4]s/ns1.example.org.pem %[4]s/ns1.example.org.key
    xfrguard {
        allow net 127.0.0.1 unsigned
    }
    file %[2]s
}
`, plain, db, port, dir))
	if out := tryXoT(t, dir, fmt.Sprintf("kdig @127.0.0.1 -p %d +quic example.org SOA", port)); !strings.Contains(out, "hostmaster.example.org.") {
		t.Errorf("an ordinary question over QUIC: %.1000s", out)
	}
	if out := tryXoT(t, dir, fmt.Sprintf("kdig @127.0.0.1 -p %d +quic +edns example.org AXFR", port)); !strings.Contains(out, "NOTIMPL") || strings.Contains(out, "\tIN\t") {
		t.Errorf("AXFR over QUIC: %.1000s", out)
	}
	eventually(t, "the refusal on record", func() error {
		events, err := peer.Events(p.Stdout.Lines())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Action == peer.ActionDecision && e.Transport == "quic" && e.Reason == "transport-unsupported" && e.Rcode == "NOTIMP" {
				return nil
			}
		}
		return fmt.Errorf("%d events, none of it", len(events))
	})
}
