// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/internal/audit/audittest"
	"github.com/xfrguard/xfrguard/internal/evidence/catest"
	"github.com/xfrguard/xfrguard/internal/xfrtest"

	"github.com/miekg/dns"
)

// TestHalfTSIG: a TSIG that is cut off anywhere, or that counts what is not there, gets
// FORMERR at once, from everybody and over every transport. miekg/dns finds the MAC right
// of the one with a MAC.
func TestHalfTSIG(t *testing.T) {
	s := xfrtest.Serve(t, xfrtest.XoTBlock("allow as ns2 net 127.0.0.1 key a.example.net.", "", ""), xfrtest.XoTFiles(t, catest.New(t)))
	const alg = "\x0bhmac-sha256\x00"
	queries := map[string]func(uint16) []byte{
		"other length without data": func(qtype uint16) []byte {
			return xfrtest.Signed(t, xfrtest.Question(qtype), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA, func(t *dns.TSIG) { t.OtherLen = 6 })
		},
	}
	for name, rdata := range map[string]string{
		"empty": "", "algorithm alone": alg, "up to the time": alg + "\x00\x00\x65\x53\xf1\x00",
		"up to the fudge": alg + "\x00\x00\x65\x53\xf1\x00\x01\x2c", "root algorithm alone": "\x00",
		"up to the error": alg + "\x00\x00\x65\x53\xf1\x00\x01\x2c\x00\x00\x12\x34\x00\x00",
		"compressed":      "\xc0\x0c\x00\x00\x65\x53\xf1\x00\x01\x2c\x00\x00\x12\x34\x00\x00\x00\x00",
	} {
		queries[name] = func(qtype uint16) []byte {
			return xfrtest.WithTSIGOf(xfrtest.Packed(t, xfrtest.Question(qtype)), rdata)
		}
	}
	for name, query := range queries {
		for _, from := range []string{"127.0.0.1", "127.0.0.9"} {
			got := map[string]*dns.Msg{
				"tcp": xfrtest.Ask1(t, "tcp", s.ListenerAddr(t, "dns"), from, query(dns.TypeAXFR)),
				"tls": xfrtest.XoT(t, s.ListenerAddr(t, "tls"), from, xfrtest.ClientTLS("dot"), query(dns.TypeAXFR)),
				"udp": xfrtest.Ask1(t, "udp", s.Addr(t, "udp", 0), from, query(dns.TypeIXFR)),
			}
			for network, m := range got {
				if m == nil || m.Rcode != dns.RcodeFormatError || len(m.Answer)+len(m.Extra) > 0 {
					t.Errorf("%s, %s from %s: got %v", network, name, from, m)
				}
			}
		}
	}
	for _, e := range s.Events(t, 3) {
		if e["event.reason"] != "malformed" || e["coredns.xfr.tsig.status"] != "malformed" {
			t.Errorf("on record as %v", e)
		}
	}
}

// TestAlteredTSIG: what is verified are the octets that came. miekg/dns takes a fudge of 0
// for one of 300 and a time of 0 for now, so that a signature over those would be good.
func TestAlteredTSIG(t *testing.T) {
	s := xfrtest.Serve(t, xfrtest.Guarded("allow as ns2 net 127.0.0.1 key a.example.net.", ""), map[string]string{"db": xfrtest.ZoneOrg})
	altered := func(change func(*dns.TSIG)) []byte {
		m := xfrtest.Unpack(t, xfrtest.Signed(t, xfrtest.Question(dns.TypeAXFR), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA))
		change(m.IsTsig())
		return xfrtest.Packed(t, m)
	}
	for name, c := range map[string]struct {
		change func(*dns.TSIG)
		rcode  int
	}{
		"nothing":       {func(*dns.TSIG) {}, dns.RcodeSuccess},
		"case of names": {func(t *dns.TSIG) { t.Hdr.Name, t.Algorithm = "A.eXample.net.", "HMAC-sha256." }, dns.RcodeSuccess},
		"fudge":         {func(t *dns.TSIG) { t.Fudge = 0 }, dns.RcodeNotAuth},
		"time":          {func(t *dns.TSIG) { t.TimeSigned = 0 }, dns.RcodeNotAuth},
		"time, fudge":   {func(t *dns.TSIG) { t.TimeSigned, t.Fudge = 0, 0 }, dns.RcodeNotAuth},
		"later":         {func(t *dns.TSIG) { t.TimeSigned++ }, dns.RcodeNotAuth},
		"error":         {func(t *dns.TSIG) { t.Error = dns.RcodeBadTime }, dns.RcodeNotAuth},
		"other":         {func(t *dns.TSIG) { t.OtherLen, t.OtherData = 1, "00" }, dns.RcodeNotAuth},
		"original ID":   {func(t *dns.TSIG) { t.OrigId++ }, dns.RcodeNotAuth},
		"class":         {func(t *dns.TSIG) { t.Hdr.Class = dns.ClassINET }, dns.RcodeFormatError},
		"TTL":           {func(t *dns.TSIG) { t.Hdr.Ttl = 1 }, dns.RcodeFormatError},
	} {
		for range 2 { // the time may be another one by then
			if m := xfrtest.Ask1(t, "tcp", s.Addr(t, "tcp", 0), "", altered(c.change)); m.Rcode != c.rcode || xfrtest.IsZone(m) != (c.rcode == dns.RcodeSuccess) {
				t.Errorf("%s: got %v", name, m)
			}
		}
	}
}

// TestStrangeNames: whatever stands in the names of a request, it is answered.
func TestStrangeNames(t *testing.T) {
	s := xfrtest.Serve(t, xfrtest.Guarded("allow as ns2 net 127.0.0.1 key a.example.net.", ""), map[string]string{"db": xfrtest.ZoneOrg})
	long := strings.Repeat(strings.Repeat("x", 63)+".", 3) + strings.Repeat("y", 61) + "."
	names := []string{".", `\000.`, `a\.b.example.net.`, `\"\;\@\$.`, `\255\127\032.`, long, strings.ToUpper(long), "xn--e1afmkfd.example."}
	for _, name := range names {
		for _, alg := range append([]string{dns.HmacSHA256}, names...) {
			m := xfrtest.Question(dns.TypeAXFR, xfrtest.WithEDNS)
			m.SetTsig(name, dns.HmacSHA256, 300, time.Now().Unix())
			tsig := m.IsTsig()
			tsig.Algorithm, tsig.MAC, tsig.MACSize = alg, strings.Repeat("ab", 32), 32
			if got := xfrtest.Ask1(t, "tcp", s.Addr(t, "tcp", 0), "", xfrtest.Packed(t, m)); got.Rcode != dns.RcodeNotAuth {
				t.Errorf("key %s, algorithm %s: got %v", name, alg, got)
			}
		}
		got := xfrtest.Ask1(t, "tcp", s.Addr(t, "tcp", 0), "", xfrtest.Packed(t, xfrtest.Question(dns.TypeAXFR, xfrtest.WithName(name), xfrtest.WithEDNS)))
		if got.Rcode != dns.RcodeRefused { // the block's, or CoreDNS's own
			t.Errorf("zone %s: got %v", name, got)
		}
	}
}

// TestSignatureNotLookedAtTwice: what miekg/dns did not find good is looked at again only
// for requests that can be answered, from addresses that a rule knows.
func TestSignatureNotLookedAtTwice(t *testing.T) {
	s := xfrtest.Serve(t, xfrtest.Guarded("allow as ns2 net 127.0.0.1 key a.example.net.", ""), map[string]string{"db": xfrtest.ZoneOrg})
	cut := func(m *dns.Msg) []byte { // genuine, and cut in half, which miekg/dns takes for a bad one
		whole := xfrtest.Unpack(t, xfrtest.Signed(t, m, xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA))
		tsig := whole.IsTsig()
		tsig.MAC, tsig.MACSize = tsig.MAC[:32], 16
		return xfrtest.Packed(t, whole)
	}
	withA := func(m *dns.Msg) {
		m.Extra = append(m.Extra, &dns.A{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4zero})
	}
	for _, c := range []struct {
		name, network, from, reason, status string
		query                               []byte
		rcode                               int
	}{
		{"known", "tcp", "127.0.0.1", "tsig-bad-truncation", "badtrunc", cut(xfrtest.Question(dns.TypeAXFR)), dns.RcodeNotAuth},
		{"a stranger", "tcp", "127.0.0.9", "client-not-allowed", "unchecked", cut(xfrtest.Question(dns.TypeAXFR)), dns.RcodeRefused},
		{"malformed", "tcp", "127.0.0.1", "malformed", "unchecked", cut(xfrtest.Question(dns.TypeAXFR, withA)), dns.RcodeFormatError},
		{"not carried", "udp", "127.0.0.1", "transport-unsupported", "unchecked", cut(xfrtest.Question(dns.TypeAXFR)), dns.RcodeNotImplemented},
		{"malformed and good", "tcp", "127.0.0.1", "malformed", "valid", xfrtest.Signed(t, xfrtest.Question(dns.TypeAXFR, withA), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA), dns.RcodeFormatError},
		{"a stranger with the key", "tcp", "127.0.0.9", "client-not-allowed", "valid", xfrtest.Signed(t, xfrtest.Question(dns.TypeAXFR), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA), dns.RcodeRefused},
	} {
		m := xfrtest.Ask1(t, c.network, s.Addr(t, c.network, 0), c.from, c.query)
		if m.Rcode != c.rcode {
			t.Errorf("%s: got %v", c.name, m)
		}
		// RFC 8945 §5.3: known clients get a signed refusal when the request was verified.
		if signed := m.IsTsig() != nil && m.IsTsig().MACSize > 0; signed != (c.from == "127.0.0.1" && c.status != "unchecked") {
			t.Errorf("%s: the answer is signed: %t", c.name, signed)
		}
		found := false
		audittest.Eventually(t, func() bool {
			for _, e := range s.Events(t, 0) {
				found = found || e["event.reason"] == c.reason && e["coredns.xfr.tsig.status"] == c.status && e["client.ip"] == c.from
			}
			return found
		})
	}
}
